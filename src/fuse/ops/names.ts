/** Names: LOOKUP, MKNOD, MKDIR, SYMLINK, LINK, UNLINK, RMDIR, RENAME, READLINK, FORGET. */
import { dput } from '../../fs/dcache.js';
import type { Dentry } from '../../fs/dentry.js';
import { ihold, iput } from '../../fs/icache.js';
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
import type { RenameIn, RequestHeader } from '../protocol/requests.js';
import { encodeNegativeEntry, encodeString } from '../protocol/write.js';
import type { Session } from '../session.js';
import { mayChange, replyEntry, replyOk } from './reply.js';

/** Run `body` with the dentry of a node, and drop it afterwards. */
export function withDentry<T>(
  s: Session,
  task: Task,
  nodeid: number,
  body: (dentry: Dentry) => Awaitable<T>,
): Awaitable<T> {
  return andThen(s.nodes.dentry(task, nodeid), (dentry) => withPut(task, dentry, () => body(dentry)));
}

/** Run `body`, then drop a reference to `dentry`. */
export function withPut<T>(task: Task, dentry: Dentry, body: () => Awaitable<T>): Awaitable<T> {
  return withCleanup(body, () => dput(task, dentry));
}

export function lookup(s: Session, task: Task, h: RequestHeader, m: Message): Awaitable<void> {
  const name = decodeLookup(m, s.wire);
  return withDentry(s, task, h.nodeid, (parent) => {
    // An exporter (open_by_handle_at) asks for what a node is, and for where a directory lies.
    if (name === '.') {
      // Where it had the node in memory, the kernel would not ask: of what was deleted, nothing but its memory may be left.
      if (parent.d_inode?.i_nlink === 0) throw errno('ESTALE');
      return replyEntry(s, task, h, parent);
    }
    if (name === '..') return replyEntry(s, task, h, parent.d_parent);
    return andThen(
      andThen(lookup_one(task, parent, name), (found) => follow_managed(task, found)),
      (dentry) =>
        withPut(task, dentry, () => {
          if (!dentry.isNegative) return replyEntry(s, task, h, dentry);
          s.transport.reply(h.unique, encodeNegativeEntry(s.transport.out, mayChange(dentry) ? 0 : s.validity));
          return undefined;
        }),
    );
  });
}

/** What every request that makes a name does: make it in the parent, and answer with its entry. */
function made(s: Session, task: Task, h: RequestHeader, make: (parent: Dentry) => Awaitable<Dentry>): Awaitable<void> {
  return withDentry(s, task, h.nodeid, (parent) =>
    andThen(make(parent), (dentry) => withPut(task, dentry, () => replyEntry(s, task, h, dentry))),
  );
}

export function mknod(s: Session, task: Task, h: RequestHeader, m: Message): Awaitable<void> {
  const { name, mode, rdev, umask } = decodeMknod(m, s.wire);
  task.umask = umask;
  return made(s, task, h, (parent) => do_mknod(task, parent, name, mode, rdev));
}

export function mkdir(s: Session, task: Task, h: RequestHeader, m: Message): Awaitable<void> {
  const { name, mode, umask } = decodeMkdir(m, s.wire);
  task.umask = umask;
  return made(s, task, h, (parent) => do_mkdir(task, parent, name, mode));
}

export function symlink(s: Session, task: Task, h: RequestHeader, m: Message): Awaitable<void> {
  const { name, target } = decodeSymlink(m, s.wire);
  return made(s, task, h, (parent) => do_symlink(task, parent, name, target));
}

export function link(s: Session, task: Task, h: RequestHeader, m: Message): Awaitable<void> {
  const { oldnodeid, name } = decodeLink(m, s.wire);
  return withDentry(s, task, oldnodeid, (old) => {
    const inode = old.d_inode;
    return andThen(
      made(s, task, h, (parent) => do_link(task, old, parent, name)),
      () => (inode === undefined ? undefined : s.nodes.unpinIfLinked(task, inode)),
    );
  });
}

/**
 * Remove a name with `remove`. The kernel may still hold the inode (an open file, a working directory): then it is pinned, so that it can be asked about until it is
 * forgotten.
 */
function removed(
  s: Session,
  task: Task,
  h: RequestHeader,
  name: string,
  remove: (parent: Dentry) => Awaitable<void>,
): Awaitable<void> {
  return withDentry(s, task, h.nodeid, (parent) =>
    andThen(
      pinned(s, task, parent, name, () => remove(parent)),
      () => replyOk(s, h),
    ),
  );
}

/**
 * Run `body` with a reference to the inode of `name`, if there is one; it is pinned afterwards if it has lost its last name. Not before: somebody who removes another name
 * of it at the same time would find it pinned, and whoever is done first would let it go.
 */
function pinned(s: Session, task: Task, parent: Dentry, name: string, body: () => Awaitable<void>): Awaitable<void> {
  return andThen(lookup_one(task, parent, name), (victim) => {
    const { d_inode: inode } = victim;
    if (inode === undefined) return andThen(dput(task, victim), body);
    ihold(inode);
    return withCleanup(
      () => andThen(dput(task, victim), body),
      () => {
        if (inode.i_nlink === 0) s.nodes.pin(task, inode);
        return iput(task, inode);
      },
    );
  });
}

export function unlink(s: Session, task: Task, h: RequestHeader, m: Message): Awaitable<void> {
  const { name } = decodeName(m, s.wire);
  return removed(s, task, h, name, (parent) => do_unlink(task, parent, name));
}

export function rmdir(s: Session, task: Task, h: RequestHeader, m: Message): Awaitable<void> {
  const { name } = decodeName(m, s.wire);
  return removed(s, task, h, name, (parent) => do_rmdir(task, parent, name));
}

function renamed(s: Session, task: Task, h: RequestHeader, request: RenameIn): Awaitable<void> {
  return withDentry(s, task, h.nodeid, (oldParent) =>
    withDentry(s, task, request.newdir, (newParent) => {
      const rename = (): Awaitable<void> =>
        do_rename(task, oldParent, request.name, newParent, request.newname, request.flags);
      return andThen(pinned(s, task, newParent, request.newname, rename), () => replyOk(s, h));
    }),
  );
}

export function rename(s: Session, task: Task, h: RequestHeader, m: Message): Awaitable<void> {
  return renamed(s, task, h, decodeRename(m, s.wire));
}

export function rename2(s: Session, task: Task, h: RequestHeader, m: Message): Awaitable<void> {
  return renamed(s, task, h, decodeRename2(m, s.wire));
}

export function readlink(s: Session, task: Task, h: RequestHeader): Awaitable<void> {
  return withDentry(s, task, h.nodeid, (dentry) =>
    andThen(vfs_readlink(task, dentry), (target) => {
      s.transport.reply(h.unique, encodeString(s.transport.out, target));
    }),
  );
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
