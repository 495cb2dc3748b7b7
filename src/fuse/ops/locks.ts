/** Record locks and flock: GETLK, SETLK, SETLKW. */
import type { File } from '../../fs/file.js';
import type { FileLock, FileLockType } from '../../fs/locks/file-lock.js';
import { vfs_flock, vfs_lock, vfs_test_lock } from '../../fs/locks.js';
import { type Awaitable, andThen, orElse } from '../../sched/awaitable.js';
import { errno, isErrno } from '../../sched/errno.js';
import type { Task } from '../../sched/task.js';
import { LK_FLOCK, LockType, RELEASE } from '../protocol/flags.js';
import type { Message, U64 } from '../protocol/message.js';
import { decodeLk } from '../protocol/read-files.js';
import type { LkIn, ReleaseIn, RequestHeader } from '../protocol/requests.js';
import { encodeLk } from '../protocol/write.js';
import type { Session } from '../session.js';
import { locksForOpenFile } from './caller-memory.js';
import { replyOk } from './reply.js';

/** The kernel names a lock's owner by an opaque 64-bit value. */
export function lockOwner(owner: U64): bigint {
  return BigInt(owner);
}

function typeOf(type: number): FileLockType {
  if (type === LockType.RDLCK) return 'F_RDLCK';
  if (type === LockType.WRLCK) return 'F_WRLCK';
  if (type === LockType.UNLCK) return 'F_UNLCK';
  throw errno('EINVAL', `lock type ${type}`);
}

function lockOf(file: File, request: LkIn, wait: boolean): FileLock {
  const flock = (request.lk_flags & LK_FLOCK) !== 0;
  return {
    kind: flock ? 'flock' : 'posix',
    type: typeOf(request.type),
    owner: lockOwner(request.owner),
    pid: request.pid,
    file,
    start: flock ? 0 : request.start,
    end: flock || request.end >= Number.MAX_SAFE_INTEGER ? Number.POSITIVE_INFINITY : request.end,
    wait,
  };
}

/** GETLK (vfs_test_lock). */
export function getlk(s: Session, task: Task, h: RequestHeader, m: Message): Awaitable<void> {
  const request = decodeLk(m);
  const file = s.handles.get(request.fh);
  return andThen(vfs_test_lock(task, file, lockOf(file, request, false)), (conflict) => {
    const answer =
      conflict === undefined
        ? { start: request.start, end: request.end, type: LockType.UNLCK, pid: 0 }
        : {
            start: conflict.start,
            end: Number.isFinite(conflict.end) ? conflict.end : Number.MAX_SAFE_INTEGER,
            type: conflict.type === 'F_WRLCK' ? LockType.WRLCK : LockType.RDLCK,
            pid: conflict.pid,
          };
    s.transport.reply(h.unique, encodeLk(s.transport.out, answer));
  });
}

/** SETLK: a POSIX lock, or one of flock(2), without a wait. @throws EAGAIN */
export function setlk(s: Session, task: Task, h: RequestHeader, m: Message): Awaitable<void> {
  const request = decodeLk(m);
  const file = s.handles.get(request.fh);
  const lock = lockOf(file, request, false);
  const done = lock.kind === 'flock' ? vfs_flock(task, file, lock) : vfs_lock(task, file, lock);
  return andThen(done, replyLocked, s, h);
}

/** SETLKW: as SETLK, and waits. @throws EDEADLK EINTR */
export function setlkw(s: Session, task: Task, h: RequestHeader, m: Message): Awaitable<void> {
  const request = decodeLk(m);
  const file = s.handles.get(request.fh);
  const lock = lockOf(file, request, true);
  if (lock.kind === 'flock') return andThen(vfs_flock(task, file, lock), replyLocked, s, h);
  // Who has to wait is asked for whom: a request for an open file (F_OFD_SETLKW) looks like one for a process.
  const done = orElse(tryLock, waitForLock, task, file, lock);
  return andThen(done, replyLocked, s, h);
}

function replyLocked(_done: void, s: Session, h: RequestHeader): void {
  replyOk(s, h);
}

function tryLock(task: Task, file: File, lock: FileLock): Awaitable<void> {
  return vfs_lock(task, file, { ...lock, wait: false });
}

async function waitForLock(error: unknown, task: Task, file: File, lock: FileLock): Promise<void> {
  if (!isErrno(error, 'EAGAIN')) throw error;
  lock.forOpenFile = await locksForOpenFile(task.pid);
  await vfs_lock(task, file, lock);
}

/** RELEASE of a file on which flock(2) was used: its lock goes with it. */
export function releaseFlock(task: Task, file: File, request: ReleaseIn): Awaitable<void> {
  if ((request.release_flags & RELEASE.FLOCK_UNLOCK) === 0) return undefined;
  return vfs_flock(task, file, {
    kind: 'flock',
    type: 'F_UNLCK',
    owner: lockOwner(request.lock_owner),
    pid: 0,
    file,
    start: 0,
    end: Number.POSITIVE_INFINITY,
    wait: false,
  });
}
