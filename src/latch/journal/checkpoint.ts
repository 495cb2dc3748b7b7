/** Writing committed buffers home, and giving back the log's space (fs/jbd2/checkpoint.c). */
import { end_buffer_write_sync, submit_bh, wait_on_buffer } from '../../block/buffer.js';
import { errno } from '../../sched/errno.js';
import type { Task } from '../../sched/task.js';
import type { LogJournal } from './journal.js';
import type { JournalHead, Transaction } from './transaction.js';

/**
 * Bring the oldest transactions' buffers home, flush, and move the tail behind them, until `target` blocks of the log are free. One task at a
 * time; not the one that commits, because a buffer that has changed since can go home only once that change is committed. Takes j_state_lock.
 * @throws EIO; the transactions stay in the log then
 */
export async function checkpoint_some(task: Task, journal: LogJournal, target: number): Promise<void> {
  const { log } = journal;
  const batch: Transaction[] = [];
  let free = log.free;
  for (const transaction of journal.checkpoints) {
    if (free >= target) break;
    batch.push(transaction);
    free += transaction.blocks;
  }
  while (batch.some((transaction) => transaction.checkpoint.size > 0)) await homeward(task, journal, batch);
  if (journal.error !== undefined) throw errno('EIO', 'the journal was aborted');
  // Home means on the medium: only then may the log forget.
  await log.flush(task);
  const oldest = journal.checkpoints[batch.length] ?? journal.committing;
  const logged = oldest !== undefined && oldest.blocks > 0;
  await log.writeSuper(task, logged ? oldest.start : log.head, logged ? oldest.sequence : log.sequence, true);
  using _state = journal.j_state_lock.lock(task);
  journal.checkpoints.splice(0, batch.length);
  for (const transaction of batch) log.used -= transaction.blocks;
  journal.j_wait_space.wake_all();
}

/** Write what can be written of a batch, and have committed what must be first. */
async function homeward(task: Task, journal: LogJournal, batch: readonly Transaction[]): Promise<void> {
  const due: JournalHead[] = [];
  let changed = 0;
  for (const transaction of batch) {
    for (const head of transaction.checkpoint) {
      const later = head.transaction ?? head.committing;
      if (later === undefined) due.push(head);
      else changed = Math.max(changed, later.tid);
    }
  }
  due.sort((a, b) => a.bh.b_blocknr - b.bh.b_blocknr);
  for (const head of due) await writeHome(task, head);
  for (const head of due) {
    const written = wait_on_buffer(task, head.bh);
    if (written instanceof Promise) await written;
  }
  if (due.some((head) => head.bh.write_io_error)) throw errno('EIO', 'a block could not be written home');
  if (changed > 0) await journal.waitCommit(task, changed);
}

/** Start the write of one buffer, unless somebody has begun to change it. */
async function writeHome(task: Task, head: JournalHead): Promise<void> {
  const { bh } = head;
  const lock = bh.lock.lock(task);
  const held = lock instanceof Promise ? await lock : lock;
  const transaction = head.cp;
  if (head.transaction !== undefined || head.committing !== undefined || transaction === undefined) {
    held.release();
    return;
  }
  bh.write_io_error = false;
  submit_bh(task, 'write', bh, (completion, buffer, uptodate) => {
    if (uptodate && head.cp === transaction) {
      head.uncheckpoint();
      head.releaseIfIdle();
    }
    end_buffer_write_sync(completion, buffer, uptodate);
  });
}
