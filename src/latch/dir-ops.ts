/** What can be done in a directory: look up, create, link, remove, rename, list. Called with i_rwsem held as the contract says. */
import { d_add, d_instantiate, d_splice_alias } from '../fs/dcache-alias.js';
import type { Dentry } from '../fs/dentry.js';
import type { File } from '../fs/file.js';
import { inode_init_owner, insert_inode_locked, iput, unlock_new_inode } from '../fs/icache.js';
import type { Inode } from '../fs/inode.js';
import type { file_operations, inode_operations } from '../fs/operations.js';
import { posix_acl_create } from '../fs/posix-acl-ops.js';
import { current_time, dir_changed, inode_set_ctime_current } from '../fs/time.js';
import type { DirContext } from '../fs/types.js';
import { type Awaitable, andThen } from '../sched/awaitable.js';
import { errno } from '../sched/errno.js';
import type { Task } from '../sched/task.js';
import { acl_credits, init_acl, latch_get_inode_acl, latch_set_acl } from './acl.js';
import { fileattr_get, fileattr_set, latch_setattr } from './attr.js';
import { AREA_SIZE } from './format/inode.js';
import { latch_fsync } from './fsync.js';
import { CREDITS, infoOf, with_handle } from './info.js';
import { initArea, LatchInode, latch_iget, latchInode, setOps, writeInode } from './inode.js';
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

function lookup(task: Task, dir: Inode, dentry: Dentry): Awaitable<Dentry | undefined> {
  const info = infoOf(dir.i_sb);
  return andThen(latchInode(dir).directory.lookup(task, dentry.d_name), (entry) => {
    if (entry === undefined) {
      d_add(task, dentry, undefined);
      return undefined;
    }
    return andThen(latch_iget(task, info, entry.ino), (inode) => d_splice_alias(task, inode, dentry));
  });
}

/** A fresh inode on the device, with one link, still I_NEW. @throws ENOSPC */
async function newInode(task: Task, handle: Handle, dir: Inode, mode: number, rdev: number): Promise<LatchInode> {
  const info = infoOf(dir.i_sb);
  const ino = await info.inodes.allocate(task, handle, mode);
  const inode = new LatchInode(dir.i_sb);
  inode.i_ino = ino;
  inode_init_owner(task, inode, dir, mode);
  inode.i_rdev = rdev;
  inode.i_generation = info.super.generation;
  info.super.generation = (info.super.generation + 1) >>> 0;
  inode.i_atime = inode.i_mtime = inode.i_ctime = inode.i_btime = current_time(inode);
  setOps(inode);
  initArea(inode);
  insert_inode_locked(inode);
  return inode;
}

/** Make an inode and give it its name, in one transaction; if that fails it goes again. @param fill what is particular to its type */
async function make(
  task: Task,
  dir: Inode,
  dentry: Dentry,
  mode: number,
  rdev: number,
  fill?: (handle: Handle, inode: LatchInode) => Awaitable<void>,
): Promise<void> {
  const info = infoOf(dir.i_sb);
  let fresh: LatchInode | undefined;
  let inode: LatchInode;
  const lists = await posix_acl_create(task, dir, mode);
  try {
    const body = async (handle: Handle): Promise<LatchInode> => {
      const made = await newInode(task, handle, dir, lists.mode, rdev);
      fresh = made;
      try {
        await fill?.(handle, made);
        await init_acl(task, handle, made, lists);
        await latchInode(dir).directory.add(task, handle, dentry.d_name, made.i_ino, dtype(made));
      } catch (error) {
        made.i_nlink = 0;
        await info.orphans.add(task, handle, made);
        throw error;
      }
      await changed(task, handle, made);
      if (isDir(made)) dir.i_nlink++;
      await dirty(task, handle, dir);
      return made;
    };
    inode = await with_handle(task, info, body, CREDITS + acl_credits(lists));
  } catch (error) {
    if (fresh !== undefined) await discard(task, fresh);
    throw error;
  }
  unlock_new_inode(inode);
  d_instantiate(task, dentry, inode);
}

/** Let a fresh inode go that got no name. */
async function discard(task: Task, inode: LatchInode): Promise<void> {
  inode.i_nlink = 0;
  unlock_new_inode(inode);
  await iput(task, inode);
}

