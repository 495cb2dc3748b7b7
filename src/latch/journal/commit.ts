/** Committing a transaction (fs/jbd2/commit.c). */

import { mark_buffer_dirty, wait_on_buffer } from '../../block/buffer.js';
import { bytes_settled, check_bytes_settled } from '../../block/buffer-access.js';
import { BLOCK_SIZE } from '../../block/buffer-head.js';
import { errno } from '../../sched/errno.js';
import type { Task } from '../../sched/task.js';
import { wait_event } from '../../sched/wait.js';
import type { LogJournal } from './journal.js';
import { BLOCK_DESCRIPTOR, BLOCK_REVOKE, checksum, encodeCommit, encodeNumbers, PER_BLOCK } from './layout.js';
import type { Transaction } from './transaction.js';

/**
 * Commit the running transaction: wait for its handles, copy its buffers, and bring log and commit block to the device in that
 * order, with all data that were there before. Others may start a new transaction as soon as the copies are made. Takes j_state_lock.
 * @throws EIO; nothing of the transaction counts then
 */
export async function commit_transaction(task: Task, journal: LogJournal, transaction: Transaction): Promise<void> {
  lock(task, journal, transaction);
  await wait_event(task, journal.j_wait_updates, () => transaction.updates === 0, { what: 'open handles' });
  if (journal.error !== undefined) return;
  const image = freeze(task, journal, transaction);
  if (image !== undefined) await writeLog(task, journal, transaction, image);
  for (const head of transaction.forgotten) {
    // A write home of a block that is free from now on must not arrive after whatever the block is used for next.
    const written = wait_on_buffer(task, head.bh);
    if (written instanceof Promise) await written;
  }
  if (journal.error !== undefined) return;
  finish(task, journal, transaction);
  for (const callback of transaction.callbacks) callback(task);
}

function lock(task: Task, journal: LogJournal, transaction: Transaction): void {
  using _state = journal.j_state_lock.lock(task);
  transaction.state = 'locked';
}

/**
 * The moment that the transaction is: take its buffers as they are now, and let the next one begin.
 * @returns its blocks for the log without the commit block; undefined where it changed nothing
 */
function freeze(task: Task, journal: LogJournal, transaction: Transaction): Buffer | undefined {
  if (task.validator.stacks) for (const { bh } of transaction.buffers) check_bytes_settled(task, bh);
  journal.beforeFreeze?.();
  using _state = journal.j_state_lock.lock(task);
  sortOut(transaction);
  const image = imageOf(journal, transaction);
  if (image !== undefined) {
    transaction.blocks = image.length / BLOCK_SIZE + 1;
    if (transaction.blocks > journal.log.free) throw errno('EIO', 'a transaction is larger than its credits');
    transaction.start = journal.log.allocate(transaction.blocks);
  }
  transaction.state = 'commit';
  journal.running = undefined;
  journal.committing = transaction;
  journal.j_wait_transaction_locked.wake_all();
  return image;
}

/** Tell buffers that were changed, freed, or neither; and complete those that were changed. */
function sortOut(transaction: Transaction): void {
  for (const head of transaction.buffers) {
    if (head.transaction !== transaction) continue;
    head.transaction = undefined;
    if (head.forgotten) {
      head.committing = transaction;
      transaction.forgotten.push(head);
    } else if (head.modified) {
      head.committing = transaction;
      head.wasDirty = false;
      head.frozen?.(head.bh);
      bytes_settled(head.bh);
      transaction.logged.push(head);
    } else if (head.releaseIfIdle() && head.wasDirty) mark_buffer_dirty(head.bh);
    head.forgotten = false;
    head.modified = false;
    head.frozen = undefined;
  }
  transaction.buffers.length = 0;
}

function chunks<T>(list: readonly T[]): T[][] {
  return Array.from({ length: Math.ceil(list.length / PER_BLOCK) }, (_, i) =>
    list.slice(i * PER_BLOCK, (i + 1) * PER_BLOCK),
  );
}

function imageOf(journal: LogJournal, transaction: Transaction): Buffer | undefined {
  const { log } = journal;
  const revokes = chunks([...transaction.revokes]);
  const parts = chunks(transaction.logged);
  const blocks = revokes.length + parts.length + transaction.logged.length;
  if (blocks === 0) return undefined;
  transaction.sequence = log.sequence++;
  const image = Buffer.allocUnsafeSlow(blocks * BLOCK_SIZE);
  let at = 0;
  const numbers = (type: typeof BLOCK_DESCRIPTOR | typeof BLOCK_REVOKE, list: number[]): void => {
    const block = image.subarray(at, at + BLOCK_SIZE).fill(0);
    encodeNumbers(block, log.seed, type, transaction.sequence, list);
    at += BLOCK_SIZE;
  };
  for (const part of revokes) numbers(BLOCK_REVOKE, part);
  for (const part of parts) {
    numbers(
      BLOCK_DESCRIPTOR,
      part.map((head) => head.bh.b_blocknr),
    );
    for (const head of part) at += head.bh.b_data.copy(image, at);
  }
  return image;
}

async function writeLog(task: Task, journal: LogJournal, transaction: Transaction, image: Buffer): Promise<void> {
  const { log } = journal;
  if (log.empty) await log.writeSuper(task, transaction.start, transaction.sequence, false);
  await log.write(task, transaction.start, image);
  const blocks = image.length / BLOCK_SIZE;
  const record = encodeCommit(log.seed, transaction.sequence, { blocks, checksum: checksum(image, log.seed) });
  transaction.flushing = true;
  await log.writeBarrier(task, log.after(transaction.start, blocks), record);
}

/** The transaction is on the device. */
function finish(task: Task, journal: LogJournal, transaction: Transaction): void {
  using _state = journal.j_state_lock.lock(task);
  for (const head of transaction.logged) {
    head.committing = undefined;
    head.uncheckpoint();
    head.cp = transaction;
    transaction.checkpoint.add(head);
  }
  for (const head of transaction.forgotten) {
    head.committing = undefined;
    head.uncheckpoint();
    head.releaseIfIdle();
  }
  transaction.logged = [];
  transaction.forgotten = [];
  if (transaction.blocks > 0) journal.checkpoints.push(transaction);
  transaction.state = 'finished';
  journal.committing = undefined;
  journal.commitSequence = transaction.tid;
  journal.j_wait_done_commit.wake_all();
  journal.j_wait_space.wake_all();
}
