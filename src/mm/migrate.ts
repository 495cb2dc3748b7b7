/** Moving what a page holds to another page (mm/migrate.c): the file, the page tables and the bytes go along. */
import { address_space_operations } from '../contract/address-space.js';
import { call } from '../locking/context.js';
import { GUARDED, guard_write } from '../locking/guarded.js';
import { errno } from '../sched/errno.js';
import type { Task } from '../sched/task.js';
import type { AddressSpace } from './address-space.js';
import { filemap_release_folio } from './filemap-tree.js';
import { type Folio, folio_get, folio_put } from './folio.js';
import { fields_of, tree_of } from './folio-fields.js';
import { folio_locked_by, folio_trylock, folio_unlock } from './folio-state.js';
import { folio_write_one } from './page-writeback.js';
import { remap_to, rmap_walk } from './rmap.js';

/** Asynchronous migration waits for nothing; synchronous does, and writes dirty pages whose filesystem cannot move them. */
export type MigrateMode = 'MIGRATE_ASYNC' | 'MIGRATE_SYNC';

/** References of a folio when only its cache, its page tables, its filesystem and the caller have it. */
function expected_refs(folio: Folio): number {
  return 1 + folio.mapcount + (folio.mapping === undefined ? 0 : 1) + (folio.swap === undefined ? 0 : 1);
}

/**
 * Put `dst` in the place of `src` in the file, with everything that is known of it (folio_migrate_mapping, folio_migrate_flags). Both are locked.
 * @throws EAGAIN where somebody else uses `src`
 */
function folio_migrate_mapping(task: Task, mapping: AddressSpace | undefined, dst: Folio, src: Folio): void {
  if (src.refcount !== expected_refs(src)) throw errno('EAGAIN', 'the page is in use');
  src.data.copy(dst.data);
  fields_of(dst).uptodate = src.uptodate;
  dst.error = src.error;
  dst.referenced = src.referenced;
  dst.active = src.active;
  dst.readahead = src.readahead;
  const { lru } = src;
  lru?.remove(src);
  if (mapping !== undefined) {
    guard_write(task, GUARDED.page_tree, src.lock);
    guard_write(task, GUARDED.page_tree, dst.lock);
    // The cache's reference goes from one to the other, and the marks of the tree stay.
    fields_of(dst).dirty = src.dirty;
    fields_of(src).dirty = false;
    tree_of(mapping).store(dst);
    fields_of(dst).mapping = mapping;
    fields_of(src).mapping = undefined;
    folio_get(dst);
    folio_put(src);
  } else {
    fields_of(dst).dirty = src.dirty;
    dst.anon = src.anon;
    if (src.swap !== undefined) {
      dst.swap = src.swap;
      src.swap.si.cache.set(src.swap.slot, dst);
      src.swap = undefined;
      folio_get(dst);
      folio_put(src);
    }
  }
  lru?.addHead(dst);
}

/** migrate_folio for filesystems to whom one page is as good as another (filemap_migrate_folio). Both folios are locked. @throws EAGAIN */
export function filemap_migrate_folio(
  task: Task,
  mapping: AddressSpace,
  dst: Folio,
  src: Folio,
  _mode: MigrateMode,
): void {
  folio_migrate_mapping(task, mapping, dst, src);
  // Whoever keeps data with the page finds it with the new one.
  dst.private = src.private;
  src.private = undefined;
}

/** What is done for a filesystem without migrate_folio: write the page, drop its private data, move it (fallback_migrate_folio). @throws EAGAIN EBUSY */
async function fallback_migrate_folio(
  task: Task,
  mapping: AddressSpace,
  dst: Folio,
  src: Folio,
  mode: MigrateMode,
): Promise<void> {
  if (src.dirty) {
    if (mode !== 'MIGRATE_SYNC') throw errno('EBUSY', 'a dirty page is not moved without a wait');
    await folio_write_one(task, src);
    // Not waited for: the other page is locked, and nobody says in which order the two are taken.
    if (!folio_trylock(task, src)) throw errno('EAGAIN');
    if (src.mapping !== mapping || src.dirty || src.writeback.isSet) throw errno('EAGAIN');
  }
  if (src.private !== undefined && !(await filemap_release_folio(task, src, 'GFP_KERNEL'))) throw errno('EAGAIN');
  folio_migrate_mapping(task, mapping, dst, src);
}

/**
 * Move a page (migrate_pages, one of them): takes it out of the page tables, has the filesystem move it with migrate_folio, and maps the new one.
 * @param src with a reference of the caller's
 * @param dst a fresh page, not locked, with a reference of the caller's
 * @returns whether it was moved; `dst` belongs to the file, or to the process, then
 */
export async function migrate_one(task: Task, src: Folio, dst: Folio, mode: MigrateMode): Promise<boolean> {
  if (!folio_trylock(task, src)) {
    if (mode === 'MIGRATE_ASYNC') return false;
    await src.lock.lock(task);
  }
  try {
    if (src.writeback.isSet) {
      if (mode === 'MIGRATE_ASYNC') return false;
      await src.writeback.wait(task);
    }
    const { mapping } = src;
    if ((mapping === undefined && src.anon === undefined) || src.poisoned) return false;
    // A new page: nobody can have it locked.
    folio_trylock(task, dst);
    try {
      const places = rmap_walk(src);
      await move_to_new_folio(task, mapping, dst, src, mode);
      // Nothing has run since: the entries still point at the old page.
      remap_to(task, src, dst, places);
      return true;
    } catch {
      return false;
    } finally {
      folio_unlock(task, dst);
    }
  } finally {
    if (folio_locked_by(task, src)) folio_unlock(task, src);
  }
}

/** @throws EAGAIN EBUSY */
async function move_to_new_folio(
  task: Task,
  mapping: AddressSpace | undefined,
  dst: Folio,
  src: Folio,
  mode: MigrateMode,
): Promise<void> {
  if (mapping === undefined) {
    folio_migrate_mapping(task, undefined, dst, src);
    return;
  }
  const { migrate_folio } = mapping.a_ops;
  if (migrate_folio === undefined) {
    await fallback_migrate_folio(task, mapping, dst, src, mode);
    return;
  }
  await call(task, address_space_operations.migrate_folio, { src: src.lock, dst: dst.lock }, () =>
    migrate_folio(task, mapping, dst, src, mode),
  );
  if (src.mapping !== undefined) throw errno('EAGAIN');
}
