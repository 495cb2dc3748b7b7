/** What can be done in a directory: look up, create, link, remove, rename, list. Called with i_rwsem held as the contract says. */

import { IS_CASEFOLDED } from '../fs/casefold.js';
import { d_in_lookup, d_rehash } from '../fs/dcache.js';
import { d_add, d_instantiate, d_splice_alias } from '../fs/dcache-alias.js';
import type { Dentry } from '../fs/dentry.js';
import { type File, FMODE_CREATED } from '../fs/file.js';
import { FS_CASEFOLD_FL, FS_PROJINHERIT_FL } from '../fs/fileattr.js';
import { inode_init_owner, insert_inode_locked, iput, new_inode, unlock_new_inode } from '../fs/icache.js';
import { type Inode, i_size_init } from '../fs/inode.js';
import { finish_open } from '../fs/open.js';
import { O_CREAT } from '../fs/open-flags.js';
import type { file_operations, inode_operations } from '../fs/operations.js';
import { posix_acl_create } from '../fs/posix-acl-ops.js';
import { current_time, dir_changed, inode_set_ctime_current } from '../fs/time.js';
import type { DirContext } from '../fs/types.js';
import { GUARDED, guard_read, guard_write } from '../locking/guarded.js';
import { type Awaitable, andThen, inTurn, orElse } from '../sched/awaitable.js';
import { errno } from '../sched/errno.js';
import type { Task } from '../sched/task.js';
import { acl_credits, init_acl, latch_get_acl, latch_get_inode_acl, latch_set_acl } from './acl.js';
import { fileattr_get, fileattr_set, latch_getattr, latch_setattr, latch_update_time } from './attr.js';
import { adoptCasefold } from './casefold.js';
import { chargeInode, inheritedProject, withOwners } from './charge.js';
import type { Directory } from './dir.js';
import { AREA_SIZE } from './format/inode.js';
import { latch_fsync } from './fsync.js';
import { CREDITS, infoOf, with_handle } from './info.js';
import { applyFlags, type LatchInode, latch_iget, latchInode, setOps, writeInode } from './inode.js';
import { latch_compat_ioctl, latch_ioctl } from './ioctl.js';
import type { Handle } from './journal/types.js';
import { writeLongLink } from './link-ops.js';
import { latch_listxattr } from './xattr.js';

const RENAME_EXCHANGE = 2;
const RENAME_WHITEOUT = 4;
const S_IFMT = 0o170000;
const S_IFDIR = 0o040000;
const S_IFCHR = 0o020000;
const S_IFREG = 0o100000;
const S_IFLNK = 0o120000;
const S_ISGID = 0o2000;
const DT_DIR = 4;

function dtype(inode: Inode): number {
  return (inode.i_mode & S_IFMT) >>> 12;
}

function isDir(inode: Inode): boolean {
  return (inode.i_mode & S_IFMT) === S_IFDIR;
}

function changed(task: Task, handle: Handle, inode: Inode): Awaitable<void> {
  return writeInode(task, handle, infoOf(inode.i_sb), latchInode(inode));
}

/** The entries of a directory have changed. */
function dirty(task: Task, handle: Handle, dir: Inode): Awaitable<void> {
  dir_changed(dir);
  return changed(task, handle, dir);
}

/** A name of an inode is gone: without any it is on the orphan list until nobody has it open. */
function dropped(task: Task, handle: Handle, inode: Inode): Awaitable<void> {
  inode_set_ctime_current(inode);
  if (inode.i_nlink > 0) return changed(task, handle, inode);
  return infoOf(inode.i_sb).orphans.add(task, handle, latchInode(inode));
}

/** The names of a directory, to look at: its i_rwsem is held. */
function namesToRead(task: Task, dir: Inode): Directory {
  guard_read(task, GUARDED.dir_entries, dir.i_rwsem);
  return latchInode(dir).directory;
}

/** The names of a directory, to change: its i_rwsem is held exclusively. */
function namesToChange(task: Task, dir: Inode): Directory {
  guard_write(task, GUARDED.dir_entries, dir.i_rwsem);
  return latchInode(dir).directory;
}

