/** How operations answer: entries and attributes of inodes in the wire's form. */

import { IS_CASEFOLDED } from '../../fs/casefold.js';
import { type Dentry, inodeOf } from '../../fs/dentry.js';
import type { File } from '../../fs/file.js';
import { fput } from '../../fs/file-table.js';
import { vfs_getattr } from '../../fs/stat.js';
import type { Kstat } from '../../fs/types.js';
import { type Awaitable, andThen } from '../../sched/awaitable.js';
import type { Task } from '../../sched/task.js';
import { O_NOATIME } from '../../uapi/fcntl.js';
import { S_IFMT, S_IFREG } from '../../uapi/stat.js';
import type { Use } from '../anonymous.js';
import { FUSE_ROOT_ID } from '../protocol/flags.js';
import type { ReadIn, RequestHeader } from '../protocol/requests.js';
import { type Entry, encodeAttr, encodeEntry } from '../protocol/write.js';
import type { Session } from '../session.js';

/** The attributes that every caller of stat wants (STATX_BASIC_STATS and STATX_BTIME). */
const ALL = 0xfff;

/** The attributes of a dentry's inode, through ->getattr. */
export function statOf(task: Task, dentry: Dentry): Awaitable<Kstat> {
  return vfs_getattr(task, dentry, ALL, 0);
}

/**
 * Whether a name may come, go or change without the kernel's doing, which then may keep nothing of it: because the names are made as they are asked for, or
 * because what is done to one way to write it is done to all.
 */
export function mayChange({ d_sb: sb, d_parent: parent }: Dentry): boolean {
  return sb.generated || IS_CASEFOLDED(parent.d_inode);
}

const S_ISUID_ISGID = 0o6000;

/**
 * Seconds for which the kernel may keep these attributes. Setuid and setgid go when somebody writes, here (HANDLE_KILLPRIV_V2), and the kernel,
 * which then knows that times and sizes have changed, does not ask for the mode again: it may not keep a mode that has them.
 */
export function attrValidity(s: Session, dentry: Dentry, stat: Kstat): number {
  if (mayChange(dentry)) return 0;
  return (stat.mode & S_IFMT) === S_IFREG && (stat.mode & S_ISUID_ISGID) !== 0 ? 0 : s.validity;
}

/** The entry for a positive dentry; the kernel is counted as having been told of it. */
export function entryOf(s: Session, dentry: Dentry, stat: Kstat): Entry {
  const inode = inodeOf(dentry);
  s.nodes.remember(inode);
  const nodeid = s.nodes.idOf(inode);
  return {
    nodeid,
    // The kernel makes the root before it has been told of it, with generation 0, and takes another one for a stranger under the same number.
    generation: nodeid === FUSE_ROOT_ID ? 0 : inode.i_generation,
    entry_valid: mayChange(dentry) ? 0 : s.validity,
    attr_valid: attrValidity(s, dentry, stat),
    attr: stat,
  };
}

/** Answer with the entry of `dentry`. */
export function replyEntry(dentry: Dentry, s: Session, task: Task, h: RequestHeader): Awaitable<void> {
  return andThen(statOf(task, dentry), sendEntry, s, h, dentry);
}

function sendEntry(stat: Kstat, s: Session, h: RequestHeader, dentry: Dentry): void {
  s.transport.reply(h.unique, encodeEntry(s.transport.out, entryOf(s, dentry, stat)));
}

/** Answer with the attributes of `dentry`. */
export function replyAttr(dentry: Dentry, s: Session, task: Task, h: RequestHeader): Awaitable<void> {
  return andThen(statOf(task, dentry), sendAttr, s, h, dentry);
}

function sendAttr(stat: Kstat, s: Session, h: RequestHeader, dentry: Dentry): void {
  s.transport.reply(h.unique, encodeAttr(s.transport.out, attrValidity(s, dentry, stat), stat));
}

/** What is given to a body besides the file, the session, the task and the request's header. */
type Given = [a?: unknown, b?: unknown];
type Body<T, G extends Given> = (file: File, s: Session, task: Task, h: RequestHeader, ...given: G) => Awaitable<T>;

/**
 * Run `body` with the file of a handle. Where files or directories are not opened, requests come without one: then with the file of the request's node.
 * @throws EBADF for a handle that is not open
 */
export function withFile<T, G extends Given>(
  s: Session,
  task: Task,
  h: RequestHeader,
  fh: number,
  use: Use,
  body: Body<T, G>,
  ...given: G
): Awaitable<T>;
export function withFile<T>(
  s: Session,
  task: Task,
  h: RequestHeader,
  fh: number,
  use: Use,
  body: Body<T, Given>,
  a?: unknown,
  b?: unknown,
): Awaitable<T> {
  if (fh !== 0 || !s.mayLackHandle(h.opcode)) return body(s.handles.get(fh), s, task, h, a, b);
  return withAnonymous(s, task, h, use, body, a, b);
}

/**
 * As withFile, to read. fcntl(F_SETFL) is told to nobody: what holds is what the request says.
 * @param request brings the flags of the open file along, as READ and READDIR do
 */
export function withReader<T>(
  s: Session,
  task: Task,
  h: RequestHeader,
  request: ReadIn,
  body: Body<T, [request: ReadIn]>,
): Awaitable<T> {
  const quiet = (request.flags & O_NOATIME) !== 0;
  return withFile(s, task, h, request.fh, quiet ? 'quiet' : 'read', readQuietly<T>, request, body);
}

function readQuietly<T>(
  file: File,
  s: Session,
  task: Task,
  h: RequestHeader,
  request: ReadIn,
  body: Body<T, [request: ReadIn]>,
): Awaitable<T> {
  file.f_flags = (file.f_flags & ~O_NOATIME) | (request.flags & O_NOATIME);
  return body(file, s, task, h, request);
}

async function withAnonymous<T>(
  s: Session,
  task: Task,
  h: RequestHeader,
  use: Use,
  body: Body<T, Given>,
  a: unknown,
  b: unknown,
): Promise<T> {
  const file = await s.anonymous.get(task, h.nodeid, use);
  try {
    return await body(file, s, task, h, a, b);
  } finally {
    await fput(task, file);
  }
}

/** Answer with success and nothing else. */
export function replyOk(s: Session, h: RequestHeader): void {
  s.transport.reply(h.unique, 0);
}

/** As replyOk, when something is done. */
export function replyDone(_done: void, s: Session, h: RequestHeader): void {
  replyOk(s, h);
}
