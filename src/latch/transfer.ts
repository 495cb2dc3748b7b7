/** Bytes between memory and the places of the device that a file's extents name, past the page cache. */
import { SECTOR_SIZE, submit_bio } from '../block/bio.js';
import type { BlockDevice } from '../block/block-device.js';
import type { Awaitable } from '../sched/awaitable.js';
import type { Errno } from '../sched/errno.js';
import type { Task } from '../sched/task.js';
import { WaitQueue } from '../sched/wait.js';
import { endOf } from './extent-list.js';
import type { Extent } from './format/inode.js';
import { BLOCK_SIZE } from './format/layout.js';
import type { LatchInode } from './inode.js';
import { SECTORS } from './map.js';

/** Bytes that lie together on the device. */
export interface Piece {
  readonly sector: number;
  /** Whole sectors. */
  readonly vecs: readonly Buffer[];
}

/** What one call transfers. */
export interface Transfer {
  readonly op: 'read' | 'write';
  readonly pieces: Piece[];
  /** Bytes of the file. */
  total: number;
}

/** The sector of byte `pos` of a file that lies in an extent. */
export function sectorOf(extent: Extent, pos: number): number {
  return (extent.physical - extent.logical) * SECTORS + pos / SECTOR_SIZE;
}

/** Bytes of a mapped file from `pos` on that one extent has. */
export function reach(extent: Extent, pos: number): number {
  return endOf(extent) * BLOCK_SIZE - pos;
}

/** Go through bytes `start` to `end` exclusive of a file: `take` gets what maps the byte that it has come to, and says where it goes on. */
export function gather(
  task: Task,
  inode: LatchInode,
  start: number,
  end: number,
  take: (extent: Extent | undefined, at: number) => number,
): Awaitable<void> {
  for (let at = start; at < end; ) {
    const here = at;
    const found = inode.extents.find(task, Math.floor(here / BLOCK_SIZE));
    if (found instanceof Promise) return found.then((extent) => gather(task, inode, take(extent, here), end, take));
    at = take(found, here);
  }
  return undefined;
}

/** Start all pieces; `end` is called in completion context after the last, with the first error. */
export function submit(
  task: Task,
  bdev: BlockDevice,
  { op, pieces }: Transfer,
  polled: boolean,
  end: (task: Task, error: Errno | undefined) => void,
): void {
  let left = pieces.length;
  let failure: Errno | undefined;
  for (const { sector, vecs } of pieces) {
    submit_bio(task, bdev, {
      op,
      sector,
      vecs,
      length: vecs.reduce((sum, bytes) => sum + bytes.length, 0),
      polled,
      end_io: (completion, error) => {
        failure ??= error;
        if (--left === 0) end(completion, failure);
      },
    });
  }
}

/** Transfer something, and wait until it is over. @throws EIO */
export function transferNow(task: Task, bdev: BlockDevice, what: Transfer): Awaitable<void> {
  let done = false;
  let failure: Errno | undefined;
  let queue: WaitQueue | undefined;
  submit(task, bdev, what, false, (_completion, error) => {
    done = true;
    failure = error;
    queue?.wake_all();
  });
  const result = (): void => {
    if (failure !== undefined) throw failure;
  };
  if (done) return result();
  queue = new WaitQueue();
  return queue.wait(task, { what: 'block I/O' }).then(result);
}
