/** Swapping to a file on and off (mm/swapfile.c). */
import type { BlockDevice } from '../block/block-device.js';
import { address_space_operations } from '../contract/address-space.js';
import { call } from '../locking/context.js';
import { errno } from '../sched/errno.js';
import type { Task } from '../sched/task.js';
import type { MmFile } from './address-space.js';
import { do_swap_page } from './fault-swap.js';
import { type Folio, folio_get, folio_put, PAGE_SIZE } from './folio.js';
import { bmap } from './libfs.js';
import type { MemoryControl } from './memory.js';
import { add_swap_extent, SWP_ACTIVATED, SWP_FS_OPS, SWP_WRITEOK, SwapInfo } from './swap-info.js';
import { delete_from_swap_cache } from './swap-state.js';

/**
 * Begin to swap to a file (swapon(2)): has its filesystem prepare it with swap_activate, or asks bmap for its blocks where there is no such operation. The
 * caller holds i_rwsem of the file exclusively and marks the inode S_SWAPFILE afterwards.
 * @param bdev the device under the file, for I/O that does not go through swap_rw
 * @returns the area
 * @throws EINVAL for a file shorter than two pages, with holes, or of a filesystem that can do neither; EBUSY where it is a swap area already; what swap_activate throws
 */
export async function swapon(task: Task, memory: MemoryControl, file: MmFile, bdev?: BlockDevice): Promise<SwapInfo> {
  const mapping = file.f_mapping;
  for (const area of memory.swap) if (area.mapping === mapping) throw errno('EBUSY', 'it is a swap area already');
  const pages = Math.floor(mapping.host.i_size / PAGE_SIZE);
  if (pages < 2) throw errno('EINVAL', 'a swap file has at least two pages');
  const si = new SwapInfo(file, pages, bdev);
  await setup_swap_extents(task, si);
  si.flags |= SWP_WRITEOK;
  memory.swap.add(si);
  return si;
}

/** The page that mkswap writes: whoever looks at it has to let it go before the filesystem is asked. */
function header(si: SwapInfo): { readonly folio?: Folio['lock'] } {
  const folio = si.mapping.i_pages.load(0);
  return folio === undefined ? {} : { folio: folio.lock };
}

/** Where the pages of the file are on the device (setup_swap_extents). */
async function setup_swap_extents(task: Task, si: SwapInfo): Promise<void> {
  const { swap_activate } = si.mapping.a_ops;
  if (swap_activate === undefined) {
    await generic_swapfile_activate(task, si);
    return;
  }
  const added = await call(task, address_space_operations.swap_activate, header(si), () =>
    swap_activate(task, si, si.swap_file),
  );
  check_activated(task, si, added, swap_activate);
  si.flags |= SWP_ACTIVATED;
  const covered = si.extents.reduce((sum, extent) => sum + extent.nr_pages, 0);
  if ((si.flags & SWP_FS_OPS) === 0 && covered < si.max) si.max = covered;
  if (si.max >= 2) return;
  await deactivate(task, si);
  throw errno('EINVAL', 'the swap file has no blocks');
}

/** What swap_activate has said: how many extents it has added, and by SWP_FS_OPS that I/O is to go through swap_rw. */
function check_activated(task: Task, si: SwapInfo, added: number, operation: object): void {
  if (!task.validator.checking) return;
  const tell = (rule: string, message: string): void =>
    task.validator.violation(task, 'promise', {
      message: `swap_activate has succeeded: ${message}`,
      rule: `address_space_operations.swap_activate#${rule}`,
      row: address_space_operations.swap_activate,
      held: [...task.held],
      operation,
    });
  const { length } = si.extents;
  if (added !== length) tell('adds-extents', `it has added ${length} extents and says ${added}`);
  if ((si.flags & SWP_FS_OPS) !== 0 && si.mapping.a_ops.swap_rw === undefined) {
    tell('chooses-swap_rw', 'I/O is to go through swap_rw, and there is none');
  }
}

/** Ask bmap for every page (generic_swapfile_activate). @throws EINVAL for a hole */
async function generic_swapfile_activate(task: Task, si: SwapInfo): Promise<void> {
  for (let page = 0; page < si.max; page++) {
    const block = await bmap(task, si.mapping, page);
    if (block === 0) throw errno('EINVAL', `page ${page} of the swap file is a hole`);
    add_swap_extent(si, page, 1, block);
  }
}

async function deactivate(task: Task, si: SwapInfo): Promise<void> {
  if ((si.flags & SWP_ACTIVATED) === 0) return;
  si.flags &= ~SWP_ACTIVATED;
  const { swap_deactivate } = si.mapping.a_ops;
  if (swap_deactivate === undefined) return;
  await call(task, address_space_operations.swap_deactivate, header(si), () => swap_deactivate(task, si.swap_file));
}

/**
 * Stop to swap to an area (swapoff(2)): brings everything in that is there, then tells the filesystem. Takes mmap_lock of every process.
 * @throws EINVAL where it is no area; ENOMEM where what is in it does not fit into memory: the area stays in use then
 */
export async function swapoff(task: Task, memory: MemoryControl, si: SwapInfo): Promise<void> {
  // Nor is one that somebody else is about to bring in.
  if (!memory.swap.has(si) || (si.flags & SWP_WRITEOK) === 0) throw errno('EINVAL', 'not a swap area');
  si.flags &= ~SWP_WRITEOK;
  try {
    await try_to_unuse(task, memory, si);
  } catch (error) {
    si.flags |= SWP_WRITEOK;
    throw error;
  }
  memory.swap.delete(si);
  await deactivate(task, si);
}

/** Bring in every page of an area (try_to_unuse). */
async function try_to_unuse(task: Task, memory: MemoryControl, si: SwapInfo): Promise<void> {
  while (si.inuse_pages > 0) {
    const before = si.inuse_pages;
    for (const mm of memory.mms) {
      using _mmap = await mm.mmap_lock.read(task);
      for (const vma of mm.vmas) {
        for (const [vpn, pte] of mm.pgd.ptes(vma.vm_start / PAGE_SIZE, vma.vm_end / PAGE_SIZE)) {
          if (pte.swap?.si !== si) continue;
          const fault = await do_swap_page(task, vma, vpn, pte, false);
          if (fault !== 0) throw errno(fault === 'oom' ? 'ENOMEM' : 'EIO', 'a swapped page cannot be read');
        }
      }
    }
    // What no process maps any more and is only kept because it could not be written.
    for (const [slot, folio] of [...si.cache]) if (si.swap_map[slot] === 1) await drop_cached(task, folio);
    if (si.inuse_pages >= before) throw errno('EIO', `${before} pages of a swap area belong to nobody`);
  }
}

async function drop_cached(task: Task, folio: Folio): Promise<void> {
  folio_get(folio);
  try {
    using _lock = await folio.lock.lock(task);
    await folio.writeback.wait(task);
    delete_from_swap_cache(task, folio);
  } finally {
    folio_put(folio);
  }
}
