/** Writing through the page cache (generic_perform_write in mm/filemap.c): write_begin, copy, write_end, page after page. */
import { address_space_operations } from '../contract/address-space.js';
import { call, type Participants } from '../locking/context.js';
import { type Awaitable, andThen } from '../sched/awaitable.js';
import { errno } from '../sched/errno.js';
import type { Task } from '../sched/task.js';
import type { AddressSpace, MmFile } from './address-space.js';
import { balance_dirty_pages_ratelimited } from './dirty-balance.js';
import { PAGE_SIZE } from './folio.js';
import { folio_lock, folio_locked_by } from './folio-state.js';
import type { IovIter } from './iov-iter.js';
import type { address_space_operations as AOps, Kiocb, WriteBegun } from './operations.js';

/** How often write_end may accept nothing of what was copied before the write fails. */
const MAX_REFUSALS = 3;

/**
 * Write what `iter` has at iocb.ki_pos into the page cache, and advance the position (generic_perform_write). i_rwsem is held
 * exclusively; limits (EFBIG, s_maxbytes, append) are the caller's. At once, without a promise, while no step has to wait.
 * Writers wait here when too much is dirty.
 *
 * @returns bytes written; fewer than asked for where an error came after some
 * @throws what write_begin and write_end throw, where nothing was written
 */
export function generic_perform_write(task: Task, iocb: Kiocb, iter: IovIter): Awaitable<number> {
  const mapping = iocb.ki_filp.f_mapping;
  let written = 0;
  try {
    while (iter.count > 0) {
      const n = writeChunk(task, iocb, iter, mapping);
      if (n instanceof Promise) return writeOn(task, iocb, iter, mapping, written, n);
      // Nothing accepted: the slow path knows how often to try.
      if (n === 0) return writeOn(task, iocb, iter, mapping, written, Promise.resolve(0));
      written += n;
    }
  } catch (error) {
    if (written === 0) throw error;
  }
  return written;
}

async function writeOn(
  task: Task,
  iocb: Kiocb,
  iter: IovIter,
  mapping: AddressSpace,
  already: number,
  pending: Promise<number>,
): Promise<number> {
  let written = already;
  let refusals = 0;
  try {
    for (let chunk: Awaitable<number> = pending; ; chunk = writeChunk(task, iocb, iter, mapping)) {
      const n = chunk instanceof Promise ? await chunk : chunk;
      written += n;
      refusals = n === 0 ? refusals + 1 : 0;
      if (refusals === MAX_REFUSALS) throw errno('EIO', 'write_end accepts nothing');
      if (iter.count === 0) break;
    }
  } catch (error) {
    if (written === 0) throw error;
  }
  return written;
}

/** Write the part of `iter` that lies in one page. @returns bytes accepted */
function writeChunk(task: Task, iocb: Kiocb, iter: IovIter, mapping: AddressSpace): Awaitable<number> {
  const throttled = balance_dirty_pages_ratelimited(task, mapping);
  if (throttled !== undefined) return throttled.then(() => writePage(task, iocb, iter, mapping));
  return writePage(task, iocb, iter, mapping);
}

/** What write_begin returns with. */
function lockedFolio(begun: WriteBegun): Participants {
  return { folio: begun.folio.lock };
}

function writePage(task: Task, iocb: Kiocb, iter: IovIter, mapping: AddressSpace): Awaitable<number> {
  const ops = mapping.a_ops;
  const { write_begin } = ops;
  if (write_begin === undefined) throw errno('EINVAL', 'the file has no write_begin');
  const file = iocb.ki_filp;
  const pos = iocb.ki_pos;
  const length = Math.min(PAGE_SIZE - (pos & (PAGE_SIZE - 1)), iter.count);
  const begun = call(
    task,
    address_space_operations.write_begin,
    { inode: mapping.host.i_rwsem },
    () => write_begin(task, file, mapping, pos, length),
    lockedFolio,
  );
  if (begun instanceof Promise) return begun.then((b) => copyAndEnd(task, iocb, iter, mapping, ops, length, b));
  return copyAndEnd(task, iocb, iter, mapping, ops, length, begun);
}

function copyAndEnd(
  task: Task,
  iocb: Kiocb,
  iter: IovIter,
  mapping: AddressSpace,
  ops: AOps,
  length: number,
  begun: WriteBegun,
): Awaitable<number> {
  const pos = iocb.ki_pos;
  const { folio } = begun;
  if (!folio_locked_by(task, folio)) {
    // Reported already: what is written to the page must not be torn all the same.
    return andThen(folio_lock(task, folio), () => copyAndEnd(task, iocb, iter, mapping, ops, length, begun));
  }
  const copied = iter.copy_from_iter(folio.data, pos & (PAGE_SIZE - 1), length);
  folio.referenced = true;
  let accepted: Awaitable<number>;
  try {
    accepted = endWrite(task, iocb.ki_filp, mapping, ops, pos, length, copied, begun);
  } catch (error) {
    iter.revert(copied);
    throw error;
  }
  if (!(accepted instanceof Promise)) return advance(iocb, iter, copied, accepted);
  return accepted.then(
    (n) => advance(iocb, iter, copied, n),
    (error: unknown) => {
      iter.revert(copied);
      throw error;
    },
  );
}

function endWrite(
  task: Task,
  file: MmFile,
  mapping: AddressSpace,
  ops: AOps,
  pos: number,
  length: number,
  copied: number,
  begun: WriteBegun,
): Awaitable<number> {
  const { write_end } = ops;
  if (write_end === undefined) throw errno('EINVAL', 'the file has no write_end');
  const participants = { inode: mapping.host.i_rwsem, folio: begun.folio.lock };
  return call(task, address_space_operations.write_end, participants, () =>
    write_end(task, file, mapping, pos, length, copied, begun),
  );
}

function advance(iocb: Kiocb, iter: IovIter, copied: number, accepted: number): number {
  if (accepted < copied) iter.revert(copied - accepted);
  iocb.ki_pos += accepted;
  return accepted;
}
