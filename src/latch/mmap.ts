/** Mappings of files: a page that becomes writable is promised a block first. */
import type { File } from '../fs/file.js';
import { mmap_with, vfs_page_mkwrite } from '../fs/mmap.js';
import { file_accessed } from '../fs/time.js';
import { type Folio, PAGE_SIZE } from '../mm/folio.js';
import type { MmStruct } from '../mm/mm-struct.js';
import { thp_get_unmapped_area } from '../mm/unmapped-area.js';
import type { VmArea } from '../mm/vma.js';
import { type Awaitable, andThen } from '../sched/awaitable.js';
import type { Task } from '../sched/task.js';
import { delay } from './delayed.js';
import type { Extent } from './format/inode.js';
import { infoOf } from './info.js';
import { type LatchInode, latchInode } from './inode.js';

/** ->mmap. @throws ENODEV; EIO where the filesystem was shut down */
export function latch_mmap(task: Task, file: File, vma: VmArea): Awaitable<void> {
  const inode = latchInode(file.f_inode);
  infoOf(inode.i_sb).assert_running();
  mmap_with(file, vma, (task, vma, vmf) =>
    vfs_page_mkwrite(task, vma, vmf, inode, (task, folio) => map_for_write(task, inode, folio)),
  );
  return file_accessed(task, file);
}

/** ->get_unmapped_area: huge entries can map it where it lies in its address space as in the file. @throws ENOMEM */
export function latch_get_unmapped_area(
  _task: Task,
  _file: File,
  mm: MmStruct,
  addr: number,
  length: number,
  pgoff: number,
): number {
  return thp_get_unmapped_area(mm, addr, length, pgoff * PAGE_SIZE);
}

/** A hole that is written through a mapping is promised a block. @throws ENOSPC EIO */
function map_for_write(task: Task, inode: LatchInode, folio: Folio): Awaitable<void> {
  infoOf(inode.i_sb).assert_running();
  return andThen(inode.extents.find(task, folio.index), delayHole, task, inode, folio);
}

function delayHole(extent: Extent | undefined, task: Task, inode: LatchInode, folio: Folio): Awaitable<void> {
  return extent === undefined ? delay(task, inode, folio) : undefined;
}
