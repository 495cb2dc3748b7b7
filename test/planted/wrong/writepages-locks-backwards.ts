/** writepages locks two pages, the later one first, whereas everybody else goes forwards. */

import type { AddressSpace } from '../../../src/mm/address-space.js';
import { folio_clear_dirty_for_io } from '../../../src/mm/folio-clean.js';
import { folio_lock } from '../../../src/mm/folio-state.js';
import type { WritebackControl } from '../../../src/mm/operations.js';
import type { Task } from '../../../src/sched/task.js';
import { O_CREAT, O_RDWR } from '../../../src/uapi/fcntl.js';
import type { Planted } from '../harness.js';
import { writepage } from '../plain-file.js';

async function writepages(task: Task, mapping: AddressSpace, wbc: WritebackControl): Promise<void> {
  const folios = mapping.i_pages.collect(0, 63, 64, 'dirty').reverse();
  for (const folio of folios) await folio_lock(task, folio);
  for (const folio of folios) {
    folio_clear_dirty_for_io(task, folio);
    writepage(task, folio);
    wbc.nr_to_write--;
  }
}

export const planted: Planted = {
  bug: 'two pages are locked backwards',
  changes: { aops: { writepages } },
  provoke: async ({ sys }) => {
    const fd = await sys.open('/f', O_CREAT | O_RDWR, 0o644);
    await sys.write(fd, Buffer.alloc(2 * 4096, 1));
    await sys.fsync(fd);
  },
  reports: [
    {
      kind: 'lock-order',
      rule: 'lockdep#order-within-a-class',
      op: 'address_space_operations.writepages',
      held: ['folio (write)'],
      at: 'writepages',
    },
  ],
};
