/** Moving and resizing what is mapped (mm/mremap.c). */
import { errno } from '../sched/errno.js';
import type { Task } from '../sched/task.js';
import { PAGE_SIZE } from './folio.js';
import { type MmStruct, TASK_SIZE } from './mm-struct.js';
import { checkRange, detach, do_munmap, dup_vma, MAX_MAP_COUNT, pageUp, remove_vma, vma_link } from './mmap.js';
import { zap_page_range } from './rmap.js';
import { get_unmapped_area } from './unmapped-area.js';
import { VM_DONTEXPAND } from './vma.js';

/**
 * Move or resize a mapping (mremap(2), MREMAP_MAYMOVE). Pages fault in again at the new place; private copies move along. Takes mmap_lock exclusively.
 * @returns the address
 * @throws EFAULT where `old` is not mapped as one area; EINVAL ENOMEM
 */
export async function mremap(
  task: Task,
  mm: MmStruct,
  old: number,
  oldLength: number,
  newLength: number,
): Promise<number> {
  const oldEnd = checkRange(old, oldLength);
  const length = pageUp(newLength);
  if (length === 0) throw errno('EINVAL');
  if (old + length < oldEnd) {
    await do_munmap(task, mm, old + length, oldEnd - old - length, () => {
      if (mm.vma_lookup(old) === undefined) throw errno('EFAULT');
    });
    return old;
  }
  using _mmap = await mm.mmap_lock.write(task);
  const vma = mm.vma_lookup(old);
  if (vma === undefined || vma.vm_end < oldEnd || (vma.vm_flags & VM_DONTEXPAND) !== 0) throw errno('EFAULT');
  if (old + length === oldEnd) return old;
  const above = mm.overlapping(oldEnd, old + length);
  if (vma.vm_end === oldEnd && above.length === 0 && old + length <= TASK_SIZE) {
    vma.vm_end = old + length;
    return old;
  }
  // It is cut out at both ends.
  if (mm.vmas.length + 3 > MAX_MAP_COUNT) throw errno('ENOMEM', 'too many areas');
  const pgoff = vma.vm_pgoff + (old - vma.vm_start) / PAGE_SIZE;
  const start = await get_unmapped_area(task, mm, vma.vm_file, 0, length, pgoff, 0);
  const moved = await dup_vma(task, vma, mm, start, start + length, pgoff);
  const gone = await detach(task, mm, old, oldEnd);
  vma_link(task, moved);
  move_page_tables(task, mm, old / PAGE_SIZE, oldEnd / PAGE_SIZE, start / PAGE_SIZE);
  zap_page_range(task, mm, old, oldEnd);
  for (const part of gone) await remove_vma(task, part);
  return start;
}

/** Private pages and swapped ones go to the new place; what is a file's can be found again (move_page_tables). */
function move_page_tables(task: Task, mm: MmStruct, start: number, end: number, to: number): void {
  using _ptl = mm.page_table_lock.lock(task);
  for (const [vpn, pte] of mm.pgd.ptes(start, end)) {
    if (pte.folio?.anon === undefined && pte.swap === undefined) continue;
    mm.pgd.clearPte(vpn);
    const there = to + vpn - start;
    pte.folio?.anon?.remove(mm, vpn);
    pte.folio?.anon?.add(mm, there);
    mm.pgd.setPte(there, pte);
  }
}
