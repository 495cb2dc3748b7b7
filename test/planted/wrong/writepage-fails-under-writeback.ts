/** writepage finds out that it cannot write the page when it has begun the writeback already, and fails: nobody ends it. */

import { type Folio, PAGE_SIZE } from '../../../src/mm/folio.js';
import { folio_start_writeback, folio_unlock } from '../../../src/mm/folio-state.js';
import { errno } from '../../../src/sched/errno.js';
import type { Task } from '../../../src/sched/task.js';
import { O_CREAT, O_RDWR } from '../../../src/uapi/fcntl.js';
import { outcome, type Planted } from '../harness.js';

function writepage(task: Task, folio: Folio): never {
  folio_start_writeback(task, folio);
  folio_unlock(task, folio);
  throw errno('ENOSPC');
}

export const planted: Planted = {
  bug: 'writepage fails and leaves the page under writeback',
  changes: { aops: { writepage } },
  provoke: async ({ sys }) => {
    const fd = await sys.open('/f', O_CREAT | O_RDWR, 0o644);
    await sys.write(fd, Buffer.alloc(PAGE_SIZE));
    await outcome(sys.fsync(fd));
  },
  reports: [
    {
      kind: 'folio-state',
      rule: 'address_space_operations.writepage#no-io-ends-writeback',
      op: 'address_space_operations.writepage',
      held: [],
      at: 'writepage',
    },
  ],
};
