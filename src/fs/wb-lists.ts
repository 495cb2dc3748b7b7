/** The inodes of one superblock that differ from the device, by how long and for what they wait (struct bdi_writeback). */
import { GUARDED, guard_write } from '../locking/guarded.js';
import type { Scheduler } from '../sched/scheduler.js';
import type { Task } from '../sched/task.js';
import { WaitQueue } from '../sched/wait.js';
import {
  I_DIRTY,
  I_DIRTY_DATASYNC,
  I_DIRTY_PAGES,
  I_DIRTY_SYNC,
  I_DIRTY_TIME,
  I_FREEING,
  I_SYNC,
  type Inode,
  inode_state_assign,
} from './inode.js';

export class WbLists {
  /** Dirtied and waiting to become old, in the order of dirtying. */
  readonly b_dirty = new Set<Inode>();
  /** To be written in this round. */
  readonly b_io = new Set<Inode>();
  /** To be written further in the next round. */
  readonly b_more_io = new Set<Inode>();
  /** Only times have changed (lazytime). */
  readonly b_dirty_time = new Set<Inode>();
  /** How many inodes have been written so far. */
  written = 0;
  /** Called when there is something to write after there was nothing. */
  onFirst: (() => void) | undefined;
  /** More inodes than this are not to wait until they are old: they stay in memory until they are written. */
  max_dirty: number;
  /** Where those sleep who would dirty more while it is crowded. */
  readonly lessCrowded = new WaitQueue();
  /** Called for each inode that is dirtied while there are more. */
  onMany: (() => void) | undefined;
  readonly #sched: Scheduler;

  constructor(sched: Scheduler, max_dirty: number) {
    this.#sched = sched;
    this.max_dirty = max_dirty;
  }

  /** Whether anything waits to be written (wb_has_dirty_io). */
  get dirty(): boolean {
    return this.b_dirty.size + this.b_io.size + this.b_more_io.size + this.b_dirty_time.size > 0;
  }

  /** How many wait to be written, those of which only times have changed not counted. */
  get count(): number {
    return this.b_dirty.size + this.b_io.size + this.b_more_io.size;
  }

  /** There are so many that nobody is to dirty more. */
  get crowded(): boolean {
    return this.count > 2 * this.max_dirty;
  }

  /** All of them. */
  all(): Inode[] {
    return [...this.b_io, ...this.b_more_io, ...this.b_dirty, ...this.b_dirty_time];
  }

  /** Put an inode at the end of a list (inode_io_list_move_locked). i_lock is held. */
  move(task: Task, inode: Inode, list: Set<Inode>): void {
    const none = inode.i_io_list === undefined && !this.dirty;
    this.#put(task, inode, list);
    list.add(inode);
    if (none) this.onFirst?.();
    if (list === this.b_dirty && this.count > this.max_dirty) this.onMany?.();
  }

  /** Take it off, if it is on one (inode_io_list_del_locked). i_lock is held. */
  del(task: Task, inode: Inode): void {
    if (inode.i_io_list === undefined) return;
    this.#put(task, inode, undefined);
    if (!this.crowded && !this.lessCrowded.empty) this.lessCrowded.wake_all();
  }

  /** It could not be written now: as if it had been dirtied at this moment (redirty_tail). i_lock is held. */
  redirty(task: Task, inode: Inode): void {
    inode.dirtied_when = this.#sched.monotonic();
    this.move(task, inode, this.b_dirty);
  }

  #put(task: Task, inode: Inode, list: Set<Inode> | undefined): void {
    guard_write(task, GUARDED.i_io_list, inode.i_lock);
    inode.i_io_list?.delete(inode);
    const settable: { i_io_list: Set<Inode> | undefined } = inode;
    settable.i_io_list = list;
  }

  /**
   * The inode differs from the device in what `flags` says (the half of __mark_inode_dirty that may not sleep). Takes i_lock where that is news. I_DIRTY_SYNC and I_DIRTY_DATASYNC include the times.
   * @returns false where that was known
   */
  mark(task: Task, inode: Inode, flags: number): boolean {
    const full = (flags & (I_DIRTY_SYNC | I_DIRTY_DATASYNC)) !== 0;
    // Times that wait are implied by anything stronger.
    if (!full && (flags & I_DIRTY_TIME) !== 0 && (inode.i_state & (I_DIRTY_SYNC | I_DIRTY_DATASYNC)) !== 0)
      return false;
    const before = full ? inode.i_state & ~I_DIRTY_TIME : inode.i_state;
    if ((before & flags) === flags && before === inode.i_state) return false;
    using _lock = inode.i_lock.lock(task);
    inode_state_assign(task, inode, before | flags);
    if ((before & (I_DIRTY | I_FREEING)) !== 0) return true;
    // One that is being written is put back by who writes it. If it is on no list, a sync would not find it until then.
    if ((before & I_SYNC) !== 0 && inode.i_io_list !== undefined) return true;
    if (inode.i_sb.inodeHash.get(inode.i_ino) !== inode) return true;
    if ((flags & I_DIRTY) === 0) {
      inode.dirtied_time_when = this.#sched.monotonic();
      this.move(task, inode, this.b_dirty_time);
    } else {
      inode.dirtied_when = this.#sched.monotonic();
      this.move(task, inode, this.b_dirty);
    }
    return true;
  }

  /** It has a page that is dirty. */
  markPages(task: Task, inode: Inode): void {
    if ((inode.i_state & I_DIRTY_PAGES) === 0) this.mark(task, inode, I_DIRTY_PAGES);
  }
}
