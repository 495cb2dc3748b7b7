/** msync(2) and madvise(2) (mm/msync.c, mm/madvise.c). */

import { errno } from '../sched/errno.js';
import type { Task } from '../sched/task.js';
import {
  MADV_DONTNEED,
  MADV_NORMAL,
  MADV_RANDOM,
  MADV_SEQUENTIAL,
  MADV_WILLNEED,
  MS_ASYNC,
  MS_INVALIDATE,
  MS_SYNC,
} from '../uapi/mman.js';
import { PAGE_SIZE } from './folio.js';
import type { MmStruct } from './mm-struct.js';
import { force_page_cache_readahead } from './readahead.js';
import { zap_page_range } from './rmap.js';
import { VM_LOCKED, VM_PFNMAP, VM_RAND_READ, VM_SEQ_READ, type VmFile } from './vma.js';

/**
 * Write what was stored through shared mappings of a range, and wait for it with MS_SYNC. mmap_lock is not held while it is written.
 * @throws EINVAL; ENOMEM where something of the range is not mapped: the rest is written all the same; EBUSY; what fsync throws
 */
export async function msync(task: Task, mm: MmStruct, start: number, length: number, flags: number): Promise<void> {
  const end = start + Math.ceil(length / PAGE_SIZE) * PAGE_SIZE;
  const both = (flags & (MS_ASYNC | MS_SYNC)) === (MS_ASYNC | MS_SYNC);
  if (start % PAGE_SIZE !== 0 || both || (flags & ~(MS_ASYNC | MS_INVALIDATE | MS_SYNC)) !== 0) throw errno('EINVAL');
  let hole = false;
  for (let at = start; at < end; ) {
    let next: { readonly file: VmFile; readonly from: number; readonly to: number } | undefined;
    {
      using _mmap = await mm.mmap_lock.read(task);
      const vma = mm.find_vma(at);
      if (vma === undefined) throw errno('ENOMEM');
      if (vma.vm_start > at) {
        hole = true;
        at = vma.vm_start;
        if (at >= end) break;
      }
      if ((flags & MS_INVALIDATE) !== 0 && (vma.vm_flags & VM_LOCKED) !== 0) throw errno('EBUSY');
      const to = Math.min(end, vma.vm_end);
      if ((flags & MS_SYNC) !== 0 && vma.vm_file !== undefined && vma.shared) {
        const base = vma.vm_pgoff * PAGE_SIZE - vma.vm_start;
        next = { file: vma.vm_file, from: base + at, to: base + to - 1 };
        next.file.get_file();
      }
      at = to;
    }
    if (next === undefined) continue;
    try {
      await next.file.fsync(task, next.from, next.to);
    } finally {
      await next.file.fput(task);
    }
  }
  if (hole) throw errno('ENOMEM');
}

/**
 * Take advice about a range. MADV_DONTNEED drops its pages, private ones for good; the others say how it will be read.
 * @throws EINVAL; ENOMEM where something of it is not mapped
 */
export async function madvise(task: Task, mm: MmStruct, start: number, length: number, advice: number): Promise<void> {
  const end = start + Math.ceil(length / PAGE_SIZE) * PAGE_SIZE;
  if (start % PAGE_SIZE !== 0 || length < 0) throw errno('EINVAL');
  using _mmap = await (advice === MADV_WILLNEED || advice === MADV_DONTNEED
    ? mm.mmap_lock.read(task)
    : mm.mmap_lock.write(task));
  let covered = start;
  for (const vma of mm.overlapping(start, end)) {
    if (vma.vm_start <= covered) covered = vma.vm_end;
    const [from, to] = [Math.max(start, vma.vm_start), Math.min(end, vma.vm_end)];
    switch (advice) {
      case MADV_NORMAL:
        vma.vm_flags &= ~(VM_RAND_READ | VM_SEQ_READ);
        break;
      case MADV_RANDOM:
        vma.vm_flags = (vma.vm_flags & ~VM_SEQ_READ) | VM_RAND_READ;
        break;
      case MADV_SEQUENTIAL:
        vma.vm_flags = (vma.vm_flags & ~VM_RAND_READ) | VM_SEQ_READ;
        break;
      case MADV_WILLNEED: {
        const { vm_file: file } = vma;
        const first = vma.vm_pgoff + (from - vma.vm_start) / PAGE_SIZE;
        if (file !== undefined)
          await force_page_cache_readahead(task, file, file.f_mapping, first, (to - from) / PAGE_SIZE);
        break;
      }
      case MADV_DONTNEED:
        if ((vma.vm_flags & (VM_LOCKED | VM_PFNMAP)) !== 0) throw errno('EINVAL');
        zap_page_range(task, mm, from, to);
        break;
      default:
        throw errno('EINVAL');
    }
  }
  if (covered < end) throw errno('ENOMEM');
}
