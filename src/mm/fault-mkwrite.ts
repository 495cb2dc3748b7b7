/** Asking a file whether a page of it may be written to, and what its handlers say that they return locked (mm/memory.c). */
import { vm_operations_struct as rows } from '../contract/vm.js';
import { call, type Participants } from '../locking/context.js';
import type { Task } from '../sched/task.js';
import { balance_dirty_pages_ratelimited } from './dirty-balance.js';
import { is_same_page, lock_returned, returned_page } from './fault-check.js';
import type { Folio } from './folio.js';
import { folio_mark_dirty, folio_unlock } from './folio-state.js';
import {
  FAULT_FLAG_WRITE,
  VM_FAULT_ERROR,
  VM_FAULT_LOCKED,
  VM_FAULT_NOPAGE,
  VM_FAULT_RETRY,
  VM_FAULT_SIGBUS,
  type VmFault,
} from './vma.js';

/** The lock that a handler has said it returns with. */
export function lockedBy(vmf: VmFault, ret: number): Participants {
  return (ret & VM_FAULT_LOCKED) === 0 ? {} : { folio: vmf.page?.lock };
}

/**
 * Tell the file that a page is to become writable (do_page_mkwrite).
 * @returns with VM_FAULT_LOCKED and the page locked where it may; 0 where the access is to be tried again
 */
export async function do_page_mkwrite(task: Task, vmf: VmFault, page: Folio): Promise<number> {
  const { vma } = vmf;
  const page_mkwrite = vma.vm_ops?.page_mkwrite;
  if (page_mkwrite === undefined) return VM_FAULT_SIGBUS;
  vmf.page = page;
  vmf.flags |= FAULT_FLAG_WRITE;
  const locked = (ret: number): Participants => lockedBy(vmf, ret);
  const held = { mm: vma.vm_mm.mmap_lock };
  const ret = await call(task, rows.page_mkwrite, held, () => page_mkwrite(task, vma, vmf), locked);
  if ((ret & (VM_FAULT_ERROR | VM_FAULT_NOPAGE | VM_FAULT_RETRY)) !== 0) return ret;
  const returned = returned_page(task, vmf, rows.page_mkwrite, ret);
  if (!is_same_page(task, vmf, page, page_mkwrite)) return VM_FAULT_SIGBUS;
  // One that is said to be locked and is not was reported: it is locked here all the same.
  if ((ret & VM_FAULT_LOCKED) !== 0 && returned !== undefined) return ret;
  await lock_returned(task, page);
  if (page.mapping !== undefined) return ret | VM_FAULT_LOCKED;
  folio_unlock(task, page);
  return 0;
}

/** The page is dirty from now on, and who dirtied it may have to wait once mmap_lock is dropped (fault_dirty_shared_page). Unlocks. */
export function fault_dirty_shared_page(task: Task, vmf: VmFault, page: Folio): void {
  const { mapping } = page;
  folio_mark_dirty(task, page);
  folio_unlock(task, page);
  if (mapping !== undefined) vmf.wait = (task) => balance_dirty_pages_ratelimited(task, mapping);
}
