/**
 * Direct writes that change neither what is mapped nor how long the file is (ext4_dio_write_iter, ext4_dio_write_checks): they hold i_rwsem shared, so that many
 * write to one file at a time, and others read. Whatever changes its blocks or its end holds it exclusively, and comes before or after all of them.
 */
import { SECTOR_SIZE } from '../block/bio.js';
import type { File } from '../fs/file.js';
import {
  file_needs_remove_privs,
  generic_file_write_iter,
  generic_write_checks,
  generic_write_sync,
} from '../fs/read-write.js';
import { file_update_time } from '../fs/time.js';
import { generic_file_direct_write } from '../mm/filemap-direct.js';
import type { IovIter } from '../mm/iov-iter.js';
import type { Kiocb } from '../mm/operations.js';
import type { Awaitable } from '../sched/awaitable.js';
import type { Task } from '../sched/task.js';
import { hostOf } from './delayed.js';
import { endOf } from './extent-list.js';
import { BLOCK_SIZE } from './format/layout.js';
import type { LatchInode } from './inode.js';

/**
 * ->write_iter with IOCB_DIRECT. Takes i_rwsem: shared where that is enough, otherwise exclusively.
 * @returns bytes @throws as generic_file_write_iter
 */
export function dio_write_iter(task: Task, iocb: Kiocb, iter: IovIter): Awaitable<number> {
  const inode = hostOf(iocb.ki_filp.f_mapping);
  // What may make the file longer is not worth a look (ext4_dio_write_iter).
  if (iocb.append || !inside(inode, iocb, iter)) return generic_file_write_iter(task, iocb, iter);
  return overwriteOrWrite(task, inode, iocb, iter);
}

async function overwriteOrWrite(task: Task, inode: LatchInode, iocb: Kiocb, iter: IovIter): Promise<number> {
  let written = 0;
  if (!(await file_needs_remove_privs(task, iocb))) written = await overwriteHeld(task, inode, iocb, iter);
  if (written === 0) return await generic_file_write_iter(task, iocb, iter);
  return await generic_write_sync(task, iocb, iocb.ki_filp as File, written);
}

/** @returns bytes; 0 where that is nothing for who holds i_rwsem shared, or a page of the cache is in use: nothing was written */
async function overwriteHeld(task: Task, inode: LatchInode, iocb: Kiocb, iter: IovIter): Promise<number> {
  using _held = await inode.i_rwsem.read(task);
  if (!inside(inode, iocb, iter) || !(await overwrites(task, inode, iocb.ki_pos, iter.count))) return 0;
  const { count } = iter;
  // A limit of the writer's cuts it short: what is left ends anywhere.
  if (generic_write_checks(iocb, iter) !== count) return 0;
  await file_update_time(task, inode);
  return await generic_file_direct_write(task, iocb, iter);
}

/** Whether whole sectors inside the file are written, as it is in memory and on the device (ext4_extending_io). */
function inside(inode: LatchInode, { ki_pos: pos }: Kiocb, { count }: IovIter): boolean {
  if (count === 0 || pos % SECTOR_SIZE !== 0 || count % SECTOR_SIZE !== 0) return false;
  return pos + count <= Math.min(inode.i_size, inode.i_disksize);
}

/**
 * Whether all blocks of a range are mapped; where some have never been written, only if it has whole blocks: the rest of such a block would have to be zeroed, and two
 * who did that would zero each other's bytes (ext4_overwrite_io, ext4_unaligned_io). @throws EIO
 */
async function overwrites(task: Task, inode: LatchInode, pos: number, count: number): Promise<boolean> {
  const whole = pos % BLOCK_SIZE === 0 && count % BLOCK_SIZE === 0;
  const end = Math.ceil((pos + count) / BLOCK_SIZE);
  for (let block = Math.floor(pos / BLOCK_SIZE); block < end; ) {
    const extent = await inode.extents.find(task, block);
    if (extent === undefined || (extent.unwritten && !whole)) return false;
    block = endOf(extent);
  }
  return true;
}
