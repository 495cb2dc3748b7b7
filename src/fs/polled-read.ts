/** A read whose end nobody is told of by an interrupt: the reader asks the file for it again and again (io_do_iopoll of io_uring/rw.c). */
import { file_operations as rows } from '../contract/file.js';
import { call } from '../locking/context.js';
import type { IovIter } from '../mm/iov-iter.js';
import { IOCB_QUEUED, type Kiocb } from '../mm/operations.js';
import { Errno } from '../sched/errno.js';
import type { Task } from '../sched/task.js';
import type { File } from './file.js';
import { vfs_iocb_iter_read } from './read-write.js';

/**
 * Read at `pos` as vfs_iter_read does, with RWF_HIPRI: where the file queues the I/O its ->iopoll runs the completion.
 * @returns bytes
 * @throws as vfs_iter_read
 */
export async function polled_read(
  task: Task,
  file: File,
  iter: IovIter,
  pos: number,
  options: { readonly direct: boolean; readonly nowait: boolean },
): Promise<number> {
  const { iopoll } = file.f_op;
  const ended: { result?: number | Errno } = {};
  const ki_complete = (_task: Task, result: number | Errno): void => {
    ended.result = result;
  };
  const iocb: Kiocb = {
    ki_filp: file,
    ki_pos: pos,
    direct: options.direct,
    sync: false,
    append: false,
    nowait: options.nowait,
    hipri: true,
    ...(iopoll === undefined ? {} : { ki_complete }),
  };
  const read = await vfs_iocb_iter_read(task, file, iocb, iter);
  if (read !== IOCB_QUEUED) return read;
  while (ended.result === undefined) {
    await call(task, rows.iopoll, {}, () => iopoll?.(task, iocb, true));
  }
  if (ended.result instanceof Errno) throw ended.result;
  return ended.result;
}
