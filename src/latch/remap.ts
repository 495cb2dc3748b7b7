/**
 * Copying and remapping ranges of files (after fs/remap_range.c). Both files are locked, and neither can be changed through a mapping meanwhile. latch has no
 * shared blocks: what a copy saves is to write holes out, and what can be remapped is what has no blocks.
 */
import { file_remove_suid } from '../fs/attr-privs.js';
import { inode_dio_wait } from '../fs/dio-count.js';
import type { File } from '../fs/file.js';
import { filemap_invalidate_lock_two, lock_two_nondirectories } from '../fs/lock-two.js';
import { generic_write_check_limits, generic_write_sync } from '../fs/read-write.js';
import { REMAP_FILE_CAN_SHORTEN, REMAP_FILE_DEDUP } from '../fs/remap-range.js';
import { file_accessed, file_update_time } from '../fs/time.js';
import { GUARDED, guard_read, guard_write } from '../locking/guarded.js';
import type { Exclusive } from '../locking/held.js';
import { read_mapping_folio } from '../mm/filemap-read.js';
import { filemap_write_and_wait_range } from '../mm/filemap-wait.js';
import { generic_perform_write } from '../mm/filemap-write.js';
import { folio_put, PAGE_SIZE, pageOf } from '../mm/folio.js';
import { IovIter } from '../mm/iov-iter.js';
import type { Kiocb } from '../mm/operations.js';
import { errno } from '../sched/errno.js';
import type { Task } from '../sched/task.js';
import { BLOCK_SIZE } from './format/layout.js';
import { type LatchInode, latchInode } from './inode.js';
import { dataIn } from './seek.js';
import { punch, resize } from './truncate.js';

/** Bytes that one call copies at most: nobody else gets at the two files meanwhile. */
const MOST = 16 * 2 ** 20;

/** What a range of a file has from a position on: up to `end`, bytes, data or nothing but zeroes. */
async function stretch(task: Task, inode: LatchInode, pos: number): Promise<{ readonly data: boolean; end: number }> {
  const block = Math.floor(pos / BLOCK_SIZE);
  const [from, to] = dataIn(inode.i_mapping, await inode.extents.next(task, block), block);
  return from <= block ? { data: true, end: to * BLOCK_SIZE } : { data: false, end: from * BLOCK_SIZE };
}

/** One copy under way, with everything locked. */
interface Copy {
  readonly from: LatchInode;
  readonly to: LatchInode;
  readonly iocb: Kiocb;
  readonly fileIn: File;
  readonly heldIn: Exclusive<'invalidate_lock'>;
  readonly heldOut: Exclusive<'invalidate_lock'>;
}

/** Copy data, a page of the source at a time. @returns bytes, fewer than asked for where no more could be written */
async function copyData(task: Task, copy: Copy, pos: number, length: number): Promise<number> {
  const { from, iocb, fileIn, heldIn } = copy;
  let done = 0;
  while (done < length) {
    const at = (pos + done) % PAGE_SIZE;
    const size = Math.min(PAGE_SIZE - at, length - done);
    const folio = await read_mapping_folio(task, from.i_mapping, pageOf(pos + done), heldIn, fileIn);
    try {
      const written = await generic_perform_write(task, iocb, IovIter.ofSource(folio.data.subarray(at, at + size)));
      done += written;
      if (written < size) break;
    } finally {
      folio_put(folio);
    }
  }
  return done;
}

/** Where the source has nothing the target has nothing either. */
async function copyHole(task: Task, { to, iocb, heldOut }: Copy, length: number): Promise<void> {
  const start = iocb.ki_pos;
  const end = start + length;
  if (start < to.i_size) await punch(task, to, start, Math.min(end, to.i_size), heldOut);
  if (end > to.i_size) await resize(task, to, end, heldOut);
  iocb.ki_pos = end;
}

/**
 * ->copy_file_range. Takes i_rwsem and invalidate_lock of both files exclusively.
 * @returns bytes copied, at most 16 MiB
 * @throws EXDEV between filesystems: the VFS copies then; ENOSPC EIO EDQUOT, where nothing was copied
 */
export async function latch_copy_file_range(
  task: Task,
  fileIn: File,
  posIn: number,
  fileOut: File,
  posOut: number,
  length: number,
): Promise<number> {
  if (fileIn.f_inode.i_sb !== fileOut.f_inode.i_sb) throw errno('EXDEV');
  const [from, to] = [latchInode(fileIn.f_inode), latchInode(fileOut.f_inode)];
  const iocb: Kiocb = { ki_filp: fileOut, ki_pos: posOut, direct: false, sync: false, append: false, nowait: false };
  let done = 0;
  {
    using _both = await lock_two_nondirectories(task, from, to);
    await inode_dio_wait(task, to);
    using held = await filemap_invalidate_lock_two(task, from, to);
    // It may have become shorter since the caller has looked.
    const count = Math.min(length, MOST, from.i_size - posIn);
    if (count <= 0) return 0;
    await file_remove_suid(task, fileOut.f_dentry, to);
    await file_update_time(task, to);
    const copy: Copy = { from, to, iocb, fileIn, heldIn: held.a, heldOut: held.b };
    try {
      guard_read(task, GUARDED.copied, from.i_rwsem);
      while (done < count && !task.killed) {
        const { data, end } = await stretch(task, from, posIn + done);
        const size = Math.min(end - posIn, count) - done;
        if (!data) await copyHole(task, copy, size);
        const step = data ? await copyData(task, copy, posIn + done, size) : size;
        done += step;
        if (step < size) break;
      }
    } catch (error) {
      if (done === 0) throw error;
    }
  }
  await file_accessed(task, fileIn);
  return await generic_write_sync(task, iocb, fileOut, done);
}

