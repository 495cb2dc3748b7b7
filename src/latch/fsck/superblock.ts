/** Finding the superblock: the first one, if it can be right; its copy otherwise. */
import type { BlockDevice } from '../../block/block-device.js';
import { brelse } from '../../block/buffer.js';
import { sb_bread } from '../../block/buffer-cache.js';
import type { Task } from '../../sched/task.js';
import { decodeGroup, GROUP_OFFSET, groupSeed } from '../format/group.js';
import { inodeIsSealed, inodeSeed } from '../format/inode.js';
import {
  BLOCK_SIZE,
  GROUP_BLOCKS,
  groupSize,
  INODE_SIZE,
  journalBlocks,
  MIN_BYTES,
  ROOT_BLOCK,
  ROOT_INO,
} from '../format/layout.js';
import {
  COMPAT_COPY,
  copyBlock,
  decodeSuper,
  encodeSuper,
  FormatError,
  fieldsOf,
  KNOWN_COMPAT,
  KNOWN_INCOMPAT,
  type Superblock,
  superIsSealed,
  VERSION,
} from '../format/superblock.js';
import type { Report } from './context.js';

const MIN_BLOCKS = MIN_BYTES / BLOCK_SIZE;
/** What never changes once the filesystem was made. */
const FIXED = ['version', 'incompat', 'blocks', 'uuid', 'label', 'hashKey', 'journalFirst', 'journalLength'] as const;

export interface FoundSuper {
  /** As it shall be. */
  readonly super: Superblock;
  /** The counts in it, the list of orphans and the next generation are not known. */
  readonly stale: boolean;
}

async function readBlock(task: Task, bdev: BlockDevice, block: number): Promise<Buffer> {
  const bh = await sb_bread(task, bdev, block);
  const bytes = Buffer.from(bh.b_data);
  brelse(bh);
  return bytes;
}

/**
 * @throws FormatError where the device holds nothing that could be checked: no latchfs, a newer one, or less than it says
 */
export async function findSuper(task: Task, bdev: BlockDevice, report: Report): Promise<FoundSuper> {
  const blocks = Math.floor(bdev.size / BLOCK_SIZE);
  if (blocks === 0) throw new FormatError(`${bdev.name} holds no latchfs: it is too small`);
  const block = await readBlock(task, bdev, 0);
  const first = decoded(block, bdev, blocks);
  // Too small for one of any kind: it tells at most what it was once.
  if (blocks < MIN_BLOCKS)
    throw first instanceof FormatError ? first : new FormatError(`${bdev.name} holds no latchfs: it is too small`);
  if (!(first instanceof FormatError)) {
    if (holdsReserved(block, first)) report.problem('superblock', 'something lies where nothing may', 'safe');
    return compare(task, bdev, first, report);
  }
  const copy = await findCopy(task, bdev, blocks);
  if (copy !== undefined) {
    report.problem('superblock', `${reason(first, bdev)}; its copy in block ${copy.block} is used`);
    return { super: { ...copy.super, clean: false }, stale: true };
  }
  const guess = fieldsOf(block);
  if (!(await plausible(task, bdev, guess, block, blocks))) throw first;
  report.problem('superblock', `${reason(first, bdev)}; what it holds can be right`);
  return { super: guess, stale: false };
}

/** Whether there is something in bytes that mean nothing: they are lost when the superblock is written. Of features that we do not know we cannot say. */
function holdsReserved(block: Buffer, disk: Superblock): boolean {
  if ((disk.compat & ~KNOWN_COMPAT) !== 0) return false;
  const written = Buffer.from(block);
  encodeSuper(written, disk);
  return !written.equals(block);
}

/** Why a superblock is none, without the remedy. */
function reason(error: FormatError, bdev: BlockDevice): string {
  return (error.message.split(';')[0] ?? '').replace(`${bdev.name}: `, '').replace(`${bdev.name} `, '');
}

function decoded(block: Buffer, bdev: BlockDevice, blocks: number): Superblock | FormatError {
  try {
    const disk = decodeSuper(block, bdev.name, blocks);
    return disk.blocks < MIN_BLOCKS ? new FormatError(`${bdev.name} says that it has ${disk.blocks} blocks`) : disk;
  } catch (error) {
    if (error instanceof FormatError) return error;
    throw error;
  }
}

