/** The page cache: finding, adding and removing folios, and their references and locks (mm/filemap.c). */
import { address_space_operations } from '../contract/address-space.js';
import { call } from '../locking/context.js';
import { assert_held, type Exclusive } from '../locking/held.js';
import type { Awaitable } from '../sched/awaitable.js';
import type { Task } from '../sched/task.js';
import type { AddressSpace } from './address-space.js';
import { Folio } from './folio.js';
import { folio_cancel_dirty } from './folio-dirty.js';

/** A folio that is locked and on which the receiver has a reference: `held.release()`, then folio_put. */
export interface LockedFolio {
  readonly folio: Folio;
  readonly held: Exclusive<'folio'>;
}

/** Take a reference: the folio and its bytes stay until folio_put. */
export function folio_get(folio: Folio): Folio {
  folio.refcount++;
  return folio;
}

/** Give a reference back; the last one frees the bytes. Callable from a completion. */
export function folio_put(_task: Task, folio: Folio): void {
  if (--folio.refcount > 0) return;
  if (folio.refcount < 0 || folio.mapping !== undefined) {
    throw new Error(`folio ${folio.index}: more references were given back than taken`);
  }
  folio.memory.free(folio.data);
}

/** The folio at `index` with a reference, or undefined where the cache has none. Not locked. */
export function filemap_get_folio(mapping: AddressSpace, index: number): Folio | undefined {
  const folio = mapping.i_pages.load(index);
  if (folio !== undefined) folio.refcount++;
  return folio;
}

/** The folio at `index` without a reference: for looking at it before anything can sleep. */
export function filemap_peek_folio(mapping: AddressSpace, index: number): Folio | undefined {
  return mapping.i_pages.load(index);
}

/** Lock a folio (folio_lock). At once where it is free. */
export function folio_lock(task: Task, folio: Folio): Awaitable<Exclusive<'folio'>> {
  return folio.lock.lock(task);
}

export function folio_trylock(task: Task, folio: Folio): Exclusive<'folio'> | undefined {
  return folio.lock.tryLock(task);
}

/** Unlock a folio, by whoever holds it or by the completion of the I/O to which the lock was handed. */
export function folio_unlock(task: Task, folio: Folio): void {
  folio.lock.unlock(task);
}

/** End a read: mark the folio uptodate or failed, then unlock it (folio_end_read). Callable from a completion. */
export function folio_end_read(task: Task, folio: Folio, success: boolean): void {
  if (success) folio.uptodate = true;
  folio.error = !success;
  folio.lock.unlock(task);
}

/**
 * Put a new folio with these bytes at `index`, locked, with a reference for the caller besides that of the cache
 * (filemap_add_folio).
 * @returns undefined where somebody else was faster; the bytes stay the caller's then
 */
export function filemap_add_folio(
  task: Task,
  mapping: AddressSpace,
  index: number,
  data: Buffer,
): LockedFolio | undefined {
  if (mapping.i_pages.load(index) !== undefined) return undefined;
  const folio = new Folio(mapping, index, data);
  const held = folio.lock.tryLock(task);
  if (held === undefined) return undefined;
  folio.refcount++;
  mapping.i_pages.store(folio);
  mapping.memory.nr_file_pages++;
  mapping.memory.lru_add(folio);
  return { folio, held };
}

/**
 * Take a folio out of its mapping, with what it has of dirtiness, and drop the cache's reference (filemap_remove_folio). The
 * folio must be locked and not under writeback.
 */
export function filemap_remove_folio(task: Task, folio: Folio): void {
  const { mapping, memory } = folio;
  assert_held(task, folio.lock, 'write');
  if (mapping === undefined) return;
  if (folio.writeback.isSet) {
    task.validator.violation(task, 'folio-state', {
      message: `folio ${folio.index} of inode ${mapping.host.i_ino} is removed while under writeback`,
    });
  }
  folio_cancel_dirty(task, folio);
  mapping.i_pages.erase(folio.index);
  folio.mapping = undefined;
  memory.nr_file_pages--;
  memory.lru_del(folio);
  if (mapping.a_ops.free_folio !== undefined) {
    call(task, address_space_operations.free_folio, { folio: folio.lock }, () =>
      mapping.a_ops.free_folio?.(task, folio),
    );
  }
  folio_put(task, folio);
}

/** Take a locked folio out of its mapping if it is clean and only the cache uses it (remove_mapping). */
export function remove_mapping(task: Task, folio: Folio): boolean {
  if (folio.mapping === undefined || folio.dirty || folio.writeback.isSet || folio.refcount > 1) return false;
  filemap_remove_folio(task, folio);
  return true;
}

/**
 * The folio at `index`, made where there is none, locked and with a reference (filemap_grab_folio, FGP_LOCK | FGP_CREAT). A new one is
 * not uptodate and its bytes are undefined. At once where it exists, is not locked and memory is not short.
 */
export function filemap_grab_folio(task: Task, mapping: AddressSpace, index: number): Awaitable<LockedFolio> {
  const folio = mapping.i_pages.load(index);
  if (folio !== undefined) {
    const held = folio.lock.tryLock(task);
    if (held === undefined) return grabSlow(task, mapping, index);
    folio.refcount++;
    folio.referenced = true;
    return { folio, held };
  }
  const data = mapping.memory.alloc(task);
  if (data instanceof Promise) return grabSlow(task, mapping, index, data);
  const added = filemap_add_folio(task, mapping, index, data);
  if (added !== undefined) return added;
  mapping.memory.free(data);
  return grabSlow(task, mapping, index);
}

async function grabSlow(
  task: Task,
  mapping: AddressSpace,
  index: number,
  allocating?: Promise<Buffer>,
): Promise<LockedFolio> {
  let data = await allocating;
  for (;;) {
    const folio = filemap_get_folio(mapping, index);
    if (folio !== undefined) {
      if (data !== undefined) mapping.memory.free(data);
      data = undefined;
      const held = await lockOrPut(task, folio);
      // It may have been truncated while we waited for the lock.
      if (folio.mapping === mapping) return { folio, held };
      held.release();
      folio_put(task, folio);
      continue;
    }
    data ??= await mapping.memory.alloc(task);
    const added = filemap_add_folio(task, mapping, index, data);
    if (added !== undefined) return added;
  }
}

async function lockOrPut(task: Task, folio: Folio): Promise<Exclusive<'folio'>> {
  try {
    return await folio.lock.lock(task);
  } catch (error) {
    folio_put(task, folio);
    throw error;
  }
}

/** The folio at `index`, locked and with a reference, or undefined (filemap_lock_folio). */
export function filemap_lock_folio(
  task: Task,
  mapping: AddressSpace,
  index: number,
): Awaitable<LockedFolio | undefined> {
  const folio = mapping.i_pages.load(index);
  if (folio === undefined) return undefined;
  const held = folio.lock.tryLock(task);
  folio.refcount++;
  if (held !== undefined) return { folio, held };
  return lockOrPut(task, folio).then((waited) => {
    if (folio.mapping === mapping) return { folio, held: waited };
    waited.release();
    folio_put(task, folio);
    return filemap_lock_folio(task, mapping, index);
  });
}

export {
  filemap_dirty_folio,
  folio_cancel_dirty,
  folio_clear_dirty_for_io,
  folio_end_writeback,
  folio_mark_dirty,
  folio_redirty_for_writepage,
  folio_start_writeback,
  folio_wait_writeback,
  mapping_set_error,
} from './folio-dirty.js';
