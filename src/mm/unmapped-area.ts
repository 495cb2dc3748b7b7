/** Where in an address space a file goes whose place nobody has chosen (mm_get_unmapped_area, thp_get_unmapped_area of mm/huge_memory.c). */
import { errno } from '../sched/errno.js';
import type { Task } from '../sched/task.js';
import { PAGE_SIZE } from './folio.js';
import { type MmStruct, TASK_SIZE } from './mm-struct.js';
import { PMD_PAGES } from './page-table.js';
import type { VmFile } from './vma.js';

/** Bytes that one huge entry maps. */
export const PMD_SIZE = PMD_PAGES * PAGE_SIZE;

/**
 * get_unmapped_area of files that huge entries can map: the address and the place in the file lie alike within their 2 MiB, where the mapping covers such
 * a piece of the file (thp_get_unmapped_area). mmap_lock is held exclusively.
 * @param hint tried first, whatever its place: 0 for none
 * @param length bytes
 * @param offset bytes: where in the file the mapping begins
 * @throws ENOMEM
 */
export function thp_get_unmapped_area(mm: MmStruct, hint: number, length: number, offset: number): number {
  const firstPiece = Math.ceil(offset / PMD_SIZE) * PMD_SIZE;
  if (offset + length < firstPiece + PMD_SIZE) return mm.get_unmapped_area(hint, length);
  if (mm.fits(hint, length)) return hint;
  return mm.get_unmapped_area(0, length, PMD_SIZE, offset % PMD_SIZE);
}

/**
 * The place of an area (__get_unmapped_area): its file's operation says, where it has one; fresh memory goes where it can have huge pages. mmap_lock is
 * held exclusively.
 * @param addr a page-aligned hint
 * @throws ENOMEM, also for an answer beyond the end of the address space; EINVAL for one that is no page's; what the operation throws
 */
export async function get_unmapped_area(
  task: Task,
  mm: MmStruct,
  file: VmFile | undefined,
  addr: number,
  length: number,
  pgoff: number,
  flags: number,
): Promise<number> {
  if (length > TASK_SIZE) throw errno('ENOMEM');
  if (file === undefined) {
    const whole = length % PMD_SIZE === 0;
    return whole ? thp_get_unmapped_area(mm, addr, length, 0) : mm.get_unmapped_area(addr, length);
  }
  const place = await (file.get_unmapped_area?.(task, mm, addr, length, pgoff, flags) ??
    mm.get_unmapped_area(addr, length));
  if (place > TASK_SIZE - length) throw errno('ENOMEM');
  if (place % PAGE_SIZE !== 0) throw errno('EINVAL');
  return place;
}
