/** Direct I/O of files: past the page cache, or through it for a filesystem without direct_IO (mm/filemap.c, fs/direct-io.c). */

import { direct_write_fallback, generic_file_direct_write } from '../mm/filemap-direct.js';
import { filemap_read } from '../mm/filemap-read.js';
import { filemap_write_and_wait_range } from '../mm/filemap-wait.js';
import { generic_perform_write } from '../mm/filemap-write.js';
import type { IovIter } from '../mm/iov-iter.js';
import type { Kiocb } from '../mm/operations.js';
import type { Task } from '../sched/task.js';

/**
 * The write of __generic_file_write_iter with IOCB_DIRECT: directly, and what direct_IO leaves through the cache and to the device at
 * once. Without direct_IO the whole write goes that way: nothing of it is left dirty. i_rwsem is held exclusively.
 * @returns bytes written
 */
export async function direct_write(task: Task, iocb: Kiocb, iter: IovIter): Promise<number> {
  const mapping = iocb.ki_filp.f_mapping;
  if (mapping.a_ops.direct_IO === undefined) {
    const written = await generic_perform_write(task, iocb, iter);
    if (written > 0) await filemap_write_and_wait_range(task, mapping, iocb.ki_pos - written, iocb.ki_pos - 1);
    return written;
  }
  const direct = await generic_file_direct_write(task, iocb, iter);
  if (iter.count === 0) return direct;
  let buffered: number;
  try {
    buffered = await generic_perform_write(task, iocb, iter);
  } catch (error) {
    if (direct > 0) return direct;
    throw error;
  }
  return direct_write_fallback(task, iocb, direct, buffered);
}

/**
 * A direct read of a file without direct_IO: what is dirty in the range goes to the device first, so that the bytes read are stored ones,
 * then the cache answers. @returns bytes read
 */
export async function cached_direct_read(task: Task, iocb: Kiocb, iter: IovIter): Promise<number> {
  const mapping = iocb.ki_filp.f_mapping;
  if (mapping.nrpages > 0) {
    await filemap_write_and_wait_range(task, mapping, iocb.ki_pos, iocb.ki_pos + iter.count - 1);
  }
  return filemap_read(task, iocb, iter);
}
