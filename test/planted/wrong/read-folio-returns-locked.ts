/** read_folio takes a short way for a hole, and returns from it without unlocking the folio. */

import type { Folio } from '../../../src/mm/folio.js';
import { folio_mark_uptodate } from '../../../src/mm/folio-state.js';
import type { Task } from '../../../src/sched/task.js';
import { O_CREAT, O_RDWR } from '../../../src/uapi/fcntl.js';
import { outcome, type Planted } from '../harness.js';

function read_folio(_task: Task, _file: unknown, folio: Folio): void {
  folio.data.fill(0);
  folio_mark_uptodate(folio);
}

export const planted: Planted = {
  bug: 'read_folio of a hole returns with the folio locked',
  changes: { aops: { read_folio } },
  provoke: async ({ sys }) => {
    const fd = await sys.open('/f', O_CREAT | O_RDWR, 0o644);
    await sys.ftruncate(fd, 4096);
    await outcome(sys.pread(fd, 10, 0));
  },
  reports: [
    {
      kind: 'not-released',
      rule: 'address_space_operations.read_folio/folio/folio',
      op: 'address_space_operations.read_folio',
      held: ['invalidate_lock (read)', 'folio (write)'],
      at: 'read_folio',
    },
  ],
};
