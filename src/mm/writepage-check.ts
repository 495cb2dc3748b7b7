/**
 * The state that writepage must leave behind, as the document says it: dirtied again, or sent through set_page_writeback and
 * end_page_writeback; unlocked, unless it answered WRITEPAGE_ACTIVATE. A folio that breaks it is put right after the
 * report, because it would be clean and yet tagged dirty for ever, and its data lost.
 */
import { address_space_operations as rows } from '../contract/address-space.js';
import type { Awaitable } from '../sched/awaitable.js';
import { asErrno, type Errno, errno } from '../sched/errno.js';
import type { Task } from '../sched/task.js';
import type { HeldLock } from '../sched/validator.js';
import type { AddressSpace } from './address-space.js';
import type { Folio } from './folio.js';
import {
  folio_account_dirtied,
  folio_end_writeback,
  folio_locked_by,
  folio_unlock,
  folio_violation,
  mapping_set_error,
} from './folio-state.js';
import { WRITEPAGE_ACTIVATE, type WritebackControl } from './operations.js';

/** True where a folio is clean, at rest, and tagged dirty in the tree: what the document warns of. */
export function is_clean_but_tagged(folio: Folio): boolean {
  const { mapping } = folio;
  return (
    mapping !== undefined && !folio.dirty && !folio.writeback.isSet && mapping.i_pages.getMark(folio.index, 'dirty')
  );
}

/** What a task has done before a writepage, to tell what the writepage does. */
interface Before {
  readonly mode: Task['writepage_mode'];
  readonly started: number;
  readonly ios: number;
}

/**
 * Call writepage on a locked folio that counts as clean since folio_clear_dirty_for_io, and hold it to what the document says.
 * @param alone it is the mapping's own writepage, which must have submitted its I/O when it returns; not that of a writepages that collects pages
 * @returns its answer
 * @throws what it throws, once the folio is put right: unlocked, and dirty where it was not written
 */
export function do_writepage(
  task: Task,
  folio: Folio,
  wbc: WritebackControl,
  writepage: (task: Task, folio: Folio, wbc: WritebackControl) => Awaitable<void | typeof WRITEPAGE_ACTIVATE>,
  alone: boolean,
): Awaitable<void | typeof WRITEPAGE_ACTIVATE> {
  const before: Before = { mode: task.writepage_mode, started: task.nr_writeback, ios: task.nr_ios };
  const { mapping } = folio;
  const failed = (error: unknown): never => {
    task.writepage_mode = before.mode;
    if (mapping !== undefined) recover_failed_writepage(task, mapping, folio, error, before, alone);
    throw error;
  };
  const done = (result: void | typeof WRITEPAGE_ACTIVATE): void | typeof WRITEPAGE_ACTIVATE => {
    task.writepage_mode = before.mode;
    check_after_writepage(task, folio, wbc, result, before, alone);
    return result;
  };
  task.writepage_mode = wbc.sync_mode;
  let result: Awaitable<void | typeof WRITEPAGE_ACTIVATE>;
  try {
    result = writepage(task, folio, wbc);
  } catch (error) {
    return failed(error);
  }
  return result instanceof Promise ? result.then(done, failed) : done(result);
}

function check_after_writepage(
  task: Task,
  folio: Folio,
  wbc: WritebackControl,
  result: void | typeof WRITEPAGE_ACTIVATE,
  before: Before,
  alone: boolean,
): void {
  const { mapping } = folio;
  const activate = result === WRITEPAGE_ACTIVATE;
  const ours = folio_locked_by(task, folio);
  if (activate && !ours) {
    folio_violation(
      task,
      'writepage answered WRITEPAGE_ACTIVATE and has unlocked the folio',
      'address_space_operations.writepage/folio/folio/activated',
      mapping?.a_ops.writepage,
    );
  }
  if (mapping !== undefined && is_clean_but_tagged(folio)) {
    // Dirty again before the report, which may throw.
    folio_account_dirtied(task, mapping, folio);
    if (ours) folio_unlock(task, folio);
    folio_violation(
      task,
      'after writepage the folio is clean but tagged dirty: neither redirtied nor sent through writeback',
      'address_space_operations.writepage#never-clean-but-tagged-dirty',
      mapping?.a_ops.writepage,
    );
    return;
  }
  const held = [...task.held];
  if (ours) folio_unlock(task, folio);
  if (ours && !activate) still_locked(task, folio, held);
  check_io(task, folio, wbc, before, alone);
}

/** writepage has returned, or thrown, with the folio locked, which is unlocked by now. @param held the locks of the task as it did */
function still_locked(task: Task, { mapping }: Folio, held: readonly HeldLock[]): void {
  task.validator.violation(task, 'not-released', {
    message: 'address_space_operations.writepage returned with the folio still locked',
    rule: 'address_space_operations.writepage/folio/folio/written',
    row: rows.writepage,
    lock: 'folio',
    held,
    ...(mapping?.a_ops.writepage === undefined ? {} : { operation: mapping.a_ops.writepage }),
  });
}

/** Whether the I/O was begun that had to be, and that which was begun will end. */
function check_io(task: Task, folio: Folio, wbc: WritebackControl, before: Before, alone: boolean): void {
  const started = task.nr_writeback > before.started;
  if (wbc.sync_mode === 'WBC_SYNC_ALL' && !started && folio.dirty && folio.mapping !== undefined) {
    folio_violation(
      task,
      'writepage was called for a sync and has begun no I/O on the folio',
      'address_space_operations.writepage#sync-starts-io',
      folio.mapping?.a_ops.writepage,
    );
  }
  if (!alone || !started || task.nr_ios > before.ios) return;
  end_forgotten_writeback(task, folio, errno('EIO', 'no I/O was submitted'));
}

/** Nobody would ever end a writeback without I/O. */
function end_forgotten_writeback(task: Task, folio: Folio, error: Errno): void {
  if (!folio.writeback.isSet) return;
  folio_end_writeback(task, folio, error);
  folio_violation(
    task,
    'writepage has begun writeback, submitted no I/O, and not ended the writeback',
    'address_space_operations.writepage#no-io-ends-writeback',
    folio.mapping?.a_ops.writepage,
  );
}

/** writepage has thrown: its error is the mapping's, and the folio must not stay locked, or clean but tagged, or under a writeback that nobody ends. */
function recover_failed_writepage(
  task: Task,
  mapping: AddressSpace,
  folio: Folio,
  error: unknown,
  before: Before,
  alone: boolean,
): void {
  mapping_set_error(mapping, asErrno(error));
  if (is_clean_but_tagged(folio)) folio_account_dirtied(task, mapping, folio);
  const held = [...task.held];
  const ours = folio_locked_by(task, folio);
  if (ours) folio_unlock(task, folio);
  if (alone && ours) still_locked(task, folio, held);
  if (alone && task.nr_writeback > before.started && task.nr_ios === before.ios) {
    end_forgotten_writeback(task, folio, asErrno(error));
  }
}
