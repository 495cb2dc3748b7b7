/** Open files as a whole: FLUSH, RELEASE, FSYNC, and what works on ranges of them but for reading and writing. */

import { vfs_copy_file_range } from '../../fs/copy-range.js';
import { vfs_fallocate } from '../../fs/fallocate.js';
import type { File } from '../../fs/file.js';
import { filp_flush, fput } from '../../fs/file-table.js';
import { locks_remove_posix } from '../../fs/locks.js';
import { vfs_llseek } from '../../fs/seek.js';
import { vfs_fsync_range } from '../../fs/sync.js';
import { type Awaitable, andThen } from '../../sched/awaitable.js';
import { errno } from '../../sched/errno.js';
import type { Task } from '../../sched/task.js';
import { FSYNC_FDATASYNC } from '../protocol/flags.js';
import type { Message } from '../protocol/message.js';
import {
  decodeCopyFileRange,
  decodeFallocate,
  decodeFlush,
  decodeFsync,
  decodeLseek,
  decodeRelease,
} from '../protocol/read-files.js';
import type { FallocateIn, RequestHeader } from '../protocol/requests.js';
import { encodeCopyFileRange, encodeLseek, encodeWrite } from '../protocol/write.js';
import type { Session } from '../session.js';
import { lockOwner, releaseFlock } from './locks.js';
import { replyDone, replyOk, withFile } from './reply.js';

/** FLUSH: close(2) of a descriptor; POSIX locks of its owner go. @throws ENOSYS where nobody needs to be told; EIO ENOSPC EDQUOT of writeback */
export function flush(s: Session, task: Task, h: RequestHeader, m: Message): Awaitable<void> {
  const { fh, lock_owner } = decodeFlush(m);
  if (s.options.cache === 'always') throw errno('ENOSYS');
  const file = s.handles.get(fh);
  const unlocked = locks_remove_posix(task, file, lockOwner(lock_owner));
  return andThen(andThen(unlocked, flushFile, task, file), replyDone, s, h);
}

function flushFile(_unlocked: void, task: Task, file: File): Awaitable<void> {
  return filp_flush(task, file);
}

/** RELEASE: the last close of an open file, whose answer nobody waits for. */
export function release(s: Session, task: Task, h: RequestHeader, m: Message): Awaitable<void> {
  const request = decodeRelease(m);
  if (request.fh === 0 && s.mayLackHandle(h.opcode)) return replyOk(s, h);
  const file = s.handles.remove(request.fh);
  return andThen(andThen(releaseFlock(task, file, request), putFile, task, file), replyDone, s, h);
}

function putFile(_unlocked: void, task: Task, file: File): Awaitable<void> {
  return fput(task, file);
}

/** FSYNC (vfs_fsync_range). @throws EIO ENOSPC EDQUOT */
export function fsync(s: Session, task: Task, h: RequestHeader, m: Message): Awaitable<void> {
  const { fh, fsync_flags } = decodeFsync(m);
  const datasync = (fsync_flags & FSYNC_FDATASYNC) !== 0;
  return withFile(s, task, h, fh, 'read', syncFile, datasync);
}

function syncFile(file: File, s: Session, task: Task, h: RequestHeader, datasync: boolean): Awaitable<void> {
  return andThen(vfs_fsync_range(task, file, 0, Number.MAX_SAFE_INTEGER, datasync), replyDone, s, h);
}

/** FALLOCATE (vfs_fallocate). */
export function fallocate(s: Session, task: Task, h: RequestHeader, m: Message): Awaitable<void> {
  const request = decodeFallocate(m);
  return withFile(s, task, h, request.fh, 'write', fallocateFile, request);
}

function fallocateFile(file: File, s: Session, task: Task, h: RequestHeader, request: FallocateIn): Awaitable<void> {
  const { mode, offset, length } = request;
  return andThen(vfs_fallocate(task, file, mode, offset, length), replyDone, s, h);
}

/** LSEEK for SEEK_DATA and SEEK_HOLE. What the kernel has not written back yet would look like a hole: then it is better off not asking. @throws ENXIO EINVAL; ENOSYS to be asked no more */
export function lseek(s: Session, task: Task, h: RequestHeader, m: Message): Awaitable<void> {
  const { fh, offset, whence } = decodeLseek(m);
  if (s.writesBack) throw errno('ENOSYS');
  return withFile(s, task, h, fh, 'read', (file) =>
    andThen(vfs_llseek(task, file, offset, whence), (found) => {
      s.transport.reply(h.unique, encodeLseek(s.transport.out, found));
    }),
  );
}

/** The most that one request copies, so that a long copy neither starves others nor overflows the 32 bits of the old reply. */
const COPY_CHUNK = 0x7ffff000;

function copied(s: Session, task: Task, h: RequestHeader, m: Message): Awaitable<number> {
  const request = decodeCopyFileRange(m);
  const length = Math.min(request.len, COPY_CHUNK);
  return withFile(s, task, h, request.fh_in, 'read', (from) =>
    withFile(s, task, { ...h, nodeid: request.nodeid_out }, request.fh_out, 'write', (to) =>
      vfs_copy_file_range(task, from, request.off_in, to, request.off_out, length, request.flags),
    ),
  );
}

/** COPY_FILE_RANGE (vfs_copy_file_range). */
export function copyFileRange(s: Session, task: Task, h: RequestHeader, m: Message): Awaitable<void> {
  return andThen(copied(s, task, h, m), (count) => {
    s.transport.reply(h.unique, encodeWrite(s.transport.out, count));
  });
}

/** COPY_FILE_RANGE_64: as COPY_FILE_RANGE, and answers with 64 bits. */
export function copyFileRange64(s: Session, task: Task, h: RequestHeader, m: Message): Awaitable<void> {
  return andThen(copied(s, task, h, m), (count) => {
    s.transport.reply(h.unique, encodeCopyFileRange(s.transport.out, count));
  });
}
