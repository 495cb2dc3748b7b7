/** Which blocks are free: taking them and giving them back, in the block bitmaps of the groups. */

import { blkdev_issue_discard } from '../block/bio.js';
import type { BlockDevice } from '../block/block-device.js';
import { brelse } from '../block/buffer.js';
import { BLOCK_SIZE, type BufferHead } from '../block/buffer-head.js';
import { type Held, release_held } from '../locking/held.js';
import { Mutex } from '../locking/mutex.js';
import { type Awaitable, andThen, withCleanup } from '../sched/awaitable.js';
import { errno } from '../sched/errno.js';
import type { Task } from '../sched/task.js';
import { clearRun, fillBits, firstClear, isSet } from './bitmap.js';
import { BLOCK_BITMAP, GROUP_BLOCKS, GROUP_HEAD } from './format/layout.js';
import type { Superblock } from './format/superblock.js';
import { type Group, type Groups, groupOf } from './groups.js';
import type { Handle } from './journal/types.js';
import { Promises } from './promises.js';

export interface Run {
  readonly start: number;
  readonly length: number;
}

/** Blocks that taking or giving back some in one group may dirty: the bitmaps of a group that is new, its descriptor, and the superblock. */
export const ALLOC_CREDITS = 5;
/** A run of this length will do where a longer one is wanted. */
const GOOD_RUN = 64;
/** Fewer free blocks than these are few: no transaction may begin that needs more. */
const LOW = 128;

export class Allocator {
  readonly #bdev: BlockDevice;
  readonly #super: Superblock;
  readonly #groups: Groups;
  readonly #changedSuper: (task: Task, handle: Handle) => Awaitable<void>;
  /** What may not be taken for anything but promised data. */
  readonly promises: Promises;
  /** Bitmaps and counts are changed under it. */
  readonly alloc_lock = new Mutex('alloc_lock');
  /** Where the last block was found: the next search starts there. */
  #cursor = 0;
  /** Freed in a transaction that has not committed. */
  #pending = 0;
  /** What the running transaction has freed, and which it is. */
  #freed: Run[] = [];
  #freedIn = 0;

  /** @param changedSuper the counts of the superblock will change in this handle */
  constructor(
    bdev: BlockDevice,
    superblock: Superblock,
    groups: Groups,
    changedSuper: (task: Task, handle: Handle) => Awaitable<void>,
  ) {
    this.#bdev = bdev;
    this.#super = superblock;
    this.#groups = groups;
    this.promises = new Promises(superblock);
    this.#changedSuper = changedSuper;
  }

  /** Blocks that were freed and can be used once a commit is over. */
  get pending(): number {
    return this.#pending;
  }

  /** Hardly anything is free but what a commit will give back: it is to be committed before more is asked for. */
  get tight(): boolean {
    return this.#pending > 0 && this.#super.freeBlocks - this.#pending < LOW;
  }

  /**
   * Take up to `want` blocks in a row, near `goal` where that is given. Takes alloc_lock.
   * @param promised they are for data that were promised room, or map them; anything else leaves to those what they will need (ext4_has_free_clusters)
   * @throws ENOSPC also where all that is free was freed in a transaction that has not committed; EIO EROFS
   */
  allocate(task: Task, handle: Handle, want: number, goal?: number, promised = false): Awaitable<Run> {
    const wanted: Wanted = { want, goal, promised };
    return andThen(this.alloc_lock.lock(task), Allocator.#allocateUnder, task, handle, wanted, this);
  }

  static #allocateUnder(lock: Held, task: Task, handle: Handle, wanted: Wanted, alloc: Allocator): Awaitable<Run> {
    return withCleanup(allocateHeld, release_held, lock, task, handle, wanted, alloc);
  }

