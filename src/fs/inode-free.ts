/** The beginning and the end of an inode: what must be true when it is complete, gets a name, is taken apart, and when its memory goes (fs/inode.c). */
import { super_operations as rows } from '../contract/super.js';
import { invoke_taskless } from '../locking/context.js';
import { check_lock_freed } from '../locking/held.js';
import type { Task } from '../sched/task.js';
import { I_FREEING, I_NEW, I_SYNC, type Inode } from './inode.js';

/** An inode is complete: whoever says so has found it new, and nobody else has said it before (unlock_new_inode). */
export function check_completed(task: Task, inode: Inode): void {
  if ((inode.i_state & I_NEW) === 0) unfit(task, 'an inode is completed that was complete already');
}

/** An inode gets a name: it has been read, and is not on its way out. */
export function check_named(task: Task, inode: Inode): void {
  if ((inode.i_state & (I_NEW | I_FREEING)) !== 0) unfit(task, 'an inode gets a name that is being read or freed');
}

function unfit(task: Task, message: string): void {
  task.validator.violation(task, 'guarded-state', {
    message,
    rule: 'inode#used-when-complete',
    lock: 'i_lock',
    held: [...task.held],
  });
}

/** free_inode, which runs as an RCU callback: no read section is open that could have seen the inode. */
export function call_free_inode(inode: Inode, free_inode: (inode: Inode) => void): void {
  const { softirq: task, rcu } = inode.i_sb;
  if (!rcu.isCallback) {
    task.validator.violation(task, 'promise', {
      message: 'free_inode is not called from an RCU callback: a read section may still see the inode',
      rule: 'super_operations.free_inode#runs-after-a-grace-period',
      row: rows.free_inode,
      lock: 'rcu',
    });
  }
  invoke_taskless(task, rows.free_inode, {}, free_inode, inode);
}

/** Before evict_inode: nobody writes the inode back any more, or he would write it again when its number is another's. */
export function check_evict(task: Task, inode: Inode): void {
  if ((inode.i_state & (I_FREEING | I_SYNC)) !== I_FREEING) freed_in_use(task, inode, 0);
}

/**
 * An inode is taken apart: nobody refers to it, writes it or has it locked, and it is on no list of the unused and has no pages. What is left of these is a
 * violation.
 */
export function check_freed(task: Task, inode: Inode): void {
  if (!task.validator.checking) return;
  const { i_count, i_state, lru, mappingIfAny: mapping } = inode;
  const pages = mapping?.nrpages ?? 0;
  const idle = (i_state & (I_FREEING | I_NEW | I_SYNC)) === I_FREEING;
  if (i_count > 0 || !idle || lru !== undefined || pages > 0) freed_in_use(task, inode, pages);
  check_lock_freed(task, inode.i_rwsem);
  if (mapping !== undefined) check_lock_freed(task, mapping.invalidate_lock);
}

function freed_in_use(task: Task, { i_count, i_state, lru }: Inode, pages: number): void {
  const left = [
    i_count > 0 ? 'references' : '',
    (i_state & I_SYNC) !== 0 ? 'a writeback under way' : '',
    (i_state & I_FREEING) === 0 || (i_state & I_NEW) !== 0 ? 'a state in which it can be found' : '',
    lru === undefined ? '' : 'a place among the unused',
    pages > 0 ? 'pages' : '',
  ].filter((what) => what !== '');
  task.validator.violation(task, 'guarded-state', {
    message: `an inode is freed that has ${left.join(', ')}`,
    rule: 'inode#freed-when-nobody-has-it',
    lock: 'i_lock',
    held: [...task.held],
  });
}
