/** The address space of a new process: the parent's, with private pages shared until one of the two writes (dup_mmap of kernel/fork.c, mm/memory.c). */
import type { Task } from '../sched/task.js';
import { PAGE_SIZE } from './folio.js';
import type { MmStruct } from './mm-struct.js';
import { dup_vma, mm_alloc, vma_link } from './mmap.js';
import { set_pte } from './rmap.js';
import { swap_duplicate } from './swap-info.js';
import { VM_DONTCOPY, type VmArea } from './vma.js';

/** SINGLE_DEPTH_NESTING: the child's mmap_lock within the parent's. */
const NESTED = 1;

/** Copy an address space. Takes mmap_lock of both exclusively. @throws ENOMEM, and what an area's open throws; nothing is left then */
export async function dup_mmap(task: Task, parent: MmStruct): Promise<MmStruct> {
  const child = mm_alloc(parent.memory);
  using _old = await parent.mmap_lock.write(task);
  using _new = await child.mmap_lock.write(task, NESTED);
  for (const vma of parent.vmas) {
    if ((vma.vm_flags & VM_DONTCOPY) !== 0) continue;
    const copy = await dup_vma(task, vma, child, vma.vm_start, vma.vm_end, vma.vm_pgoff);
    vma_link(task, copy);
    copy_page_range(task, copy, vma);
  }
  return child;
}

/** Private pages are shared, read-only in both; what is a file's can be found again by a fault (copy_page_range). */
function copy_page_range(task: Task, dst: VmArea, src: VmArea): void {
  const entries = [...src.vm_mm.pgd.ptes(src.vm_start / PAGE_SIZE, src.vm_end / PAGE_SIZE)];
  using _child = dst.vm_mm.page_table_lock.lock(task);
  using _parent = src.vm_mm.page_table_lock.lock(task, NESTED);
  for (const [vpn, pte] of entries) {
    if (pte.swap !== undefined) {
      swap_duplicate(task, pte.swap);
      dst.vm_mm.pgd.setPte(vpn, { ...pte });
    } else if (pte.folio?.anon !== undefined) {
      pte.write = false;
      set_pte(task, dst.vm_mm, vpn, pte.folio, false, pte.dirty);
    }
  }
}
