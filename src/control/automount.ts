/**
 * `.latchfs` in the root of a mounted filesystem: a name that is not listed and not on the device, on which the control filesystem is mounted
 * when somebody first walks into it.
 */
import { d_alloc, d_drop, dput } from '../fs/dcache.js';
import { d_add } from '../fs/dcache-alias.js';
import { DCACHE_MANAGE_TRANSIT, DCACHE_NEED_AUTOMOUNT, type Dentry } from '../fs/dentry.js';
import { Inode, inode_init } from '../fs/inode.js';
import { OffsetCtx, simple_lookup, simple_offset_dir_operations } from '../fs/libfs.js';
import { lookup_mnt, umount_submounts, type VfsMount } from '../fs/namespace.js';
import { kill_sb, umount_begin, vfs_mount } from '../fs/super.js';
import type { SuperBlock } from '../fs/super-block.js';
import { current_time } from '../fs/time.js';
import { GUARDED, guard_read } from '../locking/guarded.js';
import { errno } from '../sched/errno.js';
import type { Task } from '../sched/task.js';
import { might_sleep, WaitQueue, wait_event } from '../sched/wait.js';
import type { ControlFile, ControlOwner } from './file.js';
import { controlFsType } from './super.js';

export const CONTROL_NAME = '.latchfs';

/** The place of one control directory. */
class AutomountPoint {
  readonly #files: readonly ControlFile[];
  readonly #owner: ControlOwner;
  readonly #sb: SuperBlock;
  readonly #arrived = new WaitQueue();
  #mounting = false;

  constructor(sb: SuperBlock, files: readonly ControlFile[], owner: ControlOwner) {
    this.#sb = sb;
    this.#files = files;
    this.#owner = owner;
  }

  /** While one task mounts, the others wait for it. @throws ECHILD where it would have to wait in rcu-walk */
  readonly d_manage = (task: Task, _dentry: Dentry, rcuWalk: boolean): Promise<void> | undefined => {
    if (rcuWalk) guard_read(task, GUARDED.under_rcu, this.#sb.rcu);
    else might_sleep(task, `the mount of ${CONTROL_NAME}`);
    if (!this.#mounting) return undefined;
    if (rcuWalk) throw errno('ECHILD');
    return wait_event(task, this.#arrived, () => !this.#mounting, { what: `the mount of ${CONTROL_NAME}` });
  };

  readonly d_automount = async (task: Task): Promise<VfsMount> => {
    might_sleep(task, `the mount of ${CONTROL_NAME}`);
    this.#mounting = true;
    try {
      const type = controlFsType(this.#files, this.#owner);
      const sb = await vfs_mount(this.#sb.machine, type, undefined, 0);
      const { s_root: root } = sb;
      if (root === undefined) throw errno('EIO', `${CONTROL_NAME} has no root`);
      sb.kernelChecksPermissions = this.#sb.kernelChecksPermissions;
      return { mnt_sb: sb, mnt_root: root, kill: () => kill_sb(sb) };
    } finally {
      this.#mounting = false;
      this.#arrived.wake_all();
    }
  };
}

/**
 * Give the root of `sb` its control directory.
 * @returns what takes it away again, to be called before kill_sb
 */
export function attachControl(
  task: Task,
  sb: SuperBlock,
  files: readonly ControlFile[],
  owner: ControlOwner,
): (task: Task) => Promise<void> {
  const { s_root: root } = sb;
  if (root === undefined) throw errno('EIO', `${sb.s_id} is not mounted`);
  const point = new AutomountPoint(sb, files, owner);
  const inode = new Inode(sb);
  const attrs = inode_init(inode);
  attrs.i_mode = 0o040700;
  attrs.i_uid = owner.uid;
  attrs.i_gid = owner.gid;
  attrs.i_nlink = 2;
  inode.i_atime = inode.i_mtime = inode.i_ctime = inode.i_btime = current_time(inode);
  const offsets = new OffsetCtx();
  inode.i_op = { lookup: simple_lookup, get_offset_ctx: () => offsets };
  inode.i_fop = simple_offset_dir_operations;
  const dentry = d_alloc(task, root, CONTROL_NAME);
  dentry.d_op = {
    d_manage: point.d_manage,
    d_automount: point.d_automount,
    // The inode is ours and on no device: the filesystem must not be asked to evict it.
    d_iput: (_task, _dentry, gone) => {
      gone.i_count--;
    },
  };
  d_add(task, dentry, inode);
  dentry.d_flags |= DCACHE_NEED_AUTOMOUNT | DCACHE_MANAGE_TRANSIT;
  return async (ending) => {
    const mount = lookup_mnt(dentry);
    // Nobody will come for what somebody still waits for in it.
    if (mount !== undefined) await umount_begin(ending, mount.mnt_sb);
    await umount_submounts(ending, sb);
    d_drop(ending, dentry);
    await dput(ending, dentry);
  };
}
