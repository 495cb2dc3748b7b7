/** What a new size has promised of the page cache: no page is left behind the end of the file. Looked at with the deep checks on only. */
import type { Row } from '../contract/row.js';
import type { Task } from '../sched/task.js';
import type { AddressSpace } from './address-space.js';
import { type Folio, PAGE_SIZE } from './folio.js';

/** The pages that are to go when a file gets that size. @param size bytes @returns undefined where nobody looks afterwards */
export function pages_behind(task: Task, mapping: AddressSpace | undefined, size: number): Folio[] | undefined {
  if (mapping === undefined || !task.validator.stacks || !task.validator.checking) return undefined;
  return mapping.i_pages.collect(Math.ceil(size / PAGE_SIZE), Number.POSITIVE_INFINITY, Number.POSITIVE_INFINITY);
}

/**
 * An operation has given a file its size, with i_rwsem held exclusively: were the file to grow again, a page that was left behind its end would show what had been cut off (truncate_setsize).
 * One that has come since is somebody's who began to read before, and has nothing but zeroes.
 * @param behind what was there before (pages_behind)
 * @param size bytes
 * @param operation the filesystem's, which has succeeded
 * @throws with enforce=error EIO
 */
export function check_after_setsize(
  task: Task,
  mapping: AddressSpace,
  behind: readonly Folio[],
  size: number,
  row: Row,
  operation: object,
): void {
  const stale = behind.find((folio) => folio.uptodate && folio.mapping === mapping);
  if (stale === undefined) return;
  task.validator.violation(task, 'folio-state', {
    message: `${row.section}.${row.op} has cut the file to ${size} bytes, and page ${stale.index} is still cached`,
    rule: 'folio#goes-with-the-end-of-its-file',
    row,
    lock: 'invalidate_lock',
    held: [...task.held],
    operation,
  });
}
