/** Zeroing part of a page for good (block_truncate_page): truncation zeroes edges in the cache only, and what is cut off must not come back. */
import type { Exclusive } from '../locking/held.js';
import type { Task } from '../sched/task.js';
import type { AddressSpace } from './address-space.js';
import { read_mapping_folio } from './filemap-read.js';
import { filemap_get_folios, folios_put } from './filemap-tree.js';
import { folio_put, folio_zero_range, PAGE_SIZE, pageOf } from './folio.js';
import { folio_mark_dirty, folio_wait_writeback } from './folio-state.js';

/**
 * Zero bytes `from` to `to` (exclusive) of one page and dirty it.
 * @param held invalidate_lock of the mapping
 * @throws EIO where the page cannot be read; ENOMEM
 */
export async function zero_partial_folio(
  task: Task,
  mapping: AddressSpace,
  from: number,
  to: number,
  held: Exclusive<'invalidate_lock'>,
): Promise<void> {
  const folio = await read_mapping_folio(task, mapping, pageOf(from), held);
  const lock = await folio.lock.lock(task);
  try {
    if (folio.mapping !== mapping) return;
    folio_zero_range(folio, from % PAGE_SIZE, to - from);
    folio_mark_dirty(task, folio);
  } finally {
    lock.release();
    folio_put(folio);
  }
}

/**
 * Zero bytes `from` to `to` (exclusive) of one page that is cached and dirty. Where it is being written, that has ended when this returns. Takes the folio's lock.
 */
export async function zero_waiting_folio(task: Task, mapping: AddressSpace, from: number, to: number): Promise<void> {
  const folios = filemap_get_folios(mapping, pageOf(from), pageOf(from), 1);
  const [folio] = folios;
  if (folio === undefined) return;
  try {
    using _lock = await folio.lock.lock(task);
    await folio_wait_writeback(task, folio);
    if (folio.mapping === mapping && folio.dirty) folio_zero_range(folio, from % PAGE_SIZE, to - from);
  } finally {
    folios_put(folios);
  }
}
