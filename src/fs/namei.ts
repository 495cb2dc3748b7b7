/** Names (fs/namei.c): looking up, making, linking and removing them. rename is in namei-rename.ts. */
import { inode_operations as rows } from '../contract/inode.js';
import { call, take } from '../locking/context.js';
import type { Exclusive } from '../locking/held.js';
import { type Awaitable, andThen, withCleanup } from '../sched/awaitable.js';
import { errno } from '../sched/errno.js';
import type { Task } from '../sched/task.js';
import {
  d_alloc,
  d_alloc_parallel,
  d_delete,
  d_lookup,
  d_lookup_done,
  d_rehash,
  dput,
  shrink_dcache_parent,
} from './dcache.js';
import type { Dentry } from './dentry.js';
import { ihold, iput } from './icache.js';
import { I_MUTEX_NORMAL, I_MUTEX_PARENT, type Inode, S_APPEND, S_DEAD, S_IMMUTABLE, S_SWAPFILE } from './inode.js';
import { inode_permission, isDir, MAY_EXEC, may_create, may_delete } from './permission.js';

export { do_rename } from './namei-rename.js';

const NAME_MAX = 255;
const PATH_MAX = 4096;

/** The inode of a directory. @throws ENOENT ENOTDIR */
export function dirOf(dentry: Dentry): Inode {
  const inode = dentry.d_inode;
  if (inode === undefined) throw errno('ENOENT');
  if (!isDir(inode)) throw errno('ENOTDIR');
  return inode;
}

/**
 * Look a name up, with a reference to its dentry, which is negative where there is none (lookup_one). Cached names take no lock; others i_rwsem
 * shared, and of several that look for the same name at once one asks the filesystem. @throws ENOTDIR EACCES ENAMETOOLONG ENOENT
 */
export function lookup_one(task: Task, parent: Dentry, name: string): Awaitable<Dentry> {
  const dir = dirOf(parent);
  if (name.length > NAME_MAX) throw errno('ENAMETOOLONG');
  return andThen(inode_permission(task, dir, MAY_EXEC), () => {
    const cached = d_lookup(task, parent, name);
    if (cached !== undefined) return cached;
    return andThen(take(task, rows.lookup, 'dir', dir.i_rwsem, I_MUTEX_NORMAL), (held) =>
      withCleanup(
        () =>
          andThen(d_alloc_parallel(task, parent, name), ({ dentry, fresh }) =>
            fresh ? lookup_real(task, dir, dentry) : dentry,
          ),
        () => held.release(),
      ),
    );
  });
}

/** Look a name up with the directory's i_rwsem held exclusively (lookup_one_qstr_excl). */
export function lookup_locked(task: Task, parent: Dentry, name: string): Awaitable<Dentry> {
  if (name.length > NAME_MAX) throw errno('ENAMETOOLONG');
  const cached = d_lookup(task, parent, name);
  if (cached !== undefined) return cached;
  return lookup_real(task, dirOf(parent), d_alloc(task, parent, name));
}

/** Ask the filesystem about a fresh dentry; takes over the reference to it. @returns what to use, with a reference */
function lookup_real(task: Task, dir: Inode, dentry: Dentry): Awaitable<Dentry> {
  const failed = (error: unknown): Awaitable<never> => {
    d_lookup_done(dentry);
    return andThen(dput(task, dentry), () => {
      throw error;
    });
  };
  const found = (other: Dentry | undefined): Awaitable<Dentry> => {
    d_lookup_done(dentry);
    return other === undefined ? dentry : andThen(dput(task, dentry), () => other);
  };
  try {
    const { lookup } = dir.i_op;
    if (lookup === undefined) throw errno('ENOTDIR');
    if ((dir.i_flags & S_DEAD) !== 0) throw errno('ENOENT');
    const looked = call(task, rows.lookup, { dir: dir.i_rwsem }, () => lookup(task, dir, dentry, 0));
    return looked instanceof Promise ? looked.then(found, failed) : found(looked);
  } catch (error) {
    return failed(error);
  }
}

/**
 * Make a name in `parent` with `make`, under the lock that the operation's row wants. @returns the dentry, with a reference
 */
