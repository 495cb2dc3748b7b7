/** Inodes of an overlay: what is asked of them is asked of the topmost layer (fs/overlayfs/inode.c). */

import { errno } from '../../sched/errno.js';
import type { Task } from '../../sched/task.js';
import { S_IFLNK, S_IFMT } from '../../uapi/stat.js';
import { d_add } from '../dcache-alias.js';
import type { Dentry } from '../dentry.js';
import type { Inode } from '../inode.js';
import { isDir } from '../inode.js';
import { vfs_get_link } from '../namei.js';
import type { inode_operations } from '../operations.js';
import { get_cached_acl, get_inode_acl } from '../posix-acl-ops.js';
import { vfs_getattr } from '../stat.js';
import { SB_POSIXACL, type SuperBlock } from '../super-block.js';
import { vfs_listxattr } from '../xattr.js';
import { asCreator, OVL_XATTR_PREFIX, OvlInode, ovl, realDentry } from './entry.js';
import { ovl_file_operations } from './file.js';
import { lookupLayers } from './namei.js';
import { ovl_dir_operations } from './readdir.js';

const common: inode_operations = {
  getattr: async (task, dentry, mask, flags) => {
    const inode = ovl(dentry.d_inode);
    const stat = await asCreator(task, inode.i_sb, () => vfs_getattr(task, realDentry(dentry), mask, flags));
    // Subdirectories of several layers are not worth counting.
    return { ...stat, ino: inode.st_ino, nlink: isDir(inode) && inode.layers.length > 1 ? 1 : stat.nlink };
  },
  listxattr: async (task, dentry) => {
    const names = await asCreator(task, dentry.d_sb, () => vfs_listxattr(task, realDentry(dentry)));
    return names.filter((name) => !name.startsWith(OVL_XATTR_PREFIX));
  },
  get_inode_acl: (task, inode, type, rcu) => {
    const { real } = ovl(inode);
    if ((real.i_sb.s_flags & SB_POSIXACL) === 0) return undefined;
    if (!rcu) return get_inode_acl(task, real, type);
    const kept = get_cached_acl(real, type);
    if (kept === undefined) throw errno('ECHILD');
    return kept ?? undefined;
  },
};

const dir_inode_operations: inode_operations = { ...common, lookup };

const link_operations: inode_operations = {
  ...common,
  get_link: (task, dentry, inode) => {
    if (dentry === undefined) throw errno('ECHILD');
    return asCreator(task, dentry.d_sb, () => vfs_get_link(task, realDentry(dentry), ovl(inode).real));
  },
};

/** An inode of what the layers have under one name. @param layers with references, which it takes over */
export function ovl_new_inode(sb: SuperBlock, layers: readonly Dentry[]): OvlInode {
  const inode = new OvlInode(sb, layers);
  if (isDir(inode)) {
    inode.i_op = dir_inode_operations;
    inode.i_fop = ovl_dir_operations;
  } else {
    inode.i_op = (inode.i_mode & S_IFMT) === S_IFLNK ? link_operations : common;
    inode.i_fop = ovl_file_operations;
  }
  return inode;
}

async function lookup(task: Task, dir: Inode, dentry: Dentry): Promise<undefined> {
  const find = (): Promise<Dentry[]> => lookupLayers(task, ovl(dir).layers, dentry.d_name);
  const layers = await asCreator(task, dir.i_sb, find);
  d_add(task, dentry, layers.length === 0 ? undefined : ovl_new_inode(dir.i_sb, layers));
}
