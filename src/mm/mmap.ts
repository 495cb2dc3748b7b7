/** Making, splitting and removing areas (mm/mmap.c). mmap_lock is taken here, exclusively; the entries go under it shared. */
import { vm_operations_struct as rows } from '../contract/vm.js';
import { call } from '../locking/context.js';
import { errno } from '../sched/errno.js';
import type { Task } from '../sched/task.js';
import {
  MAP_ANONYMOUS,
  MAP_FIXED,
  MAP_FIXED_NOREPLACE,
  MAP_PRIVATE,
  MAP_SHARED,
  MAP_TYPE,
  PROT_EXEC,
  PROT_READ,
  PROT_WRITE,
} from '../uapi/mman.js';
import { PAGE_SIZE } from './folio.js';
import type { MemoryControl } from './memory.js';
import { MMAP_MIN_ADDR, MmStruct, TASK_SIZE } from './mm-struct.js';
import { zap_page_range } from './rmap.js';
import { get_unmapped_area } from './unmapped-area.js';
import {
  VM_EXEC,
  VM_MAYEXEC,
  VM_MAYREAD,
  VM_MAYSHARE,
  VM_MAYWRITE,
  VM_READ,
  VM_SHARED,
  VM_WRITE,
  VmArea,
  type VmFile,
} from './vma.js';

/** The most areas that a process may have (vm.max_map_count). */
export const MAX_MAP_COUNT = 65_530;

/** What is to be mapped, and where. */
export interface MmapRequest {
  /** A hint, or with MAP_FIXED the place; a page-aligned address. */
  readonly addr: number;
  /** Bytes, rounded up to pages. */
  readonly length: number;
  /** PROT_*. */
  readonly prot: number;
  /** MAP_*. */
  readonly flags: number;
  /** The file, opened for what `prot` asks, of which the area takes over one reference; absent with MAP_ANONYMOUS. */
  readonly file?: VmFile;
  /** First byte of the file, page-aligned. */
  readonly offset?: number;
  /** The file may be written through the mapping later, by mprotect: it is open for writing, or the mapping is private. True by default. */
  readonly mayWrite?: boolean;
}

/** A new address space (mm_alloc). It ends with exit_mmap. @param mmu false: of a machine that does not translate addresses (nommu.ts) */
export function mm_alloc(memory: MemoryControl, mmu = true): MmStruct {
  const mm = new MmStruct(memory, mmu);
  memory.mms.add(mm);
  return mm;
}

/** VM_* of PROT_* (calc_vm_prot_bits). */
export function vmFlags(prot: number): number {
  return (prot & PROT_READ ? VM_READ : 0) | (prot & PROT_WRITE ? VM_WRITE : 0) | (prot & PROT_EXEC ? VM_EXEC : 0);
}

export const pageUp = (bytes: number): number => Math.ceil(bytes / PAGE_SIZE) * PAGE_SIZE;

/**
 * Map a file, or fresh memory, into an address space (do_mmap, mmap_region). Takes mmap_lock exclusively, and calls the file's mmap under it.
 * @returns the address
 * @throws EINVAL for addresses and lengths that cannot be, and for what is neither shared nor private; ENOMEM where there is no room; EEXIST with
 * MAP_FIXED_NOREPLACE; EACCES to write to a shared file that may not be written; ENODEV where the file cannot be mapped; what its mmap throws
 */
export async function mmap_region(task: Task, mm: MmStruct, request: MmapRequest): Promise<number> {
  const { flags, file, offset = 0 } = request;
  const length = pageUp(request.length);
  const shared = (flags & MAP_TYPE) === MAP_SHARED;
  if (length === 0 || (!shared && (flags & MAP_TYPE) !== MAP_PRIVATE) || offset % PAGE_SIZE !== 0)
    throw errno('EINVAL');
  if (file === undefined && ((flags & MAP_ANONYMOUS) === 0 || shared)) throw errno('ENODEV', 'no file to map');
  let vm_flags = vmFlags(request.prot) | VM_MAYREAD | VM_MAYWRITE | VM_MAYEXEC;
  if (shared) {
    if (request.mayWrite === false) {
      if ((vm_flags & VM_WRITE) !== 0) throw errno('EACCES');
      vm_flags &= ~VM_MAYWRITE;
    } else vm_flags |= VM_SHARED;
    vm_flags |= VM_MAYSHARE;
  }
  using _mmap = await mm.mmap_lock.write(task);
  const start = await place(task, mm, request, length);
  if (mm.vmas.length >= MAX_MAP_COUNT) throw errno('ENOMEM', 'too many areas');
  const vma = new VmArea(
    mm,
    start,
    start + length,
    vm_flags,
    file === undefined ? start / PAGE_SIZE : offset / PAGE_SIZE,
    file,
  );
  if (file !== undefined) await file.mmap(task, vma);
  vma_link(task, vma);
  return start;
}

