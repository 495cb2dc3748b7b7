/** Finding dentries by inode number (fs/exportfs/expfs.c): what a server has that is given numbers and not paths. */
import { type Awaitable, andThen } from '../sched/awaitable.js';
import { errno } from '../sched/errno.js';
import type { Task } from '../sched/task.js';
import { dget, dput } from './dcache.js';
import { anyAlias, d_obtain_alias } from './dcache-alias.js';
import { DCACHE_DISCONNECTED, type Dentry } from './dentry.js';
import { iput } from './icache.js';
import { type Inode, isDir } from './inode.js';
import { lookup_permitted } from './namei/lookup.js';
import type { SuperBlock } from './super-block.js';

/**
 * A dentry of inode `ino` with a reference; a directory's is connected to the root. At once where it is cached.
 * @param generation of the inode that is meant: the number may have been used again
 * @throws ESTALE where there is no such inode (any more)
 */
export function dentry_of_ino(task: Task, sb: SuperBlock, ino: number, generation?: number): Awaitable<Dentry> {
  const known = sb.inodeHash.get(ino);
  if (generation !== undefined && known !== undefined && known.i_generation !== generation) throw errno('ESTALE');
  const alias = known === undefined ? undefined : anyAlias(known);
  if (alias !== undefined && (alias.d_flags & DCACHE_DISCONNECTED) === 0) return dget(alias);
  const { s_export_op: op } = sb;
  if (op === undefined) throw errno('ESTALE');
  return andThen(op.get_inode(task, sb, ino, generation), aliasOf, task);
}

function aliasOf(inode: Inode, task: Task): Awaitable<Dentry> {
  return andThen(d_obtain_alias(task, inode), connected, task, inode);
}

/** A directory gets its place; one that was removed, and that somebody is still in, has none. */
function connected(dentry: Dentry, task: Task, inode: Inode): Awaitable<Dentry> {
  if (!isDir(inode) || inode.i_nlink === 0 || (dentry.d_flags & DCACHE_DISCONNECTED) === 0) return dentry;
  return reconnect(task, inode.i_sb, dentry);
}

/**
 * Give a directory its place in the tree: the filesystem says in which directory and under which name it is, and looking that up moves it there (reconnect_path).
 * Takes over the reference to `dentry` and returns one.
 * @throws ESTALE where it is not there any more
 */
async function reconnect(task: Task, sb: SuperBlock, dentry: Dentry): Promise<Dentry> {
  try {
    const { s_export_op: op } = sb;
    const inode = dentry.d_inode;
    if (op === undefined || inode === undefined) throw errno('ESTALE');
    const parentInode = await op.get_parent(task, inode);
    try {
      const name = await op.get_name(task, parentInode, inode);
      const parent = await dentry_of_ino(task, sb, parentInode.i_ino);
      try {
        const found = await lookup_permitted(task, parent, name, 0);
        const ours = found === dentry;
        await dput(task, found);
        if (!ours) throw errno('ESTALE');
      } finally {
        await dput(task, parent);
      }
    } finally {
      await iput(task, parentInode);
    }
    return dentry;
  } catch (error) {
    await dput(task, dentry);
    throw error;
  }
}
