/** `latchfs fsck IMAGE`: say what is wrong with an image, one line each. Exit status 0: nothing; 1: something; 2: it could not be checked. */
import { blkdev_get, blkdev_put } from '../block/block-device.js';
import { FormatError } from '../latch/format/superblock.js';
import { fsck } from '../latch/fsck/fsck.js';
import { Task } from '../sched/task.js';
import { CliError } from './error.js';
import { asCliError, newMachine, openSource } from './machine.js';
import { isMemory } from './size.js';

/** @returns the exit status. @throws CliError with status 2 where the image cannot be checked: missing, in use, no latchfs */
export async function fsckCommand(image: string): Promise<number> {
  if (isMemory(image)) throw new CliError('memory holds nothing that could be checked: name an image', 2);
  const machine = newMachine({ enforce: 'warn', stacks: false, sink: () => undefined });
  const task = new Task(machine.sched, machine.validator, { comm: 'fsck' });
  try {
    const bdev = openSource(machine, image, undefined, true);
    await blkdev_get(task, bdev, 'read', machine);
    try {
      const result = await fsck(task, bdev, (line) => process.stdout.write(`${image}: ${line}\n`));
      const log = result.replayed > 0 ? `, ${result.replayed} transactions of the log were replayed in memory` : '';
      const words = result.problems === 0 ? 'clean' : `${result.problems} problems`;
      const used = `${result.inodes} inodes, ${result.blocksUsed} of ${result.blocks} blocks in use`;
      process.stdout.write(`${image}: ${words}, ${used}${log}\n`);
      return result.problems === 0 ? 0 : 1;
    } finally {
      await blkdev_put(task, bdev);
    }
  } catch (error) {
    const damaged = error instanceof FormatError && error.message.includes('checksum');
    const known = asCliError(error);
    if (known instanceof CliError) throw new CliError(known.message, damaged ? 1 : 2);
    throw new CliError(`${image} cannot be checked: ${error instanceof Error ? error.message : String(error)}`, 2);
  }
}
