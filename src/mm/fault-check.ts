/** What a fault handler has promised with its answer: whether the page is there, and locked. */
import type { Row } from '../contract/row.js';
import { vm_operations_struct as rows } from '../contract/vm.js';
import type { Task } from '../sched/task.js';
import type { Folio } from './folio.js';
import { folio_locked_by, folio_unlock } from './folio-state.js';
import { VM_FAULT_LOCKED, VM_FAULT_RETRY, type VmFault } from './vma.js';

/**
 * The page that `fault` or `page_mkwrite` has answered with, after a look at its lock.
 * @returns undefined where there is none, or it is said to be locked and is not
 */
export function returned_page(task: Task, vmf: VmFault, row: Row, ret: number): Folio | undefined {
  const { page } = vmf;
  if (page === undefined) {
    task.validator.violation(task, 'folio-state', {
      message: `${row.section}.${row.op} answered without an error and without a page`,
      rule: `${row.section}.${row.op}#finds-the-page`,
      row,
    });
    return undefined;
  }
  const ours = folio_locked_by(task, page);
  const claimed = (ret & VM_FAULT_LOCKED) !== 0;
  if (ours && !claimed) {
    folio_unlock(task, page);
    task.validator.violation(task, 'leaked-by-operation', {
      message: `${row.section}.${row.op} returned with the page locked and did not answer VM_FAULT_LOCKED`,
      rule: `${row.section}.${row.op}/folio/folio`,
      row,
      lock: 'folio',
      held: [...task.held],
    });
  }
  // That it is not locked though it was said to be has been reported at the return of the operation.
  return claimed && !ours ? undefined : page;
}

/** Lock the page that a handler has returned unlocked. */
export async function lock_returned(task: Task, page: Folio): Promise<void> {
  const lock = page.lock.lock(task);
  if (lock instanceof Promise) await lock;
}

/** Whether page_mkwrite has answered about the page that it was asked about: of one that has gone it looks up no other. */
export function is_same_page(task: Task, vmf: VmFault, asked: Folio, operation: object): boolean {
  const { page } = vmf;
  if (page === undefined || page === asked) return true;
  if (folio_locked_by(task, page)) folio_unlock(task, page);
  task.validator.violation(task, 'folio-state', {
    message: `page_mkwrite was asked about page ${asked.index} and has answered with another one`,
    rule: 'vm_operations_struct.page_mkwrite#truncated-means-retry',
    row: rows.page_mkwrite,
    lock: 'folio',
    held: [...task.held],
    operation,
  });
  return false;
}

/** There is no page that pfn_mkwrite could have locked, and it has not dropped mmap_lock. */
export function check_pfn_answer(task: Task, ret: number, operation: object): void {
  if ((ret & (VM_FAULT_LOCKED | VM_FAULT_RETRY)) === 0) return;
  task.validator.violation(task, 'promise', {
    message: 'pfn_mkwrite answers as page_mkwrite does, and there is no page',
    rule: 'vm_operations_struct.pfn_mkwrite#answers-NOPAGE-or-error',
    row: rows.pfn_mkwrite,
    held: [...task.held],
    operation,
  });
}
