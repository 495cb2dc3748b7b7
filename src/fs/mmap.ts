/** Open files as the areas of an address space see them, and mapping and swapping to them (ksys_mmap_pgoff of mm/mmap.c, swapon of mm/swapfile.c). */

import { file_operations } from '../contract/file.js';
import { call } from '../locking/context.js';
import { GUARDED, guard_read } from '../locking/guarded.js';
import type { AddressSpace } from '../mm/address-space.js';
import {
  filemap_page_mkwrite,
  generic_file_mmap,
  generic_file_vm_ops,
  type MkwriteHooks,
} from '../mm/filemap-fault.js';
import { IovIter } from '../mm/iov-iter.js';
import type { MmStruct } from '../mm/mm-struct.js';
import { do_mmap, NOMMU_MAP_COPY, NOMMU_MAP_DIRECT } from '../mm/nommu.js';
import type { FileRaState } from '../mm/readahead-state.js';
import type { SwapInfo } from '../mm/swap-info.js';
import * as swapfile from '../mm/swapfile.js';
import type { VmArea, VmFault, VmFile, vm_operations_struct } from '../mm/vma.js';
import { type Awaitable, andThen } from '../sched/awaitable.js';
import { errno } from '../sched/errno.js';
import type { ErrseqCursor } from '../sched/errseq.js';
import type { Task } from '../sched/task.js';
import { MAP_SHARED, MAP_TYPE, PROT_EXEC, PROT_WRITE } from '../uapi/mman.js';
import { S_IFBLK, S_IFMT, S_IFREG } from '../uapi/stat.js';
import { type File, FMODE_READ, FMODE_WRITE } from './file.js';
import { fput, get_file } from './file-table.js';
import { type Inode, inode_attrs, S_APPEND, S_SWAPFILE } from './inode.js';
import { vfs_iter_read } from './read-write.js';
import { sb_end_write, sb_start_pagefault } from './super-freeze.js';
import { vfs_fsync_range } from './sync.js';
import { file_update_time } from './time.js';

/** An open file in a mapping. */
export class MappedFile implements VmFile {
  readonly file: File;

  constructor(file: File) {
    this.file = file;
  }

  get f_mapping(): AddressSpace {
    return this.file.f_mapping;
  }

  get f_ra(): FileRaState {
    return this.file.f_ra;
  }

  get f_wb_err(): ErrseqCursor {
    return this.file.f_wb_err;
  }

  set f_wb_err(cursor: ErrseqCursor) {
    this.file.f_wb_err = cursor;
  }

  get_file(): void {
    get_file(this.file);
  }

  fput(task: Task): Awaitable<void> {
    return fput(task, this.file);
  }

  /** @throws ENODEV */
  mmap(task: Task, vma: VmArea): Awaitable<void> {
    const { mmap } = this.file.f_op;
    if (mmap === undefined) throw errno('ENODEV');
    return call(task, file_operations.mmap, {}, () => mmap(task, this.file, vma));
  }

  get_unmapped_area(
    task: Task,
    mm: MmStruct,
    addr: number,
    length: number,
    pgoff: number,
    flags: number,
  ): Awaitable<number> | undefined {
    const { get_unmapped_area: op } = this.file.f_op;
    if (op === undefined) return undefined;
    return call(task, file_operations.get_unmapped_area, {}, () => op(task, this.file, mm, addr, length, pgoff, flags));
  }

  /** @throws ENODEV where it cannot be mapped; EINVAL for a kind of file that has no bytes in places */
  mmap_capabilities(task: Task): Awaitable<number> {
    const { f_op, f_inode: inode } = this.file;
    if (f_op.mmap === undefined) throw errno('ENODEV');
    const { mmap_capabilities: op } = f_op;
    const found =
      op === undefined
        ? capabilities_of(inode.i_mode & S_IFMT)
        : call(task, file_operations.mmap_capabilities, {}, () => op(task, this.file));
    const can = (f_op.get_unmapped_area === undefined ? 0 : NOMMU_MAP_DIRECT) | ~NOMMU_MAP_DIRECT;
    const read = f_op.read_iter === undefined && f_op.read === undefined ? ~NOMMU_MAP_COPY : -1;
    return andThen(found, (bits) => bits & can & read);
  }

  async kernel_read(task: Task, pos: number, into: Buffer): Promise<void> {
    for (let done = 0; done < into.length; ) {
      const iter = IovIter.ofDest(into.length - done);
      const got = await vfs_iter_read(task, this.file, iter, pos + done, { direct: false });
      for (const segment of iter.segments) done += segment.copy(into, done);
      iter.release();
      if (got === 0) return;
    }
  }

  async fsync(task: Task, start: number, end: number): Promise<void> {
    await vfs_fsync_range(task, this.file, start, end, false);
  }
}

/** What files can whose operations do not say. @throws EINVAL */
function capabilities_of(type: number): number {
  if (type === S_IFREG || type === S_IFBLK) return NOMMU_MAP_COPY;
  throw errno('EINVAL');
}

