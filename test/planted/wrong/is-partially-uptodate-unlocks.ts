/** is_partially_uptodate gives the page's lock back, which its caller has taken and gives back itself. */

import type { Folio } from '../../../src/mm/folio.js';
import { folio_clear_uptodate, folio_unlock } from '../../../src/mm/folio-state.js';
import type { Task } from '../../../src/sched/task.js';
import { O_CREAT, O_RDWR } from '../../../src/uapi/fcntl.js';
import { inoOf, type Planted } from '../harness.js';

function is_partially_uptodate(task: Task, folio: Folio): boolean {
  folio_unlock(task, folio);
  return true;
}

export const planted: Planted = {
  bug: 'is_partially_uptodate unlocks the page',
  changes: { aops: { is_partially_uptodate } },
  provoke: async ({ sys, sb }) => {
    const fd = await sys.open('/f', O_CREAT | O_RDWR, 0o644);
    await sys.write(fd, Buffer.from('x'));
    await sys.fsync(fd);
    const folio = sb.inodeHash.get((await inoOf(sys, '/f')).readInt32LE())?.i_mapping.i_pages.load(0);
    if (folio !== undefined) folio_clear_uptodate(folio);
    await sys.pread(fd, 1, 0);
  },
  reports: [
    {
      kind: 'lock-not-held',
      rule: 'address_space_operations.is_partially_uptodate/folio/folio',
      op: 'address_space_operations.is_partially_uptodate',
      held: ['invalidate_lock (read)'],
      at: 'is_partially_uptodate',
    },
  ],
};
