/** What fallocate has promised of the page cache: nothing that a range held can be read from it any more. Looked at with the deep checks on only. */
import { file_operations } from '../contract/file.js';
import type { Task } from '../sched/task.js';
import type { AddressSpace } from './address-space.js';
import { type Folio, PAGE_SIZE } from './folio.js';

/** The whole pages of the range that were cached, and how often one of the file was dirtied until then. */
export interface CachedBefore {
  readonly folios: readonly Folio[];
  readonly dirtied: number;
}

/**
 * What is cached of the range, before the contents of its blocks go.
 * @param start byte
 * @param end byte behind it; Infinity: to the end of the file
 */
export function cached_before_fallocate(
  task: Task,
  mapping: AddressSpace,
  start: number,
  end: number,
): CachedBefore | undefined {
  if (!task.validator.stacks || !task.validator.checking) return undefined;
  const first = Math.ceil(start / PAGE_SIZE);
  const last = Math.floor(end / PAGE_SIZE) - 1;
  if (last < first) return undefined;
  const folios = mapping.i_pages.collect(first, last, Number.POSITIVE_INFINITY).filter(({ uptodate }) => uptodate);
  return { folios, dirtied: mapping.nr_dirtied };
}

/**
 * fallocate has succeeded: a page that was cached before has gone, or is zeroed in place where the range reads as zeros, or somebody has written to it since.
 * @param moved what the pages held is elsewhere in the file now
 * @param operation the filesystem's fallocate
 */
export function check_after_fallocate(
  task: Task,
  mapping: AddressSpace,
  before: CachedBefore | undefined,
  moved: boolean,
  operation: object,
): void {
  if (before === undefined) return;
  const stale = before.folios.find(
    (folio) =>
      folio.mapping === mapping &&
      mapping.i_pages.load(folio.index) === folio &&
      folio.uptodate &&
      folio.dirtied <= before.dirtied &&
      (moved || folio.data.some((byte) => byte !== 0)),
  );
  if (stale === undefined) return;
  task.validator.violation(task, 'folio-state', {
    message: `fallocate has changed what the file holds, and page ${stale.index} of the cache still has what was there before`,
    rule: 'file_operations.fallocate#drops-cached-range',
    row: file_operations.fallocate,
    lock: 'invalidate_lock',
    held: [...task.held],
    operation,
  });
}
