/** Writing a file's dirty folios back (mm/page-writeback.c): which are written, in which mode, and what must be true of each one afterwards. */

import { address_space_operations } from '../contract/address-space.js';
import { call } from '../locking/context.js';
import type { Awaitable } from '../sched/awaitable.js';
import { errno, isErrno } from '../sched/errno.js';
import type { Task } from '../sched/task.js';
import { schedule_timeout } from '../sched/wait.js';
import type { AddressSpace } from './address-space.js';
import { filemap_get_folios, folios_put } from './filemap-tree.js';
import { type Folio, pageOf } from './folio.js';
import { folio_clear_dirty_for_io } from './folio-clean.js';
import { tree_of } from './folio-fields.js';
import { folio_locked_by, folio_unlock, folio_wait_writeback } from './folio-state.js';
import type { WRITEPAGE_ACTIVATE, WritebackControl } from './operations.js';
import { do_writepage } from './writepage-check.js';
import { before_writepages, check_accounting, check_after_writepages } from './writepages-check.js';

/** Folios to take out of the tree at a time. */
const BATCH = 32;
/** Milliseconds before a sync tries again that ran out of memory. */
const ENOMEM_PAUSE = 20;

/** Writes one locked folio and unlocks it, as address_space_operations.writepage. */
export type WritepageFn = (
  task: Task,
  folio: Folio,
  wbc: WritebackControl,
) => Awaitable<void | typeof WRITEPAGE_ACTIVATE>;

/**
 * Mark what is dirty now for a sync to write (tag_pages_for_writeback), so that what is dirtied while it writes does not keep it
 * busy for ever.
 * @param start first page
 * @param end last page, inclusive
 */
export function tag_pages_for_writeback(mapping: AddressSpace, start: number, end: number): void {
  const i_pages = tree_of(mapping);
  let at = start;
  while (at <= end) {
    const folios = i_pages.collect(at, end, 1_024, 'dirty');
    for (const folio of folios) {
      i_pages.setMark(folio.index, 'towrite');
      at = folio.index + 1;
    }
    if (folios.length === 0) return;
  }
}

/**
 * Write the dirty folios of a range, in order (write_cache_pages): every one that was dirty at the call with WBC_SYNC_ALL,
 * waiting for writes under way; with WBC_SYNC_NONE up to nr_to_write, passing by those under writeback.
 *
 * @param writepage what writes one; a filesystem that collects folios into larger writes gives its own, and submits the rest afterwards
 * @param alone `writepage` has submitted its I/O when it returns
 * @throws the first error of `writepage`; with WBC_SYNC_ALL the other folios are written all the same
 */
export async function write_cache_pages(
  task: Task,
  mapping: AddressSpace,
  wbc: WritebackControl,
  writepage: WritepageFn,
  alone = false,
): Promise<void> {
  const sync = wbc.sync_mode === 'WBC_SYNC_ALL';
  const tagged = sync || wbc.tagged_writepages === true;
  const mark = tagged ? 'towrite' : 'dirty';
  let at = wbc.range_cyclic === true ? mapping.writeback_index : pageOf(wbc.range_start);
  const end = wbc.range_cyclic === true ? Number.POSITIVE_INFINITY : pageOf(wbc.range_end);
  if (tagged) tag_pages_for_writeback(mapping, at, end);
  let failure: { readonly error: unknown } | undefined;
  let done = false;
  while (!done && at <= end) {
    const folios = filemap_get_folios(mapping, at, end, BATCH, mark);
    if (folios.length === 0) break;
    try {
      for (const folio of folios) {
        at = folio.index + 1;
        const lock = folio.lock.lock(task);
        if (lock instanceof Promise) await lock;
        const prepared = folio_prepare_writeback(task, mapping, folio, sync);
        if (!(prepared instanceof Promise ? await prepared : prepared)) {
          folio_unlock(task, folio);
          continue;
        }
        try {
          const written = do_writepage(task, folio, wbc, writepage, alone);
          if (written instanceof Promise) await written;
        } catch (error) {
          failure ??= { error };
          done = !sync;
        }
        wbc.nr_to_write--;
        if (wbc.nr_to_write <= 0 && !sync) done = true;
        if (done) break;
      }
    } finally {
      folios_put(folios);
    }
    await task.sched.yield();
  }
  if (wbc.range_cyclic === true) mapping.writeback_index = done ? at : 0;
  if (failure !== undefined) throw failure.error;
}

