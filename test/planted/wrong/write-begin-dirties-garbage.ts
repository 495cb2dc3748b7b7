/** write_begin gives out a page whose bytes were never read or zeroed: what is beside the bytes written is garbage, and dirty. */

import type { AddressSpace } from '../../../src/mm/address-space.js';
import { filemap_grab_folio } from '../../../src/mm/filemap.js';
import { type Folio, PAGE_SIZE } from '../../../src/mm/folio.js';
import type { Task } from '../../../src/sched/task.js';
import { O_CREAT, O_RDWR } from '../../../src/uapi/fcntl.js';
import type { Planted } from '../harness.js';

async function write_begin(
  task: Task,
  _file: unknown,
  mapping: AddressSpace,
  pos: number,
): Promise<{ folio: Folio; fsdata: undefined }> {
  const { folio } = await filemap_grab_folio(task, mapping, Math.floor(pos / PAGE_SIZE));
  return { folio, fsdata: undefined };
}

export const planted: Planted = {
  bug: 'a page is dirtied that is not uptodate',
  changes: { aops: { write_begin } },
  provoke: async ({ sys }) => {
    await sys.write(await sys.open('/f', O_CREAT | O_RDWR, 0o644), Buffer.from('x'));
  },
  reports: [
    {
      kind: 'folio-state',
      rule: 'folio#dirty-when-uptodate',
      op: 'address_space_operations.dirty_folio',
      held: ['f_pos_lock (write)', 's_writers (read)', 'i_rwsem (write)', 'folio (write)'],
      at: 'write_begin',
    },
  ],
};
