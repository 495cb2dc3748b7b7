/**
 * Address spaces without translation of addresses (mm/nommu.c): nothing faults later, so a mapping has all of its pages when mmap returns. A file that lies
 * in memory in one piece is mapped where it is; of any other a private mapping gets a copy, and there is no shared one.
 */

import { errno, isErrno } from '../sched/errno.js';
import type { Task } from '../sched/task.js';
import { MAP_FIXED, MAP_FIXED_NOREPLACE, MAP_PRIVATE, MAP_SHARED, PROT_WRITE } from '../uapi/mman.js';
import { handle_mm_fault } from './fault.js';
import { type Folio, folio_put, PAGE_SIZE } from './folio.js';
import { fields_of } from './folio-fields.js';
import { type MmStruct, TASK_SIZE } from './mm-struct.js';
import { do_munmap, type MmapRequest, mmap_region, remove_vma, vma_link, vmFlags } from './mmap.js';
import { vma_alloc_folio } from './page-alloc.js';
import { AnonRmap, set_pte, zap_page_range } from './rmap.js';
import {
  FAULT_FLAG_WRITE,
  VM_FAULT_ERROR,
  VM_FAULT_OOM,
  VM_MAYEXEC,
  VM_MAYREAD,
  VM_MAYSHARE,
  VM_MAYWRITE,
  VM_SHARED,
  VmArea,
  type VmFile,
} from './vma.js';

/** What mmap_capabilities answers: the file can be copied; mapped where it is; and then be read, written, executed there. */
export const NOMMU_MAP_COPY = 0x1;
export const NOMMU_MAP_DIRECT = 0x8;
export const NOMMU_MAP_READ = VM_MAYREAD;
export const NOMMU_MAP_WRITE = VM_MAYWRITE;
export const NOMMU_MAP_EXEC = VM_MAYEXEC;

/** Faults on one page, before it is given up. */
const MAX_TRIES = 3;

/**
 * Map a file or fresh memory, in an address space of either kind (do_mmap). Takes mmap_lock exclusively.
 * @returns the address
 * @throws as mmap_region; without translation EINVAL for a chosen address, and for access that the place of the file does not allow; ENODEV for a file that can neither
 * be mapped where it is nor be copied; ENOMEM where there are not pages for all of it
 */
export async function do_mmap(task: Task, mm: MmStruct, request: MmapRequest): Promise<number> {
  if (mm.mmu) return mmap_region(task, mm, request);
  const { flags, file, offset = 0 } = request;
  const length = Math.ceil(request.length / PAGE_SIZE) * PAGE_SIZE;
  const type = flags & (MAP_SHARED | MAP_PRIVATE);
  if ((flags & (MAP_FIXED | MAP_FIXED_NOREPLACE)) !== 0 || length === 0 || offset % PAGE_SIZE !== 0)
    throw errno('EINVAL');
  if (type !== MAP_SHARED && type !== MAP_PRIVATE) throw errno('EINVAL');
  if (length > TASK_SIZE) throw errno('ENOMEM');
  using _mmap = await mm.mmap_lock.write(task);
  const can = file === undefined ? NOMMU_MAP_COPY : await capabilities(task, file, request);
  if (file !== undefined && (can & NOMMU_MAP_DIRECT) !== 0) {
    const start = await direct_place(task, mm, file, length, request, can);
    if (start !== undefined) return await map_direct(task, mm, file, start, length, request);
  }
  return await map_copy(task, mm, length, request);
}

/** What is left of what a file can, for this request (validate_mmap_request). @throws ENODEV EINVAL */
async function capabilities(task: Task, file: VmFile, { flags, prot }: MmapRequest): Promise<number> {
  let can = (await file.mmap_capabilities?.(task)) ?? 0;
  const shared = (flags & MAP_SHARED) !== 0;
  // A shared mapping must not become a copy, nor a private one that is written to the file itself.
  if ((can & (shared ? NOMMU_MAP_DIRECT : NOMMU_MAP_COPY)) === 0) throw errno('ENODEV');
  if (shared) can &= ~NOMMU_MAP_COPY;
  else if ((prot & PROT_WRITE) !== 0) can &= ~NOMMU_MAP_DIRECT;
  // VM_MAY*, which NOMMU_MAP_* are, lie four bits above what they allow.
  const wanted = vmFlags(prot) << 4;
  if ((can & NOMMU_MAP_DIRECT) === 0 || (wanted & ~can) === 0) return can;
  if (shared) throw errno('EINVAL');
  return can & ~NOMMU_MAP_DIRECT;
}

/** Where the file is; undefined where it does not say, and can be copied. @throws ENODEV where it cannot; what its operation throws */
async function direct_place(
  task: Task,
  mm: MmStruct,
  file: VmFile,
  length: number,
  { flags, offset = 0 }: MmapRequest,
  can: number,
): Promise<number | undefined> {
  try {
    return await file.get_unmapped_area?.(task, mm, 0, length, offset / PAGE_SIZE, flags);
  } catch (error) {
    if (!isErrno(error, 'ENOSYS')) throw error;
    if ((can & NOMMU_MAP_COPY) === 0) throw errno('ENODEV');
    return undefined;
  }
}