function mknod(task: Task, dir: Inode, dentry: Dentry, mode: number, rdev: number): Promise<void> {
  return make(task, dir, dentry, mode, rdev);
}

function create(task: Task, dir: Inode, dentry: Dentry, mode: number): Promise<void> {
  return make(task, dir, dentry, mode, 0);
}

async function mkdir(task: Task, dir: Inode, dentry: Dentry, mode: number): Promise<void> {
  await make(task, dir, dentry, S_IFDIR | (mode & 0o7777), 0, (_handle, inode) => {
    inode.i_nlink = 2;
    inode.parent = dir.i_ino;
  });
}

function symlink(task: Task, dir: Inode, dentry: Dentry, target: string): Promise<void> {
  return make(task, dir, dentry, S_IFLNK | 0o777, 0, (handle, inode) => {
    inode.i_mode &= ~S_ISGID;
    inode.i_link = target;
    inode.i_size = target.length;
    return target.length > AREA_SIZE ? writeLongLink(task, handle, inode, target) : undefined;
  });
}

async function link(task: Task, old: Dentry, dir: Inode, dentry: Dentry): Promise<void> {
  const inode = old.d_inode;
  if (inode === undefined) throw errno('ENOENT');
  if (inode.i_nlink >= 65000) throw errno('EMLINK');
  const info = infoOf(dir.i_sb);
  await with_handle(task, info, async (handle) => {
    await latchInode(dir).directory.add(task, handle, dentry.d_name, inode.i_ino, dtype(inode));
    await info.orphans.del(task, handle, latchInode(inode));
    inode.i_nlink++;
    inode_set_ctime_current(inode);
    await changed(task, handle, inode);
    await dirty(task, handle, dir);
  });
  inode.i_count++;
  d_instantiate(task, dentry, inode);
}

async function unlink(task: Task, dir: Inode, dentry: Dentry): Promise<void> {
  const inode = dentry.d_inode;
  if (inode === undefined) throw errno('ENOENT');
  const info = infoOf(dir.i_sb);
  await with_handle(task, info, async (handle) => {
    await latchInode(dir).directory.remove(task, handle, dentry.d_name);
    inode.i_nlink--;
    await dropped(task, handle, inode);
    await dirty(task, handle, dir);
  });
}

/** @throws ENOTEMPTY */
async function checkEmpty(task: Task, inode: Inode): Promise<void> {
  if (!(await latchInode(inode).directory.isEmpty(task))) throw errno('ENOTEMPTY');
}

async function rmdir(task: Task, dir: Inode, dentry: Dentry): Promise<void> {
  const inode = dentry.d_inode;
  if (inode === undefined) throw errno('ENOENT');
  await checkEmpty(task, inode);
  const info = infoOf(dir.i_sb);
  await with_handle(task, info, async (handle) => {
    await latchInode(dir).directory.remove(task, handle, dentry.d_name);
    inode.i_nlink = 0;
    dir.i_nlink--;
    await dropped(task, handle, inode);
    await dirty(task, handle, dir);
  });
}

/** A directory has moved from one parent to another: '..' and the link counts follow. */
function reparent(inode: LatchInode, from: Inode, to: Inode): void {
  if (!isDir(inode) || from === to) return;
  inode.parent = to.i_ino;
  from.i_nlink--;
  to.i_nlink++;
}

async function exchange(task: Task, oldDir: Inode, old: Dentry, newDir: Inode, target: Dentry): Promise<void> {
  const [a, b] = [old.d_inode, target.d_inode];
  if (a === undefined || b === undefined) throw errno('ENOENT');
  const info = infoOf(oldDir.i_sb);
  await with_handle(task, info, async (handle) => {
    await latchInode(oldDir).directory.set(task, handle, old.d_name, b.i_ino, dtype(b));
    await latchInode(newDir).directory.set(task, handle, target.d_name, a.i_ino, dtype(a));
    reparent(latchInode(a), oldDir, newDir);
    reparent(latchInode(b), newDir, oldDir);
    for (const inode of [a, b]) {
      inode_set_ctime_current(inode);
      await changed(task, handle, inode);
    }
    await dirty(task, handle, oldDir);
    await dirty(task, handle, newDir);
  });
}

