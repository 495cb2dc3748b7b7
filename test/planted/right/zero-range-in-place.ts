/** fallocate zeroes what is cached of a range in place, as iomap_zero_range does, and preallocates without invalidate_lock, because nothing cached becomes wrong. */

import type { File } from '../../../src/fs/file.js';
import { folio_mark_dirty, folio_unlock } from '../../../src/mm/folio-state.js';
import type { Task } from '../../../src/sched/task.js';
import { FALLOC_FL_ZERO_RANGE } from '../../../src/uapi/falloc.js';
import { O_CREAT, O_RDWR } from '../../../src/uapi/fcntl.js';
import type { Unusual } from '../harness.js';

async function fallocate(task: Task, file: File, mode: number, offset: number): Promise<void> {
  const { f_inode: inode, f_mapping: mapping } = file;
  using _inode = await inode.i_rwsem.write(task);
  if (mode !== FALLOC_FL_ZERO_RANGE) return;
  using _filling = await mapping.invalidate_lock.write(task);
  const folio = mapping.i_pages.load(offset / 4096);
  if (folio === undefined) return;
  await folio.lock.lock(task);
  folio.data.fill(0);
  folio_mark_dirty(task, folio);
  folio_unlock(task, folio);
}

export const unusual: Unusual = {
  what: 'a range is zeroed in the cache, and another preallocated',
  changes: { fops: { fallocate } },
  use: async ({ sys }) => {
    const fd = await sys.open('/f', O_CREAT | O_RDWR, 0o644);
    await sys.write(fd, Buffer.alloc(3 * 4096, 1));
    await sys.fallocate(fd, FALLOC_FL_ZERO_RANGE, 4096, 4096);
    await sys.fallocate(fd, 0, 0, 8192);
    return (await sys.pread(fd, 8192, 0)).equals(Buffer.concat([Buffer.alloc(4096, 1), Buffer.alloc(4096)]));
  },
};