/** A name of a file, or a subdirectory, comes or goes: i_rwsem is held exclusively. */
function linksToChange(task: Task, inode: Inode): Inode {
  guard_write(task, GUARDED.i_links, inode.i_rwsem);
  return inode;
}

function lookup(task: Task, dir: Inode, dentry: Dentry): Awaitable<Dentry | undefined> {
  const info = infoOf(dir.i_sb);
  return andThen(namesToRead(task, dir).lookup(task, dentry.d_name), (entry) => {
    if (entry === undefined) {
      // Where a name can be written in many ways it is not kept that there is none.
      if (!IS_CASEFOLDED(dir)) d_add(task, dentry, undefined);
      return undefined;
    }
    return andThen(latch_iget(task, info, entry.ino), (inode) => {
      adoptCasefold(dentry, inode);
      return d_splice_alias(task, inode, dentry);
    });
  });
}

/** A fresh inode on the device, with one link, still I_NEW. @throws ENOSPC EDQUOT */
function newInode(task: Task, handle: Handle, dir: Inode, mode: number, rdev: number): Awaitable<LatchInode> {
  const info = infoOf(dir.i_sb);
  return andThen(info.inodes.allocate(task, handle, mode), (ino) => {
    const inode = latchInode(new_inode(task, dir.i_sb));
    inode.i_ino = ino;
    inode_init_owner(task, inode, dir, mode);
    inode.i_rdev = rdev;
    if (IS_CASEFOLDED(dir) && isDir(inode)) {
      inode.flags |= FS_CASEFOLD_FL;
      applyFlags(inode);
    }
    inode.i_projid = inheritedProject(latchInode(dir));
    if (isDir(inode)) inode.flags |= latchInode(dir).flags & FS_PROJINHERIT_FL;
    inode.i_generation = info.super.generation;
    info.super.generation = (info.super.generation + 1) >>> 0;
    inode.i_atime = inode.i_mtime = inode.i_ctime = inode.i_btime = current_time(inode);
    setOps(inode);
    const charged = orElse(
      () => chargeInode(task, inode),
      (error) => giveInode(task, handle, inode, error),
    );
    return andThen(charged, () => {
      insert_inode_locked(inode);
      return inode;
    });
  });
}

/** Nobody may be charged for a fresh inode that nobody has seen. */
function giveInode(task: Task, handle: Handle, inode: LatchInode, error: unknown): Awaitable<never> {
  return andThen(infoOf(inode.i_sb).inodes.free(task, handle, inode.i_ino), () => {
    throw error;
  });
}

/** What belongs to a project stays in directories of it: others make a copy, which is charged. @throws EXDEV */
function mayBeIn(dir: Inode, inode: Inode): void {
  const { flags, i_projid } = latchInode(dir);
  if ((flags & FS_PROJINHERIT_FL) !== 0 && i_projid !== inode.i_projid) throw errno('EXDEV');
}

type Fill = (handle: Handle, inode: LatchInode) => Awaitable<void>;

/** Make an inode and give it its name, in one transaction; if that fails it goes again. @param fill what is particular to its type */
function make(task: Task, dir: Inode, dentry: Dentry, mode: number, rdev: number, fill?: Fill): Awaitable<void> {
  const info = infoOf(dir.i_sb);
  guard_write(task, GUARDED.dir_entries, dir.i_rwsem);
  return andThen(posix_acl_create(task, dir, mode), (lists) => {
    let fresh: LatchInode | undefined;
    const named = (handle: Handle, made: LatchInode): Awaitable<void> =>
      inTurn(
        () => fill?.(handle, made),
        () => init_acl(task, handle, made, lists),
        () => namesToChange(task, dir).add(task, handle, dentry.d_name, made.i_ino, dtype(made)),
      );
    const body = (handle: Handle): Awaitable<LatchInode> =>
      andThen(newInode(task, handle, dir, lists.mode, rdev), (made) => {
        fresh = made;
        const done = orElse(
          () => named(handle, made),
          (error) => nameless(task, handle, made, error),
        );
        return andThen(done, () => {
          if (isDir(made)) linksToChange(task, dir).i_nlink++;
          return andThen(changed(task, handle, made), () => andThen(dirty(task, handle, dir), () => made));
        });
      });
    return andThen(
      orElse(
        () => withOwners(task, dir, () => with_handle(task, info, body, CREDITS + acl_credits(lists))),
        (error) => discard(task, fresh, error),
      ),
      (inode) => {
        unlock_new_inode(inode);
        d_instantiate(task, dentry, inode);
        d_rehash(dentry);
      },
    );
  });
}

