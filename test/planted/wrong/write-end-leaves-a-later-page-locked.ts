/** write_end leaves the third page of a long write locked. It answers at once, so that from the second page on the call is compared as a whole. */

import type { AddressSpace, MmFile } from '../../../src/mm/address-space.js';
import { PAGE_SIZE } from '../../../src/mm/folio.js';
import { folio_trylock } from '../../../src/mm/folio-state.js';
import type { WriteBegun } from '../../../src/mm/operations.js';
import { type Awaitable, andThen } from '../../../src/sched/awaitable.js';
import { errno } from '../../../src/sched/errno.js';
import type { Task } from '../../../src/sched/task.js';
import { O_CREAT, O_RDWR } from '../../../src/uapi/fcntl.js';
import type { Planted } from '../harness.js';
import { plain_aops } from '../plain-file.js';

function write_end(
  task: Task,
  file: MmFile | undefined,
  mapping: AddressSpace,
  pos: number,
  len: number,
  copied: number,
  begun: WriteBegun,
): Awaitable<number> {
  const { write_end: end } = plain_aops;
  if (end === undefined) throw errno('EIO');
  return andThen(end(task, file, mapping, pos, len, copied, begun), (accepted) => {
    if (pos === 2 * PAGE_SIZE) folio_trylock(task, begun.folio);
    return accepted;
  });
}

export const planted: Planted = {
  bug: 'write_end leaves the folio of a later page locked',
  changes: { aops: { write_end } },
  provoke: async ({ sys }) => {
    await sys.write(await sys.open('/f', O_CREAT | O_RDWR, 0o644), Buffer.alloc(4 * PAGE_SIZE));
  },
  reports: [
    {
      kind: 'not-released',
      rule: 'address_space_operations.write_end/folio/folio',
      op: 'address_space_operations.write_end',
      held: ['f_pos_lock (write)', 's_writers (read)', 'i_rwsem (write)', 'folio (write)'],
      at: 'write_end',
    },
  ],
};