  /** As allocate, with alloc_lock held. */
  allocateLocked(task: Task, handle: Handle, want: number, goal?: number, promised = false): Awaitable<Run> {
    const kept = promised ? 0 : this.promises.kept;
    if (this.#super.freeBlocks <= kept) throw errno('ENOSPC');
    const start = goal === undefined || goal >= this.#super.blocks ? this.#cursor : goal;
    const first = Math.min(groupOf(start), this.#groups.count - 1);
    const run = this.#inGroup(task, handle, first, { start: start % GROUP_BLOCKS, length: want });
    return andThen(run, Allocator.#orElsewhere, task, handle, first, want, this);
  }

  static #orElsewhere(
    run: Run | undefined,
    task: Task,
    handle: Handle,
    but: number,
    want: number,
    alloc: Allocator,
  ): Awaitable<Run> {
    if (run === undefined) return alloc.#elsewhere(task, handle, but, want);
    alloc.#cursor = run.start + run.length;
    return run;
  }

  async #elsewhere(task: Task, handle: Handle, but: number, want: number): Promise<Run> {
    for (let i = 1; i < this.#groups.count && this.#super.freeBlocks > 0; i++) {
      const run = await this.#inGroup(task, handle, (but + i) % this.#groups.count, { start: 0, length: want });
      if (run === undefined) continue;
      this.#cursor = run.start + run.length;
      return run;
    }
    throw errno('ENOSPC');
  }

  /** @param wanted from which block of the group on, and how many */
  #inGroup(task: Task, handle: Handle, number: number, wanted: Run): Awaitable<Run | undefined> {
    return andThen(this.#groups.load(task, number), Allocator.#takeIn, task, handle, wanted, this);
  }

  static #takeIn(group: Group, task: Task, handle: Handle, wanted: Run, alloc: Allocator): Awaitable<Run | undefined> {
    if (group.freeBlocks - group.busyCount <= 0) return undefined;
    const bh = andThen(alloc.#changedSuper(task, handle), Allocator.#bitmap, task, handle, group, alloc);
    return andThen(bh, Allocator.#take, task, handle, group, wanted, alloc);
  }

  /** The bitmap of a group, to be changed. */
  static #bitmap(_may: void, task: Task, handle: Handle, group: Group, alloc: Allocator): Awaitable<BufferHead> {
    return alloc.#groups.access(task, handle, group, BLOCK_BITMAP);
  }

  static #take(
    bh: BufferHead,
    task: Task,
    handle: Handle,
    group: Group,
    { start: from, length: want }: Run,
    alloc: Allocator,
  ): Run | undefined {
    const run = search(bh.b_data, group, Math.min(group.size, Math.max(from, GROUP_HEAD)), want);
    const { descriptor } = group;
    if (run === undefined || descriptor === undefined) {
      brelse(bh);
      return undefined;
    }
    fillBits(bh.b_data, run.start, run.length, true);
    alloc.#groups.changed(task, handle, group, BLOCK_BITMAP, bh);
    descriptor.freeBlocks -= run.length;
    alloc.#super.freeBlocks -= run.length;
    return { start: group.base + run.start, length: run.length };
  }

  /**
   * Give blocks back; they can be used again once the transaction has committed. Takes alloc_lock.
   * @throws EIO where one of them is free, or none that can be in use; EROFS
   */
  free(task: Task, handle: Handle, start: number, length: number): Awaitable<void> {
    return andThen(this.alloc_lock.lock(task), Allocator.#freeUnder, task, handle, start, length, this);
  }

  static #freeUnder(
    lock: Held,
    task: Task,
    handle: Handle,
    start: number,
    length: number,
    alloc: Allocator,
  ): Awaitable<void> {
    return withCleanup(freeHeld, release_held, lock, task, handle, start, length, alloc);
  }

  /** As free, with alloc_lock held. */
  freeLocked(task: Task, handle: Handle, start: number, length: number): Awaitable<void> {
    const at = start % GROUP_BLOCKS;
    const here = Math.min(length, GROUP_BLOCKS - at);
    const done = this.#freeIn(task, handle, groupOf(start), { start: at, length: here });
    if (here === length) return done;
    return andThen(done, () => this.freeLocked(task, handle, start + here, length - here));
  }

