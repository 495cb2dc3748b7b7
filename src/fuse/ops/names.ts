/** Names: LOOKUP, MKNOD, MKDIR, SYMLINK, LINK, READLINK, FORGET. Taking names away is in remove.ts. */
import { dput } from '../../fs/dcache.js';
import type { Dentry } from '../../fs/dentry.js';
import type { Inode } from '../../fs/inode.js';
import { do_link, do_mkdir, do_mknod, do_symlink, lookup_one, vfs_readlink } from '../../fs/namei.js';
import { follow_managed } from '../../fs/namespace.js';
import { type Awaitable, andThen, withCleanup } from '../../sched/awaitable.js';
import { errno, isErrno } from '../../sched/errno.js';
import type { Task } from '../../sched/task.js';
import type { Message } from '../protocol/message.js';
import { decodeBatchForget, decodeForget } from '../protocol/read-files.js';
import { decodeLink, decodeLookup, decodeMkdir, decodeMknod, decodeSymlink } from '../protocol/read-names.js';
import type { MkdirIn, MknodIn, RequestHeader, SymlinkIn } from '../protocol/requests.js';
import { encodeNegativeEntry, encodeString } from '../protocol/write.js';
import type { Session } from '../session.js';
import { mayChange, replyEntry } from './reply.js';

/** What is given to a body besides the dentry, the session and the task. */
type Given = [a?: unknown, b?: unknown, c?: unknown];

type Body<T, G extends Given> = (dentry: Dentry, s: Session, task: Task, ...given: G) => Awaitable<T>;

/** Run `body` with the dentry of a node, and drop it afterwards. */
export function withDentry<T, G extends Given>(
  s: Session,
  task: Task,
  nodeid: number,
  body: Body<T, G>,
  ...given: G
): Awaitable<T>;

export function withDentry<T>(
  s: Session,
  task: Task,
  nodeid: number,
  body: Body<T, Given>,
  a?: unknown,
  b?: unknown,
  c?: unknown,
): Awaitable<T> {
  return andThen(s.nodes.dentry(task, nodeid), bodyThenPut, s, task, body, a, b, c) as Awaitable<T>;
}

/** Run `body` with a dentry whose reference it may use, and drop that afterwards. */
export function withPut<T, G extends Given>(
  s: Session,
  task: Task,
  dentry: Dentry,
  body: Body<T, G>,
  ...given: G
): Awaitable<T>;

export function withPut<T>(
  s: Session,
  task: Task,
  dentry: Dentry,
  body: Body<T, Given>,
  a?: unknown,
  b?: unknown,
  c?: unknown,
): Awaitable<T> {
  return bodyThenPut(dentry, s, task, body, a, b, c);
}

function bodyThenPut<T>(
  dentry: Dentry,
  s: Session,
  task: Task,
  body: Body<T, Given>,
  a: unknown,
  b: unknown,
  c: unknown,
): Awaitable<T> {
  return withCleanup(body, putAfter, dentry, s, task, a, b, c);
}

function putAfter(dentry: Dentry, _s: Session, task: Task): Awaitable<void> {
  return dput(task, dentry);
}

/** LOOKUP: a name, or with generation numbers "." and "..". @throws ENOENT */
export function lookup(s: Session, task: Task, h: RequestHeader, m: Message): Awaitable<void> {
  return withDentry(s, task, h.nodeid, lookUpIn, h, decodeLookup(m, s.wire));
}

function lookUpIn(parent: Dentry, s: Session, task: Task, h: RequestHeader, name: string): Awaitable<void> {
  // An exporter (open_by_handle_at) asks for what a node is, and for where a directory lies.
  if (name === '.') {
    // Where it had the node in memory, the kernel would not ask: of what was deleted, nothing but its memory may be left.
    if (parent.d_inode?.i_nlink === 0) throw errno('ESTALE');
    return replyEntry(parent, s, task, h);
  }
  if (name === '..') return replyEntry(parent.d_parent, s, task, h);
  return andThen(andThen(lookup_one(task, parent, name), managed, task), answerLookup, s, task, h);
}

function managed(found: Dentry, task: Task): Awaitable<Dentry> {
  return follow_managed(task, found);
}

function answerLookup(dentry: Dentry, s: Session, task: Task, h: RequestHeader): Awaitable<void> {
  return withPut(s, task, dentry, replyLookup, h);
}

