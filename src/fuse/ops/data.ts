/** What files contain: READ, WRITE. */

import type { File } from '../../fs/file.js';
import { S_APPEND } from '../../fs/inode.js';
import { vfs_iter_write, type WriteOptions } from '../../fs/read-write.js';
import { folio_put } from '../../mm/folio.js';
import { IovIter, SourceMemory } from '../../mm/iov-iter.js';
import { type Awaitable, andThen, withCleanup } from '../../sched/awaitable.js';
import type { Task } from '../../sched/task.js';
import { O_APPEND, O_DIRECT, O_DSYNC, O_SYNC } from '../../uapi/fcntl.js';
import { READ_LOCKOWNER, WRITE } from '../protocol/flags.js';
import type { Message } from '../protocol/message.js';
import { decodeRead, decodeWrite } from '../protocol/read-files.js';
import type { ReadIn, RequestHeader, WriteIn } from '../protocol/requests.js';
import { encodeWrite } from '../protocol/write.js';
import type { Session } from '../session.js';
import { withFile, withReader } from './reply.js';
import { read_whole } from './whole-read.js';

/** READ: what was read goes out from where it lies in the page cache. */
export function read(s: Session, task: Task, h: RequestHeader, m: Message): Awaitable<void> {
  return withReader(s, task, h, decodeRead(m), readFile);
}

function readFile(file: File, s: Session, task: Task, h: RequestHeader, request: ReadIn): Awaitable<void> {
  const iter = IovIter.ofDest(Math.min(request.size, 1 << 20));
  if (!readsPartly(request)) s.cached.filling(file.f_inode);
  return withCleanup(readAndSend, endRead, s, task, h, file, iter, request);
}

/** Only reads that fill no pages of the kernel's cache say whose they are. */
function readsPartly({ read_flags }: ReadIn): boolean {
  return (read_flags & READ_LOCKOWNER) !== 0;
}

function readAndSend(
  s: Session,
  task: Task,
  h: RequestHeader,
  file: File,
  iter: IovIter,
  request: ReadIn,
): Awaitable<void> {
  const options = { direct: (request.flags & O_DIRECT) !== 0 && goesDirect(s, file) };
  const done = read_whole(task, file, iter, request.offset, options, readsPartly(request));
  return andThen(done, sendRead, s, h, iter);
}

/** Whether O_DIRECT goes past our page cache: a filesystem that is nowhere else has nothing behind it. */
function goesDirect(s: Session, file: File): boolean {
  return s.options.direct && file.f_mapping.a_ops.direct_IO !== undefined;
}

function endRead(s: Session, _task: Task, _h: RequestHeader, file: File, iter: IovIter, request: ReadIn): void {
  for (const folio of iter.folios) folio_put(folio);
  iter.folios.length = 0;
  if (!readsPartly(request)) s.cached.filled(file.f_inode);
}

function sendRead(_done: unknown, s: Session, h: RequestHeader, iter: IovIter): void {
  const { data } = s.transport;
  for (const segment of iter.segments) data.add(segment, 0, segment.length);
  s.transport.replyData(h.unique, 0);
}

/** WRITE (vfs_write), of a file or, where nothing is opened, of an inode. */
export function write(s: Session, task: Task, h: RequestHeader, m: Message): Awaitable<void> {
  const request = decodeWrite(m);
  const { fh } = request;
  if (fh !== 0) return writeFile(s.handles.get(fh), s, task, h, m, request);
  const append = (request.write_flags & WRITE.CACHE) === 0 && (request.flags & O_APPEND) !== 0;
  return withFile(s, task, h, fh, append ? 'append' : 'write', writeFile, m, request);
}

function writeFile(
  file: File,
  s: Session,
  task: Task,
  h: RequestHeader,
  m: Message,
  request: WriteIn,
): Awaitable<void> {
  const { offset, size, write_flags, flags, start } = request;
  const iter = IovIter.ofMemory(memoryOf(m, start), size);
  const cached = (write_flags & WRITE.CACHE) !== 0;
  const direct = !cached && (flags & O_DIRECT) !== 0;
  // Pages that the kernel writes back: by whom they were written it does not say.
  task.anonymous = cached;
  const options: WriteOptions = {
    direct: direct && goesDirect(s, file),
    // The kernel knows where the file ends, and RWF_NOAPPEND is told to nobody: it is written where the request says.
    append: !cached && (flags & O_APPEND) !== 0 && (file.f_inode.i_flags & S_APPEND) !== 0,
    sync: (flags & O_SYNC) === O_SYNC ? 'sync' : (flags & O_DSYNC) !== 0 ? 'dsync' : false,
    killSuidgid: (write_flags & WRITE.KILL_SUIDGID) !== 0,
    killCaps: !cached,
  };
  const done = vfs_iter_write(task, file, iter, offset, options);
  const whole = cached ? andThen(done, writeRest, task, file, m, request, options) : done;
  return andThen(whole, answerWritten, s, h, direct ? file : undefined, offset);
}

/**
 * The rest of pages that the kernel writes back. It takes them for written whatever the answer counts (fuse_writepage_end looks at the error only), so that what stopped
 * the write, no room say, must be the answer: else fsync and close would say that all is well.
 * @throws what the write of the rest throws
 */
function writeRest(
  written: number,
  task: Task,
  file: File,
  m: Message,
  request: WriteIn,
  options: WriteOptions,
): Awaitable<number> {
  const { offset, size, start } = request;
  if (written >= size) return written;
  const iter = IovIter.ofMemory(memoryOf(m, start + written), size - written);
  const more = vfs_iter_write(task, file, iter, offset + written, options);
  return andThen(more, (count) => writeRest(written + count, task, file, m, request, options));
}

/** @param direct the file, if it was written past the kernel's cache */
function answerWritten(
  written: number,
  s: Session,
  h: RequestHeader,
  direct: File | undefined,
  offset: number,
): Awaitable<void> {
  const stale = direct === undefined ? undefined : s.cached.written(s, direct.f_inode, offset, written);
  return andThen(stale, sendWritten, s, h, written);
}

/** The buffer of a message as a source of writes, kept with it. */
function memoryOf(m: Message, start: number): SourceMemory {
  if (m.kept instanceof SourceMemory && m.kept.start === start) return m.kept;
  const memory = new SourceMemory(m.bytes, start);
  m.kept = memory;
  return memory;
}

function sendWritten(_dropped: void, s: Session, h: RequestHeader, written: number): void {
  s.transport.reply(h.unique, encodeWrite(s.transport.out, written));
}
