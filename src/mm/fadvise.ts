/** posix_fadvise(2) and where data is in the cache (mm/fadvise.c; mapping_seek_hole_data of mm/filemap.c). */

import { errno } from '../sched/errno.js';
import type { Task } from '../sched/task.js';
import {
  POSIX_FADV_DONTNEED,
  POSIX_FADV_NOREUSE,
  POSIX_FADV_NORMAL,
  POSIX_FADV_RANDOM,
  POSIX_FADV_SEQUENTIAL,
  POSIX_FADV_WILLNEED,
} from '../uapi/mman.js';
import type { AddressSpace, MmFile } from './address-space.js';
import { filemap_flush } from './filemap-wait.js';
import { PAGE_SIZE, pageOf } from './folio.js';
import { invalidate_mapping_pages } from './invalidate.js';
import { force_page_cache_readahead } from './readahead.js';

/**
 * Take advice about bytes `offset` to `offset + length` of an open file; a length of 0 reaches to the end (generic_fadvise).
 * @param raPages what the file reads ahead without advice, in pages
 * @throws EINVAL for unknown advice or a negative length
 */
export async function generic_fadvise(
  task: Task,
  file: MmFile,
  offset: number,
  length: number,
  advice: number,
  raPages: number,
): Promise<void> {
  if (length < 0 || offset < 0) throw errno('EINVAL');
  const mapping = file.f_mapping;
  const end = length === 0 ? Number.POSITIVE_INFINITY : offset + length;
  switch (advice) {
    case POSIX_FADV_NORMAL:
      file.f_ra.ra_pages = raPages;
      return;
    case POSIX_FADV_RANDOM:
      file.f_ra.ra_pages = 0;
      return;
    case POSIX_FADV_SEQUENTIAL:
      file.f_ra.ra_pages = raPages * 2;
      return;
    case POSIX_FADV_WILLNEED: {
      const last = pageOf(Math.min(end, mapping.host.i_size) + PAGE_SIZE - 1);
      const first = pageOf(offset);
      if (last > first) await force_page_cache_readahead(task, file, mapping, first, last - first);
      return;
    }
    case POSIX_FADV_DONTNEED: {
      await filemap_flush(task, mapping);
      // Whole pages only, but for the last one of the file.
      const first = pageOf(offset + PAGE_SIZE - 1);
      const last = end >= mapping.host.i_size ? Number.POSITIVE_INFINITY : pageOf(end) - 1;
      if (last >= first) await invalidate_mapping_pages(task, mapping, first, last);
      return;
    }
    case POSIX_FADV_NOREUSE:
      return;
    default:
      throw errno('EINVAL');
  }
}

/**
 * Where the next data, or the next hole, begins in bytes `start` to `end` of a range that has no blocks (mapping_seek_hole_data): pages
 * that are cached and uptodate count as data.
 * @returns the position, `end` where there is none
 */
export function mapping_seek_hole_data(mapping: AddressSpace, start: number, end: number, seekData: boolean): number {
  let pos = start;
  while (pos < end) {
    const index = pageOf(pos);
    const folio = mapping.i_pages.find(index, pageOf(end - 1));
    if (folio === undefined) return seekData ? end : pos;
    if (folio.index > index) {
      if (!seekData) return pos;
      pos = folio.index * PAGE_SIZE;
    }
    if (folio.uptodate === seekData) return Math.min(pos, end);
    pos = (folio.index + 1) * PAGE_SIZE;
  }
  return end;
}
