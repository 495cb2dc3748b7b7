/** Moving one page between memory and swap (mm/page_io.c): through the file's swap_rw where it has asked for that, else straight to the device. */
import { SECTOR_SIZE, submit_bio } from '../block/bio.js';
import { address_space_operations } from '../contract/address-space.js';
import { call } from '../locking/context.js';
import type { Awaitable } from '../sched/awaitable.js';
import { asErrno, Errno, errno } from '../sched/errno.js';
import type { Task } from '../sched/task.js';
import { type Folio, PAGE_SIZE } from './folio.js';
import { fields_of } from './folio-fields.js';
import {
  folio_end_read,
  folio_end_writeback,
  folio_hand_over,
  folio_start_writeback,
  folio_unlock,
} from './folio-state.js';
import { IovIter } from './iov-iter.js';
import { IOCB_QUEUED, type Kiocb } from './operations.js';
import { SWP_FS_OPS, type SwapEntry } from './swap-info.js';

/**
 * Begin to write a locked page to its slot (swap_writepage). It is under writeback afterwards, or was already written, and is unlocked. Where the write
 * fails the page is dirty again.
 */
export function swap_writepage(task: Task, folio: Folio, entry: SwapEntry): Awaitable<void> {
  fields_of(folio).dirty = false;
  folio_start_writeback(task, folio);
  const end = (ender: Task, error: Errno | undefined): void => {
    // It is the only copy: kept, and written again later (end_swap_bio_write).
    if (error !== undefined) fields_of(folio).dirty = true;
    folio_end_writeback(ender, folio);
  };
  if ((entry.si.flags & SWP_FS_OPS) !== 0) return swap_rw(task, folio, entry, IovIter.ofSource(folio.data), end, true);
  folio_unlock(task, folio);
  submitPage(task, 'write', folio, entry, end);
  return undefined;
}

/**
 * Begin to read a locked page from its slot (swap_read_folio): unlocked when it is read, uptodate where that went well.
 */
export function swap_read_folio(task: Task, folio: Folio, entry: SwapEntry): Awaitable<void> {
  const end = (ender: Task, error: Errno | undefined): void => folio_end_read(ender, folio, error === undefined);
  if ((entry.si.flags & SWP_FS_OPS) !== 0) return swap_rw(task, folio, entry, IovIter.ofDest(PAGE_SIZE), end, false);
  folio_hand_over(folio);
  submitPage(task, 'read', folio, entry, end);
  return undefined;
}

type End = (task: Task, error: Errno | undefined) => void;

function submitPage(task: Task, op: 'read' | 'write', folio: Folio, { si, slot }: SwapEntry, end: End): void {
  const { bdev } = si;
  if (bdev === undefined) {
    end(task, errno('EIO', 'a swap area has neither a device nor swap_rw'));
    return;
  }
  submit_bio(task, bdev, {
    op,
    sector: si.blockOf(slot) * (PAGE_SIZE / SECTOR_SIZE),
    vecs: [folio.data],
    length: PAGE_SIZE,
    end_io: end,
  });
}

/**
 * I/O through the file. The page is locked at the call, and unlocked when the operation has returned or, where it has only queued the I/O, by
 * its completion.
 */
function swap_rw(
  task: Task,
  folio: Folio,
  { si, slot }: SwapEntry,
  iter: IovIter,
  end: End,
  write: boolean,
): Awaitable<void> {
  const operation = si.mapping.a_ops.swap_rw;
  let done = false;
  // The lock is still ours where the device is done before the operation has returned.
  let early: number | Errno | undefined;
  let queued = false;
  const finish = (ender: Task, result: number | Errno): void => {
    if (done) return;
    done = true;
    const error = result instanceof Errno ? result : result === PAGE_SIZE ? undefined : errno('EIO', 'short swap I/O');
    if (!write && error === undefined) Buffer.concat(iter.segments).copy(folio.data);
    iter.release();
    if (write) folio_unlock(ender, folio);
    end(ender, error);
  };
  const iocb: Kiocb = {
    ki_filp: si.swap_file,
    ki_pos: slot * PAGE_SIZE,
    direct: true,
    sync: false,
    append: false,
    nowait: false,
    ki_complete: (ender, result) => {
      if (queued) finish(ender, result);
      else early ??= result;
    },
  };
  const returned = (result: number | typeof IOCB_QUEUED): void => {
    if (result !== IOCB_QUEUED) finish(task, result);
    else if (early !== undefined) finish(task, early);
    else {
      queued = true;
      folio_hand_over(folio);
    }
  };
  const failed = (error: unknown): void => finish(task, asErrno(error));
  return call(task, address_space_operations.swap_rw, { folio: folio.lock }, () => {
    try {
      if (operation === undefined) throw errno('EIO', 'SWP_FS_OPS without swap_rw');
      const result = operation(task, iocb, iter);
      if (result instanceof Promise) return result.then(returned, failed);
      returned(result);
    } catch (error) {
      failed(error);
    }
    return undefined;
  });
}
