/** I/O past the page cache that its submitter does not wait for (inode_dio_begin of fs/inode.c): truncation must wait until it is over. */

import type { Awaitable } from '../sched/awaitable.js';
import type { Task } from '../sched/task.js';
import { WaitQueue, wait_event } from '../sched/wait.js';
import type { Inode } from './inode.js';

interface Under {
  count: number;
  readonly ended: WaitQueue;
}

const under = new WeakMap<Inode, Under>();

/** Such I/O begins. i_rwsem is held, in either mode. */
export function inode_dio_begin(inode: Inode): void {
  const its = under.get(inode);
  if (its === undefined) under.set(inode, { count: 1, ended: new WaitQueue() });
  else its.count++;
}

/** It has ended. Callable in completion context. */
export function inode_dio_end(inode: Inode): void {
  const its = under.get(inode);
  if (its !== undefined && --its.count === 0) its.ended.wake_all();
}

/** The blocks of a file are about to go, or to become another's: such I/O under way is a violation. */
export function check_no_dio(task: Task, inode: Inode): void {
  if ((under.get(inode)?.count ?? 0) === 0) return;
  task.validator.violation(task, 'guarded-state', {
    message: 'blocks of a file are freed while direct I/O that nobody waits for uses them',
    rule: 'inode#no-direct-io-while-blocks-go',
    lock: 'i_rwsem',
    held: [...task.held],
  });
}

/** Wait until none is under way; i_rwsem is held exclusively, so that none begins (inode_dio_wait). */
export function inode_dio_wait(task: Task, inode: Inode): Awaitable<void> {
  const its = under.get(inode);
  if (its === undefined || its.count === 0) return undefined;
  return wait_event(task, its.ended, () => its.count === 0, { what: 'direct I/O' });
}