/** The copy where it should be; or anywhere in the first group, where the device has become larger since. */
async function findCopy(
  task: Task,
  bdev: BlockDevice,
  blocks: number,
): Promise<{ readonly super: Superblock; readonly block: number } | undefined> {
  const at = async (block: number): Promise<Superblock | undefined> => {
    const disk = decoded(await readBlock(task, bdev, block), bdev, blocks);
    if (disk instanceof FormatError) return undefined;
    const right = (disk.compat & COMPAT_COPY) !== 0 && copyBlock(disk.blocks) === block;
    return right && (await fits(task, bdev, disk)) ? disk : undefined;
  };
  const usual = copyBlock(blocks);
  for (let block = usual; block > ROOT_BLOCK; block = Math.min(block, GROUP_BLOCKS) - 1) {
    const disk = await at(block);
    if (disk !== undefined) return { super: disk, block };
  }
  return undefined;
}

/** Whether the UUID is the filesystem's: checksums that it is part of say so. */
async function fits(task: Task, bdev: BlockDevice, disk: Superblock): Promise<boolean> {
  const head = await readBlock(task, bdev, 0);
  const size = groupSize(disk.blocks, 0);
  const group = decodeGroup(head, groupSeed(disk.uuid, 0), size);
  if (group !== undefined && typeof group !== 'string') return true;
  const inodes = await readBlock(task, bdev, ROOT_BLOCK);
  return inodeIsSealed(inodes.subarray(0, INODE_SIZE), inodeSeed(disk.uuid, ROOT_INO));
}

/** How much of what never changes is as mkfs makes it, and as other blocks say. */
async function likelihood(task: Task, bdev: BlockDevice, disk: Superblock, blocks: number): Promise<number> {
  const usual = [
    await fits(task, bdev, disk),
    disk.blocks === blocks,
    disk.incompat === KNOWN_INCOMPAT,
    disk.journalFirst === ROOT_BLOCK + 1,
    disk.journalLength === journalBlocks(disk.blocks),
  ];
  return usual.filter(Boolean).length;
}

/** Whether a superblock whose magic or checksum is wrong can be right in everything else. */
async function plausible(
  task: Task,
  bdev: BlockDevice,
  guess: Superblock,
  block: Buffer,
  blocks: number,
): Promise<boolean> {
  if (guess.version !== VERSION || (guess.incompat & ~KNOWN_INCOMPAT) !== 0) return false;
  if (guess.blocks < MIN_BLOCKS || guess.blocks > blocks || block.readUInt32LE(GROUP_OFFSET) === 0) return false;
  return superIsSealed(block) || (await fits(task, bdev, guess));
}

/** A superblock without fault and its copy: what never changes must be the same in both. */
async function compare(task: Task, bdev: BlockDevice, disk: Superblock, report: Report): Promise<FoundSuper> {
  const blocks = Math.floor(bdev.size / BLOCK_SIZE);
  const found = await findDiffering(task, bdev, disk, blocks);
  if (found === undefined) return { super: disk, stale: false };
  // A latchfs that does not know of copies has dropped the feature, and left the copy alone.
  if (found === 'same') return { super: { ...disk, compat: disk.compat | COMPAT_COPY }, stale: false };
  if (found.copy === undefined) {
    report.problem('superblock', `its copy in block ${found.block} is damaged`, 'safe');
    return { super: disk, stale: false };
  }
  const { copy } = found;
  const differ = FIXED.filter((name) => String(copy[name]) !== String(disk[name]));
  const right = (await likelihood(task, bdev, copy, blocks)) >= (await likelihood(task, bdev, disk, blocks));
  report.problem('superblock', `differs from its copy in ${differ.join(', ')}`);
  if (!right) return { super: disk, stale: false };
  const fixed = Object.fromEntries(FIXED.map((name) => [name, copy[name]]));
  return { super: { ...disk, ...fixed, compat: disk.compat | COMPAT_COPY }, stale: false };
}

async function findDiffering(
  task: Task,
  bdev: BlockDevice,
  disk: Superblock,
  blocks: number,
): Promise<{ readonly block: number; readonly copy: Superblock | undefined } | 'same' | undefined> {
  const block = copyBlock(disk.blocks);
  const here = decoded(await readBlock(task, bdev, block), bdev, blocks);
  const copied = !(here instanceof FormatError) && copyBlock(here.blocks) === block;
  if (copied && (here.compat & COMPAT_COPY) !== 0) {
    const same = FIXED.every((name) => String(here[name]) === String(disk[name]));
    if (same) return 'same';
    return { block, copy: here };
  }
  // Where it says that it has fewer blocks than it has, its copy is elsewhere.
  const other = disk.blocks === blocks ? undefined : await findCopy(task, bdev, blocks);
  if (other?.super.uuid.equals(disk.uuid) === true) return { block: other.block, copy: other.super };
  return (disk.compat & COMPAT_COPY) === 0 ? undefined : { block, copy: undefined };
}