/** A fresh inode gets no name: whatever happens next, it is to be deleted. */
function nameless(task: Task, handle: Handle, inode: LatchInode, error: unknown): Awaitable<never> {
  inode.i_nlink = 0;
  return andThen(infoOf(inode.i_sb).orphans.add(task, handle, inode), () => {
    throw error;
  });
}

/** Let a fresh inode go that got no name, and throw what came in between. */
async function discard(task: Task, inode: LatchInode | undefined, error: unknown): Promise<never> {
  if (inode !== undefined) {
    inode.i_nlink = 0;
    unlock_new_inode(inode);
    await iput(task, inode);
  }
  throw error;
}

function mknod(task: Task, dir: Inode, dentry: Dentry, mode: number, rdev: number): Awaitable<void> {
  return make(task, dir, dentry, mode, rdev);
}

function create(task: Task, dir: Inode, dentry: Dentry, mode: number): Awaitable<void> {
  return make(task, dir, dentry, mode, 0);
}

/** Look up where nobody has yet; make and open in one step where there is nothing (gfs2_atomic_open). @throws ENOENT without O_CREAT */
function atomic_open(
  task: Task,
  dir: Inode,
  dentry: Dentry,
  file: File,
  flags: number,
  mode: number,
): Awaitable<Dentry | undefined> {
  return andThen(d_in_lookup(dentry) ? lookup(task, dir, dentry) : undefined, (other) => {
    if (!(other ?? dentry).isNegative) return other;
    if ((flags & O_CREAT) === 0) throw errno('ENOENT');
    return andThen(make(task, dir, dentry, mode, 0), () => {
      file.f_mode |= FMODE_CREATED;
      return andThen(finish_open(task, file), () => undefined);
    });
  });
}

function mkdir(task: Task, dir: Inode, dentry: Dentry, mode: number): Awaitable<void> {
  return make(task, dir, dentry, S_IFDIR | (mode & 0o7777), 0, (_handle, inode) => {
    inode.i_nlink = 2;
    inode.parent = dir.i_ino;
  });
}

function symlink(task: Task, dir: Inode, dentry: Dentry, target: string): Awaitable<void> {
  return make(task, dir, dentry, S_IFLNK | 0o777, 0, (handle, inode) => {
    inode.i_mode &= ~S_ISGID;
    inode.i_link = target;
    i_size_init(inode, target.length);
    return target.length > AREA_SIZE ? writeLongLink(task, handle, inode, target) : undefined;
  });
}

function link(task: Task, old: Dentry, dir: Inode, dentry: Dentry): Awaitable<void> {
  const inode = old.d_inode;
  if (inode === undefined) throw errno('ENOENT');
  if (inode.i_nlink >= 65000) throw errno('EMLINK');
  mayBeIn(dir, inode);
  const info = infoOf(dir.i_sb);
  const done = with_handle(task, info, (handle) =>
    inTurn(
      () => namesToChange(task, dir).add(task, handle, dentry.d_name, inode.i_ino, dtype(inode)),
      () => info.orphans.del(task, handle, latchInode(inode)),
      () => {
        linksToChange(task, inode).i_nlink++;
        inode_set_ctime_current(inode);
        return changed(task, handle, inode);
      },
      () => dirty(task, handle, dir),
    ),
  );
  return andThen(done, () => {
    inode.i_count++;
    d_instantiate(task, dentry, inode);
  });
}

function unlink(task: Task, dir: Inode, dentry: Dentry): Awaitable<void> {
  const inode = dentry.d_inode;
  if (inode === undefined) throw errno('ENOENT');
  return with_handle(task, infoOf(dir.i_sb), (handle) =>
    inTurn(
      () => namesToChange(task, dir).remove(task, handle, dentry.d_name),
      () => {
        linksToChange(task, inode).i_nlink--;
        return dropped(task, handle, inode);
      },
      () => dirty(task, handle, dir),
    ),
  );
}

