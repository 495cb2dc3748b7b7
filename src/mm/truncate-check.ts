/** What a new size has promised of the page cache: no page is left behind the end of the file. Looked at with the deep checks on only. */
import type { Row } from '../contract/row.js';
import type { Task } from '../sched/task.js';
import type { AddressSpace } from './address-space.js';
import { PAGE_SIZE } from './folio.js';

/**
 * An operation has given a file its size, with i_rwsem held exclusively: were the file to grow again, a page that was left behind its end would show what had been cut off (truncate_setsize).
 * @param size bytes
 * @param operation the filesystem's, which has succeeded
 * @throws with enforce=error EIO
 */
export function check_after_setsize(
  task: Task,
  mapping: AddressSpace,
  size: number,
  row: Row,
  operation: object,
): void {
  if (!task.validator.stacks || !task.validator.checking) return;
  const first = Math.ceil(size / PAGE_SIZE);
  const [stale] = mapping.i_pages.collect(first, Number.POSITIVE_INFINITY, 1);
  if (stale === undefined || !stale.uptodate || stale.mapping !== mapping) return;
  task.validator.violation(task, 'folio-state', {
    message: `${row.section}.${row.op} has cut the file to ${size} bytes, and page ${stale.index} is still cached`,
    rule: 'folio#goes-with-the-end-of-its-file',
    row,
    lock: 'invalidate_lock',
    held: [...task.held],
    operation,
  });
}
