/** When inodes are written back without being asked for: what is old every few seconds, and when much is dirty (wb_workfn, fs/fs-writeback.c). */
import { task_end } from '../locking/context.js';
import { Bdi, type FlushReason } from '../mm/backing-dev.js';
import type { Timer } from '../sched/scheduler.js';
import type { Task } from '../sched/task.js';
import { writeback_sb_inodes } from './fs-writeback.js';
import { SB_RDONLY, type SuperBlock } from './super-block.js';

/** The flusher of one mounted filesystem. It exists from the mount to the unmount and runs in a task of its own. */
export class Flusher {
  readonly bdi: Bdi;
  readonly #sb: SuperBlock;
  #timer: Timer | undefined;
  #running = false;
  #stopped = false;
  /** Somebody wants everything written that is dirty: reclaim, or a sync that does not wait. */
  #all = false;

  constructor(sb: SuperBlock) {
    this.#sb = sb;
    this.bdi = new Bdi(sb.memory, `${sb.s_type}:${sb.s_id}`, (reason) => this.wake(reason));
    sb.s_wb.onFirst = () => this.#arm();
    sb.s_wb.onMany = () => this.wake('background');
  }

  /** Begin to write, for that reason (wb_wakeup). At once, but not in the caller's stack. May not block. */
  wake(reason: FlushReason): void {
    if (reason === 'vmscan' || reason === 'sync') this.#all = true;
    if (this.#running || this.#stopped || (this.#sb.s_flags & SB_RDONLY) !== 0) return;
    this.#running = true;
    this.bdi.writebackRunning = true;
    const { sched } = this.#sb;
    const done = sched.run(async () => {
      await sched.yield();
      const task = this.#sb.newTask({ comm: 'flush' });
      try {
        await this.#work(task);
      } finally {
        this.#running = false;
        this.bdi.writebackRunning = false;
        task_end(task);
        if (this.#sb.s_wb.dirty) this.#arm();
      }
    });
    if (done instanceof Promise) {
      done.catch((error: unknown) => {
        const { validator } = this.#sb.machine;
        validator.violation(this.#sb.newTask({ comm: 'flush' }), 'promise', {
          message: `the flusher failed: ${String(error)}`,
          rule: 'task#fails-in-no-background',
        });
      });
    }
  }

  /** No more rounds: the filesystem is being unmounted. One under way ends before s_umount can be had exclusively. */
  stop(): void {
    this.#stopped = true;
    this.#timer?.cancel();
    this.#timer = undefined;
    this.#sb.s_wb.onFirst = undefined;
    this.#sb.s_wb.onMany = undefined;
    this.bdi.unregister();
  }

  /** A round in some seconds, unless one is planned. */
  #arm(): void {
    const { interval } = this.#sb.s_times;
    if (this.#timer !== undefined || this.#stopped || interval === 0) return;
    this.#timer = this.#sb.sched.timer(interval, () => {
      this.#timer = undefined;
      this.wake('periodic');
    });
  }

  /** Everything that is to be done now (wb_do_writeback). */
  async #work(task: Task): Promise<void> {
    const { memory, s_umount, sched } = this.#sb;
    // Whoever has it exclusively is about to write everything, or to forbid it.
    using umount = s_umount.tryRead(task);
    if (umount === undefined) return;
    if (this.#all) {
      this.#all = false;
      await writeback_sb_inodes(task, this.#sb, { sync_mode: 'WBC_SYNC_NONE' });
    }
    await writeback_sb_inodes(task, this.#sb, {
      sync_mode: 'WBC_SYNC_NONE',
      older_than: sched.monotonic() - this.#sb.s_times.expire,
    });
    await this.#writeMany(task);
    // wb_check_background_flush
    while (memory.nr_dirty > memory.bg_thresh && !this.#stopped) {
      const before = this.bdi.nr_written + this.bdi.nr_writeback;
      const enough = (): boolean => memory.nr_dirty <= memory.bg_thresh;
      const inodes = await writeback_sb_inodes(task, this.#sb, { sync_mode: 'WBC_SYNC_NONE', enough });
      if (inodes === 0 || this.bdi.nr_written + this.bdi.nr_writeback === before) return;
    }
  }

  /** Inodes that are dirty cannot leave memory. Linux leaves it to reclaim to find that there are too many of them. */
  async #writeMany(task: Task): Promise<void> {
    const { s_wb: wb } = this.#sb;
    const enough = (): boolean => wb.count <= wb.max_dirty / 2;
    if (wb.count <= wb.max_dirty) return;
    while (!enough() && !this.#stopped) {
      if ((await writeback_sb_inodes(task, this.#sb, { sync_mode: 'WBC_SYNC_NONE', enough })) === 0) return;
    }
  }
}
