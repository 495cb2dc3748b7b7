/** Open files: OPEN, CREATE, TMPFILE, READ, WRITE, FLUSH, RELEASE, FSYNC and what works on ranges of them. */

import { vfs_copy_file_range } from '../../fs/copy-range.js';
import type { Dentry } from '../../fs/dentry.js';
import { vfs_fallocate } from '../../fs/fallocate.js';
import type { File } from '../../fs/file.js';
import { filp_flush, fput } from '../../fs/file-table.js';
import { S_APPEND } from '../../fs/inode.js';
import { locks_remove_posix } from '../../fs/locks.js';
import { type OpenedOrCreated, open_or_create } from '../../fs/namei/open-last.js';
import { vfs_open, vfs_tmpfile_open } from '../../fs/open.js';
import { vfs_iter_write, type WriteOptions } from '../../fs/read-write.js';
import { vfs_llseek } from '../../fs/seek.js';
import { vfs_fsync_range } from '../../fs/sync.js';
import { atime_needs_update } from '../../fs/time.js';
import type { Kstat } from '../../fs/types.js';
import { folio_put } from '../../mm/folio.js';
import { IovIter, SourceMemory } from '../../mm/iov-iter.js';
import { type Awaitable, andThen, orElse, withCleanup } from '../../sched/awaitable.js';
import { errno } from '../../sched/errno.js';
import type { Task } from '../../sched/task.js';
import { O_ACCMODE, O_APPEND, O_DIRECT, O_DSYNC, O_NOATIME, O_RDWR, O_SYNC, O_WRONLY } from '../../uapi/fcntl.js';
import { FOPEN, FSYNC_FDATASYNC, INIT, OPEN_KILL_SUIDGID, READ_LOCKOWNER, WRITE } from '../protocol/flags.js';
import type { Message } from '../protocol/message.js';
import {
  decodeCopyFileRange,
  decodeFallocate,
  decodeFlush,
  decodeFsync,
  decodeLseek,
  decodeOpen,
  decodeRead,
  decodeRelease,
  decodeWrite,
} from '../protocol/read-files.js';
import { decodeCreate, decodeTmpfile } from '../protocol/read-names.js';
import type { CreateIn, OpenIn, ReadIn, RequestHeader, WriteIn } from '../protocol/requests.js';
import { encodeCopyFileRange, encodeCreate, encodeLseek, encodeOpen, encodeWrite } from '../protocol/write.js';
import type { Session } from '../session.js';
import { lockOwner, releaseFlock } from './locks.js';
import { withDentry, withPut } from './names.js';
import { entryOf, replyDone, replyOk, statOf, withFile, withReader } from './reply.js';
import { read_whole } from './whole-read.js';

/**
 * What the kernel may do with an open file, by how much it may cache. FLUSH is what takes POSIX locks away at close(2): where the kernel keeps these
 * itself, it need not be sent.
 */
function openFlags(s: Session, file: File): number {
  if (file.f_inode.i_sb.generated) return FOPEN.DIRECT_IO;
  const base = FOPEN.PARALLEL_DIRECT_WRITES;
  if (s.options.cache === 'none') return base | FOPEN.DIRECT_IO;
  return base | FOPEN.NOFLUSH | (mustBeSeen(s, file) ? 0 : FOPEN.KEEP_CACHE);
}

/**
 * Whether the file is to be read through us again because that moves its atime, which reads out of the kernel's cache do not. With its writeback cache
 * the kernel knows the times, and we do not.
 */
function mustBeSeen(s: Session, { f_flags, f_inode }: File): boolean {
  if (s.strictAtime) return true;
  if (s.options.cache !== 'auto' || (f_flags & O_ACCMODE) === O_WRONLY || (f_flags & O_NOATIME) !== 0) return false;
  return atime_needs_update(f_inode);
}

/**
 * The flags to open with. With its writeback cache the kernel reads to fill pages of files opened write-only. It does O_APPEND itself then: WRITE
 * says where to. To open a file that may only be appended to, the flag must be there all the same.
 */
function effectiveFlags(s: Session, flags: number): number {
  if (((s.negotiated?.flags ?? 0) & INIT.WRITEBACK_CACHE) === 0) return flags;
  return (flags & O_ACCMODE) === O_WRONLY ? (flags & ~O_ACCMODE) | O_RDWR : flags;
}

