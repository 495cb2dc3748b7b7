/** rename (fs/namei.c): the lock order of the kernel's directory-locking document, the checks, and the call. */
import { inode_operations as rows } from '../contract/inode.js';
import { call, take } from '../locking/context.js';
import type { Held } from '../locking/held.js';
import { errno } from '../sched/errno.js';
import type { Task } from '../sched/task.js';
import { dput, shrink_dcache_parent } from './dcache.js';
import { d_exchange, d_move, is_subdir } from './dcache-alias.js';
import type { Dentry } from './dentry.js';
import {
  I_MUTEX_CHILD,
  I_MUTEX_NONDIR2,
  I_MUTEX_NORMAL,
  I_MUTEX_PARENT,
  I_MUTEX_PARENT2,
  type Inode,
  S_DEAD,
} from './inode.js';
import { dirOf, lookup_locked } from './namei.js';
import { isDir, may_create, may_delete } from './permission.js';

export const RENAME_NOREPLACE = 1;
export const RENAME_EXCHANGE = 2;
export const RENAME_WHITEOUT = 4;

/** The two parents, locked: the ancestor first, or by address (here inode number) where neither is one. */
async function lock_rename(task: Task, a: Dentry, b: Dentry, held: Held[]): Promise<void> {
  const [dirA, dirB] = [dirOf(a), dirOf(b)];
  if (dirA === dirB) {
    held.push(await take(task, rows.rename, 'old_dir', dirA.i_rwsem, I_MUTEX_PARENT));
    return;
  }
  held.push(await dirA.i_sb.s_vfs_rename_sem.lock(task));
  const [first, second] =
    is_subdir(a, b) || (!is_subdir(b, a) && dirB.i_ino < dirA.i_ino) ? [dirB, dirA] : [dirA, dirB];
  held.push(await take(task, rows.rename, 'old_dir', first.i_rwsem, I_MUTEX_PARENT));
  held.push(await take(task, rows.rename, 'new_dir', second.i_rwsem, I_MUTEX_PARENT2));
}

/** What takes part in one rename. */
interface Rename {
  readonly oldDir: Inode;
  readonly newDir: Inode;
  readonly old: Dentry;
  readonly target: Dentry;
  readonly flags: number;
}

/**
 * Rename, with RENAME_NOREPLACE, RENAME_EXCHANGE or RENAME_WHITEOUT.
 * @throws EINVAL into its own subdirectory, or for flags that exclude each other; EEXIST ENOENT ENOTDIR EISDIR ENOTEMPTY EBUSY EXDEV EACCES
 */
export async function do_rename(
  task: Task,
  oldParent: Dentry,
  oldName: string,
  newParent: Dentry,
  newName: string,
  flags: number,
): Promise<void> {
  if ((flags & ~7) !== 0 || ((flags & RENAME_EXCHANGE) !== 0 && (flags & ~RENAME_EXCHANGE) !== 0))
    throw errno('EINVAL');
  if ((flags & RENAME_WHITEOUT) !== 0 && !task.cred.capable('CAP_MKNOD')) throw errno('EPERM');
  const held: Held[] = [];
  const dentries: Dentry[] = [];
  try {
    await lock_rename(task, oldParent, newParent, held);
    const old = await lookup_locked(task, oldParent, oldName);
    dentries.push(old);
    if (old.isNegative) throw errno('ENOENT');
    const target = await lookup_locked(task, newParent, newName);
    dentries.push(target);
    if ((flags & RENAME_NOREPLACE) !== 0 && !target.isNegative) throw errno('EEXIST');
    if ((flags & RENAME_EXCHANGE) !== 0 && target.isNegative) throw errno('ENOENT');
    // The source must not be an ancestor of the target's parent, nor the other way round (lock_rename's "trap").
    if (is_subdir(newParent, old)) throw errno('EINVAL');
    if (is_subdir(oldParent, target)) throw errno((flags & RENAME_EXCHANGE) === 0 ? 'ENOTEMPTY' : 'EINVAL');
    await vfs_rename(task, { oldDir: dirOf(oldParent), newDir: dirOf(newParent), old, target, flags });
  } finally {
    for (const guard of held.reverse()) guard.release();
    for (const dentry of dentries) await dput(task, dentry);
  }
}

/** With the parents locked. Locks the victims: subdirectories before files, each by address. */
async function vfs_rename(task: Task, r: Rename): Promise<void> {
  const { oldDir, newDir, old, target, flags } = r;
  const source = old.d_inode;
  const victim = target.d_inode;
  if (source === undefined) throw errno('ENOENT');
  if (source === victim) return;
  await may_delete(task, oldDir, old, isDir(source));
  const exchange = (flags & RENAME_EXCHANGE) !== 0;
  if (victim === undefined) await may_create(task, newDir, target);
  else await may_delete(task, newDir, target, exchange ? isDir(victim) : isDir(source));
  const { rename } = oldDir.i_op;
  if (rename === undefined) throw errno('EPERM');
  const victims: Held[] = [];
  try {
    await lockVictims(task, r, source, victim, victims);
    const moved = oldDir !== newDir;
    const locked = victims.some((guard) => guard.lock === source.i_rwsem);
    const participants = {
      old_dir: oldDir.i_rwsem,
      new_dir: newDir.i_rwsem,
      victim: victim?.i_rwsem,
      sb: moved ? oldDir.i_sb.s_vfs_rename_sem : undefined,
      'source/non-directory': !isDir(source) && locked ? source.i_rwsem : undefined,
      'source/moved-directory': isDir(source) && moved ? source.i_rwsem : undefined,
    };
    await call(task, rows.rename, participants, () => rename(task, oldDir, old, newDir, target, flags));
    if (exchange) d_exchange(task, old, target);
    else {
      if (victim !== undefined && isDir(victim)) {
        await shrink_dcache_parent(task, target);
        victim.i_flags |= S_DEAD;
      }
      await d_move(task, old, target);
    }
  } finally {
    for (const guard of victims.reverse()) guard.release();
  }
}

async function lockVictims(
  task: Task,
  r: Rename,
  source: Inode,
  victim: Inode | undefined,
  held: Held[],
): Promise<void> {
  const moved = r.oldDir !== r.newDir;
  const directories = [
    ...(isDir(source) && moved ? [source] : []),
    ...(victim !== undefined && isDir(victim) ? [victim] : []),
  ];
  for (const [i, inode] of byAddress(directories).entries()) {
    held.push(await inode.i_rwsem.write(task, i === 0 ? I_MUTEX_CHILD : I_MUTEX_CHILD + 8));
  }
  const files = [...(isDir(source) ? [] : [source]), ...(victim !== undefined && !isDir(victim) ? [victim] : [])];
  for (const [i, inode] of byAddress(files).entries()) {
    held.push(await inode.i_rwsem.write(task, i === 0 ? I_MUTEX_NORMAL : I_MUTEX_NONDIR2));
  }
}

function byAddress(inodes: Inode[]): Inode[] {
  return inodes.sort((a, b) => a.i_ino - b.i_ino);
}
