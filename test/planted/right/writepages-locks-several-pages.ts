/** writepages locks the pages that it sends together, one after the other, before it sends them, as ext4 does: the lower ones first. */

import type { AddressSpace } from '../../../src/mm/address-space.js';
import { folio_clear_dirty_for_io } from '../../../src/mm/folio-clean.js';
import { folio_lock } from '../../../src/mm/folio-state.js';
import type { WritebackControl } from '../../../src/mm/operations.js';
import type { Task } from '../../../src/sched/task.js';
import { O_CREAT, O_RDWR } from '../../../src/uapi/fcntl.js';
import type { Unusual } from '../harness.js';
import { writepage } from '../plain-file.js';

let together = 0;

async function writepages(task: Task, mapping: AddressSpace, wbc: WritebackControl): Promise<void> {
  const folios = mapping.i_pages.collect(0, 63, 64, 'dirty');
  for (const folio of folios) await folio_lock(task, folio);
  together = Math.max(together, folios.length);
  for (const folio of folios) {
    folio_clear_dirty_for_io(task, folio);
    writepage(task, folio);
    wbc.nr_to_write--;
  }
}

export const unusual: Unusual = {
  what: 'several pages are locked at once, in the order of the file',
  changes: { aops: { writepages } },
  use: async ({ sys }) => {
    const fd = await sys.open('/f', O_CREAT | O_RDWR, 0o644);
    await sys.write(fd, Buffer.alloc(3 * 4096, 1));
    await sys.fsync(fd);
    return together === 3;
  },
};