/** Where the area goes; what is there with MAP_FIXED goes away. mmap_lock is held exclusively. */
async function place(task: Task, mm: MmStruct, request: MmapRequest, length: number): Promise<number> {
  const { addr, flags, file, offset = 0 } = request;
  const fixed = (flags & (MAP_FIXED | MAP_FIXED_NOREPLACE)) !== 0;
  if (!fixed) {
    return await get_unmapped_area(task, mm, file, addr - (addr % PAGE_SIZE), length, offset / PAGE_SIZE, flags);
  }
  if (addr % PAGE_SIZE !== 0) throw errno('EINVAL');
  if (addr + length > TASK_SIZE) throw errno('ENOMEM');
  if (addr < MMAP_MIN_ADDR) throw errno('EPERM');
  if (mm.overlapping(addr, addr + length).length === 0) return addr;
  if ((flags & MAP_FIXED_NOREPLACE) !== 0) throw errno('EEXIST');
  const gone = await detach(task, mm, addr, addr + length);
  zap_page_range(task, mm, addr, addr + length);
  for (const vma of gone) await remove_vma(task, vma);
  return addr;
}

/** The area can be found, from its process and from its file (vma_link). */
export function vma_link(task: Task, vma: VmArea): void {
  vma.vm_mm.insert(task, vma);
  const { mapping } = vma;
  if (mapping === undefined) return;
  mapping.i_mmap ??= new Set();
  mapping.i_mmap.add(vma);
}

function unlink(task: Task, vma: VmArea): void {
  vma.vm_mm.remove(task, vma);
  vma.mapping?.i_mmap?.delete(vma);
}

/** Tell the file that it is not mapped here any more (remove_vma). mmap_lock is held, in either mode. */
export async function remove_vma(task: Task, vma: VmArea): Promise<void> {
  const close = vma.vm_ops?.close;
  if (close !== undefined) await call(task, rows.close, { mm: vma.vm_mm.mmap_lock }, () => close(task, vma));
  await vma.vm_file?.fput(task);
}

/** An area like this one, of other bounds, that its file is told of (vm_area_dup and open). mmap_lock is held exclusively. */
export async function dup_vma(
  task: Task,
  vma: VmArea,
  mm: MmStruct,
  start: number,
  end: number,
  pgoff: number,
): Promise<VmArea> {
  const copy = new VmArea(mm, start, end, vma.vm_flags, pgoff, vma.vm_file, vma.vm_ops);
  copy.vm_private_data = vma.vm_private_data;
  copy.vm_file?.get_file();
  const open = copy.vm_ops?.open;
  if (open !== undefined) await call(task, rows.open, { mm: mm.mmap_lock }, () => open(task, copy));
  return copy;
}

/** Cut an area in two at an address inside it (split_vma). mmap_lock is held exclusively. */
async function split_vma(task: Task, vma: VmArea, at: number): Promise<void> {
  if (vma.vm_mm.vmas.length >= MAX_MAP_COUNT) throw errno('ENOMEM', 'too many areas');
  const pgoff = vma.vm_pgoff + (at - vma.vm_start) / PAGE_SIZE;
  const upper = await dup_vma(task, vma, vma.vm_mm, at, vma.vm_end, pgoff);
  // A huge entry across the cut goes; small ones come at the next access.
  split_huge(task, vma, at);
  vma.vm_end = at;
  vma_link(task, upper);
}

