/** What writepages has promised: to write, to count what it writes, and to write nothing that is not up for it. */
import type { Task } from '../sched/task.js';
import type { AddressSpace } from './address-space.js';
import { type Folio, pageOf } from './folio.js';
import { folio_violation } from './folio-state.js';
import type { WritebackControl } from './operations.js';

/** How things stood before writepages was called. */
export interface BeforeWritepages {
  readonly started: number;
  readonly dirtied: number;
  readonly nr_to_write: number;
  readonly skipped: number;
}

/** How things stand before ->writepages: what check_after_writepages and check_accounting compare with. */
export function before_writepages(task: Task, mapping: AddressSpace, wbc: WritebackControl): BeforeWritepages {
  return {
    started: task.nr_writeback,
    dirtied: mapping.nr_dirtied,
    nr_to_write: wbc.nr_to_write,
    skipped: wbc.pages_skipped,
  };
}

const RULE = 'address_space_operations.writepages#';
/** As file_operations.fsync promises it. */
const SYNC_RULE = 'sync#waits-for-what-it-writes';
/** Folios to look at at a time. */
const BATCH = 64;

/** To be called when writepages has succeeded. */
export function check_after_writepages(
  task: Task,
  mapping: AddressSpace,
  wbc: WritebackControl,
  before: BeforeWritepages,
): void {
  if (task.validator.enforce === 'off') return;
  check_accounting(task, wbc, before, false);
  if (wbc.range_cyclic === true) return;
  if (wbc.sync_mode === 'WBC_SYNC_ALL' && before.nr_to_write === Number.POSITIVE_INFINITY) {
    check_all_written(task, mapping, wbc, before);
    return;
  }
  // Where others dirty pages meanwhile, or pages cannot be written now, what is dirty afterwards says nothing.
  if (mapping.nr_dirtied !== before.dirtied || wbc.pages_skipped > before.skipped) return;
  const left = mapping.i_pages.find(pageOf(wbc.range_start), pageOf(wbc.range_end), 'dirty');
  if (left === undefined || task.nr_writeback > before.started || left.writeback.isSet || left.lock.locked) return;
  folio_violation(task, 'writepages has begun no I/O though pages are dirty', `${RULE}starts-nr_to_write`);
}

/**
 * Whether nr_to_write was decremented for each page that was written. A page that was dirtied again may be counted or not.
 * @param failed writepages has thrown: there may be pages that it has counted and that could not be written
 */
export function check_accounting(task: Task, wbc: WritebackControl, before: BeforeWritepages, failed: boolean): void {
  if (task.validator.enforce === 'off' || !Number.isFinite(before.nr_to_write)) return;
  const started = task.nr_writeback - before.started;
  const counted = before.nr_to_write - wbc.nr_to_write;
  const most = failed ? Number.POSITIVE_INFINITY : started + wbc.pages_skipped - before.skipped;
  if (counted >= started && counted <= most) return;
  folio_violation(task, `writepages has written ${started} pages and counted ${counted}`, `${RULE}accounts-each-page`);
}

/**
 * A sync has written what was dirty when it began, also what somebody had locked or under writeback then: it waits for both. What is dirty since before was not
 * written. Another may be about to write a page that is tagged still, but then it is not dirty any more.
 */
function check_all_written(task: Task, mapping: AddressSpace, wbc: WritebackControl, before: BeforeWritepages): void {
  if (all_clean(mapping, wbc.range_start, wbc.range_end, before.dirtied)) return;
  folio_violation(task, 'writepages was to write every page and has left one', `${RULE}without-nr_to_write-writes-all`);
}

/**
 * Whether what was dirty at a moment has been written since.
 * @param start byte
 * @param end byte, inclusive
 * @param dirtied the mapping's nr_dirtied at that moment
 */
export function all_clean(mapping: AddressSpace, start: number, end: number, dirtied: number): boolean {
  return !left_with('dirty', mapping, start, end, dirtied, ({ dirty }) => dirty);
}

function left_with(
  mark: 'dirty' | 'writeback',
  mapping: AddressSpace,
  start: number,
  end: number,
  dirtied: number,
  still: (folio: Folio) => boolean,
): boolean {
  if (!mapping.i_pages.marked(mark)) return false;
  const last = pageOf(end);
  for (let at = pageOf(start); at <= last; ) {
    const folios = mapping.i_pages.collect(at, last, BATCH, mark);
    for (const folio of folios) {
      at = folio.index + 1;
      if (still(folio) && folio.dirtied <= dirtied) return true;
    }
    if (folios.length < BATCH) return false;
  }
  return false;
}

/**
 * After a sync has waited for a range: what was dirty when it began is not under writeback any more. What others have dirtied since, and are writing, is none of its business.
 * @param start byte
 * @param end byte, inclusive
 * @param dirtied the mapping's nr_dirtied when the sync began
 */
export function check_all_waited(task: Task, mapping: AddressSpace, start: number, end: number, dirtied: number): void {
  if (!task.validator.checking || all_written(mapping, start, end, dirtied)) return;
  folio_violation(task, 'a sync is over and a page that was dirty before is still being written', SYNC_RULE);
}

/** Whether nothing is under writeback that was dirtied before a moment. Arguments as of all_clean. */
export function all_written(mapping: AddressSpace, start: number, end: number, dirtied: number): boolean {
  return !left_with('writeback', mapping, start, end, dirtied, ({ writeback }) => writeback.isSet);
}
