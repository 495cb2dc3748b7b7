/** The same handles without a journal: changes go to the buffer cache at once. For devices in memory, which lose everything in a crash anyway. */
import { submit_bio_wait } from '../../block/bio.js';
import type { BlockDevice } from '../../block/block-device.js';
import { bforget, mark_buffer_dirty } from '../../block/buffer.js';
import { access_begins, type WriteAccess } from '../../block/buffer-access.js';
import { nr_dirty_buffers } from '../../block/buffer-cache.js';
import type { BufferHead } from '../../block/buffer-head.js';
import { sync_blockdev } from '../../block/buffer-writeback.js';
import type { Awaitable } from '../../sched/awaitable.js';
import { type Errno, errno } from '../../sched/errno.js';
import type { Task } from '../../sched/task.js';
import {
  aborted_errno,
  assert_no_handle,
  type FrozenTrigger,
  type Handle,
  type Journal,
  last_use_ends,
} from './types.js';

/** The number of what is no transaction. */
const NO_TRANSACTION = 1;

export class NoJournal implements Journal {
  readonly maxCredits = Number.MAX_SAFE_INTEGER;
  readonly #bdev: BlockDevice;
  readonly #beforeSync: (task: Task) => Promise<void>;
  readonly #onAbort: ((error: Errno) => void) | undefined;
  #error: Errno | undefined;

  /** @param beforeSync called before buffers are written: what is still to be put into them */
  constructor(bdev: BlockDevice, beforeSync: (task: Task) => Promise<void>, onAbort?: (error: Errno) => void) {
    this.#bdev = bdev;
    this.#beforeSync = beforeSync;
    this.#onAbort = onAbort;
  }

  get error(): Errno | undefined {
    return this.#error;
  }

  get tid(): number {
    return NO_TRANSACTION;
  }

  start(task: Task, credits: number): Handle {
    const open = task.journal_info;
    if (open instanceof NoHandle && open.journal === this) {
      open.nested++;
      return open;
    }
    if (open !== undefined) throw errno('EDEADLK', 'a handle is started in the handle of another filesystem');
    if (this.#error !== undefined) throw aborted_errno(this.#error);
    const handle = new NoHandle(this, credits);
    task.journal_info = handle;
    return handle;
  }

  async force_commit(task: Task): Promise<void> {
    assert_no_handle(task);
    if (this.#error !== undefined) throw errno('EIO', 'the filesystem was aborted');
    await this.#beforeSync(task);
    await sync_blockdev(task, this.#bdev);
    await submit_bio_wait(task, this.#bdev, { op: 'flush', sector: 0, vecs: [], length: 0 });
  }

  /** All buffers are written, because nothing tells whose they are. */
  wait_commit(task: Task, _tid: number): Awaitable<boolean> {
    if (nr_dirty_buffers(this.#bdev) === 0) return false;
    return this.force_commit(task).then(() => true);
  }

  flush(task: Task): Promise<void> {
    return this.force_commit(task);
  }

  abort(error: Errno): void {
    if (this.#error !== undefined) return;
    this.#error = error;
    this.#onAbort?.(error);
  }

  destroy(task: Task): Promise<void> {
    return this.force_commit(task);
  }
}

class NoHandle implements Handle {
  readonly journal: NoJournal;
  readonly tid = NO_TRANSACTION;
  credits: number;
  nested = 0;
  sync = false;
  #access: WriteAccess | undefined;
  #callbacks: ((task: Task) => void)[] | undefined;

  constructor(journal: NoJournal, credits: number) {
    this.journal = journal;
    this.credits = credits;
  }

  stop(task: Task): void {
    if (!last_use_ends(task, this)) return;
    this.#access?.ends(task);
    this.#runCallbacks(task);
    if (this.journal.error !== undefined) throw errno('EIO', 'the filesystem was aborted');
  }

  #runCallbacks(task: Task): void {
    const callbacks = this.#callbacks;
    if (callbacks === undefined) return;
    this.#callbacks = undefined;
    for (const callback of callbacks) callback(task);
  }

  get_write_access(task: Task, bh: BufferHead): Awaitable<void> {
    if (this.journal.error !== undefined) throw aborted_errno(this.journal.error);
    if (bh.lock.locked) return bh.lock.waitUnlocked(task).then(() => this.get_write_access(task, bh));
    this.#access = access_begins(task, bh, this.#access);
    return undefined;
  }

  dirty_metadata(_task: Task, bh: BufferHead, frozen?: FrozenTrigger): void {
    frozen?.(bh);
    this.#access?.says(bh);
    mark_buffer_dirty(bh);
  }

  forget(_task: Task, bh: BufferHead): void {
    this.#access?.forgets(bh);
    bforget(bh);
  }

  /** No log, no old copies. */
  revoke(): void {}

  on_commit(fn: (task: Task) => void): void {
    this.#callbacks ??= [];
    this.#callbacks.push(fn);
  }

  extend(credits: number): boolean {
    this.credits += credits;
    return true;
  }

  restart(task: Task, credits: number): void {
    this.#access?.ends(task);
    this.#runCallbacks(task);
    this.credits = credits;
  }
}
