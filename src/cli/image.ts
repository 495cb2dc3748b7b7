/** `latchfs mkfs`. */
import { closeSync, existsSync, ftruncateSync, openSync, readSync, rmSync, statSync } from 'node:fs';
import { type BlockDevice, blkdev_get, blkdev_put } from '../block/block-device.js';
import { raiseFileLimit } from '../block/libc.js';
import { MIN_JOURNALED_BYTES } from '../latch/format/layout.js';
import { decodeSuper, LABEL_BYTES } from '../latch/format/superblock.js';
import { mkfs } from '../latch/mkfs.js';
import { Task } from '../sched/task.js';
import { CliError, reason } from './error.js';
import { asCliError, newMachine, openSource } from './machine.js';
import { checkReachable } from './reach.js';
import { isMemory, parseSize } from './size.js';

/** Bytes at the beginning in which filesystems have their superblocks: that of btrfs is the last, at 64 KiB. */
const MARKED_BYTES = 68 * 1024;

export interface MkfsFlags {
  readonly size?: string;
  readonly label?: string;
  readonly force?: boolean;
  readonly quota?: boolean;
}

/** What is wanted, as far as it can be judged without touching anything. @throws CliError */
function wanted(image: string, flags: MkfsFlags): { readonly exists: boolean; readonly bytes: number | undefined } {
  const exists = existsSync(image);
  if (Buffer.byteLength(flags.label ?? '') > LABEL_BYTES)
    throw new CliError(`option --label: '${flags.label}' has more than ${LABEL_BYTES} bytes`, 2);
  if (flags.size === undefined) {
    if (!exists) throw new CliError(`${image} does not exist: say how large it is to be, such as --size 1G`, 2);
    return { exists, bytes: undefined };
  }
  const bytes = parseSize(flags.size, 'option --size');
  if (exists && !statSync(image).isFile()) throw new CliError(`${image} is not a file: leave --size out`, 2);
  if (bytes < MIN_JOURNALED_BYTES)
    throw new CliError(`${image} is too small: a filesystem needs at least ${MIN_JOURNALED_BYTES / 2 ** 20} MiB`);
  return { exists, bytes };
}

/** Make the image as large as asked; one that was not there before and cannot be so large is gone again. @throws CliError */
function resize(image: string, bytes: number, flags: 'r+' | 'wx'): void {
  let fd: number;
  try {
    fd = openSync(image, flags, 0o644);
  } catch (error) {
    throw new CliError(`${image} cannot be written: ${reason(error)}`);
  }
  try {
    raiseFileLimit();
    ftruncateSync(fd, bytes);
  } catch (error) {
    if (flags === 'wx') rmSync(image, { force: true });
    throw new CliError(`${image} cannot be made ${bytes} bytes long: ${reason(error)}`);
  } finally {
    closeSync(fd);
  }
}

/**
 * What a new filesystem would destroy; undefined where there are only zeroes at the beginning, where filesystems and tables of partitions have their
 * marks.
 */
function contentOf(image: string): string | undefined {
  const head = Buffer.alloc(MARKED_BYTES);
  const fd = openSync(image, 'r');
  try {
    readSync(fd, head, 0, head.length, 0);
  } finally {
    closeSync(fd);
  }
  if (head.every((byte) => byte === 0)) return undefined;
  return isLatch(head) ? 'a latchfs already' : 'something else';
}

function isLatch(block: Buffer): boolean {
  try {
    decodeSuper(block, '', Number.MAX_SAFE_INTEGER);
    return true;
  } catch {
    return false;
  }
}

/** Do something with an image that is opened, and so locked. */
async function withImage(image: string, body: (task: Task, bdev: BlockDevice) => Promise<void>): Promise<void> {
  const machine = newMachine({ enforce: 'warn', stacks: false, sink: () => undefined });
  const task = new Task(machine.sched, machine.validator, { comm: 'mkfs' });
  try {
    const bdev = openSource(machine, image, undefined, false);
    await blkdev_get(task, bdev, 'write', machine);
    try {
      await body(task, bdev);
    } finally {
      await blkdev_put(task, bdev);
    }
  } catch (error) {
    throw asCliError(error);
  }
}

/**
 * What is there is looked at under its lock before anything of it changes, its size included; an image that could not be made is not left behind.
 * @throws CliError where the image is in use, holds something already, or cannot be written
 */
export async function mkfsCommand(image: string, flags: MkfsFlags): Promise<void> {
  if (image === '') throw new CliError('the name of the image is empty', 2);
  if (isMemory(image) && !existsSync(image))
    throw new CliError(`${image} needs no mkfs: 'latchfs mount ${image} MOUNTPOINT' makes it`, 2);
  checkReachable(image);
  const { exists, bytes } = wanted(image, flags);
  if (exists) {
    await withImage(image, async () => {
      const content = flags.force === true ? undefined : contentOf(image);
      if (content !== undefined)
        throw new CliError(`${image} holds ${content}: --force makes a filesystem and destroys what is in it`);
      if (bytes !== undefined) resize(image, bytes, 'r+');
    });
  } else if (bytes !== undefined) resize(image, bytes, 'wx');
  try {
    await withImage(image, (task, bdev) =>
      mkfs(task, bdev, {
        // Who makes it can use it.
        uid: process.getuid?.() ?? 0,
        gid: process.getgid?.() ?? 0,
        quota: flags.quota === true,
        ...(flags.label === undefined ? {} : { label: Buffer.from(flags.label).toString('latin1') }),
      }),
    );
  } catch (error) {
    if (!exists) rmSync(image, { force: true });
    throw error;
  }
}
