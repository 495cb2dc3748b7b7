/** Finding a name in the layers of a directory (fs/overlayfs/namei.c). */

import { isErrno } from '../../sched/errno.js';
import type { Task } from '../../sched/task.js';
import { S_IFCHR, S_IFMT } from '../../uapi/stat.js';
import { dput } from '../dcache.js';
import type { Dentry } from '../dentry.js';
import { isDir } from '../inode.js';
import { lookup_one } from '../namei/lookup.js';
import { vfs_getxattr } from '../xattr.js';
import { OVL_XATTR_PREFIX } from './entry.js';

const OPAQUE = `${OVL_XATTR_PREFIX}opaque`;

/** Whether it hides what the layers below have (ovl_is_whiteout). */
export function isWhiteout({ d_inode: inode }: Dentry): boolean {
  return inode !== undefined && (inode.i_mode & S_IFMT) === S_IFCHR && inode.i_rdev === 0;
}

/** Whether nothing of the layers below is merged into a directory. @throws EIO EACCES */
async function isOpaque(task: Task, dentry: Dentry): Promise<boolean> {
  try {
    return (await vfs_getxattr(task, dentry, OPAQUE))?.toString('latin1') === 'y';
  } catch (error) {
    if (isErrno(error, 'ENODATA') || isErrno(error, 'EOPNOTSUPP')) return false;
    throw error;
  }
}

/**
 * What a name stands for in the layers of a directory, with references (ovl_lookup). Empty where there is none. By the rights of who has mounted the overlay.
 * @throws what looking up in a layer throws
 */
export async function lookupLayers(task: Task, layers: readonly Dentry[], name: string): Promise<Dentry[]> {
  const found: Dentry[] = [];
  try {
    for (const layer of layers) if (!(await lookupLayer(task, layer, name, found))) break;
    return found;
  } catch (error) {
    for (const dentry of found) await dput(task, dentry);
    throw error;
  }
}

/** @param found what the layers above have, to which this one's is added @returns whether layers below count */
async function lookupLayer(task: Task, layer: Dentry, name: string, found: Dentry[]): Promise<boolean> {
  const dentry = await lookup_one(task, layer, name);
  const { d_inode: inode } = dentry;
  // Below a directory only directories count.
  const counts = inode !== undefined && !isWhiteout(dentry) && (found.length === 0 || isDir(inode));
  if (!counts) {
    await dput(task, dentry);
    return inode === undefined;
  }
  found.push(dentry);
  return isDir(inode) && !(await isOpaque(task, dentry));
}
