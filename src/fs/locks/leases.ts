/** Leases: to be told before somebody else opens the file (fs/locks.c, fcntl F_SETLEASE). They are broken in break-lease.ts. */

import { file_operations as rows } from '../../contract/file.js';
import { file_lock_operations as fl_rows } from '../../contract/file-lock.js';
import { lock_manager_operations as lm_rows } from '../../contract/lock-manager.js';
import { call } from '../../locking/context.js';
import { GUARDED, guard_read } from '../../locking/guarded.js';
import { type Awaitable, andThen } from '../../sched/awaitable.js';
import { errno } from '../../sched/errno.js';
import type { Task } from '../../sched/task.js';
import { S_IFMT, S_IFREG } from '../../uapi/stat.js';
import { f_getown, f_setown } from '../fasync.js';
import { type File, FMODE_WRITE } from '../file.js';
import type { Inode } from '../inode.js';
import type { FileLock, FileLockType } from './file-lock.js';
import type { FileLockContext } from './file-lock-context.js';
import type { lock_manager_operations } from './file-lock-operations.js';
import {
  locks_copy_lock,
  locks_get_lock_context,
  locks_wake_up_blocks,
  managerLocks,
  OFFSET_MAX,
} from './lock-list.js';

/** Whether the state of the file allows the lease: nobody writes, or nobody else has it open at all (check_conflicting_open). */
function check_conflicting_open(file: File, type: FileLockType): void {
  const { f_inode: inode, f_mode: mode } = file;
  if (type === 'F_RDLCK' && inode.i_writecount > 0) throw errno('EAGAIN');
  if (type !== 'F_WRLCK') return;
  const writes = (mode & FMODE_WRITE) !== 0;
  const alone = inode.i_writecount === (writes ? 1 : 0) && inode.i_readcount === (writes ? 0 : 1);
  if (!alone) throw errno('EAGAIN');
}

/** fcntl(2) F_SETLEASE (vfs_setlease). @throws EACCES unless the caller owns the file; EINVAL for what is no regular file; EAGAIN ENOLCK */
export function vfs_setlease(task: Task, file: File, lease: FileLock): Awaitable<void> {
  const { f_inode: inode } = file;
  if (task.cred.uid !== inode.i_uid && !task.cred.capable('CAP_LEASE')) throw errno('EACCES');
  if ((inode.i_mode & S_IFMT) !== S_IFREG) throw errno('EINVAL');
  const { setlease } = file.f_op;
  if (setlease === undefined) return generic_setlease(task, file, lease);
  const { type } = lease;
  const arg = type === 'F_RDLCK' ? 0 : type === 'F_WRLCK' ? 1 : 2;
  const before = recorded.get(task);
  return andThen(
    call(task, rows.setlease, {}, () => setlease(task, file, arg, lease)),
    () => check_recorded(task, type, before, setlease),
  );
}

/** What each task has recorded last. A filesystem on top of another records the lease of the other's file. */
const recorded = new WeakMap<Task, { readonly type: FileLockType }>();

/** Whoever breaks leases looks at those that generic_setlease has recorded. @param before what the task had recorded before the operation */
function check_recorded(task: Task, type: FileLockType, before: object | undefined, operation: object): void {
  const last = recorded.get(task);
  if (!task.validator.checking || (last !== before && last?.type === type)) return;
  task.validator.violation(task, 'promise', {
    message: `setlease has ${type === 'F_UNLCK' ? 'given up a lease' : 'set a lease'} and has not called generic_setlease for that`,
    rule: 'file_operations.setlease#records-through-generic_setlease',
    row: rows.setlease,
    held: [...task.held],
    operation,
  });
}

/** Record a lease, change it, or with F_UNLCK remove it (generic_setlease). Takes flc_lock. @throws EAGAIN where it is not to be had now */
export function generic_setlease(task: Task, file: File, lease: FileLock): void {
  const { f_inode: inode } = file;
  const { type } = lease;
  const context = locks_get_lock_context(inode);
  const held = context.flc_lock.lock(task);
  try {
    time_out_leases(task, inode, context);
    const mine = context.flc_lease(task).find((other) => other.file === file && other.owner === lease.owner);
    if (type === 'F_UNLCK') {
      if (mine === undefined) throw errno('EAGAIN');
      disposeLocked(task, context, changeLease(task, inode, context, mine, 'F_UNLCK'));
      recorded.set(task, { type });
      return;
    }
    check_conflicting_open(file, type);
    for (const other of context.flc_lease(task)) {
      if (other === mine) continue;
      // Somebody is about to get what this lease excludes.
      if (type === 'F_WRLCK' || other.type === 'F_WRLCK' || other.fl_break_time !== undefined) throw errno('EAGAIN');
    }
    if (mine === undefined) {
      const fresh: FileLock = { ...locks_copy_lock(task, context, lease), kind: 'lease', start: 0, end: OFFSET_MAX };
      context.flc_lease(task).push(fresh);
      fresh.fl_lmops?.lm_setup?.(task, fresh);
    } else {
      changeLease(task, inode, context, mine, type);
      mine.fl_lmops?.lm_setup?.(task, mine);
    }
    recorded.set(task, { type });
  } finally {
    held.release();
  }
}

