/** Timestamps (fs/inode.c): current_time, relatime, and which operation changes which time. */
import { inode_operations } from '../contract/inode.js';
import { call } from '../locking/context.js';
import { type Awaitable, andThen } from '../sched/awaitable.js';
import type { Task } from '../sched/task.js';
import { type Timespec, timespecCompare, timespecEqual } from '../sched/time.js';
import { mark_inode_dirty } from './icache.js';
import { I_DIRTY_SYNC, type Inode, S_NOATIME } from './inode.js';
import { SB_NOATIME, SB_NODIRATIME, SB_RDONLY } from './super-block.js';

const DAY = 86_400;
/** The kernel's clock for timestamps ticks every 4 ms (CONFIG_HZ=250), which spares an inode update at each of many writes. */
const TICK = 4_000_000;

/** The time for a timestamp, in ticks of the coarse clock (current_time). */
export function current_time(inode: Inode): Timespec {
  const { sec, nsec } = inode.i_sb.sched.realtime();
  return { sec, nsec: nsec - (nsec % TICK) };
}

/** The attributes have changed (inode_set_ctime_current). @returns the time */
export function inode_set_ctime_current(inode: Inode): Timespec {
  const now = current_time(inode);
  inode.i_ctime = now;
  return now;
}

/** Data have changed: mtime and ctime, if the clock has ticked since (file_update_time). */
export function file_update_time(task: Task, inode: Inode): Awaitable<void> {
  const now = current_time(inode);
  if (timespecEqual(inode.i_mtime, now) && timespecEqual(inode.i_ctime, now)) return undefined;
  if (inode.i_op.update_time !== undefined) {
    return call(task, inode_operations.update_time, {}, () => inode.i_op.update_time?.(task, inode, now, 0x6));
  }
  inode.i_mtime = now;
  inode.i_ctime = now;
  return mark_inode_dirty(task, inode, I_DIRTY_SYNC);
}

/** A directory's entries have changed: both times at once. */
export function dir_changed(inode: Inode): void {
  inode.i_mtime = inode_set_ctime_current(inode);
}

/** Data were read: atime by the rules of relatime (touch_atime). */
export function touch_atime(task: Task, inode: Inode): Awaitable<void> {
  const { s_flags } = inode.i_sb;
  if ((inode.i_flags & S_NOATIME) !== 0 || (s_flags & (SB_NOATIME | SB_RDONLY)) !== 0) return undefined;
  if ((s_flags & SB_NODIRATIME) !== 0 && (inode.i_mode & 0o170000) === 0o040000) return undefined;
  const { i_atime: atime } = inode;
  const stale =
    timespecCompare(inode.i_mtime, atime) >= 0 ||
    timespecCompare(inode.i_ctime, atime) >= 0 ||
    current_time(inode).sec - atime.sec >= DAY;
  if (!stale) return undefined;
  const now = current_time(inode);
  if (timespecEqual(atime, now)) return undefined;
  inode.i_atime = now;
  return andThen(mark_inode_dirty(task, inode, I_DIRTY_SYNC), () => undefined);
}
