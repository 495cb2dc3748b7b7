/** What writepages has promised: to write, to count what it writes, and to write nothing that is not up for it. */
import type { Task } from '../sched/task.js';
import type { AddressSpace } from './address-space.js';
import { pageOf } from './folio.js';
import { folio_violation } from './folio-state.js';
import type { WritebackControl } from './operations.js';

/** How things stood before writepages was called. */
export interface BeforeWritepages {
  readonly started: number;
  readonly dirtied: number;
  readonly nr_to_write: number;
  readonly skipped: number;
}

export function before_writepages(task: Task, mapping: AddressSpace, wbc: WritebackControl): BeforeWritepages {
  return {
    started: task.nr_writeback,
    dirtied: mapping.nr_dirtied,
    nr_to_write: wbc.nr_to_write,
    skipped: wbc.pages_skipped,
  };
}

const RULE = 'address_space_operations.writepages#';

/** To be called when writepages has succeeded. */
export function check_after_writepages(
  task: Task,
  mapping: AddressSpace,
  wbc: WritebackControl,
  before: BeforeWritepages,
): void {
  if (task.validator.enforce === 'off') return;
  const started = task.nr_writeback - before.started;
  const skipped = wbc.pages_skipped - before.skipped;
  if (Number.isFinite(before.nr_to_write)) {
    const counted = before.nr_to_write - wbc.nr_to_write;
    // A page that was dirtied again may be counted or not.
    if (counted < started || counted > started + skipped) {
      folio_violation(
        task,
        `writepages has written ${started} pages and counted ${counted}`,
        `${RULE}accounts-each-page`,
      );
    }
  }
  // Where others dirty pages meanwhile, or pages cannot be written now, what is dirty afterwards says nothing.
  if (mapping.nr_dirtied !== before.dirtied || skipped > 0 || wbc.range_cyclic === true) return;
  const left = mapping.i_pages.find(pageOf(wbc.range_start), pageOf(wbc.range_end), 'dirty');
  if (left === undefined) return;
  if (wbc.sync_mode === 'WBC_SYNC_ALL' && before.nr_to_write === Number.POSITIVE_INFINITY) {
    // Another may be about to write one that is tagged still; but one that is dirty was so before, and a sync waits for whoever has it.
    if (!left.dirty) return;
    folio_violation(
      task,
      'writepages was to write every page and has left one',
      `${RULE}without-nr_to_write-writes-all`,
    );
  } else if (started === 0 && !left.writeback.isSet && !left.lock.locked) {
    folio_violation(task, 'writepages has begun no I/O though pages are dirty', `${RULE}starts-nr_to_write`);
  }
}
