/** write_begin reads the rest of the page through a helper that unlocks the folio, and forgets to lock it again. */

import type { AddressSpace } from '../../../src/mm/address-space.js';
import { filemap_grab_folio } from '../../../src/mm/filemap.js';
import { PAGE_SIZE } from '../../../src/mm/folio.js';
import { folio_mark_uptodate } from '../../../src/mm/folio-state.js';
import type { WriteBegun } from '../../../src/mm/operations.js';
import type { Task } from '../../../src/sched/task.js';
import { O_CREAT, O_RDWR } from '../../../src/uapi/fcntl.js';
import { outcome, type Planted } from '../harness.js';

async function write_begin(task: Task, _file: unknown, mapping: AddressSpace, pos: number): Promise<WriteBegun> {
  const { folio, held } = await filemap_grab_folio(task, mapping, Math.floor(pos / PAGE_SIZE));
  folio.data.fill(0);
  folio_mark_uptodate(folio);
  held.release();
  return { folio, fsdata: undefined };
}

export const planted: Planted = {
  bug: 'write_begin returns with the folio unlocked',
  changes: { aops: { write_begin } },
  provoke: async ({ sys }) => {
    const fd = await sys.open('/f', O_CREAT | O_RDWR, 0o644);
    await outcome(sys.write(fd, Buffer.from('x')));
  },
  reports: [
    {
      kind: 'lock-not-held',
      rule: 'address_space_operations.write_begin/folio/folio',
      op: 'address_space_operations.write_begin',
      held: ['f_pos_lock (write)', 's_writers (read)', 'i_rwsem (write)'],
      at: 'write_begin',
    },
  ],
};
