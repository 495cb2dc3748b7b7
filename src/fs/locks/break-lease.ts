/** Breaking leases and delegations: their holders are asked to give them up, and who is in their way waits (fs/locks.c __break_lease). */

import { lock_manager_operations as lm_rows } from '../../contract/lock-manager.js';
import { call } from '../../locking/context.js';
import type { Awaitable } from '../../sched/awaitable.js';
import { Errno, errno, isErrno } from '../../sched/errno.js';
import type { Task } from '../../sched/task.js';
import { sleep_on_timeout } from '../../sched/wait.js';
import { O_ACCMODE, O_NONBLOCK } from '../../uapi/fcntl.js';
import type { Inode } from '../inode.js';
import type { FileLock } from './file-lock.js';
import type { FileLockContext } from './file-lock-context.js';
import { disposeLocked, lease_modify, time_out_leases } from './leases.js';
import { locks_delete_block, locks_insert_block, managerLocks, OFFSET_MAX } from './lock-list.js';

/** Seconds that a holder has to give up its lease (lease_break_time). */
export const LEASE_BREAK_TIME = 45;

/** What breaks leases: an open, or a change that delegations are to be told of and that others do not mind. */
interface Breaker {
  readonly writes: boolean;
  readonly nonblock: boolean;
  /** Delegations only (FL_DELEG). */
  readonly deleg: boolean;
}

/**
 * Before an open or a truncation: leases that stand against it are broken, and waited for (__break_lease). Their holders have 45 seconds.
 * @param flags O_* of the open; with O_NONBLOCK it does not wait
 * @throws EAGAIN where it would have to wait and may not; EINTR by a signal
 */
export function break_lease(task: Task, inode: Inode, flags: number): Awaitable<void> {
  const context = inode.i_flctx;
  if (context === undefined || !context.hasLease) return undefined;
  const [writes, nonblock] = [(flags & O_ACCMODE) !== 0, (flags & O_NONBLOCK) !== 0];
  return breakAndWait(task, inode, context, { writes, nonblock, deleg: false });
}

/** A delegation of this file is being given up, for which one cannot wait with the locks that one holds. */
class Delegated extends Errno {
  readonly inode: Inode;

  constructor(inode: Inode) {
    super('EAGAIN', 'a delegation is being recalled');
    this.inode = inode;
  }
}

/**
 * Before a file gets or loses a name, or its attributes change, with its i_rwsem held: delegations are recalled (try_break_deleg).
 * @throws what makes `waiting_for_delegations` wait and try again, where one of them is not given up at once
 */
export function try_break_deleg(task: Task, inode: Inode): void {
  const context = inode.i_flctx;
  if (context === undefined || !context.hasLease) return;
  try {
    breakOnce(task, inode, context, { writes: true, nonblock: true, deleg: true });
  } catch (error) {
    if (isErrno(error, 'EAGAIN')) throw new Delegated(inode);
    throw error;
  }
}

/**
 * Do something that recalls delegations, without a lock held, as often as it meets one that is not given up yet (retry_deleg).
 * @param given what `body` is called with
 * @throws EINTR by a signal; what `body` throws
 */
export function waiting_for_delegations<T, G extends readonly [task: Task, ...rest: unknown[]]>(
  body: (...given: G) => Awaitable<T>,
  ...given: G
): Awaitable<T> {
  let result: Awaitable<T>;
  try {
    result = body(...given);
  } catch (error) {
    return again(error, body, given);
  }
  return result instanceof Promise ? result.catch((error: unknown) => again(error, body, given)) : result;
}

/** Where a delegation was in the way: wait until it is given up (break_deleg_wait), and try again. */
function again<T, G extends readonly [task: Task, ...rest: unknown[]]>(
  error: unknown,
  body: (...given: G) => Awaitable<T>,
  given: G,
): Awaitable<T> {
  if (!(error instanceof Delegated)) throw error;
  const { inode } = error;
  const [task] = given;
  const context = inode.i_flctx;
  if (context === undefined) return waiting_for_delegations(body, ...given);
  const given_up = breakAndWait(task, inode, context, { writes: true, nonblock: false, deleg: true });
  return given_up.then(() => waiting_for_delegations(body, ...given));
}

async function breakAndWait(task: Task, inode: Inode, context: FileLockContext, breaker: Breaker): Promise<void> {
  for (;;) {
    const blocker = breakOnce(task, inode, context, breaker);
    if (blocker === undefined) return;
    await waitForLease(task, inode, context, blocker);
  }
}

/** Whether the lease stands against that: against a change every one, against reading one for writing (leases_conflict). */
function leases_conflict(
  task: Task,
  inode: Inode,
  context: FileLockContext,
  lease: FileLock,
  breaker: Breaker,
): boolean {
  const owns = lease.fl_lmops?.lm_breaker_owns_lease;
  if (owns !== undefined) {
    const own = call(task, lm_rows.lm_breaker_owns_lease, managerLocks(inode, context), () => owns(task, lease));
    if (own === true) return false;
  }
  if (breaker.deleg && lease.deleg !== true) return false;
  return breaker.writes || lease.type === 'F_WRLCK';
}

/** Ask the holders of every lease in the way. @returns a request that waits for one of them @throws EAGAIN */
function breakOnce(task: Task, inode: Inode, context: FileLockContext, breaker: Breaker): FileLock | undefined {
  using _lock = context.flc_lock.lock(task);
  time_out_leases(task, inode, context);
  const { writes } = breaker;
  const conflicts = (lease: FileLock): boolean => leases_conflict(task, inode, context, lease, breaker);
  for (const lease of context.flc_lease(task).filter(conflicts)) {
    const pending = lease.fl_break_time !== undefined || (!writes && lease.fl_downgrade_time !== undefined);
    if (!pending) askForLease(task, inode, context, lease, writes);
  }
  const left = context.flc_lease(task).find(conflicts);
  if (left === undefined) return undefined;
  if (breaker.nonblock) throw errno('EAGAIN');
  const request: FileLock = {
    kind: 'lease',
    type: writes ? 'F_WRLCK' : 'F_RDLCK',
    owner: task,
    pid: task.pid,
    file: undefined,
    start: 0,
    end: OFFSET_MAX,
    wait: true,
  };
  // Until when it waits at the most.
  const until = left.fl_break_time ?? left.fl_downgrade_time;
  if (until !== undefined) request.fl_break_time = until;
  locks_insert_block(task, inode, context, left, request, () => false);
  return request;
}

/** Somebody wants what the lease excludes. */
function askForLease(task: Task, inode: Inode, context: FileLockContext, lease: FileLock, writes: boolean): void {
  const until = task.sched.monotonic() + LEASE_BREAK_TIME * 1000;
  if (writes) lease.fl_break_time = until;
  else lease.fl_downgrade_time = until;
  const { lm_break } = lease.fl_lmops ?? {};
  if (lm_break === undefined) return;
  const mayGo = call(task, lm_rows.lm_break, managerLocks(inode, context), () => lm_break(task, lease));
  if (mayGo === true) disposeLocked(task, context, lease_modify(task, inode, context, lease, 'F_UNLCK'));
}

async function waitForLease(task: Task, inode: Inode, context: FileLockContext, request: FileLock): Promise<void> {
  const timeout = Math.max(0, (request.fl_break_time ?? 0) - task.sched.monotonic());
  try {
    const options = { interruptible: true, what: 'lease', lock: context };
    if (request.queue !== undefined) await sleep_on_timeout(task, request.queue, timeout, options);
  } finally {
    locks_delete_block(task, inode.i_sb, request);
  }
}
