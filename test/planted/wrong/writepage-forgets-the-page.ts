/** writepage finds that the page lies in a range that it does not write, unlocks it and returns: neither redirtied nor written. */

import type { Folio } from '../../../src/mm/folio.js';
import { folio_unlock } from '../../../src/mm/folio-state.js';
import type { Task } from '../../../src/sched/task.js';
import { O_CREAT, O_RDWR } from '../../../src/uapi/fcntl.js';
import { outcome, type Planted } from '../harness.js';

function writepage(task: Task, folio: Folio): void {
  folio_unlock(task, folio);
}

export const planted: Planted = {
  bug: 'writepage neither redirties the page nor writes it',
  changes: { aops: { writepage } },
  provoke: async ({ sys }) => {
    const fd = await sys.open('/f', O_CREAT | O_RDWR, 0o644);
    await sys.write(fd, Buffer.from('x'));
    await outcome(sys.fsync(fd));
    await sys.ftruncate(fd, 0);
  },
  reports: [
    {
      kind: 'folio-state',
      rule: 'address_space_operations.writepage#never-clean-but-tagged-dirty',
      op: 'address_space_operations.writepage',
      held: [],
      at: 'writepage',
    },
  ],
};