/** @throws ENOTEMPTY */
function checkEmpty(task: Task, inode: Inode): Awaitable<void> {
  return andThen(namesToRead(task, inode).isEmpty(task), (empty) => {
    if (!empty) throw errno('ENOTEMPTY');
  });
}

function rmdir(task: Task, dir: Inode, dentry: Dentry): Awaitable<void> {
  const inode = dentry.d_inode;
  if (inode === undefined) throw errno('ENOENT');
  const gone = (handle: Handle): Awaitable<void> =>
    inTurn(
      () => namesToChange(task, dir).remove(task, handle, dentry.d_name),
      () => {
        linksToChange(task, inode).i_nlink = 0;
        linksToChange(task, dir).i_nlink--;
        return dropped(task, handle, inode);
      },
      () => dirty(task, handle, dir),
    );
  return andThen(checkEmpty(task, inode), () => with_handle(task, infoOf(dir.i_sb), gone));
}

/** A directory has moved from one parent to another: '..' and the link counts follow. */
function reparent(task: Task, inode: LatchInode, from: Inode, to: Inode): void {
  // A directory that stays with its parent is not locked: nothing of it changes.
  if (!isDir(inode) || from !== to) linksToChange(task, inode);
  if (!isDir(inode) || from === to) return;
  guard_write(task, GUARDED.dotdot, inode.i_sb.s_vfs_rename_sem);
  inode.parent = to.i_ino;
  linksToChange(task, from).i_nlink--;
  linksToChange(task, to).i_nlink++;
}

async function exchange(task: Task, oldDir: Inode, old: Dentry, newDir: Inode, target: Dentry): Promise<void> {
  const [a, b] = [old.d_inode, target.d_inode];
  if (a === undefined || b === undefined) throw errno('ENOENT');
  mayBeIn(newDir, a);
  mayBeIn(oldDir, b);
  const info = infoOf(oldDir.i_sb);
  await with_handle(task, info, async (handle) => {
    await namesToChange(task, oldDir).set(task, handle, old.d_name, b.i_ino, dtype(b));
    await namesToChange(task, newDir).set(task, handle, target.d_name, a.i_ino, dtype(a));
    reparent(task, latchInode(a), oldDir, newDir);
    reparent(task, latchInode(b), newDir, oldDir);
    for (const inode of [a, b]) {
      inode_set_ctime_current(inode);
      await changed(task, handle, inode);
    }
    await dirty(task, handle, oldDir);
    await dirty(task, handle, newDir);
  });
}

/** What a rename is about. */
interface Renamed {
  readonly from: LatchInode;
  readonly old: Dentry;
  readonly inode: Inode;
  readonly to: LatchInode;
  readonly target: Dentry;
  readonly victim: Inode | undefined;
}

function rename(task: Task, oldDir: Inode, old: Dentry, newDir: Inode, target: Dentry, flags: number): Awaitable<void> {
  if ((flags & RENAME_EXCHANGE) !== 0) return exchange(task, oldDir, old, newDir, target);
  const { d_inode: inode } = old;
  const { d_inode: victim } = target;
  if (inode === undefined) throw errno('ENOENT');
  mayBeIn(newDir, inode);
  const what = { from: latchInode(oldDir), old, inode, to: latchInode(newDir), target, victim };
  return andThen(victim !== undefined && isDir(victim) ? checkEmpty(task, victim) : undefined, () => {
    if ((flags & RENAME_WHITEOUT) !== 0) return whiteOut(task, what);
    return with_handle(task, infoOf(oldDir.i_sb), (handle) =>
      inTurn(
        () => enter(task, handle, what),
        () => namesToChange(task, what.from).remove(task, handle, old.d_name),
        () => settle(task, handle, what),
      ),
    );
  });
}

