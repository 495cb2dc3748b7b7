/**
 * An overlay of directories, to be read only (fs/overlayfs without an upper layer): a name is that of the topmost layer that has it, directories are merged
 * down to one that is opaque, a whiteout hides what is below. An open file is one of the layer that knows by which name of the overlay it was opened: its own
 * dentry is asked for by d_real. The caller's rights are checked against the overlay; the layers are looked at by the rights of who has mounted it.
 */
import type { Awaitable } from '../../sched/awaitable.js';
import { errno } from '../../sched/errno.js';
import type { Task } from '../../sched/task.js';
import { might_sleep } from '../../sched/wait.js';
import { dget, dput } from '../dcache.js';
import { d_make_root } from '../dcache-alias.js';
import type { Dentry } from '../dentry.js';
import { generic_delete_inode } from '../icache.js';
import type { Inode } from '../inode.js';
import type { super_operations } from '../operations.js';
import { type FileSystemType, vfs_statfs } from '../super.js';
import { SB_POSIXACL, SB_RDONLY, type SuperBlock, sb_set_flags } from '../super-block.js';
import { vfs_getxattr } from '../xattr.js';
import { asCreator, OVL_XATTR_PREFIX, OvlFs, ovl, realDentry } from './entry.js';
import { ovl_new_inode } from './inode.js';

/** OVERLAYFS_SUPER_MAGIC. */
const MAGIC = 0x794c7630;

const ovl_super_operations: super_operations = {
  statfs: (task, dentry) => vfs_statfs(task, realDentry(dentry)),
  drop_inode: generic_delete_inode,
  evict_inode: async (task, inode) => {
    for (const layer of ovl(inode).layers) await dput(task, layer);
  },
  // There is no layer to write to (ovl_force_readonly).
  remount_fs: (_task, _sb, flags) => {
    if ((flags & SB_RDONLY) === 0) throw errno('EROFS');
  },
};

/** @param inode undefined for whatever is topmost; else the one whose dentry is wanted (ovl_d_real) */
function ovl_d_real(task: Task, dentry: Dentry, inode: Inode | undefined): Dentry {
  // Where data lie in a layer of their own they would be looked up here (ovl_verify_lowerdata).
  might_sleep(task, 'the dentry of a layer');
  if (dentry.d_inode === inode || dentry.d_inode === undefined) return dentry;
  const found = ovl(dentry.d_inode).layers.find((layer) => inode === undefined || layer.d_inode === inode);
  if (found === undefined) throw errno('EIO', 'a file of no layer');
  return found;
}

/** The filesystem type of an overlay of these directories, topmost first; it takes references of its own. */
export function overlayFsType(lower: readonly Dentry[]): FileSystemType<undefined> {
  return {
    name: 'overlay',
    fill_super: (task: Task, sb: SuperBlock): Awaitable<void> => {
      sb.s_magic = MAGIC;
      sb.s_maxbytes = Number.MAX_SAFE_INTEGER;
      sb_set_flags(task, sb, sb.s_flags | SB_POSIXACL);
      sb.s_fs_info = new OvlFs(
        task.cred,
        lower.every(({ d_sb }) => d_sb === lower[0]?.d_sb),
      );
      sb.s_op = ovl_super_operations;
      sb.s_d_op = { d_real: ovl_d_real };
      sb.s_xattr = [
        {
          prefix: '',
          list: () => true,
          get: (own, dentry, _inode, name) => {
            if (name.startsWith(OVL_XATTR_PREFIX)) return undefined;
            return asCreator(own, sb, () => vfs_getxattr(own, realDentry(dentry), name));
          },
        },
      ];
      const layers = lower.map((dentry) => dget(dentry));
      sb.s_root = d_make_root(task, ovl_new_inode(sb, layers));
    },
  };
}
