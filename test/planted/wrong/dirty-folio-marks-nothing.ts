/** dirty_folio keeps a note of its own and forgets to call filemap_dirty_folio: what was written would never be written back. */

import type { AddressSpace } from '../../../src/mm/address-space.js';
import { type Folio, PAGE_SIZE } from '../../../src/mm/folio.js';
import { errno } from '../../../src/sched/errno.js';
import type { Task } from '../../../src/sched/task.js';
import { O_CREAT, O_RDWR } from '../../../src/uapi/fcntl.js';
import type { Planted } from '../harness.js';

const dirtied = new WeakSet<Folio>();

function dirty_folio(_task: Task, _mapping: AddressSpace, folio: Folio): boolean {
  const fresh = !dirtied.has(folio);
  dirtied.add(folio);
  return fresh;
}

export const planted: Planted = {
  bug: 'dirty_folio leaves the page clean',
  changes: { aops: { dirty_folio } },
  provoke: async ({ machine, sys }) => {
    const fd = await sys.open('/f', O_CREAT | O_RDWR, 0o644);
    await sys.write(fd, Buffer.alloc(PAGE_SIZE, 'x'));
    // It is put right after the report.
    if (machine.memory.nr_dirty !== 1) throw errno('EIO');
    await sys.fsync(fd);
  },
  reports: [
    {
      kind: 'folio-state',
      rule: 'folio#dirty-once-marked',
      op: 'address_space_operations.dirty_folio',
      held: ['f_pos_lock (write)', 's_writers (read)', 'i_rwsem (write)', 'folio (write)'],
      at: 'dirty_folio',
    },
  ],
};
