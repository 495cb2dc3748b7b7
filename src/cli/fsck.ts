/** `latchfs fsck IMAGE`: say what is wrong with an image, one line each, and repair it where that is asked for. Exit status: that of fsck(8). */
import { blkdev_get, blkdev_put } from '../block/block-device.js';
import { type FsckResult, fsck, type Repair } from '../latch/fsck/fsck.js';
import { Task } from '../sched/task.js';
import { CliError, describe } from './error.js';
import { newMachine, openSource } from './machine.js';
import { checkReachable } from './reach.js';
import { isMemory } from './size.js';

/** The bits of the exit status, as fsck(8) has them. */
export const FSCK_NONDESTRUCT = 1;
export const FSCK_UNCORRECTED = 4;
export const FSCK_ERROR = 8;
export const FSCK_USAGE = 16;

export interface FsckFlags {
  /** Only look. */
  readonly n?: boolean;
  /** Repair what is safe; `a` is another name for it. */
  readonly p?: boolean;
  readonly a?: boolean;
  /** Repair everything. */
  readonly y?: boolean;
}

/** @returns the exit status */
export async function fsckCommand(image: string, flags: FsckFlags): Promise<number> {
  const repair = chosen(flags);
  if (repair === undefined) return fail('only one of -n, -p (or -a) and -y can be given', FSCK_USAGE);
  if (isMemory(image)) return fail('memory holds nothing that could be checked: name an image', FSCK_USAGE);
  if (image === '') return fail('the name of the image is empty', FSCK_USAGE);
  try {
    checkReachable(image);
    return await check(image, repair);
  } catch (error) {
    const [text, shown] = [describe(error), describe(image)];
    return fail(
      error instanceof CliError || text.includes(shown) ? text : `${shown} cannot be checked: ${text}`,
      FSCK_ERROR,
    );
  }
}

function fail(text: string, status: number): number {
  process.stderr.write(`latchfs: ${text}\n`);
  return status;
}

function chosen({ n, p, a, y }: FsckFlags): Repair | undefined {
  const safe = p === true || a === true;
  if (Number(n === true) + Number(safe) + Number(y === true) > 1) return undefined;
  return y === true ? 'all' : safe ? 'safe' : 'look';
}

async function check(image: string, repair: Repair): Promise<number> {
  const machine = newMachine({ enforce: 'warn', stacks: false, sink: () => undefined });
  const task = new Task(machine.sched, machine.validator, { comm: 'fsck' });
  const readOnly = repair === 'look';
  const bdev = openSource(machine, image, undefined, readOnly);
  await blkdev_get(task, bdev, readOnly ? 'read' : 'write', machine);
  try {
    const result = await fsck(task, bdev, (line) => process.stdout.write(`${image}: ${line}\n`), repair);
    process.stdout.write(`${image}: ${summary(image, result, repair)}\n`);
    return (result.repaired ? FSCK_NONDESTRUCT : 0) | (result.left > 0 ? FSCK_UNCORRECTED : 0);
  } finally {
    await blkdev_put(task, bdev);
  }
}

function summary(image: string, result: FsckResult, repair: Repair): string {
  const { problems, left, repaired, replayed } = result;
  const where = repair === 'look' ? ' in memory' : '';
  const log = replayed > 0 ? `, ${replayed} transactions of the log were replayed${where}` : '';
  const named = result.label === '' ? '' : `label ${JSON.stringify(Buffer.from(result.label, 'latin1').toString())}, `;
  const used = `${named}${result.inodes} inodes, ${result.blocksUsed} of ${result.blocks} blocks in use${log}`;
  if (problems === 0) return `clean, ${used}`;
  if (left === 0) return `${problems} problems, all repaired, ${used}`;
  if (result.unreadable > 0) {
    const what = `${result.unreadable} blocks cannot be read, so nothing is repaired`;
    return `${problems} problems, ${used}; ${what}: copy it to a sound device with ddrescue(1), and repair the copy`;
  }
  const remedy = repair === 'all' ? '' : `; repair them with: latchfs fsck -y ${image}`;
  return `${repaired ? `${problems} problems, ${left} are left` : `${problems} problems`}, ${used}${remedy}`;
}