  /** @param blocks by their numbers in the group */
  #freeIn(task: Task, handle: Handle, number: number, blocks: Run): Awaitable<void> {
    if (number >= this.#groups.count) throw errno('EIO', `group ${number} is none of the device's`);
    return andThen(this.#groups.load(task, number), Allocator.#giveBackIn, task, handle, blocks, this);
  }

  static #giveBackIn(group: Group, task: Task, handle: Handle, blocks: Run, alloc: Allocator): Awaitable<void> {
    const { start: at, length: count } = blocks;
    if (group.descriptor === undefined || at < GROUP_HEAD || at + count > group.size) {
      throw errno('EIO', `blocks ${group.base + at} and ${count - 1} more cannot be in use`);
    }
    const bh = andThen(alloc.#changedSuper(task, handle), Allocator.#bitmap, task, handle, group, alloc);
    return andThen(bh, giveBackTo, task, handle, group, blocks, alloc);
  }

  /** Clear the bits of blocks in the bitmap of their group, which may be changed; gives its reference back. @throws EIO where one is free */
  giveBack(task: Task, handle: Handle, group: Group, bh: BufferHead, blocks: Run): Awaitable<void> {
    const { start: at, length: count } = blocks;
    const { descriptor } = group;
    for (let i = at; i < at + count; i++) {
      if (isSet(bh.b_data, i) && descriptor !== undefined) continue;
      brelse(bh);
      throw errno('EIO', `block ${group.base + i} is freed twice`);
    }
    fillBits(bh.b_data, at, count, false);
    this.#groups.changed(task, handle, group, BLOCK_BITMAP, bh);
    if (descriptor !== undefined) descriptor.freeBlocks += count;
    this.#super.freeBlocks += count;
    if (this.#groups.journaled) {
      this.#untilCommit(handle, group, at, count);
      return undefined;
    }
    group.trimmed = undefined;
    group.longest = undefined;
    // Memory is given back at once.
    if (!this.#bdev.ephemeral) return undefined;
    return blkdev_issue_discard(task, this.#bdev, ((group.base + at) * BLOCK_SIZE) / 512, count * BLOCK_SIZE);
  }

  /** An old transaction's file must be whole if this one is lost: its blocks are not written to before. */
  #untilCommit(handle: Handle, group: Group, at: number, count: number): void {
    group.busy ??= new Uint8Array(BLOCK_SIZE);
    fillBits(group.busy, at, count, true);
    group.busyCount += count;
    this.#pending += count;
    if (this.#freedIn !== handle.tid) {
      const runs: Run[] = [];
      this.#freed = runs;
      this.#freedIn = handle.tid;
      handle.on_commit((task) => this.#committed(task, runs));
    }
    this.#freed.push({ start: group.base + at, length: count });
  }

  #committed(task: Task, runs: readonly Run[]): void {
    for (const { start, length } of runs) {
      // Whoever has freed a block has loaded its group.
      const group = this.#groups.load(task, groupOf(start));
      if (group instanceof Promise || group.busy === undefined) continue;
      fillBits(group.busy, start % GROUP_BLOCKS, length, false);
      group.trimmed = undefined;
      group.longest = undefined;
      group.busyCount -= length;
      this.#pending -= length;
      if (group.busyCount === 0) group.busy = undefined;
    }
  }
}

/** What is asked of `allocate`. */
interface Wanted {
  readonly want: number;
  readonly goal: number | undefined;
  readonly promised: boolean;
}

function allocateHeld(
  _lock: Held,
  task: Task,
  handle: Handle,
  { want, goal, promised }: Wanted,
  alloc: Allocator,
): Awaitable<Run> {
  return alloc.allocateLocked(task, handle, want, goal, promised);
}

function freeHeld(
  _lock: Held,
  task: Task,
  handle: Handle,
  start: number,
  length: number,
  alloc: Allocator,
): Awaitable<void> {
  return alloc.freeLocked(task, handle, start, length);
}

function giveBackTo(
  bh: BufferHead,
  task: Task,
  handle: Handle,
  group: Group,
  blocks: Run,
  alloc: Allocator,
): Awaitable<void> {
  return alloc.giveBack(task, handle, group, bh, blocks);
}

/**
 * The first run of free blocks of a group from `from` on, and then from its beginning, that is as long as wanted, or good enough; the longest where there is none. Of a
 * group that has only short ones that is remembered, so that it is not searched to its end for each of many: the first of the longest will do then.
 */
function search(bits: Uint8Array, group: Group, from: number, want: number): Run | undefined {
  const enough = Math.min(want, group.longest ?? GOOD_RUN, GOOD_RUN);
  let best: Run | undefined;
  for (const [low, end] of [
    [from, group.size],
    [GROUP_HEAD, from],
  ] as const) {
    for (let at = low; at < end; ) {
      const start = firstClear(bits, group.busy, at, end);
      if (start === undefined) break;
      const length = clearRun(bits, group.busy, start, end, want);
      if (length >= enough) return { start, length };
      if (best === undefined || length > best.length) best = { start, length };
      at = start + length;
    }
  }
  group.longest = best?.length;
  return best;
}
