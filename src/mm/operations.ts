/** address_space_operations: what a filesystem gives to the page cache, spelt as the document spells it. */
import { type Awaitable, andThen } from '../sched/awaitable.js';
import { type Errno, errno } from '../sched/errno.js';
import type { Task } from '../sched/task.js';
import type { AddressSpace, MmFile } from './address-space.js';
import type { Folio } from './folio.js';
import type { IovIter } from './iov-iter.js';
import type { SwapInfo } from './swap-info.js';

/** struct writeback_control. */
export interface WritebackControl {
  /** WBC_SYNC_NONE: memory cleansing, do not block on I/O under way. WBC_SYNC_ALL: data integrity, wait and write. */
  readonly sync_mode: 'WBC_SYNC_NONE' | 'WBC_SYNC_ALL';
  /** Folios still to write; decremented for each one written. Infinity: all. */
  nr_to_write: number;
  /** First byte, inclusive. */
  range_start: number;
  /** Last byte, inclusive; Infinity for the end of the file. */
  range_end: number;
  /** Called on behalf of reclaim. */
  readonly for_reclaim?: boolean;
  /** One of many files that are written: errors of its pages are for those who have it open. */
  readonly for_sync?: boolean;
  /** Start where the last round of this file ended rather than at range_start (range_cyclic). */
  readonly range_cyclic?: boolean;
  /** Also tag folios first, so that a busy writer cannot make a sync endless (tagged_writepages). */
  readonly tagged_writepages?: boolean;
  /** Folios that could not be written now and were dirtied again. */
  pages_skipped: number;
}

/** What writepage answers when the folio cannot be written out now and should be left alone for a while. */
export const WRITEPAGE_ACTIVATE = 'WRITEPAGE_ACTIVATE';

/** struct readahead_control: locked folios, in order, on which readahead starts I/O. */
export interface ReadaheadControl {
  readonly file: MmFile | undefined;
  readonly mapping: AddressSpace;
  readonly folios: readonly Folio[];
}

/** struct kiocb. */
export interface Kiocb {
  readonly ki_filp: MmFile;
  /** Position in the file, bytes; advanced by what was transferred. */
  ki_pos: number;
  /** O_DIRECT was asked for. */
  readonly direct: boolean;
  /** O_SYNC or O_DSYNC behaviour is asked for this request (IOCB_SYNC, IOCB_DSYNC). */
  readonly sync: false | 'dsync' | 'sync';
  /** O_APPEND: the position is the end of the file (IOCB_APPEND). */
  readonly append: boolean;
  /** RWF_NOWAIT. */
  readonly nowait: boolean;
  /** The I/O may be left to be polled for with iopoll (IOCB_HIPRI). */
  readonly hipri?: boolean;
  /**
   * Who submits does not wait: the operation may answer IOCB_QUEUED, and calls this when the I/O has ended, in completion context, with the bytes transferred
   * or the error. Absent: a synchronous kiocb.
   */
  readonly ki_complete?: (task: Task, result: number | Errno) => void;
  /** For the operation's own use: the device that iopoll asks. */
  private?: object;
}

/** The answer of an operation that has queued the I/O of a kiocb with ki_complete (-EIOCBQUEUED). */
export const IOCB_QUEUED = 'IOCB_QUEUED';

/** The answer to a kiocb without ki_complete, which cannot be queued. @throws EIO where it is all the same */
export function completed(result: Awaitable<number | typeof IOCB_QUEUED>): Awaitable<number> {
  if (typeof result === 'number') return result;
  return andThen(result, (count) => {
    if (count === IOCB_QUEUED) throw errno('EIO', 'synchronous I/O was queued');
    return count;
  });
}

export interface address_space_operations {
  /** Write one locked folio; unlocks it. */
  writepage?(task: Task, folio: Folio, wbc: WritebackControl): Awaitable<void | typeof WRITEPAGE_ACTIVATE>;
  /** Fill one locked folio; unlocks it, now or when the I/O completes. */
  read_folio?(task: Task, file: MmFile | undefined, folio: Folio): Awaitable<void>;
  writepages?(task: Task, mapping: AddressSpace, wbc: WritebackControl): Awaitable<void>;
  /** May not block. @returns true where the folio was clean. */
  dirty_folio?(task: Task, mapping: AddressSpace, folio: Folio): boolean;
  readahead?(task: Task, rac: ReadaheadControl): Awaitable<void>;
  /** Find or make the folio at `pos`, locked and ready to take `len` bytes. */
  write_begin?(
    task: Task,
    file: MmFile | undefined,
    mapping: AddressSpace,
    pos: number,
    len: number,
  ): Awaitable<WriteBegun>;
  /** Unlock the folio after `copied` bytes came in; updates i_size. @returns bytes accepted. */
  write_end?(
    task: Task,
    file: MmFile | undefined,
    mapping: AddressSpace,
    pos: number,
    len: number,
    copied: number,
    begun: WriteBegun,
  ): Awaitable<number>;
  /** @returns the device block of a file block, 0 for a hole. */
  bmap?(task: Task, mapping: AddressSpace, block: number): Awaitable<number>;
  invalidate_folio?(task: Task, folio: Folio, start: number, length: number): Awaitable<void>;
  release_folio?(task: Task, folio: Folio, gfp: Gfp): Awaitable<boolean>;
  /** May not block. */
  free_folio?(task: Task, folio: Folio): void;
  /** @returns bytes transferred; IOCB_QUEUED for a kiocb with ki_complete. */
  direct_IO?(task: Task, iocb: Kiocb, iter: IovIter): Awaitable<number | typeof IOCB_QUEUED>;
  /** Put `dst` in the place of `src`. @throws EAGAIN where it is in use */
  migrate_folio?(
    task: Task,
    mapping: AddressSpace,
    dst: Folio,
    src: Folio,
    mode: 'MIGRATE_ASYNC' | 'MIGRATE_SYNC',
  ): Awaitable<void>;
  launder_folio?(task: Task, folio: Folio): Awaitable<void>;
  is_partially_uptodate?(task: Task, folio: Folio, from: number, count: number): boolean;
  error_remove_folio?(task: Task, mapping: AddressSpace, folio: Folio): Awaitable<void>;
  /** Prepare a file for swap: call add_swap_extent, or set SWP_FS_OPS. @returns extents added */
  swap_activate?(task: Task, sis: SwapInfo, file: MmFile): Awaitable<number>;
  swap_deactivate?(task: Task, file: MmFile): Awaitable<void>;
  /** Read or write a page of a swap file: iter.source tells which. @returns bytes, or IOCB_QUEUED */
  swap_rw?(task: Task, iocb: Kiocb, iter: IovIter): Awaitable<number | typeof IOCB_QUEUED>;
}

/** What write_begin hands to write_end. */
export interface WriteBegun {
  readonly folio: Folio;
  readonly fsdata: object | undefined;
}

/** What a filesystem may do to free memory: GFP_NOFS forbids to enter a filesystem again. */
export type Gfp = 'GFP_KERNEL' | 'GFP_NOFS' | 'GFP_NOWAIT';
