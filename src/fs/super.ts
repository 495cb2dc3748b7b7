/** Mounting, remounting and unmounting (fs/super.c). */

import type { BlockDevice } from '../block/block-device.js';
import { file_system_type as type_rows } from '../contract/file-system-type.js';
import { super_operations } from '../contract/super.js';
import { call, take, task_end } from '../locking/context.js';
import type { Exclusive } from '../locking/held.js';
import type { Awaitable } from '../sched/awaitable.js';
import { errno } from '../sched/errno.js';
import { type Cred, ROOT_CRED, type Task } from '../sched/task.js';
import { MS_STRICTATIME } from '../uapi/mount.js';
import { shrink_dcache_for_umount, shrink_dcache_sb } from './dcache-shrink.js';
import type { Dentry } from './dentry.js';
import { Flusher } from './flusher.js';
import { evict_inodes } from './icache.js';
import type { Inode } from './inode.js';
import { state_lock_orders } from './lock-order.js';
import { registerSuperShrinker } from './shrinker.js';
import {
  type Machine,
  SB_ACTIVE,
  SB_LAZYTIME,
  SB_NOATIME,
  SB_NODIRATIME,
  SB_RDONLY,
  SB_SYNCHRONOUS,
  SuperBlock,
  sb_init_flags,
  sb_set_flags,
} from './super-block.js';
import { SB_UNFROZEN } from './super-writers.js';
import { sync_filesystem_locked } from './sync.js';
import type { Kstatfs } from './types.js';

/** How a filesystem is mounted. Locks: the section file_system_type. */
export interface FileSystemType<Device extends BlockDevice | undefined = BlockDevice> {
  readonly name: string;
  /** Read the superblock and the root into `sb`, whose s_umount is held exclusively and stays so. */
  fill_super(task: Task, sb: SuperBlock, bdev: Device): Awaitable<void>;
  /**
   * Shut the filesystem down. s_umount is held exclusively, and is given back by generic_shutdown_super, which this calls; absent: nothing besides.
   * @returns how many inodes were still in use
   */
  kill_sb?(task: Task, sb: SuperBlock): Awaitable<number>;
}

/** What a mounted superblock has besides: who writes it back, and who makes its caches smaller. */
interface Mounted {
  readonly type: Pick<FileSystemType, 'kill_sb'>;
  readonly flusher: Flusher;
  unregisterShrinker(): void;
}

const mounted = new WeakMap<SuperBlock, Mounted>();

/**
 * Mount a filesystem from a device, or one that needs none (get_tree_bdev, get_tree_nodev). @param flags SB_* @param cred who mounts it
 * @returns its superblock, mounted
 * @throws what the filesystem finds wrong with the device; nothing is left mounted then
 */
export async function vfs_mount<Device extends BlockDevice | undefined>(
  machine: Machine,
  type: FileSystemType<Device>,
  bdev: Device,
  flags: number,
  cred: Cred = ROOT_CRED,
): Promise<SuperBlock> {
  state_lock_orders();
  const sb = new SuperBlock(machine, type.name);
  const task = sb.newTask({ comm: 'mount', cred });
  sb_init_flags(sb, flags);
  sb.s_bdev = bdev;
  sb.s_id = bdev === undefined ? type.name : bdev.name;
  const flusher = new Flusher(sb);
  sb.s_bdi = flusher.bdi;
  const held = (await call(task, type_rows.mount, { sb: sb.s_umount }, async () => {
    const umount = await sb.s_umount.write(task);
    try {
      await type.fill_super(task, sb, bdev);
      sb_set_flags(task, sb, sb.s_flags | SB_ACTIVE);
    } catch (error) {
      flusher.stop();
      umount.release();
      throw error;
    }
    return umount;
  })) satisfies Exclusive<'s_umount'>;
  mounted.set(sb, { type, flusher, unregisterShrinker: registerSuperShrinker(sb) });
  held.release();
  task_end(task);
  return sb;
}

/** Unmount (deactivate_locked_super). Takes s_umount exclusively, which ->kill_sb gives back. @returns how many inodes were still in use */
export async function kill_sb(sb: SuperBlock): Promise<number> {
  const task = sb.newTask({ comm: 'umount' });
  const parts = mounted.get(sb);
  mounted.delete(sb);
  parts?.flusher.stop();
  parts?.unregisterShrinker();
  await sb.s_umount.write(task);
  const shutdown = parts?.type.kill_sb ?? generic_shutdown_super;
  const busy = await call(task, type_rows.kill_sb, { sb: sb.s_umount }, () => shutdown(task, sb));
  task_end(task);
  return busy;
}