/**
 * Decide whether a locked folio is to be written, and count it as clean if so (folio_prepare_writeback).
 * @returns false where it was truncated, written by somebody else, or is under writeback in a pass that does not wait
 */
function folio_prepare_writeback(task: Task, mapping: AddressSpace, folio: Folio, sync: boolean): Awaitable<boolean> {
  if (folio.mapping !== mapping || !folio.dirty) return false;
  if (!folio.writeback.isSet) return folio_clear_dirty_for_io(task, folio);
  if (!sync) return false;
  return waitAndClear(task, folio);
}

async function waitAndClear(task: Task, folio: Folio): Promise<boolean> {
  await folio_wait_writeback(task, folio);
  return folio_clear_dirty_for_io(task, folio);
}

/** writepages for filesystems that have only writepage (generic_writepages). An error is the mapping's as well. */
export function generic_writepages(task: Task, mapping: AddressSpace, wbc: WritebackControl): Promise<void> {
  const { writepage } = mapping.a_ops;
  if (writepage === undefined) return Promise.resolve();
  const one: WritepageFn = (task, folio, wbc) =>
    call(task, address_space_operations.writepage, { folio: folio.lock }, () => writepage(task, folio, wbc));
  return write_cache_pages(task, mapping, wbc, one, true);
}

/**
 * Write dirty folios of a mapping through its writepages (do_writepages). It starts the I/O; filemap_fdatawait_range waits for it. A sync
 * that runs out of memory tries again.
 * @throws what writepages throws
 */
export async function do_writepages(task: Task, mapping: AddressSpace, wbc: WritebackControl): Promise<void> {
  if (wbc.nr_to_write <= 0 || !mapping.i_pages.marked('dirty')) return;
  const { writepages } = mapping.a_ops;
  for (;;) {
    const before = before_writepages(task, mapping, wbc);
    try {
      if (writepages === undefined) await generic_writepages(task, mapping, wbc);
      else await call(task, address_space_operations.writepages, {}, () => writepages(task, mapping, wbc));
      check_after_writepages(task, mapping, wbc, before);
      return;
    } catch (error) {
      check_accounting(task, wbc, before, true);
      if (wbc.sync_mode === 'WBC_SYNC_NONE' || !isErrno(error, 'ENOMEM')) throw error;
      await schedule_timeout(task, ENOMEM_PAUSE, 'memory to write with');
    }
  }
}

/**
 * Write one locked folio and wait until it is written (folio_write_one): for launder_folio and the like. Unlocks it.
 * @throws the error of the write
 */
export async function folio_write_one(task: Task, folio: Folio): Promise<void> {
  const { mapping } = folio;
  const writepage = mapping?.a_ops.writepage;
  if (mapping === undefined || writepage === undefined) {
    if (folio_locked_by(task, folio)) folio_unlock(task, folio);
    if (folio.dirty) throw errno('EIO', 'no writepage');
    return;
  }
  const wbc: WritebackControl = {
    sync_mode: 'WBC_SYNC_ALL',
    nr_to_write: 1,
    range_start: 0,
    range_end: Number.POSITIVE_INFINITY,
    pages_skipped: 0,
  };
  await folio_wait_writeback(task, folio);
  if (!folio_clear_dirty_for_io(task, folio)) {
    folio_unlock(task, folio);
    return;
  }
  const one: WritepageFn = (task, folio, wbc) =>
    call(task, address_space_operations.writepage, { folio: folio.lock }, () => writepage(task, folio, wbc));
  await do_writepage(task, folio, wbc, one, true);
  await folio_wait_writeback(task, folio);
  if (mapping.error !== undefined) throw mapping.error;
}
