/** Faults on memory that belongs to no file, or to one no longer (mm/memory.c). */
import type { Task } from '../sched/task.js';
import { type Folio, folio_put } from './folio.js';
import { fields_of } from './folio-fields.js';
import { vma_alloc_folio } from './page-alloc.js';
import type { Pte } from './page-table.js';
import { AnonRmap, set_pte, zap_pte } from './rmap.js';
import { FAULT_FLAG_WRITE, type VmFault } from './vma.js';

/** Memory that belongs to no file comes as zeroes (do_anonymous_page). */
export async function do_anonymous_page(task: Task, vmf: VmFault, vpn: number): Promise<number> {
  const folio = await vma_alloc_folio(task, vmf.vma.vm_mm.memory, vpn);
  folio.data.fill(0);
  return map_anon(task, vmf, vpn, folio, undefined);
}

/** Map a new anonymous page whose bytes are in, in place of `before` where that is still there. Takes over the reference. */
export function map_anon(task: Task, vmf: VmFault, vpn: number, folio: Folio, before: Pte | undefined): number {
  const { vm_mm: mm, writable } = vmf.vma;
  fields_of(folio).uptodate = true;
  try {
    using _ptl = mm.page_table_lock.lock(task);
    const now = mm.pgd.pte(vpn);
    // Another thread was faster.
    if (now !== before) return 0;
    if (now !== undefined) zap_pte(task, mm, vpn, now);
    folio.anon = new AnonRmap();
    const write = writable && (vmf.flags & FAULT_FLAG_WRITE) !== 0;
    set_pte(task, mm, vpn, folio, write, write);
    mm.memory.inactive.addHead(folio);
    return 0;
  } finally {
    folio_put(folio);
  }
}
