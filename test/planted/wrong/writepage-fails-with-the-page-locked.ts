/** writepage fails before it has done anything, and does not unlock the page on that path. */

import { PAGE_SIZE } from '../../../src/mm/folio.js';
import { errno } from '../../../src/sched/errno.js';
import { O_CREAT, O_RDWR } from '../../../src/uapi/fcntl.js';
import { outcome, type Planted } from '../harness.js';

function writepage(): never {
  throw errno('ENOSPC');
}

export const planted: Planted = {
  bug: 'writepage leaves the page locked where it fails',
  changes: { aops: { writepage } },
  provoke: async ({ sys }) => {
    const fd = await sys.open('/f', O_CREAT | O_RDWR, 0o644);
    await sys.write(fd, Buffer.alloc(PAGE_SIZE));
    await outcome(sys.fsync(fd));
  },
  reports: [
    {
      kind: 'not-released',
      rule: 'address_space_operations.writepage/folio/folio/written',
      op: 'address_space_operations.writepage',
      held: ['folio (write)'],
      at: 'writepage',
    },
  ],
};
