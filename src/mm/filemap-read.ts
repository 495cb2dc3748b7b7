/** Reading through the page cache (filemap_read in mm/filemap.c). What is cached is handed out by reference, at once and without a lock. */
import { address_space_operations } from '../contract/address-space.js';
import { call } from '../locking/context.js';
import { assert_held, type Shared } from '../locking/held.js';
import type { Awaitable } from '../sched/awaitable.js';
import { errno } from '../sched/errno.js';
import type { Task } from '../sched/task.js';
import { might_sleep } from '../sched/wait.js';
import type { AddressSpace, MmFile } from './address-space.js';
import { filemap_add_folio, filemap_discard_folio, filemap_get_folio } from './filemap-tree.js';
import { type Folio, folio_get, folio_put, PAGE_SIZE, pageOf } from './folio.js';
import { folio_locked_by, folio_trylock, folio_unlock } from './folio-state.js';
import type { IovIter } from './iov-iter.js';
import { folio_mark_accessed } from './lru.js';
import type { Kiocb } from './operations.js';
import { folio_alloc } from './page-alloc.js';
import { page_cache_async_ra, page_cache_sync_ra, pages_of_read } from './readahead.js';

/**
 * Read from the page cache at iocb.ki_pos into `iter`, up to the end of the file, and advance the position (filemap_read). At once,
 * without a promise or a lock, while every folio is there and uptodate; what is missing is read under invalidate_lock held shared.
 *
 * @returns bytes read, 0 at the end of the file; fewer than asked for where an error came after some
 * @throws EAGAIN where iocb.nowait is set and the first byte is not in the cache; EIO and what read_folio throws; ENOMEM
 */
export function filemap_read(task: Task, iocb: Kiocb, iter: IovIter): Awaitable<number> {
  // The memory of the caller may have to be faulted in.
  if (task.atomic > 0) might_sleep(task, 'reading through the cache');
  const read = readCached(iocb, iter);
  if (iter.count === 0 || iocb.ki_pos >= iocb.ki_filp.f_mapping.host.i_size) return read;
  return readMissing(task, iocb, iter, read);
}

/** Hand out what is cached, as far as it is. @returns bytes */
function readCached(iocb: Kiocb, iter: IovIter): number {
  const file = iocb.ki_filp;
  const mapping = file.f_mapping;
  const size = mapping.host.i_size;
  const start = iocb.ki_pos;
  let pos = start;
  // A page read in small pieces counts as used once.
  let used = file.f_ra.prev_pos < 0 ? -1 : pageOf(file.f_ra.prev_pos);
  while (iter.count > 0 && pos < size) {
    const index = pageOf(pos);
    const folio = mapping.i_pages.load(index);
    if (folio === undefined || !folio.uptodate || folio.readahead) break;
    const offset = pos & (PAGE_SIZE - 1);
    pos += iter.addFolio(folio, offset, Math.min(PAGE_SIZE - offset, size - pos));
    if (index !== used) folio_mark_accessed(folio);
    used = index;
  }
  if (pos > start) {
    iocb.ki_pos = pos;
    file.f_ra.prev_pos = pos - 1;
  }
  return pos - start;
}

async function readMissing(task: Task, iocb: Kiocb, iter: IovIter, already: number): Promise<number> {
  const { host } = iocb.ki_filp.f_mapping;
  let total = already;
  try {
    while (iter.count > 0 && iocb.ki_pos < host.i_size) {
      const folio = await getFolioToRead(task, iocb, iter);
      try {
        // The size may have changed while we waited.
        const pos = iocb.ki_pos;
        const offset = pos & (PAGE_SIZE - 1);
        const length = Math.min(PAGE_SIZE - offset, host.i_size - pos);
        if (length <= 0) break;
        const n = iter.addFolio(folio, offset, length);
        folio_mark_accessed(folio);
        iocb.ki_pos = pos + n;
        iocb.ki_filp.f_ra.prev_pos = pos + n - 1;
        total += n;
      } finally {
        folio_put(folio);
      }
      total += readCached(iocb, iter);
    }
  } catch (error) {
    if (total === 0) throw error;
  }
  return total;
}

/** The folio at the position, with a reference, and its bytes that are asked for good to read (filemap_get_pages). */
async function getFolioToRead(task: Task, iocb: Kiocb, iter: IovIter): Promise<Folio> {
  const file = iocb.ki_filp;
  const mapping = file.f_mapping;
  const index = pageOf(iocb.ki_pos);
  const { count } = iter;
  const request = pages_of_read(iocb.ki_pos, count);
  for (;;) {
    let folio = filemap_get_folio(mapping, index);
    if (folio === undefined) {
      if (iocb.nowait) throw errno('EAGAIN');
      await page_cache_sync_ra(task, file, mapping, index, request);
      folio = filemap_get_folio(mapping, index) ?? (await createToRead(task, file, mapping, index, iter));
      if (folio === undefined) continue;
    }
    let keep = false;
    try {
      if (folio.readahead && !iocb.nowait) await page_cache_async_ra(task, file, mapping, folio, request);
      keep = folio.uptodate || (await updateFolio(task, iocb, mapping, folio, count));
      if (keep) return folio;
    } finally {
      if (!keep) folio_put(folio);
    }
  }
}

/** Where there is no memory, readers that wait for it with pages in their hands would wait for each other: they go on with copies. */
function createToRead(
  task: Task,
  file: MmFile,
  mapping: AddressSpace,
  index: number,
  iter: IovIter,
): Promise<Folio | undefined> {
  const { pool, limit } = mapping.memory;
  if (pool.used >= limit) iter.detach();
  return filemap_create_folio(task, file, mapping, index);
}

