/** `latchfs mkfs` and `latchfs fsck`. */
import { closeSync, existsSync, ftruncateSync, openSync, statSync } from 'node:fs';
import { blkdev_get, blkdev_put } from '../block/block-device.js';
import { sb_bread } from '../block/buffer-cache.js';
import { decodeSuper } from '../latch/format/superblock.js';
import { mkfs } from '../latch/mkfs.js';
import { Task } from '../sched/task.js';
import { CliError } from './error.js';
import { asCliError, newMachine, openSource } from './machine.js';
import { parseSize } from './size.js';

export interface MkfsFlags {
  readonly size?: string;
  readonly label?: string;
  readonly force?: boolean;
  readonly quota?: boolean;
}

/** Make the image as large as asked; one that exists keeps its size unless that is given. */
function prepare(image: string, size: string | undefined): void {
  const exists = existsSync(image);
  if (size === undefined) {
    if (!exists) throw new CliError(`${image} does not exist: say how large it is to be, such as --size 1G`, 2);
    return;
  }
  const bytes = parseSize(size, 'option --size');
  if (exists && !statSync(image).isFile()) throw new CliError(`${image} is not a file: leave --size out`, 2);
  let fd: number;
  try {
    fd = openSync(image, exists ? 'r+' : 'wx', 0o644);
  } catch (error) {
    throw new CliError(`${image} cannot be written: ${error instanceof Error ? error.message : String(error)}`);
  }
  try {
    ftruncateSync(fd, bytes);
  } finally {
    closeSync(fd);
  }
}

function holdsFilesystem(block: Buffer, blocks: number): boolean {
  try {
    decodeSuper(block, '', blocks);
    return true;
  } catch {
    return false;
  }
}

/** @throws CliError where the image is in use, holds a filesystem already, or cannot be written */
export async function mkfsCommand(image: string, flags: MkfsFlags): Promise<void> {
  prepare(image, flags.size);
  const machine = newMachine({ enforce: 'warn', stacks: false, sink: () => undefined });
  const task = new Task(machine.sched, machine.validator, { comm: 'mkfs' });
  try {
    const bdev = openSource(machine, image, undefined, false);
    await blkdev_get(task, bdev, 'write', machine);
    try {
      if (flags.force !== true && bdev.size >= 4096) {
        const bh = await sb_bread(task, bdev, 0);
        if (holdsFilesystem(bh.b_data, Number.MAX_SAFE_INTEGER)) {
          throw new CliError(`${image} holds a latchfs already: --force makes a new one and destroys what is in it`);
        }
      }
      await mkfs(task, bdev, {
        quota: flags.quota === true,
        ...(flags.label === undefined ? {} : { label: flags.label }),
      });
    } finally {
      await blkdev_put(task, bdev);
    }
  } catch (error) {
    throw asCliError(error);
  }
}
