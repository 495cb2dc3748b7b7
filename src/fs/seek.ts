/** lseek(2) (fs/read_write.c). */

import { file_operations as rows } from '../contract/file.js';
import { call } from '../locking/context.js';
import { mapping_seek_hole_data } from '../mm/fadvise.js';
import type { Awaitable } from '../sched/awaitable.js';
import { errno } from '../sched/errno.js';
import type { Task } from '../sched/task.js';
import { SEEK_CUR, SEEK_DATA, SEEK_END, SEEK_HOLE, SEEK_SET } from '../uapi/fs.js';
import { type File, FMODE_LSEEK } from './file.js';
import type { Inode } from './inode.js';

/**
 * lseek(2) (vfs_llseek). @param offset bytes, may be negative @returns the new position
 * @throws EINVAL ENXIO; ESPIPE for what has no positions
 */
export function vfs_llseek(task: Task, file: File, offset: number, whence: number): Awaitable<number> {
  if ((file.f_mode & FMODE_LSEEK) === 0) throw errno('ESPIPE');
  if (whence < SEEK_SET || whence > SEEK_HOLE) throw errno('EINVAL');
  const { llseek } = file.f_op;
  if (llseek === undefined) return generic_file_llseek(file, offset, whence);
  return call(task, rows.llseek, {}, () => llseek(task, file, offset, whence));
}

/**
 * Positions counted from somewhere; the whole file counts as data (generic_file_llseek). Sets f_pos.
 * @throws EINVAL for a position that is negative or beyond s_maxbytes; ENXIO for SEEK_DATA and SEEK_HOLE outside the file
 */
export function generic_file_llseek(file: File, offset: number, whence: number): number {
  const { i_size: size } = file.f_inode;
  switch (whence) {
    case SEEK_SET:
      return vfs_setpos(file, offset);
    case SEEK_CUR:
      return vfs_setpos(file, file.f_pos + offset);
    case SEEK_END:
      return vfs_setpos(file, size + offset);
    case SEEK_DATA:
    case SEEK_HOLE:
      if (offset < 0 || offset >= size) throw errno('ENXIO');
      return vfs_setpos(file, whence === SEEK_DATA ? offset : size);
    default:
      throw errno('EINVAL');
  }
}

/** Move the position of an open file (vfs_setpos). @throws EINVAL */
export function vfs_setpos(file: File, position: number): number {
  if (position < 0 || position > file.f_inode.i_sb.s_maxbytes) throw errno('EINVAL');
  file.f_pos = position;
  return position;
}

/** A mapped part of a file, in bytes. */
export interface SeekExtent {
  readonly start: number;
  /** Exclusive. */
  readonly end: number;
  /** Allocated and never written: a hole but for what the page cache has. */
  readonly unwritten: boolean;
}

/**
 * The part of SEEK_DATA and SEEK_HOLE that all filesystems with extents share (iomap_seek_data, iomap_seek_hole). Pages over unwritten
 * extents count as data. The end of the file is a hole. Sees i_size without a lock, as the document leaves it to the implementation.
 *
 * @param nextExtent the first extent that ends after byte `from`, undefined where there is none
 * @returns the position; the caller moves f_pos there
 * @throws ENXIO outside the file, and for SEEK_DATA where only holes follow
 */
export function generic_seek_hole_data(
  inode: Inode,
  offset: number,
  whence: number,
  nextExtent: (from: number) => SeekExtent | undefined,
): number {
  const size = inode.i_size;
  if (offset < 0 || offset >= size) throw errno('ENXIO');
  const seekData = whence === SEEK_DATA;
  for (let pos = offset; pos < size; ) {
    const extent = nextExtent(pos);
    const holeEnd = Math.min(size, extent?.start ?? size);
    // Not yet allocated, and perhaps dirty in the cache, counts like unwritten.
    if (pos < holeEnd) {
      const found = searchCache(inode, pos, holeEnd, seekData);
      if (found < holeEnd) return found;
      pos = holeEnd;
      continue;
    }
    if (extent === undefined) break;
    const end = Math.min(size, extent.end);
    const found = extent.unwritten ? searchCache(inode, pos, end, seekData) : seekData ? pos : end;
    if (found < end) return found;
    pos = end;
  }
  if (seekData) throw errno('ENXIO');
  return size;
}

/** Data or a hole in a range without written blocks. @returns `end` where there is none */
function searchCache(inode: Inode, start: number, end: number, seekData: boolean): number {
  const mapping = inode.mappingIfAny;
  if (mapping === undefined || mapping.nrpages === 0) return seekData ? end : start;
  return mapping_seek_hole_data(mapping, start, end, seekData);
}
