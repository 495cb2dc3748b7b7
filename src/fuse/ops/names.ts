/** Names: LOOKUP, MKNOD, MKDIR, SYMLINK, LINK, UNLINK, RMDIR, RENAME, READLINK, FORGET. */
import { dput } from '../../fs/dcache.js';
import type { Dentry } from '../../fs/dentry.js';
import { ihold, iput } from '../../fs/icache.js';
import type { Inode } from '../../fs/inode.js';
import {
  do_link,
  do_mkdir,
  do_mknod,
  do_rename,
  do_rmdir,
  do_symlink,
  do_unlink,
  lookup_one,
  vfs_readlink,
} from '../../fs/namei.js';
import { follow_managed } from '../../fs/namespace.js';
import { type Awaitable, andThen, withCleanup } from '../../sched/awaitable.js';
import { errno, isErrno } from '../../sched/errno.js';
import type { Task } from '../../sched/task.js';
import type { Message } from '../protocol/message.js';
import { decodeBatchForget, decodeForget } from '../protocol/read-files.js';
import {
  decodeLink,
  decodeLookup,
  decodeMkdir,
  decodeMknod,
  decodeName,
  decodeRename,
  decodeRename2,
  decodeSymlink,
} from '../protocol/read-names.js';
import type { MkdirIn, MknodIn, RenameIn, RequestHeader, SymlinkIn } from '../protocol/requests.js';
import { encodeNegativeEntry, encodeString } from '../protocol/write.js';
import type { Session } from '../session.js';
import { mayChange, replyDone, replyEntry } from './reply.js';

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

export function mknod(s: Session, task: Task, h: RequestHeader, m: Message): Awaitable<void> {
  const request = decodeMknod(m, s.wire);
  task.umask = request.umask;
  return withDentry(s, task, h.nodeid, mknodIn, h, request);
}

function mknodIn(parent: Dentry, s: Session, task: Task, h: RequestHeader, r: MknodIn): Awaitable<void> {
  return andThen(do_mknod(task, parent, r.name, r.mode, r.rdev), answerMade, s, task, h);
}

export function mkdir(s: Session, task: Task, h: RequestHeader, m: Message): Awaitable<void> {
  const request = decodeMkdir(m, s.wire);
  task.umask = request.umask;
  return withDentry(s, task, h.nodeid, mkdirIn, h, request);
}

function mkdirIn(parent: Dentry, s: Session, task: Task, h: RequestHeader, r: MkdirIn): Awaitable<void> {
  return andThen(do_mkdir(task, parent, r.name, r.mode), answerMade, s, task, h);
}

export function symlink(s: Session, task: Task, h: RequestHeader, m: Message): Awaitable<void> {
  return withDentry(s, task, h.nodeid, symlinkIn, h, decodeSymlink(m, s.wire));
}

function symlinkIn(parent: Dentry, s: Session, task: Task, h: RequestHeader, r: SymlinkIn): Awaitable<void> {
  return andThen(do_symlink(task, parent, r.name, r.target), answerMade, s, task, h);
}

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

/** A change to names that may take an inode its last one, which is `name` in `parent`. */
interface Change {
  readonly parent: Dentry;
  readonly name: string;
  make(task: Task): Awaitable<void>;
}

class Removal implements Change {
  readonly parent: Dentry;
  readonly name: string;
  readonly #remove: typeof do_unlink;

  constructor(parent: Dentry, name: string, remove: typeof do_unlink) {
    this.parent = parent;
    this.name = name;
    this.#remove = remove;
  }

  make(task: Task): Awaitable<void> {
    const remove = this.#remove;
    return remove(task, this.parent, this.name);
  }
}

class Renaming implements Change {
  readonly parent: Dentry;
  readonly name: string;
  readonly #from: Dentry;
  readonly #request: RenameIn;

  constructor(from: Dentry, parent: Dentry, request: RenameIn) {
    this.parent = parent;
    this.name = request.newname;
    this.#from = from;
    this.#request = request;
  }

  make(task: Task): Awaitable<void> {
    const { name, flags } = this.#request;
    return do_rename(task, this.#from, name, this.parent, this.name, flags);
  }
}

/**
 * Make a change, and answer that it is made. The kernel may still hold the inode (an open file, a working directory): then it is pinned, so that it can be asked about
 * until it is forgotten.
 */
function changeNames(s: Session, task: Task, h: RequestHeader, change: Change): Awaitable<void> {
  const changed = andThen(lookup_one(task, change.parent, change.name), changePinning, s, task, change);
  return andThen(changed, replyDone, s, h);
}

/**
 * Make the change with a reference to the inode that may lose its last name; it is pinned afterwards if it has. Not before: somebody who removes another name of it at the
 * same time would find it pinned, and whoever is done first would let it go.
 */
function changePinning(victim: Dentry, s: Session, task: Task, change: Change): Awaitable<void> {
  const { d_inode: inode } = victim;
  if (inode === undefined) return putAndChange(s, task, victim, change);
  ihold(inode);
  return withCleanup(putAndChange, pinAndPut, s, task, victim, change, inode);
}

function putAndChange(_s: Session, task: Task, victim: Dentry, change: Change): Awaitable<void> {
  return andThen(dput(task, victim), makeChange, task, change);
}

function makeChange(_put: void, task: Task, change: Change): Awaitable<void> {
  return change.make(task);
}

function pinAndPut(s: Session, task: Task, _victim: Dentry, _change: Change, inode: Inode): Awaitable<void> {
  if (inode.i_nlink === 0) s.nodes.pin(task, inode);
  return iput(task, inode);
}

export function unlink(s: Session, task: Task, h: RequestHeader, m: Message): Awaitable<void> {
  return withDentry(s, task, h.nodeid, removeIn, h, decodeName(m, s.wire).name, do_unlink);
}

export function rmdir(s: Session, task: Task, h: RequestHeader, m: Message): Awaitable<void> {
  return withDentry(s, task, h.nodeid, removeIn, h, decodeName(m, s.wire).name, do_rmdir);
}

function removeIn(
  parent: Dentry,
  s: Session,
  task: Task,
  h: RequestHeader,
  name: string,
  remove: typeof do_unlink,
): Awaitable<void> {
  return changeNames(s, task, h, new Removal(parent, name, remove));
}

export function rename(s: Session, task: Task, h: RequestHeader, m: Message): Awaitable<void> {
  return withDentry(s, task, h.nodeid, renameFrom, h, decodeRename(m, s.wire));
}

export function rename2(s: Session, task: Task, h: RequestHeader, m: Message): Awaitable<void> {
  return withDentry(s, task, h.nodeid, renameFrom, h, decodeRename2(m, s.wire));
}

function renameFrom(from: Dentry, s: Session, task: Task, h: RequestHeader, request: RenameIn): Awaitable<void> {
  return withDentry(s, task, request.newdir, renameTo, h, request, from);
}

function renameTo(
  parent: Dentry,
  s: Session,
  task: Task,
  h: RequestHeader,
  request: RenameIn,
  from: Dentry,
): Awaitable<void> {
  return changeNames(s, task, h, new Renaming(from, parent, request));
}

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