/** OPEN (vfs_open). @throws ENOSYS where the kernel shall open files by itself from now on */
export function open(s: Session, task: Task, h: RequestHeader, m: Message): Awaitable<void> {
  const request = decodeOpen(m);
  if (s.negotiated?.mayRefuseOpen === true) throw errno('ENOSYS');
  return withDentry(s, task, h.nodeid, openDentry, h, request);
}

function openDentry(dentry: Dentry, s: Session, task: Task, h: RequestHeader, r: OpenIn): Awaitable<void> {
  const killSuidgid = (r.open_flags & OPEN_KILL_SUIDGID) !== 0;
  return andThen(vfs_open(task, dentry, effectiveFlags(s, r.flags), killSuidgid), replyOpened, s, h);
}

function replyOpened(file: File, s: Session, h: RequestHeader): void {
  s.transport.reply(h.unique, encodeOpen(s.transport.out, s.handles.add(file), openFlags(s, file)));
}

/** CREATE: open(2) with O_CREAT of a name that the kernel does not know. */
export function create(s: Session, task: Task, h: RequestHeader, m: Message): Awaitable<void> {
  const request = decodeCreate(m, s.wire);
  task.umask = request.umask;
  return withDentry(s, task, h.nodeid, createIn, h, request);
}

function createIn(parent: Dentry, s: Session, task: Task, h: RequestHeader, r: CreateIn): Awaitable<void> {
  return andThen(open_or_create(task, parent, r.name, effectiveFlags(s, r.flags), r.mode), answerCreated, s, task, h);
}

function answerCreated({ file, dentry }: OpenedOrCreated, s: Session, task: Task, h: RequestHeader): Awaitable<void> {
  return withPut(s, task, dentry, replyCreated, h, file);
}

/** TMPFILE: open(2) with O_TMPFILE. */
export async function tmpfile(s: Session, task: Task, h: RequestHeader, m: Message): Promise<void> {
  const request = decodeTmpfile(m, s.wire);
  task.umask = request.umask;
  await withDentry(s, task, h.nodeid, async (parent) => {
    const file = await vfs_tmpfile_open(task, parent, effectiveFlags(s, request.flags), request.mode);
    // It has no name to find it by again: the kernel's knowledge keeps it.
    if (file.f_inode.i_nlink === 0) s.nodes.pinNew(task, file.f_inode);
    await replyCreated(file.f_dentry, s, task, h, file);
  });
}

function replyCreated(dentry: Dentry, s: Session, task: Task, h: RequestHeader, file: File): Awaitable<void> {
  return andThen(orElse(statCreated, closeAndThrow, task, dentry, file), sendCreated, s, task, h, file);
}

function statCreated(task: Task, dentry: Dentry): Awaitable<Kstat> {
  return statOf(task, dentry);
}

/** Without an answer nobody ever releases it. */
function closeAndThrow(error: unknown, task: Task, _dentry: Dentry, file: File): Awaitable<never> {
  return andThen(fput(task, file), () => {
    throw error;
  });
}

function sendCreated(stat: Kstat, s: Session, task: Task, h: RequestHeader, file: File): Awaitable<void> {
  const entry = entryOf(s, file.f_dentry, stat);
  // Where the kernel opens nothing, it also releases nothing.
  const handle = s.negotiated?.mayRefuseOpen === true ? 0 : s.handles.add(file);
  s.transport.reply(h.unique, encodeCreate(s.transport.out, entry, handle, openFlags(s, file)));
  return handle === 0 ? fput(task, file) : undefined;
}

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
  const options = { direct: (request.flags & O_DIRECT) !== 0 && s.options.direct };
  const done = read_whole(task, file, iter, request.offset, options, readsPartly(request));
  return andThen(done, sendRead, s, h, iter);
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
    direct: direct && s.options.direct,
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
  const { fh, offset, length, mode } = decodeFallocate(m);
  return withFile(s, task, h, fh, 'write', (file) =>
    andThen(vfs_fallocate(task, file, mode, offset, length), () => replyOk(s, h)),
  );
}

/** LSEEK for SEEK_DATA and SEEK_HOLE. What the kernel has not written back yet would look like a hole: then it is better off not asking. @throws ENXIO EINVAL; ENOSYS to be asked no more */
export function lseek(s: Session, task: Task, h: RequestHeader, m: Message): Awaitable<void> {
  const { fh, offset, whence } = decodeLseek(m);
  if (((s.negotiated?.flags ?? 0) & INIT.WRITEBACK_CACHE) !== 0) throw errno('ENOSYS');
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
