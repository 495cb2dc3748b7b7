/** Where a file has data and where holes. */

import type { File } from '../fs/file.js';
import { generic_file_llseek } from '../fs/seek.js';
import type { AddressSpace } from '../mm/address-space.js';
import type { Awaitable } from '../sched/awaitable.js';
import { errno } from '../sched/errno.js';
import type { Task } from '../sched/task.js';
import { SEEK_DATA, SEEK_HOLE } from '../uapi/fs.js';
import { hostOf } from './delayed.js';
import { endOf } from './extent-list.js';
import type { Extent } from './format/inode.js';
import { BLOCK_SIZE } from './format/layout.js';

/** SEEK_DATA and SEEK_HOLE by the extents; a preallocated block that nobody wrote to is a hole. */
export function latch_llseek(task: Task, file: File, offset: number, whence: number): Awaitable<number> {
  if (whence !== SEEK_DATA && whence !== SEEK_HOLE) return generic_file_llseek(file, offset, whence);
  return seekData(task, file, offset, whence);
}

async function seekData(task: Task, file: File, offset: number, whence: number): Promise<number> {
  const inode = hostOf(file.f_mapping);
  if (offset < 0 || offset >= inode.i_size) throw errno('ENXIO');
  for (let pos = offset; pos < inode.i_size; ) {
    const block = Math.floor(pos / BLOCK_SIZE);
    const extent = await inode.extents.next(task, block);
    const [from, to] = dataIn(file.f_mapping, extent, block);
    if (whence === SEEK_DATA ? from <= block : from > block) return pos;
    pos = (whence === SEEK_DATA ? from : to) * BLOCK_SIZE;
  }
  if (whence === SEEK_DATA) throw errno('ENXIO');
  return inode.i_size;
}

/**
 * Where data begins from `block` on, and where it ends, as far as one extent or one page tells.
 * @param extent the first that ends behind `block`
 */
export function dataIn(mapping: AddressSpace, extent: Extent | undefined, block: number): [number, number] {
  const written = extent !== undefined && !extent.unwritten;
  if (written && extent.logical <= block) return [block, endOf(extent)];
  // A hole, or preallocated: data is what waits in the page cache. Behind a preallocated extent the next one must be asked for.
  const limit = extent === undefined ? Number.POSITIVE_INFINITY : extent.unwritten ? endOf(extent) : extent.logical;
  const pages = mapping.i_pages;
  const dirty = pages.find(block, limit - 1, 'dirty')?.index ?? limit;
  const writing = pages.find(block, limit - 1, 'writeback')?.index ?? limit;
  const first = Math.min(dirty, writing);
  if (first < limit) return [first, first + 1];
  return written ? [limit, endOf(extent)] : [limit, limit];
}
