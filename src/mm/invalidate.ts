/** Dropping cached pages whose bytes the device has (mm/truncate.c, the second half): because they are not wanted, or because the device's bytes were changed behind them. */
import { errno } from '../sched/errno.js';
import type { Task } from '../sched/task.js';
import type { AddressSpace } from './address-space.js';
import { filemap_get_folios, filemap_release_folio, filemap_remove_folio, folios_put } from './filemap-tree.js';
import type { Folio } from './folio.js';
import { folio_launder } from './folio-promises.js';
import { folio_trylock, folio_unlock, folio_wait_writeback } from './folio-state.js';
import { unmap_mapping_folio } from './rmap.js';

const BATCH = 32;

/**
 * Drop the clean pages `start` to `end`, inclusive, that nobody uses or has locked (invalidate_mapping_pages): what a cache is asked to
 * forget. Never waits for I/O.
 * @returns pages dropped
 */
export async function invalidate_mapping_pages(
  task: Task,
  mapping: AddressSpace,
  start: number,
  end: number,
): Promise<number> {
  let dropped = 0;
  let at = start;
  while (at <= end) {
    const folios = filemap_get_folios(mapping, at, end, BATCH);
    if (folios.length === 0) break;
    try {
      for (const folio of folios) {
        at = folio.index + 1;
        if (!folio_trylock(task, folio)) continue;
        try {
          if (await mapping_evict_folio(task, mapping, folio)) dropped++;
        } finally {
          folio_unlock(task, folio);
        }
      }
    } finally {
      folios_put(folios);
    }
    await task.sched.yield();
  }
  return dropped;
}

/** Remove a locked folio from the cache if it is clean and only the cache and we have it (mapping_evict_folio). */
async function mapping_evict_folio(task: Task, mapping: AddressSpace, folio: Folio): Promise<boolean> {
  if (folio.mapping !== mapping || folio.dirty || folio.writeback.isSet || folio.refcount > 2) return false;
  if (!(await filemap_release_folio(task, folio, 'GFP_KERNEL'))) return false;
  if (folio.dirty || folio.refcount > 2) return false;
  filemap_remove_folio(task, folio);
  return true;
}

/**
 * Remove the pages `start` to `end`, inclusive, because the device has newer bytes (invalidate_inode_pages2_range): waits for locks and
 * writeback, and writes what is dirty out through launder_folio. What was not written before, and cannot be laundered, stays.
 * @throws EBUSY where a page stayed; what launder_folio throws. The others are removed all the same
 */
export async function invalidate_inode_pages2_range(
  task: Task,
  mapping: AddressSpace,
  start: number,
  end: number,
): Promise<void> {
  if (mapping.nrpages === 0) return;
  let failure: { readonly error: unknown } | undefined;
  let at = start;
  while (at <= end) {
    const folios = filemap_get_folios(mapping, at, end, BATCH);
    if (folios.length === 0) break;
    try {
      for (const folio of folios) {
        at = folio.index + 1;
        await folio.lock.lock(task);
        try {
          if (folio.mapping !== mapping) continue;
          await folio_wait_writeback(task, folio);
          if (folio.mapcount > 0) unmap_mapping_folio(task, folio);
          await folio_launder(task, mapping, folio);
          if (folio.dirty || !(await filemap_release_folio(task, folio, 'GFP_KERNEL')) || folio.dirty) {
            failure ??= { error: errno('EBUSY') };
          } else {
            filemap_remove_folio(task, folio);
          }
        } catch (error) {
          failure ??= { error };
        } finally {
          folio_unlock(task, folio);
        }
      }
    } finally {
      folios_put(folios);
    }
    await task.sched.yield();
  }
  if (failure !== undefined) throw failure.error;
}
