/** Timestamps (fs/inode.c, kernel/time/timekeeping.c): current_time, relatime, and which operation changes which time. */

import { inode_operations } from '../contract/inode.js';
import { invoke } from '../locking/context.js';
import { heldBy } from '../locking/held.js';
import { type Awaitable, orElse, withCleanup } from '../sched/awaitable.js';
import { Errno } from '../sched/errno.js';
import type { Scheduler } from '../sched/scheduler.js';
import type { Task } from '../sched/task.js';
import { EPOCH, type Timespec, timespecCompare, timespecEqual } from '../sched/time.js';
import { O_NOATIME } from '../uapi/fcntl.js';
import { MS_STRICTATIME } from '../uapi/mount.js';
import { S_IFDIR, S_IFMT } from '../uapi/stat.js';
import type { File } from './file.js';
import { I_DIRTY_SYNC, I_DIRTY_TIME, type Inode, S_NOATIME } from './inode.js';
import { mark_inode_dirty } from './inode-dirty.js';
import { SB_LAZYTIME, SB_NOATIME, SB_NODIRATIME, SB_RDONLY } from './super-block.js';
import { sb_end_write, sb_start_write_trylock, type Writing } from './super-freeze.js';

/** Which times an update is about (S_ATIME …). */
export const S_ATIME = 1;
export const S_MTIME = 2;
export const S_CTIME = 4;
export const S_VERSION = 8;

const DAY = 86_400;
/**
 * The clock for timestamps of one machine: it ticks every few milliseconds, which spares an inode update at each of many writes. It is the kernel's own, because with its
 * writeback cache that stamps files as well.
 */
class CoarseClock {
  readonly #sched: Scheduler;
  #tick: Timespec = EPOCH;
  #now: Timespec = EPOCH;
  /** The latest fine time that was given out: no later timestamp may be before it (timekeeping's ctime floor). */
  #floor: Timespec = EPOCH;

  constructor(sched: Scheduler) {
    this.#sched = sched;
  }

