/** What one mounted latch filesystem keeps in memory (s_fs_info). */

import type { BlockDevice } from '../block/block-device.js';
import { get_bh, mark_buffer_dirty } from '../block/buffer.js';
import { bytes_settled } from '../block/buffer-access.js';
import type { BufferHead } from '../block/buffer-head.js';
import type { file_operations, inode_operations } from '../fs/operations.js';
import type { QuotaType } from '../fs/quota/types.js';
import type { SuperBlock } from '../fs/super-block.js';
import { SB_FREEZE_COMPLETE } from '../fs/super-writers.js';
import { WorkQueue } from '../fs/workqueue.js';
import { GUARDED, guard_read } from '../locking/guarded.js';
import type { address_space_operations } from '../mm/operations.js';
import { type Awaitable, andThen, withCleanup } from '../sched/awaitable.js';
import { errno } from '../sched/errno.js';
import type { Task } from '../sched/task.js';
import { Allocator } from './alloc.js';
import { encodeSuper, INCOMPAT_CSUM, INCOMPAT_JOURNAL, type Superblock } from './format/superblock.js';
import { Groups } from './groups.js';
import { InodeAllocator } from './ialloc.js';
import type { LatchInode } from './inode.js';
import { type Handle, type Journal, journal_start, log_wait_commit } from './journal/types.js';
import { nameKey } from './names.js';
import { Orphans } from './orphan.js';

/** What the inodes of each type can do. */
export interface OperationsByType {
  readonly dir: { readonly i_op: inode_operations; readonly i_fop: file_operations };
  readonly file: {
    readonly i_op: inode_operations;
    readonly i_fop: file_operations;
    readonly a_ops: address_space_operations;
    /** Of files that are to be deleted for good. */
    readonly secret_aops: address_space_operations;
  };
  readonly symlink: inode_operations;
  readonly special: inode_operations;
}

export class LatchInfo {
  readonly sb: SuperBlock;
  readonly bdev: BlockDevice;
  readonly super: Superblock;
  readonly journal: Journal;
  readonly groups: Groups;
  readonly alloc: Allocator;
  readonly inodes: InodeAllocator;
  readonly orphans: Orphans;
  /** What is to be done when data have reached the device (s_rsv_conversion_wq). */
  readonly conversions: WorkQueue;
  /** Given at the mount and not imported, because operations find inodes, and inodes have operations. */
  readonly operations: OperationsByType;
  /** The lowest key of a name in a directory: see dir.ts. */
  readonly keyOf: (name: string) => number;
  /** Blocks have checksums. */
  readonly checked: boolean;
  /** There is a log; otherwise nothing outlives a crash. */
  readonly journaled: boolean;
  /** The log was replayed in memory: nothing may be written to the device. */
  readonly replayedInMemory: boolean;
  /** It was shut down, and only waits to be unmounted (ext4_forced_shutdown). */
  forced_shutdown = false;
  /** Files that replace others are written before (the mount options auto_da_alloc and noauto_da_alloc). */
  auto_da_alloc = false;
  /** The quota files, by type of quota, while usage is counted. */
  readonly quotaFiles: (LatchInode | undefined)[] = [];
  /** Types of quotas whose limits were enforced when the filesystem became read-only. */
  quotaLimits: readonly QuotaType[] = [];
  /** What charging adds to the credits of an operation: the quotas of a file's owner and group, old and new. */
  quotaCredits = 0;
  /** The superblock's buffer, for as long as the filesystem is mounted. */
  readonly #super: BufferHead;
  /** The transaction that has it. */
  #superIn = 0;
  #superChanged = false;

  /** @param bh the superblock's buffer; a reference is taken */
  constructor(
    sb: SuperBlock,
    bdev: BlockDevice,
    superblock: Superblock,
    bh: BufferHead,
    journal: Journal,
    operations: OperationsByType,
    inMemory = false,
  ) {
    this.sb = sb;
    this.bdev = bdev;
    this.super = superblock;
    this.journal = journal;
    this.checked = (superblock.incompat & INCOMPAT_CSUM) !== 0;
    this.journaled = (superblock.incompat & INCOMPAT_JOURNAL) !== 0;
    this.replayedInMemory = inMemory;
    this.#super = bh;
    get_bh(bh);
    const changed = (task: Task, handle: Handle): Awaitable<void> => this.changeSuper(task, handle);
    this.groups = new Groups(bdev, superblock);
    this.alloc = new Allocator(bdev, superblock, this.groups, changed);
    this.inodes = new InodeAllocator(bdev, superblock, this.groups, this.alloc, changed);
    this.orphans = new Orphans(this);
    this.conversions = new WorkQueue(sb, 'latch-conversion');
    this.operations = operations;
    const hash = { k0: superblock.hashKey.readUInt32LE(0), k1: superblock.hashKey.readUInt32LE(4) };
    // A name is looked up before it is made or removed, and its place in the tree twice to be changed.
    let last = '';
    let key = nameKey(hash, last);
    this.keyOf = (name) => {
      if (name !== last) {
        key = nameKey(hash, name);
        last = name;
      }
      return key;
    };
  }

