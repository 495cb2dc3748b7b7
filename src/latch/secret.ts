/**
 * Files that are to be deleted for good (chattr +s): their pages are wiped when they leave memory. Their blocks are forgotten at once on a device in memory, which keeps
 * nothing of what is freed; on others they keep what they held until somebody else writes to them, as ext4's do.
 */

import { GUARDED, guard_write } from '../locking/guarded.js';
import type { AddressSpace } from '../mm/address-space.js';
import { type Folio, folio_wipe_when_free } from '../mm/folio.js';
import { filemap_migrate_folio, type MigrateMode } from '../mm/migrate.js';
import type { Task } from '../sched/task.js';
import { FS_SECRM_FL } from '../uapi/fs.js';
import type { LatchInode } from './inode.js';

/** Pages of the cache that hold something of such a file. */
const secret = new WeakSet<Folio>();

/** Bytes of a file are about to come into locked pages. */
export function note_secret(inode: LatchInode, folios: readonly Folio[]): void {
  if ((inode.flags & FS_SECRM_FL) !== 0) for (const folio of folios) secret.add(folio);
}

/** The flags of a file have changed: this holds for the pages that are there, too. */
export function note_cached(inode: LatchInode): void {
  const pages = inode.mappingIfAny?.i_pages;
  if (pages !== undefined) note_secret(inode, pages.collect(0, Number.MAX_SAFE_INTEGER, pages.count));
}

/** ->free_folio: who still reads from a page that has left the cache reads what it held; with the last of them it is wiped. Does not block. */
export function latch_free_folio(task: Task, folio: Folio): void {
  guard_write(task, GUARDED.page_tree, folio.lock);
  if (secret.delete(folio)) folio_wipe_when_free(folio);
}

/** ->migrate_folio: the page that is left behind is wiped, the new one will be. @throws EAGAIN */
export function latch_migrate_folio(
  task: Task,
  mapping: AddressSpace,
  dst: Folio,
  src: Folio,
  mode: MigrateMode,
): void {
  filemap_migrate_folio(task, mapping, dst, src, mode);
  if (!secret.delete(src)) return;
  secret.add(dst);
  folio_wipe_when_free(src);
}