function changeLease(
  task: Task,
  inode: Inode,
  context: FileLockContext,
  lease: FileLock,
  type: FileLockType,
): FileLock[] {
  const change = lease.fl_lmops?.lm_change;
  if (change === undefined) return lease_modify(task, inode, context, lease, type);
  call(task, lm_rows.lm_change, managerLocks(inode, context), () => change(task, lease, type));
  check_changed(task, context, lease, type, change);
  return [];
}

/** lm_change is to change the lease, as lease_modify does: who waits for that would wait for ever. */
function check_changed(
  task: Task,
  context: FileLockContext,
  lease: FileLock,
  type: FileLockType,
  operation: object,
): void {
  if (!task.validator.checking) return;
  const listed = context.hasLeaseOf(lease.file);
  if (lease.type === type && listed === (type !== 'F_UNLCK')) return;
  task.validator.violation(task, 'promise', {
    message: `lm_change was to make it ${type}, and the lease is ${listed ? lease.type : 'gone'}`,
    rule: 'lease#changes-as-told',
    row: lm_rows.lm_change,
    held: [...task.held],
    operation,
  });
}

/** Change a lease, flc_lock held (lease_modify). Whoever waits for it looks again. @returns the lease if it is gone */
export function lease_modify(
  task: Task,
  inode: Inode,
  context: FileLockContext,
  lease: FileLock,
  type: FileLockType,
): FileLock[] {
  lease.type = type;
  // Who has asked for all of it is not content with less (lease_clear_pending).
  if (type === 'F_UNLCK') delete lease.fl_break_time;
  if (type !== 'F_WRLCK') delete lease.fl_downgrade_time;
  locks_wake_up_blocks(task, inode.i_sb, [lease]);
  if (type !== 'F_UNLCK') return [];
  // The process that had it is not told of anything else either.
  if (lease.file !== undefined) f_setown(lease.file, undefined);
  const leases = context.flc_lease(task);
  const at = leases.indexOf(lease);
  if (at >= 0) leases.splice(at, 1);
  return [lease];
}

/** Leases that processes take: the holder gets a signal (lease_manager_ops). */
export const lease_manager_ops: lock_manager_operations = {
  lm_break: (task, lease) => {
    const context = lease.file?.f_inode.i_flctx;
    if (context !== undefined) guard_read(task, GUARDED.flc_lists, context.flc_lock);
    if (lease.file !== undefined) f_getown(lease.file)?.signal('SIGIO');
    return false;
  },
  lm_change: (task, lease, type) => {
    const inode = lease.file?.f_inode;
    const context = inode?.i_flctx;
    if (inode === undefined || context === undefined) return;
    disposeLocked(task, context, lease_modify(task, inode, context, lease, type));
  },
};

/** Holders who had their time lose what they were to give up (time_out_leases). flc_lock is held. */
export function time_out_leases(task: Task, inode: Inode, context: FileLockContext): void {
  const now = task.sched.monotonic();
  const due = (time: number | undefined): boolean => time !== undefined && time <= now;
  for (const lease of [...context.flc_lease(task)]) {
    if (due(lease.fl_downgrade_time)) lease_modify(task, inode, context, lease, 'F_RDLCK');
    if (due(lease.fl_break_time)) disposeLocked(task, context, lease_modify(task, inode, context, lease, 'F_UNLCK'));
  }
}

/** A lease that is gone is released under flc_lock, as the row of fl_release_private says of leases. */
export function disposeLocked(task: Task, context: FileLockContext, gone: readonly FileLock[]): void {
  for (const lease of gone) {
    const release = lease.fl_ops?.fl_release_private;
    if (release === undefined) continue;
    call(task, fl_rows.fl_release_private, { 'inode/lease': context.flc_lock }, () => release(task, lease));
  }
}

/** The type of the lease by that open file, F_UNLCK where there is none; of one under break what it is about to become (fcntl_getlease). */
export function fcntl_getlease(task: Task, file: File): FileLockType {
  const context = file.f_inode.i_flctx;
  if (context === undefined) return 'F_UNLCK';
  using _lock = context.flc_lock.lock(task);
  time_out_leases(task, file.f_inode, context);
  const lease = context.flc_lease(task).find((other) => other.file === file);
  if (lease === undefined || lease.fl_break_time !== undefined) return 'F_UNLCK';
  return lease.fl_downgrade_time === undefined ? lease.type : 'F_RDLCK';
}