/**
 * Make a folio that is not uptodate so (filemap_update_page).
 * @returns false where it is to be looked up again: it was being read, or is not of the file any more
 */
async function updateFolio(
  task: Task,
  iocb: Kiocb,
  mapping: AddressSpace,
  folio: Folio,
  count: number,
): Promise<boolean> {
  if (folio.lock.locked) {
    if (iocb.nowait) throw errno('EAGAIN');
    await folio.lock.waitUnlocked(task);
    return folio.uptodate && folio.mapping === mapping;
  }
  if (iocb.nowait) throw errno('EAGAIN');
  using _invalidate = await mapping.invalidate_lock.read(task);
  if (!folio_trylock(task, folio)) return false;
  if (folio.mapping !== mapping || folio.uptodate || isPartiallyUptodate(task, iocb.ki_pos, folio, count)) {
    const ours = folio.mapping === mapping;
    folio_unlock(task, folio);
    return ours;
  }
  await filemap_read_folio(task, iocb.ki_filp, mapping, folio);
  return true;
}

/** is_partially_uptodate of the bytes asked for, on a locked folio. */
function isPartiallyUptodate(task: Task, pos: number, folio: Folio, count: number): boolean {
  const ask = folio.mapping?.a_ops.is_partially_uptodate;
  if (ask === undefined) return false;
  const from = pos & (PAGE_SIZE - 1);
  const length = Math.min(PAGE_SIZE - from, count);
  return (
    call(task, address_space_operations.is_partially_uptodate, { folio: folio.lock }, () =>
      ask(task, folio, from, length),
    ) === true
  );
}

/**
 * Read a locked folio and wait until it is read (filemap_read_folio). invalidate_lock of the mapping is held. Unlocked in any case.
 * @throws EIO where it is not uptodate afterwards; what read_folio throws
 */
export async function filemap_read_folio(
  task: Task,
  file: MmFile | undefined,
  mapping: AddressSpace,
  folio: Folio,
): Promise<void> {
  const { read_folio } = mapping.a_ops;
  if (read_folio === undefined) {
    folio_unlock(task, folio);
    throw errno('EINVAL', 'the file has no read_folio');
  }
  folio.error = false;
  const participants = { folio: folio.lock, mapping: mapping.invalidate_lock };
  try {
    await call(task, address_space_operations.read_folio, participants, () => read_folio(task, file, folio));
  } finally {
    // Reported already: the reader must not wait for itself.
    if (folio_locked_by(task, folio)) folio_unlock(task, folio);
  }
  if (folio.uptodate) return;
  if (folio.lock.locked) await folio.lock.waitUnlocked(task);
  if (!folio.uptodate) throw errno('EIO');
}

/**
 * A new folio for page `index`, read (filemap_create_folio), with a reference.
 * @returns undefined where somebody else was faster
 */
async function filemap_create_folio(
  task: Task,
  file: MmFile | undefined,
  mapping: AddressSpace,
  index: number,
  held?: Shared<'invalidate_lock'>,
): Promise<Folio | undefined> {
  const folio = await folio_alloc(task, mapping, index);
  let taken: Shared<'invalidate_lock'> | undefined;
  try {
    taken = held === undefined ? await mapping.invalidate_lock.read(task) : undefined;
  } catch (error) {
    filemap_discard_folio(folio);
    throw error;
  }
  using _invalidate = taken;
  folio_trylock(task, folio);
  if (!filemap_add_folio(task, mapping, folio)) {
    folio_unlock(task, folio);
    filemap_discard_folio(folio);
    return undefined;
  }
  folio_get(folio);
  try {
    await filemap_read_folio(task, file, mapping, folio);
  } catch (error) {
    folio_put(folio);
    throw error;
  }
  return folio;
}

/**
 * The folio at page `index`, uptodate, not locked, with a reference (read_mapping_folio): for directories, links, and blocks of which a
 * part is to be changed. At once where it is cached. Reads beyond the end of the file, too.
 *
 * @param held invalidate_lock of the mapping, which comes before the locks of its pages
 * @throws EIO and what read_folio throws; ENOMEM
 */
export function read_mapping_folio(
  task: Task,
  mapping: AddressSpace,
  index: number,
  held: Shared<'invalidate_lock'>,
  file?: MmFile,
): Awaitable<Folio> {
  const folio = mapping.i_pages.load(index);
  if (folio?.uptodate !== true) return readMappingFolio(task, mapping, index, held, file);
  folio_get(folio);
  folio_mark_accessed(folio);
  return folio;
}

async function readMappingFolio(
  task: Task,
  mapping: AddressSpace,
  index: number,
  held: Shared<'invalidate_lock'>,
  file?: MmFile,
): Promise<Folio> {
  assert_held(task, mapping.invalidate_lock);
  for (;;) {
    const folio = filemap_get_folio(mapping, index);
    if (folio === undefined) {
      const created = await filemap_create_folio(task, file, mapping, index, held);
      if (created !== undefined) return created;
      continue;
    }
    let keep = false;
    try {
      if (!folio.uptodate) await readExisting(task, file, mapping, folio);
      keep = folio.uptodate && folio.mapping === mapping;
      if (keep) return folio;
    } finally {
      if (!keep) folio_put(folio);
    }
  }
}

/** Read a folio that was there and was not uptodate: its read has failed, or is under way. invalidate_lock is held. */
async function readExisting(task: Task, file: MmFile | undefined, mapping: AddressSpace, folio: Folio): Promise<void> {
  await folio.lock.lock(task);
  if (folio.uptodate || folio.mapping !== mapping) folio_unlock(task, folio);
  else await filemap_read_folio(task, file, mapping, folio);
}
