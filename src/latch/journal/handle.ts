/** A handle of a journal with a log (fs/jbd2/transaction.c). */

import { brelse, clear_buffer_dirty } from '../../block/buffer.js';
import { access_begins, type WriteAccess } from '../../block/buffer-access.js';
import type { BufferHead } from '../../block/buffer-head.js';
import type { Awaitable } from '../../sched/awaitable.js';
import { errno } from '../../sched/errno.js';
import type { Task } from '../../sched/task.js';
import type { LogJournal } from './journal.js';
import { PER_BLOCK } from './layout.js';
import { JournalHead, journal_head, type Transaction } from './transaction.js';
import { aborted_errno, type FrozenTrigger, type Handle, last_use_ends } from './types.js';

export class LogHandle implements Handle {
  readonly journal: LogJournal;
  /** Further uses of it: journal_start found it open. */
  nested = 0;
  sync = false;
  #transaction: Transaction | undefined;
  #tid = 0;
  #credits = 0;
  #access: WriteAccess | undefined;

  constructor(journal: LogJournal) {
    this.journal = journal;
  }

  get tid(): number {
    return this.#tid;
  }

  get credits(): number {
    return this.#credits;
  }

  /** For the journal: be part of `transaction`. */
  attach(transaction: Transaction, credits: number): void {
    transaction.updates++;
    transaction.credits += credits;
    this.#transaction = transaction;
    this.#tid = transaction.tid;
    this.#credits = credits;
  }

  #detach(): void {
    const transaction = this.#transaction;
    if (transaction === undefined) return;
    this.#transaction = undefined;
    transaction.updates--;
    transaction.credits -= this.#credits;
    this.#credits = 0;
    this.journal.left(transaction);
  }

  stop(task: Task): void {
    if (!last_use_ends(task, this)) return;
    this.#access?.ends(task);
    this.#detach();
    if (this.journal.error !== undefined) throw errno('EIO', 'the journal was aborted');
  }

  #live(): Transaction {
    const transaction = this.#transaction;
    if (transaction === undefined || this.journal.error !== undefined) throw aborted_errno(this.journal.error);
    return transaction;
  }

  get_write_access(task: Task, bh: BufferHead): Awaitable<void> {
    const transaction = this.#live();
    // A buffer that is being written home must not change under the device.
    if (bh.lock.locked) return this.#accessUnlocked(task, bh);
    this.#access = access_begins(task, bh, this.#access);
    const known = journal_head(bh);
    if (known?.transaction === transaction && !known.forgotten) return undefined;
    join(transaction, known ?? adopt(bh));
    return undefined;
  }

  async #accessUnlocked(task: Task, bh: BufferHead): Promise<void> {
    while (bh.lock.locked) await bh.lock.waitUnlocked(task);
    await this.get_write_access(task, bh);
  }

  dirty_metadata(_task: Task, bh: BufferHead, frozen?: FrozenTrigger): void {
    const transaction = this.#live();
    const head = journal_head(bh);
    if (head === undefined || head.transaction !== transaction || head.forgotten) {
      throw errno('EIO', `block ${bh.b_blocknr} is dirtied without write access`);
    }
    this.#access?.says(bh);
    if (frozen !== undefined) head.frozen = frozen;
    if (head.modified) return;
    this.#charge(transaction);
    head.modified = true;
    // It is in use again: its new bytes must be replayed.
    if (transaction.revokes.size > 0) transaction.revokes.delete(bh.b_blocknr);
  }

  /** Use up a credit: the handle's own, or one of the few that every transaction has in reserve. */
  #charge(transaction: Transaction): void {
    if (this.#credits > 0) {
      this.#credits--;
      return;
    }
    if (transaction.credits >= this.journal.maxCredits + this.journal.slack) {
      throw errno('ENOSPC', 'the handle has no credits left');
    }
    transaction.credits++;
  }

  forget(task: Task, bh: BufferHead): void {
    const transaction = this.#live();
    this.revoke(task, bh.b_blocknr);
    this.#access?.forgets(bh);
    const head = journal_head(bh);
    if (head === undefined) clear_buffer_dirty(bh);
    else this.#forgetHead(transaction, head);
    brelse(bh);
  }

  #forgetHead(transaction: Transaction, head: JournalHead): void {
    if (head.transaction === transaction && head.modified) this.#credits++;
    head.modified = false;
    head.wasDirty = false;
    if (head.committing === undefined && head.cp === undefined) {
      head.transaction = undefined;
      head.forgotten = false;
      head.releaseIfIdle();
      return;
    }
    // An older copy counts until this transaction has committed: it goes home no more, and leaves the log only then.
    if (head.transaction !== transaction) join(transaction, head);
    head.forgotten = true;
  }

  revoke(_task: Task, block: number): void {
    const transaction = this.#live();
    const { revokes } = transaction;
    if (revokes.has(block)) return;
    if (revokes.size % PER_BLOCK === 0) this.#charge(transaction);
    revokes.add(block);
  }

  on_commit(fn: (task: Task) => void): void {
    this.#live().callbacks.push(fn);
  }

  extend(credits: number): boolean {
    const transaction = this.#live();
    if (!this.journal.hasRoom(transaction, credits)) return false;
    transaction.credits += credits;
    this.#credits += credits;
    return true;
  }

  restart(task: Task, credits: number): Awaitable<void> {
    const { tid } = this.#live();
    this.#access?.ends(task);
    this.#detach();
    this.journal.request_commit(tid);
    return this.journal.join(task, this, credits);
  }
}

/** Begin to care about a buffer. */
function adopt(bh: BufferHead): JournalHead {
  const head = new JournalHead(bh);
  if (bh.dirty) {
    head.wasDirty = true;
    clear_buffer_dirty(bh);
  }
  bh.private = head;
  return head;
}

function join(transaction: Transaction, head: JournalHead): void {
  if (head.transaction !== transaction) {
    head.transaction = transaction;
    transaction.buffers.push(head);
  }
  head.modified = false;
  head.forgotten = false;
  // What its block was before tells nothing about what it is now.
  head.frozen = undefined;
}
