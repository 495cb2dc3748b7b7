/** write_begin begins a transaction, which write_end ends, as in ext4: for each page of a write. */

import type { Held } from '../../../src/locking/held.js';
import { RwSem } from '../../../src/locking/rwsem.js';
import type { AddressSpace, MmFile } from '../../../src/mm/address-space.js';
import type { address_space_operations, WriteBegun } from '../../../src/mm/operations.js';
import { errno } from '../../../src/sched/errno.js';
import type { Task } from '../../../src/sched/task.js';
import { O_CREAT, O_RDWR } from '../../../src/uapi/fcntl.js';
import type { Unusual } from '../harness.js';
import { plain_aops } from '../plain-file.js';

const barrier = new RwSem('j_barrier');
const done = { begun: 0, ended: 0 };

async function write_begin(
  task: Task,
  file: MmFile | undefined,
  mapping: AddressSpace,
  pos: number,
  len: number,
): Promise<WriteBegun> {
  const { write_begin: begin } = plain_aops;
  if (begin === undefined) throw errno('EIO');
  const handle = await barrier.read(task);
  done.begun++;
  const { folio } = await begin(task, file, mapping, pos, len);
  return { folio, fsdata: handle };
}

const write_end: NonNullable<address_space_operations['write_end']> = async (
  task,
  file,
  mapping,
  pos,
  len,
  copied,
  begun,
) => {
  const written = await plain_aops.write_end?.(task, file, mapping, pos, len, copied, begun);
  (begun.fsdata as Held<'j_barrier'>).release();
  done.ended++;
  return written ?? 0;
};

export const unusual: Unusual = {
  what: 'a transaction is open from write_begin to write_end',
  changes: { aops: { write_begin, write_end } },
  use: async ({ sys }) => {
    const fd = await sys.open('/f', O_CREAT | O_RDWR, 0o644);
    await sys.write(fd, Buffer.alloc(5 * 4096, 1));
    return done.begun === 5 && done.ended === 5;
  },
};