async function creating(
  task: Task,
  row: typeof rows.create | typeof rows.mkdir | typeof rows.mknod | typeof rows.symlink | typeof rows.link,
  parent: Dentry,
  name: string,
  make: (dir: Inode, dentry: Dentry) => Awaitable<void>,
): Promise<Dentry> {
  const dir = dirOf(parent);
  using _held: Exclusive<'i_rwsem'> = await take(task, row, 'dir', dir.i_rwsem, I_MUTEX_PARENT);
  const dentry = await lookup_locked(task, parent, name);
  try {
    await may_create(task, dir, dentry);
    await make(dir, dentry);
    d_rehash(dentry);
    return dentry;
  } catch (error) {
    await dput(task, dentry);
    throw error;
  }
}

/** Make a regular file (vfs_create). @throws EEXIST EACCES ENOSPC EPERM ENAMETOOLONG */
export function do_create(task: Task, parent: Dentry, name: string, mode: number, excl: boolean): Promise<Dentry> {
  return creating(task, rows.create, parent, name, (dir, dentry) => vfs_create(task, dir, dentry, mode, excl));
}

/** With i_rwsem of `dir` held exclusively. */
export function vfs_create(task: Task, dir: Inode, dentry: Dentry, mode: number, excl: boolean): Awaitable<void> {
  const { create } = dir.i_op;
  if (create === undefined) throw errno('EACCES');
  const bits = 0o100000 | (mode & 0o7777 & ~task.umask);
  return call(task, rows.create, { dir: dir.i_rwsem }, () => create(task, dir, dentry, bits, excl));
}

export function do_mkdir(task: Task, parent: Dentry, name: string, mode: number): Promise<Dentry> {
  return creating(task, rows.mkdir, parent, name, (dir, dentry) => {
    const { mkdir } = dir.i_op;
    if (mkdir === undefined) throw errno('EPERM');
    const bits = 0o040000 | (mode & 0o1777 & ~task.umask);
    return call(task, rows.mkdir, { dir: dir.i_rwsem }, () => mkdir(task, dir, dentry, bits));
  });
}

/** Make a special file, or a regular one. @param rdev as the kernel's new_encode_dev */
export function do_mknod(task: Task, parent: Dentry, name: string, mode: number, rdev: number): Promise<Dentry> {
  const type = mode & 0o170000;
  if (type === 0o100000 || type === 0) return do_create(task, parent, name, mode, true);
  if (type === 0o040000) throw errno('EPERM');
  if (![0o010000, 0o140000, 0o020000, 0o060000].includes(type)) throw errno('EINVAL');
  const device = type === 0o020000 || type === 0o060000;
  return creating(task, rows.mknod, parent, name, (dir, dentry) => {
    if (device && !task.cred.capable('CAP_MKNOD')) throw errno('EPERM');
    const { mknod } = dir.i_op;
    if (mknod === undefined) throw errno('EPERM');
    const bits = type | (mode & 0o7777 & ~task.umask);
    return call(task, rows.mknod, { dir: dir.i_rwsem }, () => mknod(task, dir, dentry, bits, device ? rdev : 0));
  });
}

/** @throws ENOENT for an empty target; ENAMETOOLONG beyond PATH_MAX */
export function do_symlink(task: Task, parent: Dentry, name: string, target: string): Promise<Dentry> {
  if (target === '') throw errno('ENOENT');
  if (target.length >= PATH_MAX) throw errno('ENAMETOOLONG');
  return creating(task, rows.symlink, parent, name, (dir, dentry) => {
    const { symlink } = dir.i_op;
    if (symlink === undefined) throw errno('EPERM');
    return call(task, rows.symlink, { dir: dir.i_rwsem }, () => symlink(task, dir, dentry, target));
  });
}

/** A second name for `old` (vfs_link). @throws EPERM for a directory, an immutable or append-only file; ENOENT; EMLINK; EXDEV */
export function do_link(task: Task, old: Dentry, parent: Dentry, name: string): Promise<Dentry> {
  const inode = old.d_inode;
  if (inode === undefined) throw errno('ENOENT');
  return creating(task, rows.link, parent, name, async (dir, dentry) => {
    const { link } = dir.i_op;
    if (inode.i_sb !== dir.i_sb) throw errno('EXDEV');
    if ((inode.i_flags & (S_APPEND | S_IMMUTABLE)) !== 0 || isDir(inode) || link === undefined) throw errno('EPERM');
    using _victim = await take(task, rows.link, 'inode', inode.i_rwsem, I_MUTEX_NORMAL);
    await call(task, rows.link, { dir: dir.i_rwsem, inode: inode.i_rwsem }, () => link(task, old, dir, dentry));
  });
}

