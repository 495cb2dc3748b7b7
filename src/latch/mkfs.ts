/** Making an empty filesystem: a superblock and a root; everything else is zeroes that mean "unused". */
import { randomBytes } from 'node:crypto';
import { submit_bio_wait } from '../block/bio.js';
import type { BlockDevice } from '../block/block-device.js';
import type { Task } from '../sched/task.js';
import type { Timespec } from '../sched/time.js';
import { areaOf, encodeInode } from './format/inode.js';
import { BLOCK_SIZE, GROUP_BLOCKS, GROUP_HEAD, MIN_BYTES, ROOT_INO } from './format/layout.js';
import { encodeSuper, FormatError, VERSION } from './format/superblock.js';
import { emptyRoot, KIND_DIRECTORY } from './format/tree.js';

export interface MkfsOptions {
  readonly label?: string;
  readonly uid?: number;
  readonly gid?: number;
  /** Permission bits of the root directory. */
  readonly mode?: number;
}

/** @throws FormatError where the device is too small; EIO */
export async function mkfs(task: Task, bdev: BlockDevice, options: MkfsOptions = {}): Promise<void> {
  if (bdev.size < MIN_BYTES) {
    throw new FormatError(`${bdev.name} is too small: a filesystem needs at least ${MIN_BYTES / 2 ** 20} MiB`);
  }
  const blocks = Math.floor(bdev.size / BLOCK_SIZE);
  const groups = Math.ceil(blocks / GROUP_BLOCKS);
  const tail = blocks % GROUP_BLOCKS;
  const lost = tail > 0 && tail <= GROUP_HEAD ? tail : 0;
  const heads = (lost > 0 ? groups - 1 : groups) * GROUP_HEAD;
  // What an earlier use left would be taken for bitmaps.
  for (let group = 0; group < groups; group++) {
    const length = Math.min(GROUP_HEAD, blocks - group * GROUP_BLOCKS) * BLOCK_SIZE;
    await submit_bio_wait(task, bdev, { op: 'write_zeroes', sector: group * GROUP_BLOCKS * 8, vecs: [], length });
  }
  const now = task.sched.realtime();
  const head = Buffer.alloc(BLOCK_SIZE * (GROUP_HEAD + 1));
  encodeSuper(head, {
    version: VERSION,
    incompat: 0,
    clean: true,
    blocks,
    freeBlocks: blocks - heads - lost - 1,
    inodes: 1,
    orphan: 0,
    generation: randomBytes(4).readUInt32LE(),
    mounts: 0,
    uuid: randomBytes(16),
    label: options.label ?? '',
    hashKey: randomBytes(8),
  });
  // The group's head and the block of the root's inode are in use; the latter holds inodes.
  head[BLOCK_SIZE] = 0b1111;
  head[2 * BLOCK_SIZE] = 0b1000;
  const root = head.subarray(GROUP_HEAD * BLOCK_SIZE);
  encodeInode(root, rootInode(options, now));
  emptyRoot(areaOf(root), KIND_DIRECTORY);
  await submit_bio_wait(task, bdev, { op: 'write', sector: 0, vecs: [head], length: head.length, fua: true });
}

function rootInode(options: MkfsOptions, now: Timespec): Parameters<typeof encodeInode>[1] {
  return {
    mode: 0o040000 | (options.mode ?? 0o755),
    uid: options.uid ?? 0,
    gid: options.gid ?? 0,
    nlink: 2,
    size: 0,
    blocks: 0,
    generation: 1,
    flags: 0,
    rdev: 0,
    mtime: now,
    ctime: now,
    btime: now,
    atime: now,
    xattrBlock: 0,
    parent: ROOT_INO,
    nextOrphan: 0,
  };
}
