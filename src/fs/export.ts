/** Finding dentries by inode number (fs/exportfs/expfs.c): what a server has that is given numbers and not paths. */
import { type Awaitable, andThen } from '../sched/awaitable.js';
import { errno } from '../sched/errno.js';
import type { Task } from '../sched/task.js';
import { d_alloc, dget, dput } from './dcache.js';
import { d_move, d_obtain_alias } from './dcache-alias.js';
import { DCACHE_DISCONNECTED, type Dentry } from './dentry.js';
import { isDir } from './permission.js';
import type { SuperBlock } from './super-block.js';

/**
 * A dentry of inode `ino` with a reference; a directory's is connected to the root. At once where it is cached.
 * @throws ESTALE where there is no such inode (any more)
 */
export function dentry_of_ino(task: Task, sb: SuperBlock, ino: number, generation?: number): Awaitable<Dentry> {
  const alias = sb.inodeHash.get(ino)?.i_dentry[0];
  if (alias !== undefined && (alias.d_flags & DCACHE_DISCONNECTED) === 0) return dget(alias);
  const { s_export_op: op } = sb;
  if (op === undefined) throw errno('ESTALE');
  return andThen(op.get_inode(task, sb, ino, generation), (inode) =>
    andThen(d_obtain_alias(task, inode), (dentry) => {
      if (!isDir(inode) || (dentry.d_flags & DCACHE_DISCONNECTED) === 0) return dentry;
      return reconnect(task, sb, dentry);
    }),
  );
}

/** Give a directory its place in the tree by asking the filesystem where it is (reconnect_path). */
async function reconnect(task: Task, sb: SuperBlock, dentry: Dentry): Promise<Dentry> {
  const { s_export_op: op } = sb;
  const inode = dentry.d_inode;
  if (op === undefined || inode === undefined) throw errno('ESTALE');
  const parentInode = await op.get_parent(task, inode);
  const name = await op.get_name(task, parentInode, inode);
  const parent = await dentry_of_ino(task, sb, parentInode.i_ino);
  const place = d_alloc(task, parent, name);
  await d_move(task, dentry, place);
  await dput(task, place);
  await dput(task, parent);
  return dentry;
}
