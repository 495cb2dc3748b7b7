/** Swap areas: which of their slots are in use, and by how many entries (mm/swapfile.c). Slots change under swap_lock. */

import type { BlockDevice } from '../block/block-device.js';
import { swap_slot_free_notify } from '../block/block-device.js';
import type { LockRef } from '../locking/context.js';
import { GUARDED, guard_write } from '../locking/guarded.js';
import { SpinLock } from '../locking/spinlock.js';
import { errno } from '../sched/errno.js';
import type { Task } from '../sched/task.js';
import type { AddressSpace, MmFile } from './address-space.js';
import type { Folio } from './folio.js';

/** It can be written to. */
export const SWP_WRITEOK = 0x2;
/** swap_activate has succeeded, so swap_deactivate is due. */
export const SWP_ACTIVATED = 0x40;
/** I/O goes through swap_rw of the file. */
export const SWP_FS_OPS = 0x800;

/** A run of pages of the area that lies together on the device (struct swap_extent). */
export interface SwapExtent {
  /** First page of the area, and how many. */
  readonly start_page: number;
  readonly nr_pages: number;
  /** Page of the device where it begins. */
  readonly start_block: number;
}

/** A page in swap (swp_entry_t). */
export interface SwapEntry {
  readonly si: SwapInfo;
  readonly slot: number;
}

/** struct swap_info_struct. */
export class SwapInfo {
  readonly swap_file: MmFile;
  /** The device under the file, for I/O that does not go through swap_rw. */
  readonly bdev: BlockDevice | undefined;
  /** SWP_*. */
  flags = 0;
  /** Pages. The first is the header's and never used. */
  max: number;
  /** Entries that refer to a slot; 0: free. */
  readonly swap_map: Uint16Array;
  /** Pages that are in memory and have a slot as well (the swap cache). */
  readonly cache = new Map<number, Folio>();
  readonly extents: SwapExtent[] = [];
  /** Guards swap_map and the free count. */
  readonly swap_lock = new SpinLock('swap_lock');
  inuse_pages = 0;
  #hint = 1;

  constructor(file: MmFile, pages: number, bdev?: BlockDevice) {
    this.swap_file = file;
    this.bdev = bdev;
    this.max = pages;
    this.swap_map = new Uint16Array(pages);
  }

  get mapping(): AddressSpace {
    return this.swap_file.f_mapping;
  }

  /** The device page of a slot, by the extents. @throws EIO where no extent has it */
  blockOf(slot: number): number {
    let low = 0;
    let high = this.extents.length - 1;
    while (low <= high) {
      const middle = (low + high) >>> 1;
      const extent = this.extents[middle];
      if (extent === undefined) break;
      if (slot < extent.start_page) high = middle - 1;
      else if (slot >= extent.start_page + extent.nr_pages) low = middle + 1;
      else return extent.start_block + slot - extent.start_page;
    }
    throw errno('EIO', `swap slot ${slot} is in no extent`);
  }

  /** A free slot, used once; undefined where there is none. swap_lock is held. */
  scan(task: Task): number | undefined {
    guard_write(task, GUARDED.swap_map, this.swap_lock);
    if (this.inuse_pages >= this.max - 1) return undefined;
    for (let i = 0; i < this.max - 1; i++) {
      const slot = 1 + ((this.#hint - 1 + i) % (this.max - 1));
      if (this.swap_map[slot] !== 0) continue;
      this.swap_map[slot] = 1;
      this.inuse_pages++;
      this.#hint = slot + 1 >= this.max ? 1 : slot + 1;
      return slot;
    }
    return undefined;
  }
}

/**
 * Add a run of pages to an area, after those before it; what follows the last on the device extends it (add_swap_extent). For swap_activate.
 * @returns 1 where it is a run of its own, 0 where it extended the last
 */
export function add_swap_extent(sis: SwapInfo, start_page: number, nr_pages: number, start_block: number): number {
  const last = sis.extents[sis.extents.length - 1];
  if (last !== undefined && last.start_page + last.nr_pages !== start_page) {
    throw errno('EINVAL', 'swap extents must follow each other');
  }
  if (last !== undefined && last.start_block + last.nr_pages === start_block) {
    sis.extents[sis.extents.length - 1] = { ...last, nr_pages: last.nr_pages + nr_pages };
    return 0;
  }
  sis.extents.push({ start_page, nr_pages, start_block });
  return 1;
}

/** A slot in an area, with one user (get_swap_page). Takes swap_lock. @returns undefined where all areas are full */
export function get_swap_page(task: Task, areas: Iterable<SwapInfo>): SwapEntry | undefined {
  for (const si of areas) {
    if ((si.flags & SWP_WRITEOK) === 0) continue;
    using _lock = si.swap_lock.lock(task);
    const slot = si.scan(task);
    if (slot !== undefined) return { si, slot };
  }
  return undefined;
}

/** One more entry refers to the slot (swap_duplicate). Takes swap_lock. */
export function swap_duplicate(task: Task, { si, slot }: SwapEntry): void {
  using _lock = si.swap_lock.lock(task);
  guard_write(task, GUARDED.swap_map, si.swap_lock);
  si.swap_map[slot] = (si.swap_map[slot] ?? 0) + 1;
}

/**
 * One entry less refers to the slot; the last frees it, and the device is told (swap_free, swap_range_free). Takes swap_lock.
 * @param folio the lock of the page that had the slot, where the caller has locked it
 */
export function swap_free(task: Task, { si, slot }: SwapEntry, folio?: LockRef<'folio'>): void {
  using _lock = si.swap_lock.lock(task);
  const count = (si.swap_map[slot] ?? 0) - 1;
  if (count < 0) {
    task.validator.violation(task, 'guarded-state', {
      message: `swap slot ${slot} is freed and was not in use`,
      rule: 'swap#slot-freed-once',
      lock: 'swap_lock',
      held: [...task.held],
    });
    return;
  }
  guard_write(task, GUARDED.swap_map, si.swap_lock);
  si.swap_map[slot] = count;
  if (count > 0) return;
  si.inuse_pages--;
  // With files of a filesystem the device has nothing to do with it.
  if (si.bdev === undefined || (si.flags & SWP_FS_OPS) !== 0) return;
  const locks = folio === undefined ? { swap: si.swap_lock } : { swap: si.swap_lock, folio };
  swap_slot_free_notify(task, si.bdev, si.blockOf(slot), locks);
}