/** Remove a name that is not a directory's (do_unlinkat). What had it is freed when the directory is unlocked. @throws ENOENT EISDIR EACCES EPERM */
export function do_unlink(task: Task, parent: Dentry, name: string): Promise<void> {
  return removing(task, rows.unlink, parent, name, (dir, dentry) => vfs_unlink(task, dir, dentry));
}

/** Remove an empty directory (do_rmdir). @throws ENOENT ENOTDIR ENOTEMPTY EBUSY EACCES EPERM */
export function do_rmdir(task: Task, parent: Dentry, name: string): Promise<void> {
  return removing(task, rows.rmdir, parent, name, (dir, dentry) => vfs_rmdir(task, dir, dentry));
}

async function removing(
  task: Task,
  row: typeof rows.unlink | typeof rows.rmdir,
  parent: Dentry,
  name: string,
  remove: (dir: Inode, dentry: Dentry) => Promise<void>,
): Promise<void> {
  const dir = dirOf(parent);
  const held: Exclusive<'i_rwsem'> = await take(task, row, 'dir', dir.i_rwsem, I_MUTEX_PARENT);
  let dentry: Dentry | undefined;
  let victim: Inode | undefined;
  try {
    dentry = await lookup_locked(task, parent, name);
    victim = dentry.d_inode;
    if (victim !== undefined) ihold(victim);
    await remove(dir, dentry);
  } finally {
    held.release();
    if (dentry !== undefined) await dput(task, dentry);
    // The last reference may free a large file, which nobody who wants the directory has to wait for.
    if (victim !== undefined) await iput(task, victim);
  }
}

/** With i_rwsem of `dir` held exclusively; takes the victim's (vfs_unlink). */
export async function vfs_unlink(task: Task, dir: Inode, dentry: Dentry): Promise<void> {
  await may_delete(task, dir, dentry, false);
  const { unlink } = dir.i_op;
  const victim = dentry.d_inode;
  if (unlink === undefined || victim === undefined) throw errno('EPERM');
  const held = await take(task, rows.unlink, 'victim', victim.i_rwsem, I_MUTEX_NORMAL);
  try {
    if ((victim.i_flags & S_SWAPFILE) !== 0) throw errno('EPERM');
    await call(task, rows.unlink, { dir: dir.i_rwsem, victim: victim.i_rwsem }, () => unlink(task, dir, dentry));
  } finally {
    held.release();
  }
  await d_delete(task, dentry);
}

/** With i_rwsem of `dir` held exclusively; takes the victim's (vfs_rmdir). */
export async function vfs_rmdir(task: Task, dir: Inode, dentry: Dentry): Promise<void> {
  await may_delete(task, dir, dentry, true);
  const { rmdir } = dir.i_op;
  const victim = dentry.d_inode;
  if (rmdir === undefined || victim === undefined) throw errno('EPERM');
  const held = await take(task, rows.rmdir, 'victim', victim.i_rwsem, I_MUTEX_NORMAL);
  try {
    await call(task, rows.rmdir, { dir: dir.i_rwsem, victim: victim.i_rwsem }, () => rmdir(task, dir, dentry));
    await shrink_dcache_parent(task, dentry);
    victim.i_flags |= S_DEAD;
  } finally {
    held.release();
  }
  await d_delete(task, dentry);
}

/** The target of a symlink (vfs_readlink). @throws EINVAL for anything else */
export function vfs_readlink(task: Task, dentry: Dentry): Awaitable<string> {
  const inode = dentry.d_inode;
  const get_link = inode?.i_op.get_link;
  if (inode === undefined || get_link === undefined) throw errno('EINVAL');
  return call(task, rows.get_link, { inode: inode.i_rwsem }, () => get_link(task, dentry, inode));
}