function areaFlags({ prot, flags, mayWrite }: MmapRequest): number {
  const shared = (flags & MAP_SHARED) !== 0;
  const may = VM_MAYREAD | VM_MAYEXEC | (shared && mayWrite === false ? 0 : VM_MAYWRITE);
  return vmFlags(prot) | may | (shared ? VM_SHARED | VM_MAYSHARE : 0);
}

/** The file where it is: its handlers are asked for every page now. mmap_lock is held exclusively. */
async function map_direct(
  task: Task,
  mm: MmStruct,
  file: VmFile,
  start: number,
  length: number,
  request: MmapRequest,
): Promise<number> {
  const vma = new VmArea(mm, start, start + length, areaFlags(request), (request.offset ?? 0) / PAGE_SIZE, file);
  await file.mmap(task, vma);
  const flags = vma.writable ? FAULT_FLAG_WRITE : 0;
  try {
    for (let vpn = start / PAGE_SIZE; vpn < (start + length) / PAGE_SIZE; vpn++) {
      // The second time it is made writable.
      for (let tries = 0; !entered(mm, vpn, vma.writable); tries++) {
        if (tries === MAX_TRIES) throw errno('EINVAL', 'the file does not map its pages');
        const { fault } = await handle_mm_fault(task, vma, vpn * PAGE_SIZE, flags);
        if ((fault & VM_FAULT_OOM) !== 0) throw errno('ENOMEM');
        if ((fault & VM_FAULT_ERROR) !== 0) throw errno('EINVAL', 'the file does not reach that far');
      }
    }
  } catch (error) {
    zap_page_range(task, mm, start, start + length);
    // The caller keeps his reference.
    file.get_file();
    await remove_vma(task, vma);
    throw error;
  }
  vma_link(task, vma);
  return start;
}

/** Whether the tables have an entry for a page that is good for the access. */
function entered(mm: MmStruct, vpn: number, write: boolean): boolean {
  const entry = mm.pgd.pmd(vpn) ?? mm.pgd.pte(vpn);
  return entry !== undefined && (entry.write || !write);
}

/** Pages of its own, with what the file holds in them (do_mmap_private). mmap_lock is held exclusively. @throws ENOMEM; what reading throws */
async function map_copy(task: Task, mm: MmStruct, length: number, request: MmapRequest): Promise<number> {
  const { file, offset = 0 } = request;
  const start = mm.get_unmapped_area(0, length);
  const first = start / PAGE_SIZE;
  const folios: Folio[] = [];
  try {
    for (let i = 0; i < length / PAGE_SIZE; i++) {
      const folio = await vma_alloc_folio(task, mm.memory, first + i);
      folios.push(folio);
      folio.data.fill(0);
      await file?.kernel_read?.(task, offset + i * PAGE_SIZE, folio.data);
      fields_of(folio).uptodate = true;
      folio.anon = new AnonRmap();
    }
    const pgoff = file === undefined ? first : offset / PAGE_SIZE;
    const vma = new VmArea(mm, start, start + length, areaFlags(request), pgoff, file);
    {
      using _ptl = mm.page_table_lock.lock(task);
      // They are on no list of reclaim: what is not there when it is accessed could not be brought back.
      for (const [i, folio] of folios.entries()) set_pte(task, mm, first + i, folio, vma.writable, false);
    }
    vma_link(task, vma);
    return start;
  } finally {
    for (const folio of folios) folio_put(folio);
  }
}

/**
 * Unmap (do_munmap): a mapping of a file goes as a whole. Takes mmap_lock exclusively.
 * @throws EINVAL where nothing is mapped, and for a part of a file's mapping
 */
export async function nommu_munmap(task: Task, mm: MmStruct, start: number, length: number): Promise<void> {
  const end = start + Math.ceil(length / PAGE_SIZE) * PAGE_SIZE;
  await do_munmap(task, mm, start, length, () => {
    const vma = mm.vma_lookup(start);
    const whole = vma?.vm_start === start && vma.vm_end === end;
    if (vma === undefined || end > vma.vm_end || (vma.vm_file !== undefined && !whole)) throw errno('EINVAL');
  });
}

/**
 * Make a mapping shorter where it is (do_mremap); it cannot move. Takes mmap_lock exclusively.
 * @returns the address
 * @throws EINVAL EFAULT; EPERM for a shared one; ENOMEM where it would have to grow
 */
export async function nommu_mremap(
  task: Task,
  mm: MmStruct,
  start: number,
  oldLength: number,
  newLength: number,
): Promise<number> {
  const [old, length] = [oldLength, newLength].map((bytes) => Math.ceil(bytes / PAGE_SIZE) * PAGE_SIZE);
  if (old === undefined || length === undefined || length === 0) throw errno('EINVAL');
  const check = (): void => {
    const vma = mm.vma_lookup(start);
    if (vma === undefined || vma.vm_start !== start) throw errno('EINVAL');
    if (vma.vm_end !== start + old) throw errno('EFAULT');
    if (vma.shared) throw errno('EPERM');
    if (length > old) throw errno('ENOMEM');
  };
  if (length < old) await do_munmap(task, mm, start + length, old - length, check);
  else {
    using _mmap = await mm.mmap_lock.write(task);
    check();
  }
  return start;
}
