/** write_begin begins a transaction, and write_end does not end it. */

import { RwSem } from '../../../src/locking/rwsem.js';
import type { AddressSpace, MmFile } from '../../../src/mm/address-space.js';
import type { WriteBegun } from '../../../src/mm/operations.js';
import { errno } from '../../../src/sched/errno.js';
import type { Task } from '../../../src/sched/task.js';
import { O_CREAT, O_RDWR } from '../../../src/uapi/fcntl.js';
import type { Planted } from '../harness.js';
import { plain_aops } from '../plain-file.js';

const barrier = new RwSem('j_barrier');

async function write_begin(
  task: Task,
  file: MmFile | undefined,
  mapping: AddressSpace,
  pos: number,
  len: number,
): Promise<WriteBegun> {
  const { write_begin: begin } = plain_aops;
  if (begin === undefined) throw errno('EIO');
  await barrier.read(task);
  return await begin(task, file, mapping, pos, len);
}

export const planted: Planted = {
  bug: 'a transaction that write_begin has begun is never ended',
  changes: { aops: { write_begin } },
  provoke: async ({ sys }) => {
    await sys.write(await sys.open('/f', O_CREAT | O_RDWR, 0o644), Buffer.from('x'));
  },
  reports: [
    {
      kind: 'leaked-by-operation',
      rule: 'address_space_operations.write_end#leaves-no-lock',
      op: 'address_space_operations.write_end',
      held: ['f_pos_lock (write)', 's_writers (read)', 'i_rwsem (write)', 'j_barrier (read)'],
      at: 'write_begin',
    },
  ],
};
