/** The journal (fs/jbd2/journal.c, transaction.c): one running transaction that handles join, at most one that is being committed, and those not yet home. */
import type { BlockDevice } from '../../block/block-device.js';
import { Mutex } from '../../locking/mutex.js';
import { SpinLock } from '../../locking/spinlock.js';
import type { Awaitable } from '../../sched/awaitable.js';
import { asErrno, type Errno, errno } from '../../sched/errno.js';
import type { Scheduler, Timer } from '../../sched/scheduler.js';
import { Task } from '../../sched/task.js';
import type { Validator } from '../../sched/validator.js';
import { might_sleep, WaitQueue, wait_event } from '../../sched/wait.js';
import { checkpoint_some } from './checkpoint.js';
import { commit_transaction } from './commit.js';
import { LogHandle } from './handle.js';
import { PER_BLOCK } from './layout.js';
import type { Log } from './log.js';
import { Transaction } from './transaction.js';
import { aborted_errno, assert_no_handle, enter_commit, type Handle, type Journal } from './types.js';

/** Milliseconds after which a transaction is committed at the latest. */
export const COMMIT_INTERVAL = 5000;

export interface JournalOptions {
  /** Milliseconds between commits; default 5000. */
  readonly commitInterval?: number;
  /** Called once when the journal is aborted: the filesystem turns read-only. */
  readonly onAbort?: (error: Errno) => void;
  /** Called when a transaction is about to be copied, with no handle open in it: what is still to be put into its buffers. May not sleep. */
  readonly beforeFreeze?: () => void;
}

/** A transaction that asks the log for this many blocks of its buffers needs as many in all, the commit block included. */
function logBlocks(credits: number): number {
  return credits + Math.ceil(credits / PER_BLOCK) + 2;
}

export class LogJournal implements Journal {
  readonly log: Log;
  readonly sched: Scheduler;
  readonly validator: Validator;
  /** Held by who keeps all handles out (jbd2_journal_lock_updates). */
  readonly j_barrier = new Mutex('j_barrier');
  /** Held while a transaction changes its state, and while the tail moves. */
  readonly j_state_lock = new SpinLock('j_state_lock');
  readonly maxCredits: number;
  /** Blocks over and above maxCredits for those who miscalculated. */
  readonly slack: number;
  running: Transaction | undefined;
  committing: Transaction | undefined;
  /** Committed, oldest first, in the log until all their buffers are home. */
  checkpoints: Transaction[] = [];
  /** The last transaction that is on the device. */
  commitSequence = 0;
  readonly j_wait_transaction_locked = new WaitQueue();
  readonly j_wait_updates = new WaitQueue();
  readonly j_wait_done_commit = new WaitQueue();
  readonly j_wait_barrier = new WaitQueue();
  /** Woken when the log has got space, or a checkpoint or commit has ended. */
  readonly j_wait_space = new WaitQueue();
  #error: Errno | undefined;
  #tid = 0;
  /** Commit the transactions up to this one. */
  #commitRequest = 0;
  #committer = false;
  #checkpointer = false;
  #barrier = false;
  #dead = false;
  #timer: Timer | undefined;
  readonly #interval: number;
  readonly #onAbort: ((error: Errno) => void) | undefined;
  readonly beforeFreeze: (() => void) | undefined;

  constructor(log: Log, sched: Scheduler, validator: Validator, options: JournalOptions = {}) {
    this.log = log;
    this.sched = sched;
    this.validator = validator;
    this.maxCredits = Math.floor(log.capacity / 3);
    this.slack = Math.min(32, this.maxCredits >> 2);
    this.#interval = options.commitInterval ?? COMMIT_INTERVAL;
    this.#onAbort = options.onAbort;
    this.beforeFreeze = options.beforeFreeze;
  }

  get bdev(): BlockDevice {
    return this.log.bdev;
  }

  get error(): Errno | undefined {
    return this.#error;
  }

  get tid(): number {
    return this.running?.tid ?? this.committing?.tid ?? this.commitSequence;
  }

