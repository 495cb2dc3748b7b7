/** Stores to what is mapped for reading only (do_wp_page of mm/memory.c). */
import { vm_operations_struct as rows } from '../contract/vm.js';
import { call } from '../locking/context.js';
import type { Awaitable } from '../sched/awaitable.js';
import type { Task } from '../sched/task.js';
import { map_anon } from './fault-anon.js';
import { check_pfn_answer, lock_returned } from './fault-check.js';
import { do_page_mkwrite, fault_dirty_shared_page } from './fault-mkwrite.js';
import { type Folio, folio_put } from './folio.js';
import { folio_unlock } from './folio-state.js';
import { vma_alloc_folio } from './page-alloc.js';
import type { Pte } from './page-table.js';
import { VM_FAULT_ERROR, VM_FAULT_LOCKED, VM_FAULT_NOPAGE, type VmFault } from './vma.js';

/** A store to a page that is mapped for reading (do_wp_page). */
export function do_wp_page(task: Task, vmf: VmFault, vpn: number, pte: Pte): Awaitable<number> {
  const { folio } = pte;
  if (vmf.vma.shared) return folio === undefined ? wp_pfn(task, vmf, pte) : wp_page_shared(task, vmf, vpn, folio);
  if (folio?.anon !== undefined && folio.mapcount === 1 && folio.swap === undefined) {
    // Nobody else has it: it need not be copied (wp_page_reuse).
    using _ptl = vmf.vma.vm_mm.page_table_lock.lock(task);
    pte.write = true;
    pte.dirty = true;
    return 0;
  }
  return wp_page_copy(task, vmf, vpn, pte);
}

/** A private copy of a page, or of a bare frame (wp_page_copy). */
async function wp_page_copy(task: Task, vmf: VmFault, vpn: number, pte: Pte): Promise<number> {
  const copy = await vma_alloc_folio(task, vmf.vma.vm_mm.memory, vpn);
  pte.bytes?.copy(copy.data);
  return map_anon(task, vmf, vpn, copy, pte);
}

async function wp_page_shared(task: Task, vmf: VmFault, vpn: number, page: Folio): Promise<number> {
  const { vm_mm: mm, vm_ops } = vmf.vma;
  page.refcount++;
  try {
    if (vm_ops?.page_mkwrite !== undefined) {
      const ret = await do_page_mkwrite(task, vmf, page);
      if ((ret & VM_FAULT_LOCKED) === 0) return ret;
    } else await lock_returned(task, page);
    const pte = mm.pgd.pte(vpn);
    if (pte?.folio !== page) {
      // It was unmapped while we waited.
      folio_unlock(task, page);
      return 0;
    }
    {
      using _ptl = mm.page_table_lock.lock(task);
      pte.write = true;
      pte.dirty = true;
    }
    fault_dirty_shared_page(task, vmf, page);
    return 0;
  } finally {
    folio_put(page);
  }
}

/** A bare frame becomes writable (wp_pfn_shared). */
export async function wp_pfn(task: Task, vmf: VmFault, entry: { write: boolean; dirty: boolean }): Promise<number> {
  const { vma } = vmf;
  const pfn_mkwrite = vma.vm_ops?.pfn_mkwrite;
  if (pfn_mkwrite !== undefined) {
    const ret = await call(task, rows.pfn_mkwrite, { mm: vma.vm_mm.mmap_lock }, () => pfn_mkwrite(task, vma, vmf));
    if ((ret & VM_FAULT_ERROR) !== 0) return ret;
    check_pfn_answer(task, ret, pfn_mkwrite);
  }
  using _ptl = vma.vm_mm.page_table_lock.lock(task);
  entry.write = true;
  entry.dirty = true;
  return VM_FAULT_NOPAGE;
}
