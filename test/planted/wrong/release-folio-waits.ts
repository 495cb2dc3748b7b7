/** release_folio waits for a commit, also where it was asked to answer at once. */

import type { Folio } from '../../../src/mm/folio.js';
import type { Task } from '../../../src/sched/task.js';
import { might_sleep } from '../../../src/sched/wait.js';
import { O_CREAT, O_RDWR } from '../../../src/uapi/fcntl.js';
import type { Planted } from '../harness.js';
import { plain_aops } from '../plain-file.js';

function release_folio(task: Task, folio: Folio): boolean {
  might_sleep(task, 'the commit of the transaction');
  folio.private = undefined;
  return true;
}

export const planted: Planted = {
  bug: 'release_folio waits although it was called with GFP_NOWAIT',
  changes: {
    aops: {
      release_folio,
      write_end: (task, file, mapping, pos, len, copied, begun) => {
        begun.folio.private = {};
        return plain_aops.write_end?.(task, file, mapping, pos, len, copied, begun) ?? copied;
      },
    },
  },
  provoke: async ({ sys }) => {
    // More than there is memory for.
    for (let i = 0; i < 80; i++) {
      const fd = await sys.open(`/f${i}`, O_CREAT | O_RDWR, 0o644);
      await sys.write(fd, Buffer.alloc(256 * 1024, 1));
      await sys.fsync(fd);
      await sys.close(fd);
    }
  },
  reports: [
    {
      kind: 'sleep-in-atomic',
      rule: 'address_space_operations.release_folio#gfp-limits-the-effort',
      op: 'address_space_operations.release_folio',
      held: ['f_pos_lock (write)', 's_writers (read)', 'i_rwsem (write)', 'folio (write)'],
      at: 'release_folio',
    },
  ],
};
