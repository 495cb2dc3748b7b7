/** What the filesystem sees of a journal, whether there is one or not. */
import type { BufferHead } from '../../block/buffer-head.js';
import type { Awaitable } from '../../sched/awaitable.js';
import type { Errno } from '../../sched/errno.js';
import { errno } from '../../sched/errno.js';
import type { Task } from '../../sched/task.js';

/** What is still to be put into a buffer when its transaction is committed, such as a checksum (struct jbd2_buffer_trigger_type). May not sleep. */
export type FrozenTrigger = (bh: BufferHead) => void;

/**
 * A set of changes that reach the device together or not at all (handle_t). Belongs to one task. It may be started by who has pages locked or under
 * writeback: so nobody waits for either in one. Data whose change of metadata must not come before them are on the device before the handle starts.
 */
export interface Handle {
  /** The transaction that it is part of; with log_wait_commit one waits until that is on the device. Changes with `restart`. */
  readonly tid: number;
  /** Blocks that it may still dirty. */
  readonly credits: number;
  /** Who started it waits for the commit afterwards (ext4_handle_sync). */
  sync: boolean;
  /** End this use of it; the outermost one leaves the transaction (jbd2_journal_stop). @throws EIO where the journal was aborted meanwhile */
  stop(task: Task): void;
  /**
   * Announce that a buffer's bytes will be changed; before the change (jbd2_journal_get_write_access). Waits only while the buffer is being
   * written home. The buffer stays in memory until it is.
   * @throws EROFS where the journal was aborted
   */
  get_write_access(task: Task, bh: BufferHead): Awaitable<void>;
  /**
   * A buffer was changed: its bytes as they are at the end of the transaction go to the log (jbd2_journal_dirty_metadata). Costs a credit the
   * first time in a transaction.
   * @param frozen called once before the bytes are copied to the log, however often the buffer was changed (t_frozen); without a log, at once
   * @throws EIO without write access; ENOSPC without credits; EROFS where the journal was aborted
   */
  dirty_metadata(task: Task, bh: BufferHead, frozen?: FrozenTrigger): void;
  /**
   * The buffer's block was freed: what the log says of it is void (jbd2_journal_forget), and the caller's reference is given back. The block may
   * be used for data again only once the transaction has committed (on_commit); as a buffer with write access at once.
   */
  forget(task: Task, bh: BufferHead): void;
  /** As `forget`, for a block of metadata that may not be in memory (jbd2_journal_revoke). */
  revoke(task: Task, block: number): void;
  /** Call `fn` in the journal's task once the transaction is on the device; never where that fails. It may not start handles. */
  on_commit(fn: (task: Task) => void): void;
  /** Ask for more credits; false where the transaction has no room: then stop, or restart (jbd2_journal_extend). */
  extend(credits: number): boolean;
  /**
   * Commit what was done so far and go on in the next transaction (jbd2_journal_restart). What was done must be consistent by itself; write access is lost.
   * @throws EROFS where the journal was aborted; ENOSPC where no transaction can be that large. The handle is to be stopped all the same.
   */
  restart(task: Task, credits: number): Awaitable<void>;
}

/** What an operation is told that comes too late: EIO where the filesystem was shut down on purpose, otherwise EROFS. */
export function aborted_errno(why: Errno | undefined): Errno {
  return why?.code === 'ESHUTDOWN'
    ? errno('EIO', 'the filesystem was shut down')
    : errno('EROFS', 'the journal was aborted');
}

export interface Journal {
  /** Why the journal was aborted, if it was. */
  readonly error: Errno | undefined;
  /** The youngest transaction that there is: who waits for its commit waits for every change until now. */
  readonly tid: number;
  /** The most credits that a handle can have. */
  readonly maxCredits: number;
  /** See journal_start. */
  start(task: Task, credits: number): Awaitable<Handle>;
  /** Commit what was done until now, and wait (jbd2_journal_force_commit). Not with a handle open. @throws EIO, EDEADLK */
  force_commit(task: Task): Promise<void>;
  /** See log_wait_commit. */
  wait_commit(task: Task, tid: number): Awaitable<boolean>;
  /** Commit everything and write it home: the log is empty afterwards (jbd2_journal_flush). Handles wait meanwhile. Takes j_barrier. @throws EIO, EDEADLK */
  flush(task: Task): Promise<void>;
  /** Something is wrong beyond repair: nothing more is written (jbd2_journal_abort). */
  abort(error: Errno): void;
  /** For unmount: flush, and no handle any more. @throws EIO where not everything could be written */
  destroy(task: Task): Promise<void>;
}

/**
 * Begin changes of up to `credits` blocks (jbd2_journal_start); with a handle open in this task, that one again, which must be stopped as often.
 * At once unless the transaction is being locked, is full, or the log is.
 * @throws EROFS where the journal was aborted; ENOSPC where `credits` are more than any transaction can have; EDEADLK in a commit
 */
export function journal_start(task: Task, journal: Journal, credits: number): Awaitable<Handle> {
  return journal.start(task, credits);
}

/**
 * Wait until a transaction is on the device, beginning its commit where nobody has (jbd2_complete_transaction). At once where it is there already.
 * @returns whether the device was flushed after the call, so that data written before it is on the device too
 * @throws EIO where it will never be; EDEADLK where the task has a handle open in it
 */
export function log_wait_commit(task: Task, journal: Journal, tid: number): Awaitable<boolean> {
  return journal.wait_commit(task, tid);
}

/** What current->journal_info is for the task that commits. */
class CommitContext {}
const COMMIT = new CommitContext();

/** Mark the journal's own task: no handle may be started in it. */
export function enter_commit(task: Task): void {
  task.journal_info = COMMIT;
}

/** @throws EDEADLK where the task cannot wait for a commit, because it holds that up itself */
export function assert_no_handle(task: Task): void {
  if (task.journal_info !== undefined) throw errno('EDEADLK', 'a task with an open handle waits for a commit');
}

/** End one use of the handle that a task has open. @returns whether it was the last: the task has none any more @throws EIO where it is not open */
export function last_use_ends(task: Task, handle: Handle & { nested: number }): boolean {
  if (task.journal_info !== handle) throw errno('EIO', 'a handle is stopped that is not open');
  if (handle.nested > 0) {
    handle.nested--;
    return false;
  }
  task.journal_info = undefined;
  return true;
}
