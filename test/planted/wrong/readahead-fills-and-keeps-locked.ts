/** readahead knows that a page reads as zeros, fills it, and forgets to unlock it. */

import { folio_mark_uptodate } from '../../../src/mm/folio-state.js';
import type { ReadaheadControl } from '../../../src/mm/operations.js';
import type { Task } from '../../../src/sched/task.js';
import { O_CREAT, O_RDWR } from '../../../src/uapi/fcntl.js';
import type { Planted } from '../harness.js';

function readahead(_task: Task, { folios }: ReadaheadControl): void {
  for (const folio of folios) {
    folio.data.fill(0);
    folio_mark_uptodate(folio);
  }
}

export const planted: Planted = {
  bug: 'readahead leaves pages locked that it has filled',
  changes: { aops: { readahead } },
  provoke: async ({ sys }) => {
    const fd = await sys.open('/f', O_CREAT | O_RDWR, 0o644);
    await sys.ftruncate(fd, 4096);
    await sys.pread(fd, 1, 0);
  },
  reports: [
    {
      kind: 'folio-state',
      rule: 'address_space_operations.readahead#unlocks-what-it-tries',
      op: 'address_space_operations.readahead',
      held: ['invalidate_lock (read)'],
      at: 'readahead',
    },
  ],
};