  /** The begin of the present tick, or the floor where that is later. */
  coarse(): Timespec {
    const tick = this.#sched.coarse();
    if (tick === this.#tick) return this.#now;
    this.#tick = tick;
    // A floor far ahead is left from before the wall clock was set back.
    if (this.#floor.sec - tick.sec > 1) this.#floor = EPOCH;
    this.#now = timespecCompare(tick, this.#floor) < 0 ? this.#floor : tick;
    return this.#now;
  }

  /** The time to the nanosecond. */
  fine(): Timespec {
    const now = this.#sched.realtime();
    if (timespecCompare(now, this.#floor) > 0) this.#floor = now;
    if (timespecCompare(this.#now, this.#floor) < 0) this.#now = this.#floor;
    return this.#floor;
  }
}

const clocks = new WeakMap<Scheduler, CoarseClock>();

function clockOf(inode: Inode): CoarseClock {
  const { sched } = inode.i_sb;
  let clock = clocks.get(sched);
  if (clock === undefined) {
    clock = new CoarseClock(sched);
    clocks.set(sched, clock);
  }
  return clock;
}

/** A time as the filesystem can keep it (timestamp_truncate). */
export function timestamp_truncate(time: Timespec, inode: Inode): Timespec {
  const { s_time_gran: gran } = inode.i_sb;
  if (gran <= 1) return time;
  if (gran >= 1_000_000_000) return time.nsec === 0 ? time : { sec: time.sec, nsec: 0 };
  const over = time.nsec % gran;
  return over === 0 ? time : { sec: time.sec, nsec: time.nsec - over };
}

/** The time for a timestamp, in ticks of the coarse clock; where the kernel stamps files as well, never before what it has stamped (current_time). */
export function current_time(inode: Inode): Timespec {
  const { machine } = inode.i_sb;
  return timestamp_truncate(machine.multigrain === false ? machine.sched.stamp() : clockOf(inode).coarse(), inode);
}

/**
 * The time for a ctime. A change after a stat shows another ctime than the stat did, though the clock has not ticked: those who compare
 * ctimes, such as make, git and NFS, would miss the change (the multigrain timestamps of inode_set_ctime_current).
 */
function changeTime(inode: Inode): Timespec {
  const now = current_time(inode);
  if (inode.ctime_queried !== inode.i_ctime || timespecCompare(now, inode.i_ctime) > 0) return now;
  return timestamp_truncate(clockOf(inode).fine(), inode);
}

/** The attributes have changed (inode_set_ctime_current). @returns the time */
export function inode_set_ctime_current(inode: Inode): Timespec {
  const now = changeTime(inode);
  inode.i_ctime = now;
  return now;
}

/** A caller of stat is about to see the ctime (fill_mg_cmtime). */
export function ctime_seen(inode: Inode): void {
  if (inode.i_sb.machine.multigrain !== false) inode.ctime_queried = inode.i_ctime;
}

/**
 * Data have changed: mtime and ctime, if the clock has ticked since or somebody has seen them (file_update_time).
 * With i_rwsem held exclusively, as writers hold it.
 */
export function file_update_time(task: Task, inode: Inode): Awaitable<void> {
  const now = changeTime(inode);
  const flags = (timespecEqual(inode.i_mtime, now) ? 0 : S_MTIME) | (timespecEqual(inode.i_ctime, now) ? 0 : S_CTIME);
  if (flags === 0) return undefined;
  return inode_update_time(task, inode, now, flags);
}

/** Set some times through the filesystem, or by generic_update_time where it leaves that to us (inode_update_time). */
export function inode_update_time(task: Task, inode: Inode, now: Timespec, flags: number): Awaitable<void> {
  const { update_time } = inode.i_op;
  if (update_time === undefined) return generic_update_time(task, inode, now, flags);
  // A directory is listed, and changed, with it held, and so is a file that is written.
  const reading = flags === S_ATIME && (inode.i_mode & S_IFMT) !== S_IFDIR && !locked_to_read(task, inode);
  const participants = reading ? { inode: inode.i_rwsem } : {};
  return invoke(task, inode_operations.update_time, participants, update_time, inode, now, flags);
}

/** The filesystem itself has locked the file, within its read_iter: xfs reads so. That is none of its callers' locks. */
function locked_to_read(task: Task, { i_rwsem }: Inode): boolean {
  return heldBy(task, i_rwsem)?.takenIn !== undefined;
}

/**
 * Set some times and mark the inode dirty; lazily on a filesystem mounted lazytime (generic_update_time).
 * @param flags S_ATIME, S_MTIME, S_CTIME, S_VERSION
 */
export function generic_update_time(task: Task, inode: Inode, now: Timespec, flags: number): Awaitable<void> {
  if ((flags & S_ATIME) !== 0) inode.i_atime = now;
  if ((flags & S_MTIME) !== 0) inode.i_mtime = now;
  if ((flags & S_CTIME) !== 0) inode.i_ctime = now;
  if ((flags & S_VERSION) !== 0) inode.i_version++;
  const lazy = (inode.i_sb.s_flags & SB_LAZYTIME) !== 0 && (flags & S_VERSION) === 0;
  return mark_inode_dirty(task, inode, lazy ? I_DIRTY_TIME : I_DIRTY_SYNC);
}

/** A directory's entries have changed: both times at once. */
export function dir_changed(inode: Inode): void {
  inode.i_mtime = inode_set_ctime_current(inode);
}

/** Whether atime is so old that relatime moves it: not after the last change, or a day ago (relatime_need_update). */
function stale(inode: Inode, now: Timespec): boolean {
  const { i_atime: atime } = inode;
  if (timespecCompare(inode.i_mtime, atime) >= 0 || timespecCompare(inode.i_ctime, atime) >= 0) return true;
  return now.sec - atime.sec >= DAY;
}

/** Whether reading the file now would change its atime (atime_needs_update). */
export function atime_needs_update(inode: Inode): boolean {
  const { s_flags } = inode.i_sb;
  if ((inode.i_flags & S_NOATIME) !== 0 || (s_flags & (SB_NOATIME | SB_RDONLY)) !== 0) return false;
  if ((s_flags & SB_NODIRATIME) !== 0 && (inode.i_mode & S_IFMT) === S_IFDIR) return false;
  const now = timestamp_truncate(clockOf(inode).coarse(), inode);
  return ((s_flags & MS_STRICTATIME) !== 0 || stale(inode, now)) && !timespecEqual(inode.i_atime, now);
}

function onlyErrno(error: unknown): void {
  if (!(error instanceof Errno)) throw error;
}

/** Data were read: atime by the rules of relatime, or of the mount's flags (touch_atime). Of an open file: file_accessed. */
export function touch_atime(task: Task, inode: Inode): Awaitable<void> {
  if (!atime_needs_update(inode)) return undefined;
  // A read is not held up by a freeze: then the time stays as it is.
  const writing = sb_start_write_trylock(task, inode.i_sb);
  if (writing === 'frozen') return undefined;
  return withCleanup(accessed, sb_end_write, writing, task, inode);
}

/** A read is not to fail because the filesystem cannot keep when it was. */
function accessed(_writing: Writing, task: Task, inode: Inode): Awaitable<void> {
  return orElse(updateAtime, onlyErrno, task, inode);
}

function updateAtime(task: Task, inode: Inode): Awaitable<void> {
  return inode_update_time(task, inode, current_time(inode), S_ATIME);
}

/** Data of an open file were read, or are mapped: its atime, if that is due and it was not opened with O_NOATIME (file_accessed). i_rwsem is not needed. */
export function file_accessed(task: Task, { f_flags, f_inode }: File): Awaitable<void> {
  return (f_flags & O_NOATIME) === 0 ? touch_atime(task, f_inode) : undefined;
}