function split_huge(task: Task, vma: VmArea, at: number): void {
  const { vm_mm: mm } = vma;
  using _ptl = mm.page_table_lock.lock(task);
  for (const [first] of mm.pgd.pmds(at / PAGE_SIZE, at / PAGE_SIZE + 1))
    if (first < at / PAGE_SIZE) mm.pgd.clearPmd(first);
}

/** Take the areas of a range out, split at its ends (the first half of do_vmi_munmap). mmap_lock is held exclusively. */
export async function detach(task: Task, mm: MmStruct, start: number, end: number): Promise<VmArea[]> {
  await split_at(task, mm, start);
  await split_at(task, mm, end);
  const gone = mm.overlapping(start, end);
  for (const vma of gone) unlink(task, vma);
  return gone;
}

async function split_at(task: Task, mm: MmStruct, at: number): Promise<void> {
  const vma = mm.vma_lookup(at);
  if (vma !== undefined && vma.vm_start < at) await split_vma(task, vma, at);
}

/** @throws EINVAL */
export function checkRange(start: number, length: number): number {
  const end = start + pageUp(length);
  if (start % PAGE_SIZE !== 0 || length <= 0 || start < 0 || end > TASK_SIZE) throw errno('EINVAL');
  return end;
}

/**
 * Unmap bytes `start` to `start + length` (munmap(2)). Takes mmap_lock exclusively, and goes on with it shared once the areas can no longer be found.
 * What was stored through shared mappings has dirtied its pages.
 * @param check called with mmap_lock held, before anything is changed: whether it may be
 * @throws EINVAL ENOMEM; what `check` throws
 */
export async function do_munmap(
  task: Task,
  mm: MmStruct,
  start: number,
  length: number,
  check: () => void = () => undefined,
): Promise<void> {
  const end = checkRange(start, length);
  const held = await mm.mmap_lock.write(task);
  let gone: VmArea[];
  try {
    check();
    gone = await detach(task, mm, start, end);
  } catch (error) {
    held.release();
    throw error;
  }
  using _shared = mm.mmap_lock.downgrade(held);
  zap_page_range(task, mm, start, end);
  for (const vma of gone) await remove_vma(task, vma);
}

/**
 * Change what may be done with pages (mprotect(2)). Takes mmap_lock exclusively.
 * @throws EINVAL; ENOMEM where something of the range is not mapped; EACCES where the file does not allow it
 */
export async function mprotect(task: Task, mm: MmStruct, start: number, length: number, prot: number): Promise<void> {
  const end = checkRange(start, length);
  using _mmap = await mm.mmap_lock.write(task);
  const covered = mm.overlapping(start, end).reduce((at, vma) => (vma.vm_start <= at ? vma.vm_end : at), start);
  if (covered < end) throw errno('ENOMEM');
  const wanted = vmFlags(prot);
  for (const vma of mm.overlapping(start, end)) {
    // VM_MAY* lie four bits above what they allow.
    if ((wanted & ~(vma.vm_flags >> 4) & (VM_READ | VM_WRITE | VM_EXEC)) !== 0) throw errno('EACCES');
  }
  await split_at(task, mm, start);
  await split_at(task, mm, end);
  for (const vma of mm.overlapping(start, end)) {
    vma.vm_flags = (vma.vm_flags & ~(VM_READ | VM_WRITE | VM_EXEC)) | wanted;
    using _ptl = mm.page_table_lock.lock(task);
    if ((wanted & VM_WRITE) === 0) write_protect(mm, vma);
  }
}

function write_protect(mm: MmStruct, vma: VmArea): void {
  const [first, last] = [vma.vm_start / PAGE_SIZE, vma.vm_end / PAGE_SIZE];
  for (const [, pte] of mm.pgd.ptes(first, last)) pte.write = false;
  for (const [, pmd] of mm.pgd.pmds(first, last)) pmd.write = false;
}

/** Everything is unmapped: the process has ended (exit_mmap). Takes mmap_lock exclusively. */
export async function exit_mmap(task: Task, mm: MmStruct): Promise<void> {
  using _mmap = await mm.mmap_lock.write(task);
  const gone = [...mm.vmas];
  for (const vma of gone) unlink(task, vma);
  zap_page_range(task, mm, 0, TASK_SIZE);
  for (const vma of gone) await remove_vma(task, vma);
  mm.memory.mms.delete(mm);
}
