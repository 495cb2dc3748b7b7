/**
 * File locks on latch. The lists are the VFS's; what is latch's own is that a lock keeps its inode in memory (as ceph's do), that a journal which was
 * aborted grants none (as a withdrawn gfs2), and that a lock manager is answered later instead of being kept waiting (as by the dlm).
 */

import { lock_manager_operations as lm_rows } from '../contract/lock-manager.js';
import type { File } from '../fs/file.js';
import { fput, get_file } from '../fs/file-table.js';
import { ihold, iput } from '../fs/icache.js';
import { Inode } from '../fs/inode.js';
import type { FileLock, LockOutcome } from '../fs/locks/file-lock.js';
import type { file_lock_operations } from '../fs/locks/file-lock-operations.js';
import { flock_lock_file } from '../fs/locks/flock.js';
import { generic_setlease } from '../fs/locks/leases.js';
import { locks_get_lock_context, managerLocks } from '../fs/locks/lock-list.js';
import { posix_lock_file, posix_test_lock } from '../fs/locks/posix-locks.js';
import { call, task_end } from '../locking/context.js';
import { GUARDED, guard_write } from '../locking/guarded.js';
import { type Awaitable, andThen } from '../sched/awaitable.js';
import { asErrno, Errno, errno, isErrno } from '../sched/errno.js';
import type { Task } from '../sched/task.js';
import { F_CANCELLK, F_GETLK } from '../uapi/fcntl.js';
import { infoOf } from './info.js';

/** A lock holds a reference to its inode: the clients of a lock manager have no file open for as long as they have it locked. */
const latch_lock_ops: file_lock_operations = {
  fl_copy_lock: (task, copy) => {
    const inode = copy.file?.f_inode;
    if (inode === undefined) return;
    guard_write(task, GUARDED.flc_lists, locks_get_lock_context(inode).flc_lock);
    ihold(inode);
    copy.fl_private = inode;
  },
  fl_release_private: (task, lock) => {
    const { fl_private: inode } = lock;
    lock.fl_private = undefined;
    return inode instanceof Inode ? iput(task, inode) : undefined;
  },
};

/** What cannot be kept is not promised; giving up is always possible. @throws EIO where the journal was aborted, or the filesystem shut down */
function mayLock({ f_inode: inode }: File, lock: FileLock): void {
  if (lock.type === 'F_UNLCK') return;
  const info = infoOf(inode.i_sb);
  info.assert_running();
  if (info.journal.error !== undefined) throw errno('EIO');
}

/** ->lock. @throws EIO; EAGAIN EDEADLK EINTR, as posix_lock_file */
export function latch_lock(task: Task, file: File, cmd: number, lock: FileLock): Awaitable<LockOutcome | undefined> {
  if (cmd === F_CANCELLK) {
    waiting.get(lock)?.interrupt();
    return undefined;
  }
  if (cmd === F_GETLK) {
    return andThen(posix_test_lock(task, file, lock), (found) => {
      if (found === undefined) lock.type = 'F_UNLCK';
      else Object.assign(lock, found);
      return undefined;
    });
  }
  mayLock(file, lock);
  lock.fl_ops = latch_lock_ops;
  if (lock.wait && lock.fl_lmops?.lm_grant !== undefined) return answerLater(task, file, lock);
  return posix_lock_file(task, file, lock);
}

/** Which task waits for a lock in the place of a lock manager. */
const waiting = new WeakMap<FileLock, Task>();

/** Ask for a lock that a lock manager wants; where another's is in the way, a task of ours waits, and tells by lm_grant (dlm_posix_lock). */
function answerLater(task: Task, file: File, lock: FileLock): Awaitable<LockOutcome> {
  const later = (error: unknown): LockOutcome => {
    if (!isErrno(error, 'EAGAIN')) throw error;
    wait(file, lock);
    return 'deferred';
  };
  try {
    const outcome = posix_lock_file(task, file, { ...lock, wait: false });
    return outcome instanceof Promise ? outcome.catch(later) : outcome;
  } catch (error) {
    return later(error);
  }
}

function wait(file: File, lock: FileLock): void {
  const { i_sb: sb } = file.f_inode;
  const task = sb.newTask({ comm: 'plock', pid: lock.pid });
  waiting.set(lock, task);
  get_file(file);
  const done = sb.sched.run(async () => {
    try {
      granted(task, file, lock, await slept(task, file, lock));
    } finally {
      try {
        await fput(task, file);
      } finally {
        task_end(task);
      }
    }
  });
  if (done instanceof Promise) {
    done.catch((error: unknown) => sb.machine.printk?.(`${sb.s_id}: a lock was not answered: ${String(error)}`));
  }
}

/** Sleep until the lock is there. @returns why it never will be, if so */
async function slept(task: Task, file: File, lock: FileLock): Promise<Errno | undefined> {
  // It sleeps itself instead of being called back.
  const { lm_notify: _none, ...fl_lmops } = lock.fl_lmops ?? {};
  try {
    await posix_lock_file(task, file, { ...lock, fl_lmops });
    return undefined;
  } catch (error) {
    const { i_sb: sb } = file.f_inode;
    if (!(error instanceof Errno)) sb.machine.printk?.(`${sb.s_id}: a lock could not be waited for: ${String(error)}`);
    return asErrno(error);
  } finally {
    waiting.delete(lock);
  }
}

function granted(task: Task, file: File, lock: FileLock, error: Errno | undefined): void {
  const { lm_grant } = lock.fl_lmops ?? {};
  // Whoever has cancelled does not want to know.
  if (lm_grant === undefined || task.signalled) return;
  const { f_inode: inode } = file;
  call(task, lm_rows.lm_grant, managerLocks(inode, locks_get_lock_context(inode)), () => lm_grant(task, lock, error));
}

/** ->flock. @throws EIO; EAGAIN EINTR, as flock_lock_file */
export function latch_flock(task: Task, file: File, _cmd: number, lock: FileLock): Awaitable<void> {
  mayLock(file, lock);
  lock.fl_ops = latch_lock_ops;
  return flock_lock_file(task, file, lock);
}

/** ->setlease. A lease ends with its open file, which has the inode. @throws EIO; EAGAIN, as generic_setlease */
export function latch_setlease(task: Task, file: File, _arg: number, lease: FileLock): Awaitable<void> {
  mayLock(file, lease);
  return andThen(generic_setlease(task, file, lease), () => undefined);
}
