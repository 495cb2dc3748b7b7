/**
 * The state that writepage must leave behind, as the document says it: dirtied again, or sent through set_page_writeback and
 * end_page_writeback; unlocked, unless it answered WRITEPAGE_ACTIVATE. A folio that breaks it is put right after the
 * report, because it would be clean and yet tagged dirty for ever, and its data lost.
 */
import { Errno, errno } from '../sched/errno.js';
import type { Task } from '../sched/task.js';
import type { AddressSpace } from './address-space.js';
import type { Folio } from './folio.js';
import {
  filemap_dirty_folio,
  folio_locked_by,
  folio_unlock,
  folio_violation,
  mapping_set_error,
} from './folio-state.js';
import { WRITEPAGE_ACTIVATE } from './operations.js';

/** True where a folio is clean, at rest, and tagged dirty in the tree: what the document warns of. */
export function is_clean_but_tagged(folio: Folio): boolean {
  const { mapping } = folio;
  return (
    mapping !== undefined && !folio.dirty && !folio.writeback.isSet && mapping.i_pages.getMark(folio.index, 'dirty')
  );
}

/** To be called when writepage has returned. */
export function check_after_writepage(task: Task, folio: Folio, result: void | typeof WRITEPAGE_ACTIVATE): void {
  const { mapping } = folio;
  const activate = result === WRITEPAGE_ACTIVATE;
  const ours = folio_locked_by(task, folio);
  if (activate && !ours) {
    folio_violation(
      task,
      'writepage answered WRITEPAGE_ACTIVATE and has unlocked the folio',
      'address_space_operations.writepage/folio/folio/activated',
    );
  }
  if (mapping !== undefined && is_clean_but_tagged(folio)) {
    // Dirty again before the report, which may throw.
    filemap_dirty_folio(task, mapping, folio);
    if (ours) folio_unlock(task, folio);
    folio_violation(
      task,
      'after writepage the folio is clean but tagged dirty: neither redirtied nor sent through writeback',
      'address_space_operations.writepage#never-clean-but-tagged-dirty',
    );
    return;
  }
  if (!ours) return;
  folio_unlock(task, folio);
  if (!activate) {
    task.validator.violation(task, 'not-released', {
      message: 'address_space_operations.writepage returned with the folio still locked',
      rule: 'address_space_operations.writepage/folio/folio/written',
      lock: 'folio',
      held: [...task.held],
    });
  }
}

/** writepage has thrown: its error is the mapping's, and the folio must not stay locked, or clean but tagged. */
export function recover_failed_writepage(task: Task, mapping: AddressSpace, folio: Folio, error: unknown): void {
  mapping_set_error(mapping, error instanceof Errno ? error : errno('EIO', String(error)));
  if (is_clean_but_tagged(folio)) filemap_dirty_folio(task, mapping, folio);
  if (folio_locked_by(task, folio)) folio_unlock(task, folio);
}
