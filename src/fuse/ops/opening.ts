/** Opening files, and making them: OPEN, CREATE, TMPFILE, and what the kernel is told that it may do with them. */

import type { Dentry } from '../../fs/dentry.js';
import type { File } from '../../fs/file.js';
import { fput } from '../../fs/file-table.js';
import { type OpenedOrCreated, open_or_create } from '../../fs/namei/open-last.js';
import { vfs_open, vfs_tmpfile_open } from '../../fs/open.js';
import { atime_needs_update } from '../../fs/time.js';
import type { Kstat } from '../../fs/types.js';
import { type Awaitable, andThen, orElse } from '../../sched/awaitable.js';
import { errno } from '../../sched/errno.js';
import type { Task } from '../../sched/task.js';
import { O_ACCMODE, O_NOATIME, O_RDWR, O_WRONLY } from '../../uapi/fcntl.js';
import { FOPEN, OPEN_KILL_SUIDGID } from '../protocol/flags.js';
import type { Message } from '../protocol/message.js';
import { decodeOpen } from '../protocol/read-files.js';
import { decodeCreate, decodeTmpfile } from '../protocol/read-names.js';
import type { CreateIn, OpenIn, RequestHeader } from '../protocol/requests.js';
import { encodeCreate, encodeOpen } from '../protocol/write.js';
import type { Session } from '../session.js';
import { withDentry, withPut } from './names.js';
import { entryOf, statOf } from './reply.js';

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
  if (!s.writesBack) return flags;
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