  /** @throws EIO where the filesystem was shut down */
  assert_running(): void {
    if (this.forced_shutdown) throw errno('EIO', `${this.sb.s_id} was shut down`);
  }

  /** The superblock will be changed in this transaction: it is written as it is at the end of that. Costs a credit. @throws EROFS */
  changeSuper(task: Task, handle: Handle): Awaitable<void> {
    this.#superChanged = true;
    if (!this.journaled || this.#superIn === handle.tid) return undefined;
    return andThen(handle.get_write_access(task, this.#super), () => {
      handle.dirty_metadata(task, this.#super);
      this.#superIn = handle.tid;
    });
  }

  /** A transaction is about to be committed: its counts and checksums go into their buffers. May not sleep. */
  seal(): void {
    this.groups.seal();
    if (!this.#superChanged) return;
    this.#superChanged = false;
    encodeSuper(this.#super.b_data, this.super);
    bytes_settled(this.#super);
  }

  /** Put the superblock and, without a journal, the descriptors of the groups into their buffers, at a time when there is no transaction. */
  async writeSuper(task: Task): Promise<void> {
    if (!this.journaled) await this.groups.write(task);
    encodeSuper(this.#super.b_data, this.super);
    bytes_settled(this.#super);
    mark_buffer_dirty(this.#super);
    this.#superChanged = false;
  }
}

/** What a handle that is to be sync has changed is on the device. @returns `value` */
async function committed<T>(task: Task, { journal }: LatchInfo, { tid }: Handle, value: T): Promise<T> {
  await log_wait_commit(task, journal, tid);
  return value;
}

/** Credits of an ordinary operation: what it does to a directory, an inode or two, and the bitmaps. */
export const CREDITS = 48;

/**
 * Do something in one transaction: start a handle, run `body` with it, the task and what is given, and stop it whatever happens. Inside another one of the same task it is
 * that one again. Where it is to be sync, the commit is waited for. Where hardly anything is free but what was freed lately, that is committed first.
 * @throws EROFS where the journal was aborted; EIO where the filesystem was shut down; what `body` throws
 */
export function with_handle<T, G extends Given>(
  task: Task,
  info: LatchInfo,
  body: (handle: Handle, task: Task, ...given: G) => Awaitable<T>,
  credits?: number,
  ...given: G
): Awaitable<T>;
export function with_handle<T>(
  task: Task,
  info: LatchInfo,
  body: Body<T>,
  credits = CREDITS,
  a?: unknown,
  b?: unknown,
  c?: unknown,
): Awaitable<T> {
  // Who has a handle open ends what it has begun.
  if (info.forced_shutdown && task.journal_info === undefined) info.assert_running();
  const { s_writers: writers } = info.sb;
  if (writers.frozen === SB_FREEZE_COMPLETE) guard_read(task, GUARDED.changes, writers.fs);
  // Inside another handle it is too late for that.
  const tight = info.alloc.tight && task.journal_info === undefined;
  const room = tight ? info.journal.force_commit(task) : undefined;
  return andThen(
    andThen(room, startHandle, task, info, credits),
    runInHandle,
    task,
    info,
    body,
    a,
    b,
    c,
  ) as Awaitable<T>;
}

/** What is given to a body besides the handle and the task. */
type Given = [a?: unknown, b?: unknown, c?: unknown];
type Body<T> = (handle: Handle, task: Task, ...given: Given) => Awaitable<T>;

function startHandle(
  _room: void,
  task: Task,
  { journal, quotaCredits }: LatchInfo,
  credits: number,
): Awaitable<Handle> {
  return journal_start(task, journal, Math.min(credits + quotaCredits, journal.maxCredits));
}

function runInHandle<T>(
  handle: Handle,
  task: Task,
  info: LatchInfo,
  body: Body<T>,
  a: unknown,
  b: unknown,
  c: unknown,
): Awaitable<T> {
  return andThen(withCleanup(body, stopHandle, handle, task, a, b, c), commitIfSync<T>, task, info, handle);
}

function stopHandle(handle: Handle, task: Task): Awaitable<void> {
  return handle.stop(task);
}

function commitIfSync<T>(value: T, task: Task, info: LatchInfo, handle: Handle): Awaitable<T> {
  const mine = task.journal_info === undefined;
  return handle.sync && info.journaled && mine ? committed(task, info, handle, value) : value;
}

/** What a mount has of its own (EXT4_SB). @throws EIO for another filesystem */
export function infoOf(sb: SuperBlock): LatchInfo {
  const { s_fs_info: info } = sb;
  if (info instanceof LatchInfo) return info;
  throw errno('EIO', 'not a latch filesystem');
}