/**
 * Which part of the ranges can be remapped (generic_remap_file_range_prep), whole blocks but for the end of a file.
 * @returns bytes @throws EINVAL for what is not aligned, overlaps, or lies outside of the files; EFBIG
 */
function checked(from: LatchInode, posIn: number, fileOut: File, posOut: number, asked: number, flags: number): number {
  const to = fileOut.f_inode;
  const dedupe = (flags & REMAP_FILE_DEDUP) !== 0;
  if (posIn % BLOCK_SIZE !== 0 || posOut % BLOCK_SIZE !== 0) throw errno('EINVAL');
  if (posIn > from.i_size) throw errno('EINVAL');
  const wanted = asked === 0 ? from.i_size - posIn : asked;
  if (wanted === 0) return 0;
  const outside = posIn + wanted > from.i_size || posOut + wanted > to.i_size;
  if (posIn >= from.i_size || (dedupe && outside)) throw errno('EINVAL');
  let count = generic_write_check_limits(fileOut, posOut, Math.min(wanted, from.i_size - posIn));
  const toEnd = posIn + count === from.i_size;
  if (!toEnd) count -= count % BLOCK_SIZE;
  const blocks = Math.ceil(count / BLOCK_SIZE) * BLOCK_SIZE;
  if (from === to && posOut + blocks > posIn && posOut < posIn + blocks) throw errno('EINVAL');
  // The end of one file in the middle of another would take a part of a block.
  if (count % BLOCK_SIZE !== 0 && posOut + count < to.i_size) count -= count % BLOCK_SIZE;
  if (count !== wanted && (flags & REMAP_FILE_CAN_SHORTEN) === 0) throw errno('EINVAL');
  return count;
}

/** Whether two ranges have the same bytes (vfs_dedupe_file_range_compare). @throws EIO */
async function same(
  task: Task,
  copy: Omit<Copy, 'iocb' | 'fileIn'>,
  posIn: number,
  posOut: number,
  count: number,
): Promise<boolean> {
  const { from, to, heldIn, heldOut } = copy;
  for (let at = 0; at < count; at += PAGE_SIZE) {
    const size = Math.min(PAGE_SIZE, count - at);
    const a = await read_mapping_folio(task, from.i_mapping, pageOf(posIn + at), heldIn);
    const b = await read_mapping_folio(task, to.i_mapping, pageOf(posOut + at), heldOut);
    const equal = a.data.compare(b.data, 0, size, 0, size) === 0;
    folio_put(b);
    folio_put(a);
    if (!equal) return false;
  }
  return true;
}

/**
 * ->remap_file_range. Takes i_rwsem and invalidate_lock of both files exclusively. Ranges without blocks can be shared, because there is nothing to share:
 * the target's blocks are freed.
 * @returns bytes remapped
 * @throws EOPNOTSUPP where blocks would have to be shared; EBADE where a range to be deduplicated differs; EINVAL EFBIG EIO
 */
export async function latch_remap_file_range(
  task: Task,
  fileIn: File,
  posIn: number,
  fileOut: File,
  posOut: number,
  length: number,
  flags: number,
): Promise<number> {
  if ((flags & ~(REMAP_FILE_DEDUP | REMAP_FILE_CAN_SHORTEN)) !== 0) throw errno('EINVAL');
  const [from, to] = [latchInode(fileIn.f_inode), latchInode(fileOut.f_inode)];
  using _both = await lock_two_nondirectories(task, from, to);
  await inode_dio_wait(task, to);
  using held = await filemap_invalidate_lock_two(task, from, to);
  const count = checked(from, posIn, fileOut, posOut, length, flags);
  if (count === 0) return 0;
  await filemap_write_and_wait_range(task, from.i_mapping, posIn, posIn + count - 1);
  await filemap_write_and_wait_range(task, to.i_mapping, posOut, posOut + count - 1);
  for (const { i_rwsem, i_mapping } of [from, to]) {
    guard_write(task, GUARDED.copied, i_rwsem);
    guard_write(task, GUARDED.mapped_stores, i_mapping.invalidate_lock);
  }
  const dedupe = (flags & REMAP_FILE_DEDUP) !== 0;
  const locked = { from, to, heldIn: held.a, heldOut: held.b };
  if (dedupe && !(await same(task, locked, posIn, posOut, count))) throw errno('EBADE');
  const { data, end } = await stretch(task, from, posIn);
  if (data || end < posIn + count) throw errno('EOPNOTSUPP');
  if (!dedupe) {
    await file_remove_suid(task, fileOut.f_dentry, to);
    await file_update_time(task, to);
  }
  const within = Math.min(posOut + count, to.i_size);
  if (posOut < within) await punch(task, to, posOut, within, held.b);
  if (posOut + count > to.i_size) await resize(task, to, posOut + count, held.b);
  return count;
}
