/** Requests that take a name away: UNLINK, RMDIR, RENAME, RENAME2. An inode that loses its last name is pinned until the kernel forgets it. */
import { dput } from '../../fs/dcache.js';
import type { Dentry } from '../../fs/dentry.js';
import { ihold, iput } from '../../fs/icache.js';
import type { Inode } from '../../fs/inode.js';
import { do_rename, do_rmdir, do_unlink, lookup_one } from '../../fs/namei.js';
import { type Awaitable, andThen, withCleanup } from '../../sched/awaitable.js';
import type { Task } from '../../sched/task.js';
import type { Message } from '../protocol/message.js';
import { decodeName, decodeRename, decodeRename2 } from '../protocol/read-names.js';
import type { RenameIn, RequestHeader } from '../protocol/requests.js';
import type { Session } from '../session.js';
import { withDentry } from './names.js';
import { replyDone } from './reply.js';

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

/** UNLINK (do_unlink). */
export function unlink(s: Session, task: Task, h: RequestHeader, m: Message): Awaitable<void> {
  return withDentry(s, task, h.nodeid, removeIn, h, decodeName(m, s.wire).name, do_unlink);
}

/** RMDIR (do_rmdir). */
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

/** RENAME (do_rename), without flags. */
export function rename(s: Session, task: Task, h: RequestHeader, m: Message): Awaitable<void> {
  return withDentry(s, task, h.nodeid, renameFrom, h, decodeRename(m, s.wire));
}

/** RENAME2 (do_rename). */
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
