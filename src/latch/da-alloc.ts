/**
 * Data that a program counts on without an fsync (auto_da_alloc of ext4): those of a file that takes the name of another, and those of one that was cut to nothing
 * and written anew. Without this their pages would wait for writeback long after the transaction that takes the old contents away.
 */
import type { File } from '../fs/file.js';
import type { Inode } from '../fs/inode.js';
import { filemap_fdatawait_range_keep_errors, filemap_fdatawrite_range, filemap_flush } from '../mm/filemap-wait.js';
import type { Awaitable } from '../sched/awaitable.js';
import { Errno } from '../sched/errno.js';
import type { Task } from '../sched/task.js';
import { S_IFMT, S_IFREG } from '../uapi/stat.js';
import { infoOf } from './info.js';
import { type LatchInode, latchInode } from './inode.js';

/** What is said of the data has been noted for whoever asks (fsync), and is nobody else's business. */
function ignored(error: unknown): void {
  if (!(error instanceof Errno)) throw error;
}

/**
 * A file is about to take the name of another (ext4_rename): what was written to it where it has no block yet, or behind its end on the device, is called written there
 * before the transaction that changes the name begins. So that a crash leaves the old contents or the new ones, and never a file that is empty. ext4 begins to write here, and its commit waits
 * for the data; here a transaction of its own calls them written once they are on the device (end-io.ts), and that has to be an earlier one, or the same. Waits for the
 * device, but for no flush. Without a handle; i_rwsem is held exclusively.
 */
export function write_before_replacing(task: Task, given: Inode): Awaitable<void> {
  if ((given.i_mode & S_IFMT) !== S_IFREG) return undefined;
  const { auto_da_alloc } = infoOf(given.i_sb);
  const mapping = given.mappingIfAny;
  if (!auto_da_alloc || mapping === undefined || mapping.nrpages === 0) return undefined;
  const inode = latchInode(given);
  const waits = inode.delayed > 0 || inode.i_disksize < inode.i_size;
  if (!waits && !mapping.i_pages.marked('writeback')) return undefined;
  return writeAndWait(task, inode, waits).catch(ignored);
}

async function writeAndWait(task: Task, { i_mapping: mapping }: LatchInode, waits: boolean): Promise<void> {
  if (waits) await filemap_fdatawrite_range(task, mapping, 0, Number.MAX_SAFE_INTEGER);
  await filemap_fdatawait_range_keep_errors(task, mapping, 0, Number.MAX_SAFE_INTEGER);
}

/** A file was cut to nothing: who closes it next has what is written meanwhile on its way to the device (EXT4_STATE_DA_ALLOC_CLOSE). */
export function note_cut_to_nothing(inode: LatchInode): void {
  if (infoOf(inode.i_sb).auto_da_alloc) inode.da_alloc_close = true;
}

/** ->release (ext4_release_file). Begins to write, and does not wait for the device. */
export function latch_release(task: Task, given: Inode, _file: File): Awaitable<void> {
  const inode = latchInode(given);
  if (!inode.da_alloc_close) return undefined;
  inode.da_alloc_close = false;
  // As ext4_alloc_da_blocks: what has its blocks is written in its own time.
  if (inode.delayed === 0) return undefined;
  return filemap_flush(task, inode.i_mapping).catch(ignored);
}
