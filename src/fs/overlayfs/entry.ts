/** What a name of an overlay stands for: the same name in its layers (fs/overlayfs/ovl_entry.h). */
import { errno } from '../../sched/errno.js';
import type { Cred, Task } from '../../sched/task.js';
import type { Dentry } from '../dentry.js';
import { Inode, i_size_init, inode_init, isDir } from '../inode.js';
import { ACL_DONT_CACHE } from '../posix-acl-types.js';
import type { SuperBlock } from '../super-block.js';

/** Attributes of the layers by which the overlay keeps its books; those who look at the overlay do not see them. */
export const OVL_XATTR_PREFIX = 'trusted.overlay.';

/** What an overlay keeps with its superblock (struct ovl_fs). */
export class OvlFs {
  /** Who has mounted it: by his rights the layers are looked at, once the caller's have been checked against the overlay (creator_cred). */
  readonly creator: Cred;
  /** All layers are of one filesystem (ovl_same_fs). */
  readonly sameFs: boolean;
  lastIno = 1;

  constructor(creator: Cred, sameFs: boolean) {
    this.creator = creator;
    this.sameFs = sameFs;
  }
}

function ovlFs({ s_fs_info: info }: SuperBlock): OvlFs {
  if (info instanceof OvlFs) return info;
  throw errno('EIO', 'a superblock of another filesystem');
}

/** One name of the overlay: what it stands for in the layers, topmost first. Only directories have more than one. */
export class OvlInode extends Inode {
  readonly layers: readonly Dentry[];

  /** @param layers with references, which the inode keeps until it goes */
  constructor(sb: SuperBlock, layers: readonly Dentry[]) {
    super(sb);
    this.layers = layers;
    const from = this.real;
    this.i_ino = ++ovlFs(sb).lastIno;
    const attrs = inode_init(this);
    attrs.i_mode = from.i_mode;
    attrs.i_uid = from.i_uid;
    attrs.i_gid = from.i_gid;
    attrs.i_nlink = isDir(from) ? 1 : from.i_nlink;
    this.i_rdev = from.i_rdev;
    i_size_init(this, from.i_size);
    [this.i_atime, this.i_mtime, this.i_ctime, this.i_btime] = [from.i_atime, from.i_mtime, from.i_ctime, from.i_btime];
    // The layer keeps its lists itself.
    this.i_acl = this.i_default_acl = ACL_DONT_CACHE;
    this.i_rwsem.key = isDir(from) ? sb.i_mutex_dir_key : sb.i_mutex_key;
    sb.inodeHash.set(this.i_ino, this);
  }

  /**
   * The number that it is shown with (ovl_map_dev_ino): that of the topmost layer, except for directories of layers on several filesystems. i_ino is another for each
   * name, also where these are links.
   */
  get st_ino(): number {
    return ovlFs(this.i_sb).sameFs || !isDir(this) ? this.real.i_ino : this.i_ino;
  }

  /** The inode of the topmost layer (ovl_inode_real). */
  get real(): Inode {
    const inode = this.layers[0]?.d_inode;
    if (inode === undefined) throw errno('ESTALE');
    return inode;
  }
}

/** @throws EIO for an inode of another filesystem */
export function ovl(inode: Inode | undefined): OvlInode {
  if (inode instanceof OvlInode) return inode;
  throw errno('EIO', 'an inode of another filesystem');
}

/** The dentry of the topmost layer. No reference. @throws ESTALE where there is none any more */
export function realDentry(dentry: Dentry): Dentry {
  const [top] = ovl(dentry.d_inode).layers;
  if (top === undefined) throw errno('ESTALE');
  return top;
}

/** Do `body` by the rights of who has mounted the overlay (ovl_override_creds). */
export async function asCreator<T>(task: Task, sb: SuperBlock, body: () => T | Promise<T>): Promise<T> {
  const { cred } = task;
  task.cred = ovlFs(sb).creator;
  try {
    return await body();
  } finally {
    task.cred = cred;
  }
}