/** Write everything, forget everything, give s_umount back (generic_shutdown_super). @returns how many inodes were still in use */
export async function generic_shutdown_super(task: Task, sb: SuperBlock): Promise<number> {
  try {
    const { s_op } = sb;
    await shrink_dcache_for_umount(task, sb);
    try {
      await sync_filesystem_locked(task, sb);
    } catch (error) {
      // It goes away all the same, and nobody is left to be told but the administrator.
      sb.machine.printk?.(`${sb.s_id}: what was written last is lost: ${String(error)}`);
    }
    sb_set_flags(task, sb, sb.s_flags & ~SB_ACTIVE);
    const busy = await evict_inodes(task, sb);
    await call(task, super_operations.put_super, { sb: sb.s_umount }, () => s_op.put_super?.(task, sb));
    // Last, because it may throw.
    if (busy.length > 0) still_busy(task, sb, busy);
    return busy.length;
  } finally {
    sb.s_umount.writer?.release();
  }
}

/** Somebody has a reference to inodes of a filesystem that goes away, and will use what is gone ("VFS: Busy inodes after unmount"). */
function still_busy(task: Task, sb: SuperBlock, busy: readonly Inode[]): void {
  const [first] = busy;
  task.validator.violation(task, 'guarded-state', {
    message: `${busy.length} inodes of ${sb.s_id} are in use at the unmount, number ${first?.i_ino ?? 0} for one`,
    rule: 'inode#given-back-before-the-unmount',
    row: type_rows.kill_sb,
    lock: 's_umount',
    held: [...task.held],
  });
}

/** statfs(2) (vfs_statfs). @throws ENOSYS */
export function vfs_statfs(task: Task, dentry: Dentry): Awaitable<Kstatfs> {
  const { d_sb: sb } = dentry;
  const { statfs } = sb.s_op;
  if (statfs === undefined) throw errno('ENOSYS');
  return call(task, super_operations.statfs, { 'sb/path': sb.s_umount }, () => statfs(task, dentry));
}

/** statfs for ustat(2), which has a device and no path: s_umount, shared, keeps the filesystem there (user_get_super). @throws ENOSYS */
export async function user_statfs(task: Task, sb: SuperBlock): Promise<Kstatfs> {
  using _umount = await take(task, super_operations.statfs, 'sb', sb.s_umount);
  const { s_root: root } = sb;
  const { statfs } = sb.s_op;
  if (root === undefined) throw errno('EINVAL');
  if (statfs === undefined) throw errno('ENOSYS');
  return await call(task, super_operations.statfs, { 'sb/ustat': sb.s_umount }, () => statfs(task, root));
}

/** End requests that are stuck, before an unmount with MNT_FORCE (do_umount). Without s_umount. */
export function umount_begin(task: Task, sb: SuperBlock): Awaitable<void> {
  const { umount_begin: op } = sb.s_op;
  return op === undefined
    ? undefined
    : call(task, super_operations.umount_begin, { sb: sb.s_umount }, () => op(task, sb));
}

/** The flags that a remount can change (MS_RMT_MASK). */
const SB_REMOUNTABLE = SB_RDONLY | SB_SYNCHRONOUS | SB_NOATIME | SB_NODIRATIME | MS_STRICTATIME | SB_LAZYTIME;

/** Nobody may write who cannot be kept from it (sb_prepare_remount_readonly). @throws EBUSY */
function checkNoWriters(sb: SuperBlock): void {
  for (const inode of sb.inodeHash.values()) {
    if (inode.i_writecount > 0 || (inode.i_nlink === 0 && inode.i_count > 0)) throw errno('EBUSY');
  }
}

/**
 * Change how a filesystem is mounted (reconfigure_super). Takes s_umount exclusively.
 * @param flags SB_RDONLY, SB_SYNCHRONOUS, SB_NOATIME, SB_NODIRATIME, MS_STRICTATIME, SB_LAZYTIME: as they are to be
 * @param data options of the filesystem's own
 * @throws EBUSY where it is to be read-only and files are open for writing, or are open without a name; and while it is frozen; what
 * ->remount_fs throws
 */
export async function do_remount(task: Task, sb: SuperBlock, flags: number, data: string): Promise<void> {
  using _umount = await take(task, super_operations.remount_fs, 'sb', sb.s_umount);
  if (sb.s_writers.frozen !== SB_UNFROZEN) throw errno('EBUSY');
  await shrink_dcache_sb(task, sb);
  const wanted = (sb.s_flags & ~SB_REMOUNTABLE) | (flags & SB_REMOUNTABLE);
  if ((wanted & ~sb.s_flags & SB_RDONLY) !== 0) {
    checkNoWriters(sb);
    await sync_filesystem_locked(task, sb);
    checkNoWriters(sb);
  }
  const { remount_fs } = sb.s_op;
  if (remount_fs !== undefined) {
    await call(task, super_operations.remount_fs, { sb: sb.s_umount }, () => remount_fs(task, sb, wanted, data));
  }
  sb_set_flags(task, sb, wanted);
}
