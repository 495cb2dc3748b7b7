/** Moving bytes between files and pipes (fs/splice.c). */

import { file_operations as rows } from '../contract/file.js';
import { call } from '../locking/context.js';
import { IovIter } from '../mm/iov-iter.js';
import { errno } from '../sched/errno.js';
import type { Task } from '../sched/task.js';
import { O_APPEND, O_NONBLOCK } from '../uapi/fcntl.js';
import { SPLICE_F_GIFT, SPLICE_F_MORE, SPLICE_F_MOVE, SPLICE_F_NONBLOCK } from '../uapi/fs.js';
import { type File, FMODE_READ, FMODE_WRITE } from './file.js';
import { Pipe, pipeOf } from './pipe.js';
import { vfs_iter_read, vfs_iter_write } from './read-write.js';

const ALL_FLAGS = SPLICE_F_MOVE | SPLICE_F_NONBLOCK | SPLICE_F_MORE | SPLICE_F_GIFT;

function asPipe(pipe: object): Pipe {
  if (!(pipe instanceof Pipe)) throw errno('EINVAL');
  return pipe;
}

/** ->splice_read of files that can be read: from the page cache into the pipe (copy_splice_read). @returns bytes */
export async function copy_splice_read(
  task: Task,
  file: File,
  pos: number,
  to: object,
  length: number,
  _flags: number,
): Promise<number> {
  const pipe = asPipe(to);
  const iter = IovIter.ofDest(Math.min(length, pipe.room));
  try {
    const got = await vfs_iter_read(task, file, iter, pos);
    // The pages may change, or go, before the bytes are read from the pipe.
    pipe.put(Buffer.concat(iter.segments, got));
    return got;
  } finally {
    iter.release();
  }
}

/** ->splice_write of files that can be written: what is in the pipe to the page cache (iter_file_splice_write). @returns bytes */
export async function iter_file_splice_write(
  task: Task,
  from: object,
  file: File,
  pos: number,
  length: number,
  _flags: number,
): Promise<number> {
  const pipe = asPipe(from);
  const bytes = pipe.take(length);
  let written = 0;
  try {
    written = await vfs_iter_write(task, file, IovIter.ofSource(bytes), pos);
    return written;
  } finally {
    pipe.putBack(bytes.subarray(written));
  }
}

/** One end of a splice: a file, and where in it. */
export interface SpliceEnd {
  readonly file: File;
  /** Undefined: the file's own position, which moves. */
  readonly offset: number | undefined;
}

/**
 * Move up to `length` bytes (do_splice): one end at least is a pipe.
 * @returns bytes, 0 at the end of the file or with no writer left
 * @throws EINVAL ESPIPE EBADF EAGAIN EINTR EPIPE, and what reading and writing throw
 */
export async function do_splice(
  task: Task,
  from: SpliceEnd,
  to: SpliceEnd,
  length: number,
  flags: number,
): Promise<number> {
  if ((flags & ~ALL_FLAGS) !== 0) throw errno('EINVAL');
  if (length === 0) return 0;
  if ((from.file.f_mode & FMODE_READ) === 0 || (to.file.f_mode & FMODE_WRITE) === 0) throw errno('EBADF');
  const [source, target] = [pipeOf(from.file), pipeOf(to.file)];
  if ((source !== undefined && from.offset !== undefined) || (target !== undefined && to.offset !== undefined)) {
    throw errno('ESPIPE');
  }
  // Of a file it does not count, only of a pipe.
  const pipes = [...(source === undefined ? [] : [from.file]), ...(target === undefined ? [] : [to.file])];
  const how = pipes.some(({ f_flags }) => (f_flags & O_NONBLOCK) !== 0) ? flags | SPLICE_F_NONBLOCK : flags;
  if (source !== undefined && target !== undefined) return splice_pipe_to_pipe(task, source, target, length, how);
  if (target !== undefined) return splice_file_to_pipe(task, from, target, length, how);
  if (source !== undefined) return splice_pipe_to_file(task, source, to, length, how);
  throw errno('EINVAL');
}

async function splice_pipe_to_pipe(task: Task, from: Pipe, to: Pipe, length: number, flags: number): Promise<number> {
  if (from === to) throw errno('EINVAL');
  const nonblock = (flags & SPLICE_F_NONBLOCK) !== 0;
  for (;;) {
    if (!(await from.waitReadable(task, nonblock))) return 0;
    await to.waitWritable(task, 1, nonblock);
    const bytes = from.take(Math.min(length, to.room));
    to.put(bytes);
    // While one was waited for, somebody else may have emptied or filled the other.
    if (bytes.length > 0) return bytes.length;
  }
}

async function splice_file_to_pipe(
  task: Task,
  from: SpliceEnd,
  to: Pipe,
  length: number,
  flags: number,
): Promise<number> {
  const { file } = from;
  await to.waitWritable(task, 1, (flags & SPLICE_F_NONBLOCK) !== 0);
  const { splice_read, read_iter } = file.f_op;
  if (splice_read === undefined && read_iter === undefined) throw errno('EINVAL');
  const operation = splice_read ?? copy_splice_read;
  const pos = from.offset ?? file.f_pos;
  const room = Math.min(length, to.room);
  const moved = await call(task, rows.splice_read, {}, () => operation(task, file, pos, to, room, flags));
  if (from.offset === undefined) file.f_pos = pos + moved;
  return moved;
}

async function splice_pipe_to_file(
  task: Task,
  from: Pipe,
  to: SpliceEnd,
  length: number,
  flags: number,
): Promise<number> {
  const { file } = to;
  if ((file.f_flags & O_APPEND) !== 0) throw errno('EINVAL');
  const { splice_write, write_iter } = file.f_op;
  if (splice_write === undefined && write_iter === undefined) throw errno('EINVAL');
  const nonblock = (flags & SPLICE_F_NONBLOCK) !== 0;
  if (!(await from.waitReadable(task, nonblock))) return 0;
  const operation = splice_write ?? iter_file_splice_write;
  const pos = to.offset ?? file.f_pos;
  const available = Math.min(length, from.bytes);
  const moved = await call(task, rows.splice_write, {}, () => operation(task, from, file, pos, available, flags));
  if (to.offset === undefined) file.f_pos = pos + moved;
  return moved;
}

/**
 * sendfile(2): from a file to any other, through a pipe of its own (do_splice_direct).
 * @returns bytes, fewer at the end of the file and after an error that came later
 */
export async function do_splice_direct(task: Task, from: SpliceEnd, to: SpliceEnd, length: number): Promise<number> {
  const pipe = new Pipe();
  pipe.readers = 1;
  pipe.writers = 1;
  let done = 0;
  const start = from.offset ?? from.file.f_pos;
  const target = pipeOf(to.file);
  const flags = (to.file.f_flags & O_NONBLOCK) !== 0 ? SPLICE_F_NONBLOCK : 0;
  try {
    while (done < length) {
      const got = await splice_file_to_pipe(task, { file: from.file, offset: start + done }, pipe, length - done, 0);
      if (got === 0) break;
      for (let left = got; left > 0; ) {
        const end = to.offset === undefined ? to : { file: to.file, offset: to.offset + done };
        const moved =
          target === undefined
            ? await splice_pipe_to_file(task, pipe, end, left, 0)
            : await splice_pipe_to_pipe(task, pipe, target, left, flags);
        left -= moved;
        done += moved;
      }
    }
  } catch (error) {
    if (done === 0) throw error;
  }
  if (from.offset === undefined) from.file.f_pos = start + done;
  return done;
}