  start(task: Task, credits: number): Awaitable<Handle> {
    const open = task.journal_info;
    if (open instanceof LogHandle && open.journal === this) {
      open.nested++;
      return open;
    }
    if (open !== undefined)
      throw errno('EDEADLK', 'a handle is started in a commit, or in the handle of another filesystem');
    if (task.atomic > 0) might_sleep(task, 'journal_start');
    const handle = new LogHandle(this);
    const joined = this.join(task, handle, credits);
    if (joined instanceof Promise) {
      return joined.then(() => {
        task.journal_info = handle;
        return handle;
      });
    }
    task.journal_info = handle;
    return handle;
  }

  /**
   * Make a handle part of the running transaction (start_this_handle).
   * @throws EROFS, ENOSPC
   */
  join(task: Task, handle: LogHandle, credits: number): Awaitable<void> {
    if (credits > this.maxCredits) throw errno('ENOSPC', `${credits} credits are more than a transaction can have`);
    if (!this.#tryJoin(handle, credits)) return this.#joinSlowly(task, handle, credits);
    return undefined;
  }

  #tryJoin(handle: LogHandle, credits: number): boolean {
    if (this.#error !== undefined) throw aborted_errno(this.#error);
    if (this.#dead) throw errno('EROFS', 'the journal was shut down');
    if (this.#barrier) return false;
    const transaction = this.running;
    if (transaction === undefined) {
      if (!this.#hasSpace(credits)) return false;
      handle.attach(this.#newTransaction(), credits);
      return true;
    }
    if (!this.hasRoom(transaction, credits)) return false;
    handle.attach(transaction, credits);
    return true;
  }

  async #joinSlowly(task: Task, handle: LogHandle, credits: number): Promise<void> {
    while (!this.#tryJoin(handle, credits)) {
      const transaction = this.running;
      if (this.#barrier) {
        await this.j_wait_barrier.wait(task, { what: 'a frozen journal' });
      } else if (transaction !== undefined && transaction.state !== 'running') {
        await this.j_wait_transaction_locked.wait(task, { what: 'a transaction that is being locked' });
      } else if (transaction !== undefined && transaction.credits + credits > this.maxCredits) {
        this.request_commit(transaction.tid);
        await this.j_wait_transaction_locked.wait(task, { what: 'a full transaction' });
      } else {
        this.request_checkpoint();
        await this.j_wait_space.wait(task, { what: 'space in the log' });
      }
    }
  }

  /** Whether `credits` more fit into the running transaction and the log. */
  hasRoom(transaction: Transaction, credits: number): boolean {
    const total = transaction.credits + credits;
    return transaction.state === 'running' && total <= this.maxCredits && this.#hasSpace(total);
  }

  #hasSpace(credits: number): boolean {
    return this.log.free >= logBlocks(credits + this.slack);
  }

  #newTransaction(): Transaction {
    const transaction = new Transaction(++this.#tid);
    this.running = transaction;
    this.#timer = this.sched.timer(this.#interval, () => this.request_commit(transaction.tid));
    return transaction;
  }

  /** A handle has left its transaction. */
  left(transaction: Transaction): void {
    if (transaction.updates === 0) this.j_wait_updates.wake_all();
    if (transaction.state === 'running' && transaction.credits > this.maxCredits >> 1)
      this.request_commit(transaction.tid);
  }

  /** Have a transaction committed some time soon, by the journal's own task (jbd2_log_start_commit). */
  request_commit(tid: number): void {
    if (tid > this.#commitRequest) this.#commitRequest = tid;
    if (this.#committer || this.running === undefined || this.running.tid > this.#commitRequest) return;
    this.#committer = true;
    this.#spawn('jbd', async (task) => {
      enter_commit(task);
      try {
        for (;;) {
          const transaction = this.running;
          if (transaction === undefined || transaction.tid > this.#commitRequest || this.#error !== undefined) break;
          this.#timer?.cancel();
          await commit_transaction(task, this, transaction);
          if (this.log.free < this.log.capacity >> 1) this.request_checkpoint();
        }
      } finally {
        this.#committer = false;
        this.j_wait_space.wake_all();
      }
    });
  }

  /** Have old transactions' buffers written home until three quarters of the log are free. */
  request_checkpoint(): void {
    if (this.#checkpointer || this.checkpoints.length === 0 || this.#error !== undefined) return;
    this.#checkpointer = true;
    this.#spawn('jbd-checkpoint', async (task) => {
      try {
        const target = this.log.capacity - (this.log.capacity >> 2);
        while (this.log.free < target && this.checkpoints.length > 0) await checkpoint_some(task, this, target);
      } finally {
        this.#checkpointer = false;
        this.j_wait_space.wake_all();
      }
    });
  }

  /** Run something in a task of the journal's own, later; a failure aborts the journal. */
  #spawn(comm: string, body: (task: Task) => Promise<void>): void {
    const task = new Task(this.sched, this.validator, { comm });
    const run = this.sched.run(async () => {
      try {
        await this.sched.yield();
        await body(task);
      } catch (error) {
        this.abort(asErrno(error));
      }
    });
    if (run instanceof Promise) run.catch((error: unknown) => this.abort(asErrno(error)));
  }

  wait_commit(task: Task, tid: number): Awaitable<boolean> {
    if (tid <= this.commitSequence) return false;
    assert_no_handle(task);
    return this.waitCommit(task, tid);
  }

  /** As wait_commit, for who waits without a check of its handles. @throws EIO */
  async waitCommit(task: Task, tid: number): Promise<boolean> {
    const transaction = this.running?.tid === tid ? this.running : this.committing;
    const tooLate = transaction === undefined || transaction.tid !== tid || transaction.flushing;
    this.request_commit(tid);
    await wait_event(task, this.j_wait_done_commit, () => tid <= this.commitSequence || this.#error !== undefined, {
      what: `the commit of transaction ${tid}`,
    });
    if (tid > this.commitSequence) throw errno('EIO', 'the journal was aborted');
    return !tooLate && transaction.flushing;
  }

  async force_commit(task: Task): Promise<void> {
    const tid = this.running?.tid ?? this.committing?.tid;
    if (tid !== undefined) await this.wait_commit(task, tid);
    else if (this.#error !== undefined) throw errno('EIO', 'the journal was aborted');
  }

  async flush(task: Task): Promise<void> {
    assert_no_handle(task);
    using _barrier = await this.j_barrier.lock(task);
    this.#barrier = true;
    try {
      await this.#flushLocked(task);
    } finally {
      this.#barrier = false;
      this.j_wait_barrier.wake_all();
    }
  }

  async #flushLocked(task: Task): Promise<void> {
    await this.force_commit(task);
    while (this.checkpoints.length > 0 || this.#checkpointer || this.#committer) {
      if (this.#error !== undefined) throw errno('EIO', 'the journal was aborted');
      if (this.#checkpointer || this.#committer) await this.j_wait_space.wait(task, { what: 'the checkpoint' });
      else {
        this.#checkpointer = true;
        try {
          await checkpoint_some(task, this, this.log.capacity);
        } finally {
          this.#checkpointer = false;
          this.j_wait_space.wake_all();
        }
      }
    }
    if (this.#error !== undefined) throw errno('EIO', 'the journal was aborted');
    if (this.log.empty) return;
    try {
      await this.log.writeSuper(task, 0, this.log.sequence, true);
    } catch (error) {
      this.abort(asErrno(error));
      throw error;
    }
  }

  abort(error: Errno): void {
    if (this.#error !== undefined) return;
    this.#error = error;
    this.#timer?.cancel();
    for (const queue of [
      this.j_wait_transaction_locked,
      this.j_wait_updates,
      this.j_wait_done_commit,
      this.j_wait_barrier,
      this.j_wait_space,
    ]) {
      queue.wake_all();
    }
    this.#onAbort?.(error);
  }

  async destroy(task: Task): Promise<void> {
    try {
      await this.flush(task);
    } finally {
      this.#dead = true;
      this.#timer?.cancel();
    }
  }
}