function replyLookup(dentry: Dentry, s: Session, task: Task, h: RequestHeader): Awaitable<void> {
  if (!dentry.isNegative) return replyEntry(dentry, s, task, h);
  s.transport.reply(h.unique, encodeNegativeEntry(s.transport.out, mayChange(dentry) ? 0 : s.validity));
  return undefined;
}

/** What every request that makes a name ends with: the answer with its entry. */
function answerMade(dentry: Dentry, s: Session, task: Task, h: RequestHeader): Awaitable<void> {
  return withPut(s, task, dentry, replyEntry, h);
}

/** MKNOD (do_mknod). */
export function mknod(s: Session, task: Task, h: RequestHeader, m: Message): Awaitable<void> {
  const request = decodeMknod(m, s.wire);
  task.umask = request.umask;
  return withDentry(s, task, h.nodeid, mknodIn, h, request);
}

function mknodIn(parent: Dentry, s: Session, task: Task, h: RequestHeader, r: MknodIn): Awaitable<void> {
  return andThen(do_mknod(task, parent, r.name, r.mode, r.rdev), answerMade, s, task, h);
}

/** MKDIR (do_mkdir). */
export function mkdir(s: Session, task: Task, h: RequestHeader, m: Message): Awaitable<void> {
  const request = decodeMkdir(m, s.wire);
  task.umask = request.umask;
  return withDentry(s, task, h.nodeid, mkdirIn, h, request);
}

function mkdirIn(parent: Dentry, s: Session, task: Task, h: RequestHeader, r: MkdirIn): Awaitable<void> {
  return andThen(do_mkdir(task, parent, r.name, r.mode), answerMade, s, task, h);
}

/** SYMLINK (do_symlink). */
export function symlink(s: Session, task: Task, h: RequestHeader, m: Message): Awaitable<void> {
  return withDentry(s, task, h.nodeid, symlinkIn, h, decodeSymlink(m, s.wire));
}

function symlinkIn(parent: Dentry, s: Session, task: Task, h: RequestHeader, r: SymlinkIn): Awaitable<void> {
  return andThen(do_symlink(task, parent, r.name, r.target), answerMade, s, task, h);
}

/** LINK (do_link). */
export function link(s: Session, task: Task, h: RequestHeader, m: Message): Awaitable<void> {
  const { oldnodeid, name } = decodeLink(m, s.wire);
  return withDentry(s, task, oldnodeid, linkFrom, h, name);
}

function linkFrom(old: Dentry, s: Session, task: Task, h: RequestHeader, name: string): Awaitable<void> {
  const inode = old.d_inode;
  const linked = withDentry(s, task, h.nodeid, linkIn, h, name, old);
  return inode === undefined ? linked : andThen(linked, unpinLinked, s, task, inode);
}

function linkIn(parent: Dentry, s: Session, task: Task, h: RequestHeader, name: string, old: Dentry): Awaitable<void> {
  return andThen(do_link(task, old, parent, name), answerMade, s, task, h);
}

function unpinLinked(_linked: void, s: Session, task: Task, inode: Inode): Awaitable<void> {
  return s.nodes.unpinIfLinked(task, inode);
}

/** READLINK (vfs_readlink). */
export function readlink(s: Session, task: Task, h: RequestHeader): Awaitable<void> {
  return withDentry(s, task, h.nodeid, readLinkOf, h);
}

function readLinkOf(dentry: Dentry, s: Session, task: Task, h: RequestHeader): Awaitable<void> {
  return andThen(vfs_readlink(task, dentry), replyTarget, s, h);
}

function replyTarget(target: string, s: Session, h: RequestHeader): void {
  s.transport.reply(h.unique, encodeString(s.transport.out, target));
}

/** FORGET has no answer; what it lets go may take its time. */
export function forget(s: Session, task: Task, h: RequestHeader, m: Message): Awaitable<void> {
  return quiet(s.nodes.forget(task, h.nodeid, decodeForget(m).nlookup));
}

/** BATCH_FORGET: several FORGETs at once. It has no answer. */
export async function batchForget(s: Session, task: Task, _h: RequestHeader, m: Message): Promise<void> {
  for (const { nodeid, nlookup } of decodeBatchForget(m).forgets) await quiet(s.nodes.forget(task, nodeid, nlookup));
}

/** An inode that is gone already needs no forgetting. */
function quiet(done: Awaitable<void>): Awaitable<void> {
  if (!(done instanceof Promise)) return undefined;
  return done.catch((error: unknown) => {
    if (!isErrno(error, 'ESTALE')) throw error;
  });
}
