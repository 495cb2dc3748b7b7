/** invalidate_folio unlocks the folio while it waits for its journal, and locks it again. */

import type { Folio } from '../../../src/mm/folio.js';
import { folio_lock, folio_unlock } from '../../../src/mm/folio-state.js';
import type { Task } from '../../../src/sched/task.js';
import { O_CREAT, O_RDWR } from '../../../src/uapi/fcntl.js';
import type { Planted } from '../harness.js';
import { plain_aops } from '../plain-file.js';

async function invalidate_folio(task: Task, folio: Folio): Promise<void> {
  folio_unlock(task, folio);
  await task.sched.yield();
  await folio_lock(task, folio);
  folio.private = undefined;
}

export const planted: Planted = {
  bug: 'invalidate_folio gives the folio away in between',
  changes: {
    aops: {
      invalidate_folio,
      write_end: (task, file, mapping, pos, len, copied, begun) => {
        begun.folio.private = {};
        return plain_aops.write_end?.(task, file, mapping, pos, len, copied, begun) ?? copied;
      },
    },
  },
  provoke: async ({ sys }) => {
    const fd = await sys.open('/f', O_CREAT | O_RDWR, 0o644);
    await sys.write(fd, Buffer.from('x'));
    await sys.ftruncate(fd, 0);
  },
  reports: [
    {
      kind: 'lock-not-held',
      rule: 'address_space_operations.invalidate_folio/folio/folio',
      op: 'address_space_operations.invalidate_folio',
      held: ['s_writers (read)', 'i_rwsem (write)', 'invalidate_lock (write)', 'folio (write)'],
      at: 'invalidate_folio',
    },
  ],
};