/**
 * Map an open file (ksys_mmap_pgoff, do_mmap). Takes mmap_lock exclusively.
 * @param addr a hint, or with MAP_FIXED the place
 * @param offset bytes, page-aligned
 * @returns the address
 * @throws EACCES where the file is not open for it, or is append-only; ETXTBSY to write to a swap file; ENODEV; EINVAL ENOMEM EEXIST
 */
export async function vfs_mmap(
  task: Task,
  mm: MmStruct,
  file: File,
  addr: number,
  length: number,
  prot: number,
  flags: number,
  offset: number,
): Promise<number> {
  const shared = (flags & MAP_TYPE) === MAP_SHARED;
  const writable = (file.f_mode & FMODE_WRITE) !== 0;
  if ((file.f_mode & FMODE_READ) === 0) throw errno('EACCES', 'not open for reading');
  if (shared && (prot & PROT_WRITE) !== 0) {
    if (!writable) throw errno('EACCES', 'not open for writing');
    if ((file.f_inode.i_flags & S_SWAPFILE) !== 0) throw errno('ETXTBSY');
  }
  if (shared && writable && (file.f_inode.i_flags & S_APPEND) !== 0) throw errno('EACCES', 'append-only');
  if ((prot & PROT_EXEC) !== 0 && (file.f_inode.i_mode & S_IFMT) !== S_IFREG) throw errno('EACCES');
  const mapped = new MappedFile(get_file(file));
  try {
    return await do_mmap(task, mm, { addr, length, prot, flags, offset, file: mapped, mayWrite: writable });
  } catch (error) {
    await fput(task, file);
    throw error;
  }
}

/**
 * page_mkwrite of filesystems: keeps a freeze off, notes the time, and has the filesystem see to the blocks.
 * @param prepare with the page locked and invalidate_lock held shared: what the page needs to be written, blocks for example. @throws ENOSPC and the like
 */
export async function vfs_page_mkwrite(
  task: Task,
  vma: VmArea,
  vmf: VmFault,
  inode: Inode,
  prepare?: MkwriteHooks['prepare'],
): Promise<number> {
  guard_read(task, GUARDED.vma, vma.vm_mm.mmap_lock);
  const writing = await sb_start_pagefault(task, inode.i_sb);
  try {
    const update = (task: Task): Awaitable<void> => file_update_time(task, inode);
    return await filemap_page_mkwrite(task, vma, vmf, prepare === undefined ? { update } : { update, prepare });
  } finally {
    sb_end_write(writing);
  }
}

/**
 * The mmap of files in the page cache, with a filesystem's own way to make a page writable.
 * @throws ENODEV EINVAL
 */
export function mmap_with(file: File, vma: VmArea, page_mkwrite: vm_operations_struct['page_mkwrite']): void {
  generic_file_mmap(file.f_mapping, vma);
  vma.vm_ops = page_mkwrite === undefined ? generic_file_vm_ops : { ...generic_file_vm_ops, page_mkwrite };
}

/**
 * Swap to an open file (swapon(2)). Nobody else may change it until vfs_swapoff. Takes i_rwsem exclusively.
 * @returns the area
 * @throws EPERM; EBUSY where it is one already; EINVAL for what is no regular file, has holes, or cannot be swapped to
 */
export async function vfs_swapon(task: Task, file: File): Promise<SwapInfo> {
  if (!task.cred.capable('CAP_SYS_ADMIN')) throw errno('EPERM');
  const { f_inode: inode } = file;
  if ((inode.i_mode & S_IFMT) !== S_IFREG) throw errno('EINVAL');
  using _rwsem = await inode.i_rwsem.write(task);
  if ((inode.i_flags & S_SWAPFILE) !== 0) throw errno('EBUSY');
  get_file(file);
  try {
    const area = await swapfile.swapon(task, inode.i_sb.memory, file, inode.i_sb.s_bdev);
    inode_attrs(task, inode).i_flags |= S_SWAPFILE;
    return area;
  } catch (error) {
    await fput(task, file);
    throw error;
  }
}

/** End it (swapoff(2)). Takes mmap_lock of every process shared. @throws EPERM; EINVAL where it is not swapped to; ENOMEM EIO */
export async function vfs_swapoff(task: Task, inode: Inode): Promise<void> {
  if (!task.cred.capable('CAP_SYS_ADMIN')) throw errno('EPERM');
  const { memory } = inode.i_sb;
  for (const area of memory.swap) {
    if (area.mapping !== inode.i_mapping) continue;
    await swapfile.swapoff(task, memory, area);
    {
      using _rwsem = await inode.i_rwsem.write(task);
      inode_attrs(task, inode).i_flags &= ~S_SWAPFILE;
    }
    await fput(task, area.swap_file as File);
    return;
  }
  throw errno('EINVAL', 'not a swap file');
}
