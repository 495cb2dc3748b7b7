/** A page whose memory is broken leaves its file, if its bytes can be had again (mm/memory-failure.c). */
import { address_space_operations } from '../contract/address-space.js';
import { call } from '../locking/context.js';
import { errno } from '../sched/errno.js';
import type { Task } from '../sched/task.js';
import type { AddressSpace } from './address-space.js';
import { filemap_release_folio, filemap_remove_folio } from './filemap-tree.js';
import { type Folio, folio_get, folio_put } from './folio.js';
import { folio_unlock, folio_wait_writeback, mapping_set_error } from './folio-state.js';
import { try_to_unmap } from './rmap.js';
import { truncate_inode_folio } from './truncate.js';

/** What became of a broken page (enum mf_result). */
export type MfResult = 'recovered' | 'delayed' | 'failed' | 'ignored';

/**
 * The memory of a page is broken (memory_failure): nobody may read it any more. Whoever has it mapped gets SIGBUS at the next access; a file reads it
 * again from the device if it was clean, and reports EIO once if it was dirty.
 * @returns 'recovered' where the page is out of use; 'failed' where it could not be taken from its file; 'ignored' where nobody used it
 */
export async function memory_failure(task: Task, folio: Folio): Promise<MfResult> {
  if (folio.poisoned) return 'ignored';
  folio_get(folio);
  folio.poisoned = true;
  try {
    await folio.lock.lock(task);
    try {
      await folio_wait_writeback(task, folio);
      const { mapping } = folio;
      const anonymous = folio.anon !== undefined;
      if (mapping === undefined && !anonymous) return 'ignored';
      const dirty = folio.dirty || anonymous;
      if (!try_to_unmap(task, folio, 'poisoned')) return 'failed';
      // Anonymous memory is gone with its page; its process is told at the access.
      if (mapping === undefined) return 'recovered';
      if (dirty || folio.dirty) mapping_set_error(mapping, errno('EIO', 'a dirty page was lost to broken memory'));
      return (await truncate_error_folio(task, mapping, folio)) ? 'recovered' : 'failed';
    } finally {
      folio_unlock(task, folio);
    }
  } finally {
    folio_put(folio);
  }
}

/** Take the locked page out of its file (truncate_error_folio). @returns whether it is out */
async function truncate_error_folio(task: Task, mapping: AddressSpace, folio: Folio): Promise<boolean> {
  const { error_remove_folio } = mapping.a_ops;
  if (error_remove_folio !== undefined) {
    try {
      await call(task, address_space_operations.error_remove_folio, { folio: folio.lock }, () =>
        error_remove_folio(task, mapping, folio),
      );
    } catch {
      return false;
    }
    return folio.mapping === undefined;
  }
  if (folio.private !== undefined && !(await filemap_release_folio(task, folio, 'GFP_NOFS'))) return false;
  if (folio.mapping === mapping) filemap_remove_folio(task, folio);
  return true;
}

/** error_remove_folio for regular files: the page is dropped, dirty or not (generic_error_remove_folio). @throws EINVAL where it is not of the file */
export async function generic_error_remove_folio(task: Task, mapping: AddressSpace, folio: Folio): Promise<void> {
  if (folio.mapping !== mapping) throw errno('EINVAL');
  await truncate_inode_folio(task, mapping, folio);
}
