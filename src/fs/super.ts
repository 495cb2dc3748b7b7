/** Mounting and unmounting (fs/super.c). */

import type { BlockDevice } from '../block/block-device.js';
import { file_system_type as type_rows } from '../contract/file-system-type.js';
import { super_operations } from '../contract/super.js';
import { call } from '../locking/context.js';
import type { Exclusive } from '../locking/held.js';
import type { Awaitable } from '../sched/awaitable.js';
import { errno } from '../sched/errno.js';
import type { Timer } from '../sched/scheduler.js';
import { Task } from '../sched/task.js';
import { dput, shrink_dcache_for_umount } from './dcache.js';
import type { Dentry } from './dentry.js';
import { evict_inodes } from './icache.js';
import { type Machine, SB_RDONLY, SuperBlock } from './super-block.js';
import { sync_filesystem_locked, writeback_inodes } from './sync.js';
import type { Kstatfs } from './types.js';

/** How a filesystem is mounted. Locks: the section file_system_type. */
export interface FileSystemType {
  readonly name: string;
  /** Read the superblock and the root into `sb`, whose s_umount is held exclusively and stays so. */
  fill_super(task: Task, sb: SuperBlock, bdev: BlockDevice): Awaitable<void>;
}

/** Milliseconds between two rounds of the flusher, and the age at which dirty data are written (dirty_writeback_centisecs, dirty_expire_centisecs). */
const FLUSH_EVERY = 5000;
const EXPIRE = 30_000;

const flushers = new WeakMap<SuperBlock, Timer>();

/**
 * Mount a filesystem from a device (mount_bdev). @returns its superblock, mounted
 * @throws what the filesystem finds wrong with the device; nothing is left mounted then
 */
export async function vfs_mount(
  machine: Machine,
  type: FileSystemType,
  bdev: BlockDevice,
  flags: number,
): Promise<SuperBlock> {
  const task = new Task(machine.sched, machine.validator, { comm: 'mount' });
  const sb = new SuperBlock(machine, type.name);
  sb.s_flags = flags;
  sb.s_bdev = bdev;
  sb.s_id = bdev.name;
  const held = (await call(task, type_rows.mount, { sb: sb.s_umount }, async () => {
    const umount = await sb.s_umount.write(task);
    try {
      await type.fill_super(task, sb, bdev);
    } catch (error) {
      umount.release();
      throw error;
    }
    return umount;
  })) satisfies Exclusive<'s_umount'>;
  held.release();
  startFlusher(sb);
  return sb;
}

/** Write back what has been dirty for long, every few seconds (wb_workfn). */
function startFlusher(sb: SuperBlock): void {
  const round = (): void => {
    const task = sb.newTask({ comm: 'flush' });
    const before = sb.sched.monotonic() - EXPIRE;
    const done = sb.sched.run(() => writeback_inodes(task, sb, false, (inode) => inode.dirtied_when <= before));
    const again = (): void => {
      if (flushers.has(sb)) flushers.set(sb, sb.sched.timer(FLUSH_EVERY, round));
    };
    // Errors are recorded on the mappings, for those who fsync.
    if (done instanceof Promise) done.then(again, again);
    else again();
  };
  flushers.set(sb, sb.sched.timer(FLUSH_EVERY, round));
}

/** Unmount: write everything, forget everything (kill_sb, generic_shutdown_super). @returns how many inodes were still in use */
export async function kill_sb(sb: SuperBlock): Promise<number> {
  const task = sb.newTask({ comm: 'umount' });
  flushers.get(sb)?.cancel();
  flushers.delete(sb);
  const held = await sb.s_umount.write(task);
  let busy = 0;
  await call(task, type_rows.kill_sb, { sb: sb.s_umount }, async () => {
    try {
      await shrink_dcache_for_umount(task, sb);
      await sync_filesystem_locked(task, sb);
      const { s_root: root } = sb;
      sb.s_root = undefined;
      if (root !== undefined) await dput(task, root);
      await shrink_dcache_for_umount(task, sb);
      busy = (await evict_inodes(task, sb)).length;
      await call(task, super_operations.put_super, { sb: sb.s_umount }, () => sb.s_op.put_super?.(task, sb));
    } finally {
      held.release();
    }
  });
  return busy;
}

/** statfs(2) (vfs_statfs). @throws ENOSYS */
export function vfs_statfs(task: Task, dentry: Dentry): Awaitable<Kstatfs> {
  const { d_sb: sb } = dentry;
  const { statfs } = sb.s_op;
  if (statfs === undefined) throw errno('ENOSYS');
  return call(task, super_operations.statfs, { 'sb/path': sb.s_umount }, () => statfs(task, dentry));
}

export function isReadOnly(sb: SuperBlock): boolean {
  return (sb.s_flags & SB_RDONLY) !== 0;
}
