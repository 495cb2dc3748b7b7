/** fcntl(2) (fs/fcntl.c, fs/locks.c): record locks as struct flock says them, leases, and the flags of open files. */

import { file_operations as rows } from '../contract/file.js';
import { call } from '../locking/context.js';
import { type Awaitable, andThen } from '../sched/awaitable.js';
import { errno } from '../sched/errno.js';
import type { Task } from '../sched/task.js';
import { FASYNC, O_APPEND, O_DIRECT, O_NOATIME, O_NONBLOCK } from '../uapi/fcntl.js';
import { SEEK_CUR, SEEK_END, SEEK_SET } from '../uapi/fs.js';
import { type FileOwner, f_getown, f_setown } from './fasync.js';
import { type File, FMODE_READ, FMODE_WRITE } from './file.js';
import { S_APPEND } from './inode.js';
import { inode_owner_or_capable } from './inode-owner.js';
import type { FileLock, FileLockType } from './locks/file-lock.js';
import { lease_manager_ops, vfs_setlease } from './locks/leases.js';
import { OFFSET_MAX } from './locks/lock-list.js';
import { vfs_lock, vfs_test_lock } from './locks.js';

/** The flags that F_SETFL changes (SETFL_MASK). */
const SETFL_MASK = O_APPEND | O_NONBLOCK | FASYNC | O_DIRECT | O_NOATIME;

/** struct flock: a range counted from the begin, the position or the end of a file. */
export interface Flock {
  readonly l_type: FileLockType;
  readonly l_whence: number;
  readonly l_start: number;
  /** 0: to the end of any file; negative: the bytes before `l_start`. */
  readonly l_len: number;
  readonly l_pid: number;
}

/** For whom a lock is: a process, by its files_struct, or with F_OFD_* the open file itself. */
export type LockOwner = { readonly kind: 'posix'; readonly owner: bigint | object } | { readonly kind: 'ofd' };

/** The range in bytes (flock64_to_posix_lock). @throws EINVAL for one that begins before the file; EOVERFLOW */
function flock_to_posix_lock(task: Task, file: File, flock: Flock, owner: LockOwner, wait: boolean): FileLock {
  const bases: Readonly<Record<number, number>> = {
    [SEEK_SET]: 0,
    [SEEK_CUR]: file.f_pos,
    [SEEK_END]: file.f_inode.i_size,
  };
  const base = bases[flock.l_whence];
  if (base === undefined) throw errno('EINVAL');
  let start = base + flock.l_start;
  if (start > Number.MAX_SAFE_INTEGER) throw errno('EOVERFLOW');
  let end = OFFSET_MAX;
  if (flock.l_len > 0) {
    end = start + flock.l_len - 1;
    if (end > Number.MAX_SAFE_INTEGER) throw errno('EOVERFLOW');
  } else if (flock.l_len < 0) {
    end = start - 1;
    start += flock.l_len;
  }
  if (start < 0) throw errno('EINVAL');
  if (owner.kind === 'ofd' && flock.l_pid !== 0) throw errno('EINVAL');
  return {
    kind: owner.kind,
    type: flock.l_type,
    owner: owner.kind === 'ofd' ? file : owner.owner,
    pid: owner.kind === 'ofd' ? -1 : task.pid,
    file,
    start,
    end,
    wait,
  };
}

/**
 * F_SETLK, F_SETLKW and their OFD forms (fcntl_setlk). @param wait F_SETLKW
 * @throws EBADF where the file is not open for what the lock protects; EAGAIN EDEADLK EINTR EINVAL EOVERFLOW
 */
export function fcntl_setlk(task: Task, file: File, flock: Flock, owner: LockOwner, wait: boolean): Awaitable<void> {
  const lock = flock_to_posix_lock(task, file, flock, owner, wait);
  if (lock.type === 'F_RDLCK' && (file.f_mode & FMODE_READ) === 0) throw errno('EBADF');
  if (lock.type === 'F_WRLCK' && (file.f_mode & FMODE_WRITE) === 0) throw errno('EBADF');
  return vfs_lock(task, file, lock);
}

/**
 * F_GETLK and F_OFD_GETLK (fcntl_getlk); the latter with F_UNLCK asks for what the open file itself has locked.
 * @returns the lock in the way, or the question with F_UNLCK @throws EINVAL EOVERFLOW
 */
export function fcntl_getlk(task: Task, file: File, flock: Flock, owner: LockOwner): Awaitable<Flock> {
  if (flock.l_type === 'F_UNLCK' && owner.kind !== 'ofd') throw errno('EINVAL');
  const lock = flock_to_posix_lock(task, file, flock, owner, false);
  return andThen(vfs_test_lock(task, file, lock), (found) => {
    if (found === undefined) return { ...flock, l_type: 'F_UNLCK' };
    return {
      l_type: found.type,
      l_whence: SEEK_SET,
      l_start: found.start,
      l_len: found.end === OFFSET_MAX ? 0 : found.end - found.start + 1,
      l_pid: found.kind === 'ofd' ? -1 : found.pid,
    };
  });
}

/** F_SETLEASE (fcntl_setlease). @param owner who is told when somebody wants what the lease excludes @throws EACCES EINVAL EAGAIN */
export function fcntl_setlease(task: Task, file: File, type: FileLockType, owner?: FileOwner): Awaitable<void> {
  return vfs_setlease(task, file, {
    kind: 'lease',
    type,
    owner: file,
    pid: task.pid,
    file,
    start: 0,
    end: OFFSET_MAX,
    wait: false,
    fl_lmops: {
      ...lease_manager_ops,
      // Who is told already stays (__f_setown without force).
      lm_setup: () => {
        if (f_getown(file) === undefined) f_setown(file, owner);
      },
    },
  });
}

/**
 * F_SETFL (setfl): O_APPEND, O_NONBLOCK, O_ASYNC, O_DIRECT and O_NOATIME; other flags stay as they are.
 * @throws EPERM for taking O_APPEND from an append-only file and for O_NOATIME on others' files; EINVAL
 */
export async function setfl(task: Task, file: File, flags: number): Promise<void> {
  const { f_inode: inode } = file;
  const changed = file.f_flags ^ flags;
  if ((changed & O_APPEND) !== 0 && (inode.i_flags & S_APPEND) !== 0) throw errno('EPERM');
  if ((flags & ~file.f_flags & O_NOATIME) !== 0 && !inode_owner_or_capable(task, inode)) throw errno('EPERM');
  const { check_flags, fasync } = file.f_op;
  if (check_flags !== undefined) await call(task, rows.check_flags, {}, () => check_flags(flags));
  if ((changed & FASYNC) !== 0 && fasync !== undefined) {
    await call(task, rows.fasync, {}, () => fasync(task, -1, file, (flags & FASYNC) !== 0));
    if (((file.f_flags ^ flags) & FASYNC) !== 0) {
      task.validator.violation(task, 'promise', {
        message: 'fasync has succeeded and has left FASYNC as it was',
        rule: 'file_operations.fasync#maintains-FASYNC',
        row: rows.fasync,
        operation: fasync,
      });
    }
  }
  file.f_flags = (flags & SETFL_MASK) | (file.f_flags & ~SETFL_MASK);
}