async function rename(
  task: Task,
  oldDir: Inode,
  old: Dentry,
  newDir: Inode,
  target: Dentry,
  flags: number,
): Promise<void> {
  if ((flags & RENAME_EXCHANGE) !== 0) return exchange(task, oldDir, old, newDir, target);
  const inode = old.d_inode;
  const victim = target.d_inode;
  if (inode === undefined) throw errno('ENOENT');
  const info = infoOf(oldDir.i_sb);
  if (victim !== undefined && isDir(victim)) await checkEmpty(task, victim);
  let whiteout: LatchInode | undefined;
  try {
    await with_handle(task, info, async (handle) => {
      const from = latchInode(oldDir);
      const to = latchInode(newDir);
      if ((flags & RENAME_WHITEOUT) !== 0) {
        whiteout = await newInode(task, handle, oldDir, S_IFCHR, 0);
        // It goes again if it gets no name.
        whiteout.i_nlink = 0;
        await info.orphans.add(task, handle, whiteout);
      }
      if (victim === undefined) await to.directory.add(task, handle, target.d_name, inode.i_ino, dtype(inode));
      else await to.directory.set(task, handle, target.d_name, inode.i_ino, dtype(inode));
      if (whiteout === undefined) await from.directory.remove(task, handle, old.d_name);
      else {
        await from.directory.set(task, handle, old.d_name, whiteout.i_ino, dtype(whiteout));
        await info.orphans.del(task, handle, whiteout);
        whiteout.i_nlink = 1;
        await changed(task, handle, whiteout);
      }
      if (victim !== undefined) {
        if (isDir(victim)) {
          victim.i_nlink = 0;
          newDir.i_nlink--;
        } else victim.i_nlink--;
        await dropped(task, handle, victim);
      }
      reparent(latchInode(inode), oldDir, newDir);
      inode_set_ctime_current(inode);
      await changed(task, handle, inode);
      await dirty(task, handle, oldDir);
      if (newDir !== oldDir) await dirty(task, handle, newDir);
    });
  } catch (error) {
    if (whiteout !== undefined) await discard(task, whiteout);
    throw error;
  }
  if (whiteout === undefined) return;
  unlock_new_inode(whiteout);
  await iput(task, whiteout);
}

async function tmpfile(task: Task, dir: Inode, file: File, mode: number): Promise<void> {
  const lists = await posix_acl_create(task, dir, S_IFREG | (mode & 0o7777));
  const body = async (handle: Handle): Promise<LatchInode> => {
    const made = await newInode(task, handle, dir, lists.mode, 0);
    made.i_nlink = 0;
    await infoOf(dir.i_sb).orphans.add(task, handle, made);
    await init_acl(task, handle, made, lists);
    await changed(task, handle, made);
    return made;
  };
  const inode = await with_handle(task, infoOf(dir.i_sb), body, CREDITS + acl_credits(lists));
  unlock_new_inode(inode);
  d_instantiate(task, file.f_dentry, inode);
}

/** Positions: 0 '.', 1 '..', and the key of an entry plus 2. */
async function iterate_shared(task: Task, file: File, ctx: DirContext): Promise<void> {
  const dir = latchInode(file.f_inode);
  if (ctx.pos === 0) {
    if (!ctx.actor('.', dir.i_ino, DT_DIR, 1)) return;
    ctx.pos = 1;
  }
  if (ctx.pos === 1) {
    if (!ctx.actor('..', dir.parent, DT_DIR, 2)) return;
    ctx.pos = 2;
  }
  await dir.directory.list(task, ctx.pos - 2, (name, ino, type, key) => {
    if (!ctx.actor(name, ino, type, key + 3)) return false;
    ctx.pos = key + 3;
    return true;
  });
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
  tmpfile,
  setattr: latch_setattr,
  listxattr: latch_listxattr,
  get_inode_acl: latch_get_inode_acl,
  set_acl: latch_set_acl,
  fileattr_get,
  fileattr_set,
};

export const dir_operations: file_operations = { iterate_shared, fsync: latch_fsync };
