/**
 * address_space: the pages of one file, and the lock that keeps them and the file's blocks together.
 *
 * mm/ is the page cache and the memory of processes; it may import block/ and below.
 */
import { RwSem } from '../locking/rwsem.js';
import type { Errno } from '../sched/errno.js';
import type { ErrseqCursor } from '../sched/errseq.js';
import { Errseq } from '../sched/errseq.js';
import type { Task } from '../sched/task.js';
import type { Bdi } from './backing-dev.js';
import type { Folio } from './folio.js';
import type { MemoryControl } from './memory.js';
import type { address_space_operations, Gfp } from './operations.js';
import type { FileRaState } from './readahead-state.js';
import type { VmArea } from './vma.js';
import { type ReadonlyXArray, XArray } from './xarray.js';

/** What the page cache asks of the owner of a mapping; fs/inode.ts implements it. */
export interface MappingHost {
  readonly i_ino: number;
  /** File size in bytes. The page cache sets it in simple_write_end only. */
  i_size: number;
  /** Held around writes; absent where a mapping is nobody's file (a block device's own). */
  readonly i_rwsem?: RwSem<'i_rwsem'>;
  /** Whose dirty pages these are; without it nobody is woken to write them back. */
  readonly i_bdi?: Bdi | undefined;
  /** Writing it back has failed: whoever syncs the whole filesystem is to hear of it, too. */
  note_wb_error?(error: Errno): void;
  /** Put the inode on its superblock's dirty list because it has dirty pages (__mark_inode_dirty(I_DIRTY_PAGES)). Takes i_lock. */
  mark_dirty_pages(task: Task): void;
}

/** What the page cache asks of an open file; fs/file.ts implements it. */
export interface MmFile {
  readonly f_mapping: AddressSpace;
  readonly f_ra: FileRaState;
  /** Which writeback errors this file has been told of. */
  f_wb_err: ErrseqCursor;
}

export class AddressSpace {
  readonly host: MappingHost;
  a_ops: address_space_operations;
  /** Memory accounting, limits and reclaim of the machine that this file lives on. */
  readonly memory: MemoryControl;
  /** Held shared to fill the cache, exclusively to take pages away together with the blocks under them. */
  readonly invalidate_lock = new RwSem('invalidate_lock');
  /** index → folio, with marks for dirty, writeback and to-write. Changed by filemap-tree.ts and folio-state.ts. */
  readonly i_pages: ReadonlyXArray<Folio> = new XArray<Folio>();
  /** The areas of processes that map the file. */
  i_mmap: Set<VmArea> | undefined;
  /** How often a page of it became dirty. */
  nr_dirtied = 0;
  /** Writeback errors, told once to each open file. */
  readonly wb_err = new Errseq();
  /** A writeback error that no wait has reported yet (AS_EIO, AS_ENOSPC). */
  error: Errno | undefined;
  /** Where the next background write of a cyclic range starts, in pages. */
  writeback_index = 0;
  /** What an allocation for it may do: GFP_NOFS where pages are taken inside a transaction. */
  gfp: Gfp = 'GFP_KERNEL';

  constructor(host: MappingHost, a_ops: address_space_operations, memory: MemoryControl) {
    this.host = host;
    this.invalidate_lock.owner = host;
    this.a_ops = a_ops;
    this.memory = memory;
  }

  /** Folios in the cache. */
  get nrpages(): number {
    return this.i_pages.count;
  }
}
