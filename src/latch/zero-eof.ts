/** What a file's last block holds behind its end, once the file goes on behind a gap (xfs_zero_range of xfs_file_write_checks). */
import { filemap_grab_folio } from '../mm/filemap.js';
import { filemap_write_and_wait_range } from '../mm/filemap-wait.js';
import { folio_put, PAGE_SIZE, pageOf } from '../mm/folio.js';
import { filemap_dirty_folio } from '../mm/folio-state.js';
import type { Task } from '../sched/task.js';
import type { LatchInode } from './inode.js';
import { read_locked } from './readpage.js';

/**
 * The file will go on at byte `pos`, behind its end: what its last block holds between the two, from a write whose size a crash has cut off, reads as zeroes
 * from then on. On the device before the new size can be. i_rwsem is held exclusively, so that nothing is cut off meanwhile; takes the folio's lock.
 * @throws EIO ENOMEM
 */
export async function zeroEof(task: Task, inode: LatchInode, pos: number): Promise<void> {
  const { i_size: size, i_mapping: mapping } = inode;
  const edge = Math.min(pos, Math.ceil(size / PAGE_SIZE) * PAGE_SIZE);
  if (edge <= size) return;
  const extent = await inode.extents.find(task, pageOf(size));
  if (extent === undefined || extent.unwritten) return;
  const { folio, held } = await filemap_grab_folio(task, mapping, pageOf(size));
  try {
    if (!folio.uptodate) await read_locked(task, inode, folio, extent);
    const tail = folio.data.subarray(size % PAGE_SIZE, (size % PAGE_SIZE) + edge - size);
    if (tail.every((byte) => byte === 0)) return;
    tail.fill(0);
    filemap_dirty_folio(task, mapping, folio);
  } finally {
    held.release();
    folio_put(folio);
  }
  await filemap_write_and_wait_range(task, mapping, size, edge - 1);
}