/** Rename, and leave a whiteout behind. */
async function whiteOut(task: Task, what: Renamed): Promise<void> {
  const { from, old } = what;
  const info = infoOf(from.i_sb);
  let whiteout: LatchInode | undefined;
  const body = async (handle: Handle): Promise<LatchInode> => {
    const made = await newInode(task, handle, from, S_IFCHR, 0);
    whiteout = made;
    // It goes again if it gets no name.
    made.i_nlink = 0;
    await info.orphans.add(task, handle, made);
    await enter(task, handle, what);
    await namesToChange(task, from).set(task, handle, old.d_name, made.i_ino, dtype(made));
    await info.orphans.del(task, handle, made);
    made.i_nlink = 1;
    await changed(task, handle, made);
    await settle(task, handle, what);
    return made;
  };
  const made = await orElse(
    () => withOwners(task, from, () => with_handle(task, info, body)),
    (error) => discard(task, whiteout, error),
  );
  unlock_new_inode(made);
  await iput(task, made);
}

/** The new name stands for the inode. */
function enter(task: Task, handle: Handle, { to, target, inode, victim }: Renamed): Awaitable<void> {
  return victim === undefined
    ? namesToChange(task, to).add(task, handle, target.d_name, inode.i_ino, dtype(inode))
    : namesToChange(task, to).set(task, handle, target.d_name, inode.i_ino, dtype(inode));
}

/** The names are right: links, '..' and times follow. */
function settle(task: Task, handle: Handle, { from, to, inode, victim }: Renamed): Awaitable<void> {
  return inTurn(
    () => {
      if (victim === undefined) return undefined;
      if (isDir(victim)) {
        linksToChange(task, victim).i_nlink = 0;
        linksToChange(task, to).i_nlink--;
      } else linksToChange(task, victim).i_nlink--;
      return dropped(task, handle, victim);
    },
    () => {
      reparent(task, latchInode(inode), from, to);
      inode_set_ctime_current(inode);
      return changed(task, handle, inode);
    },
    () => dirty(task, handle, from),
    () => (to === from ? undefined : dirty(task, handle, to)),
  );
}

async function tmpfile(task: Task, dir: Inode, file: File, mode: number): Promise<void> {
  const lists = await posix_acl_create(task, dir, S_IFREG | (mode & 0o7777));
  let fresh: LatchInode | undefined;
  const body = async (handle: Handle): Promise<LatchInode> => {
    const made = await newInode(task, handle, dir, lists.mode, 0);
    fresh = made;
    made.i_nlink = 0;
    await infoOf(dir.i_sb).orphans.add(task, handle, made);
    await init_acl(task, handle, made, lists);
    await changed(task, handle, made);
    return made;
  };
  const inode = await orElse(
    () => withOwners(task, dir, () => with_handle(task, infoOf(dir.i_sb), body, CREDITS + acl_credits(lists))),
    (error) => discard(task, fresh, error),
  );
  unlock_new_inode(inode);
  d_instantiate(task, file.f_dentry, inode);
}

/** Positions: 0 '.', 1 '..', and the key of an entry plus 2. */
async function iterate_shared(task: Task, file: File, ctx: DirContext): Promise<void> {
  const dir = latchInode(file.f_inode);
  guard_write(task, GUARDED.f_pos, file.f_pos_lock);
  if (ctx.pos === 0) {
    if (!ctx.actor('.', dir.i_ino, DT_DIR, 1)) return;
    ctx.pos = 1;
  }
  if (ctx.pos === 1) {
    if (!ctx.actor('..', dir.parent, DT_DIR, 2)) return;
    ctx.pos = 2;
  }
  await namesToRead(task, dir).list(task, ctx.pos - 2, (name, ino, type, key) => {
    if (!ctx.actor(name, ino, type, key + 3)) return false;
    ctx.pos = key + 3;
    return true;
  });
  guard_write(task, GUARDED.f_pos, file.f_pos_lock);
}

export const dir_inode_operations: inode_operations = {
  lookup,
  create,
  link,
  unlink,
  symlink,
  mkdir,
  rmdir,
  mknod,
  rename,
  atomic_open,
  tmpfile,
  setattr: latch_setattr,
  getattr: latch_getattr,
  update_time: latch_update_time,
  listxattr: latch_listxattr,
  get_inode_acl: latch_get_inode_acl,
  get_acl: latch_get_acl,
  set_acl: latch_set_acl,
  fileattr_get,
  fileattr_set,
};

export const dir_operations: file_operations = {
  iterate_shared,
  fsync: latch_fsync,
  unlocked_ioctl: latch_ioctl,
  compat_ioctl: latch_compat_ioctl,
};
