/** Making an empty filesystem: a superblock, a root and a journal; everything else is zeroes that mean "unused". */
import { randomBytes } from 'node:crypto';
import { crc32 } from 'node:zlib';
import { submit_bio_wait } from '../block/bio.js';
import type { BlockDevice } from '../block/block-device.js';
import type { Task } from '../sched/task.js';
import { fillBits, setBit } from './bitmap.js';
import { encodeGroup, GROUP_OFFSET, groupSeed } from './format/group.js';
import { areaOf, emptyDirectory, encodeInode, inodeSeed, sealInode } from './format/inode.js';
import {
  BLOCK_BITMAP,
  BLOCK_SIZE,
  GROUP_BLOCKS,
  GROUP_HEAD,
  groupSize,
  groupsOf,
  INODE_BITMAP,
  INODE_SIZE,
  journalBlocks,
  MIN_BYTES,
  MIN_JOURNALED_BYTES,
  ROOM_BITMAP,
  ROOT_BLOCK,
  ROOT_INO,
} from './format/layout.js';
import {
  COMPAT_COPY,
  COMPAT_INODE_BLOCKS,
  COMPAT_QUOTA,
  copyBlock,
  encodeSuper,
  FormatError,
  INCOMPAT_CASEFOLD,
  INCOMPAT_CSUM,
  INCOMPAT_JOURNAL,
  SUPER_OFFSET,
  VERSION,
} from './format/superblock.js';
import { emptyRoot, KIND_DIRECTORY } from './format/tree.js';
import { journal_format } from './journal/load.js';

export interface MkfsOptions {
  /** Up to 16 bytes, one character a byte. */
  readonly label?: string;
  readonly uid?: number;
  readonly gid?: number;
  /** Permission bits of the root directory. */
  readonly mode?: number;
  /** Have a journal and checksums; the default. Without, nothing outlives a crash: for devices in memory. */
  readonly journal?: boolean;
  /** Blocks of the journal, at least 32; by default as journalBlocks says. */
  readonly journalBlocks?: number;
  /** Count what each user and group has, from the first mount on. */
  readonly quota?: boolean;
  /** Where random bytes come from, so that a test can be repeated. */
  readonly random?: (bytes: number) => Buffer;
}

/** Zero the heads of all groups: what an earlier use left would be taken for descriptors and bitmaps. The superblock goes first and comes last. */
async function clearHeads(task: Task, bdev: BlockDevice, groups: number): Promise<void> {
  for (let group = 0; group < groups; group++) {
    const length = GROUP_HEAD * BLOCK_SIZE;
    await submit_bio_wait(task, bdev, { op: 'write_zeroes', sector: group * GROUP_BLOCKS * 8, vecs: [], length });
  }
}

/** Write the superblock that `head` has once more, to block `copy`. */
async function writeCopy(task: Task, bdev: BlockDevice, head: Buffer, copy: number): Promise<void> {
  const bytes = Buffer.alloc(BLOCK_SIZE);
  head.copy(bytes, SUPER_OFFSET, SUPER_OFFSET, GROUP_OFFSET);
  await submit_bio_wait(task, bdev, { op: 'write', sector: copy * 8, vecs: [bytes], length: BLOCK_SIZE });
}

/** Make an empty filesystem. @throws FormatError where the device is too small; EIO */
export async function mkfs(task: Task, bdev: BlockDevice, options: MkfsOptions = {}): Promise<void> {
  const journaled = options.journal ?? true;
  const least = journaled && options.journalBlocks === undefined ? MIN_JOURNALED_BYTES : MIN_BYTES;
  if (bdev.size < least) {
    throw new FormatError(`${bdev.name} is too small: a filesystem needs at least ${least / 2 ** 20} MiB`);
  }
  const blocks = Math.floor(bdev.size / BLOCK_SIZE);
  const groups = groupsOf(blocks);
  await clearHeads(task, bdev, groups);
  const random = options.random ?? randomBytes;
  const uuid = random(16);
  const first = journaled ? ROOT_BLOCK + 1 : 0;
  const length = journaled ? (options.journalBlocks ?? journalBlocks(blocks)) : 0;
  if (journaled) await journal_format(task, bdev, { first, length }, uuid);
  const used = GROUP_HEAD + 1 + length;
  const head = Buffer.alloc(BLOCK_SIZE * (ROOT_BLOCK + 1));
  const block = (n: number): Buffer => head.subarray(n * BLOCK_SIZE, (n + 1) * BLOCK_SIZE);
  let free = 0;
  for (let group = 0; group < groups; group++) free += groupSize(blocks, group) - GROUP_HEAD;
  // A device that ends with the process needs no copy of it.
  const copy = copyBlock(blocks);
  const alone = journaled && groups === 1 ? 1 : 0;
  encodeSuper(head, {
    version: VERSION,
    incompat: INCOMPAT_CASEFOLD | (journaled ? INCOMPAT_JOURNAL | INCOMPAT_CSUM : 0),
    compat: COMPAT_INODE_BLOCKS | (journaled ? COMPAT_COPY : 0) | (options.quota === true ? COMPAT_QUOTA : 0),
    clean: true,
    blocks,
    freeBlocks: free - (used - GROUP_HEAD) - alone,
    inodes: 1,
    inodeBlocks: 1,
    orphan: 0,
    generation: random(4).readUInt32LE(),
    mounts: 0,
    uuid,
    label: options.label ?? '',
    journalFirst: first,
    journalLength: length,
    hashKey: random(8),
    quotaInodes: [0, 0, 0],
  });
  fillBits(block(BLOCK_BITMAP), 0, used, true);
  if (alone > 0) setBit(block(BLOCK_BITMAP), copy);
  setBit(block(INODE_BITMAP), ROOT_BLOCK);
  setBit(block(ROOM_BITMAP), ROOT_BLOCK);
  const seed = groupSeed(uuid, 0);
  encodeGroup(head, seed, {
    freeBlocks: groupSize(blocks, 0) - used - alone,
    blockBitmap: crc32(block(BLOCK_BITMAP), seed),
    inodeBitmap: crc32(block(INODE_BITMAP), seed),
    roomBitmap: crc32(block(ROOM_BITMAP), seed),
  });
  const root = block(ROOT_BLOCK).subarray(0, INODE_SIZE);
  const { mode = 0o755, uid = 0, gid = 0 } = options;
  encodeInode(root, { ...emptyDirectory(ROOT_INO, mode, 1, task.sched.realtime()), uid, gid });
  emptyRoot(areaOf(root), KIND_DIRECTORY);
  if (journaled) sealInode(root, inodeSeed(uuid, ROOT_INO));
  if (journaled) await writeCopy(task, bdev, head, copy);
  await submit_bio_wait(task, bdev, { op: 'write', sector: 0, vecs: [head], length: head.length, fua: true });
}
