/** How directories hang together, for a check: also where there are many, one in the other. */

import t from 'tap';
import { emptyDirectory } from '../../src/latch/format/inode.js';
import { ROOT_INO } from '../../src/latch/format/layout.js';
import { decodeSuper } from '../../src/latch/format/superblock.js';
import { FsckContext, Report } from '../../src/latch/fsck/context.js';
import { checkDirectories } from '../../src/latch/fsck/dirs.js';
import { newSeen } from '../../src/latch/fsck/seen.js';
import { DT_DIR } from '../../src/uapi/dirent.js';
import { machine } from './journal/crash-device.js';
import { freshImage } from './world.js';

const DEPTH = 20_000;
const FIRST = ROOT_INO + 1;

/** A check of directories that lie in each other, the innermost first; `parentOf` says where each has its name. */
async function nested(
  parentOf: (n: number) => number,
): Promise<{ context: FsckContext; told: string[]; looks: number }> {
  const image = await freshImage(8 << 20);
  const { bdev, task } = machine(image);
  const told: string[] = [];
  const superblock = decodeSuper(image.subarray(0, 4096), 'image', image.length / 4096);
  const context = new FsckContext(task(), bdev, superblock, new Report((line) => told.push(line)));
  const now = { sec: 0, nsec: 0 };
  const children = new Map<number, number[]>();
  for (let n = 0; n < DEPTH; n++) children.set(parentOf(n), [...(children.get(parentOf(n)) ?? []), FIRST + n]);
  for (const ino of [...Array.from({ length: DEPTH }, (_, n) => FIRST + DEPTH - 1 - n), ROOT_INO]) {
    const parent = ino === ROOT_INO ? ROOT_INO : parentOf(ino - FIRST);
    const seen = newSeen(ino, emptyDirectory(parent, 0o755, 1, now));
    seen.entries = (children.get(ino) ?? []).map((child, key) => ({
      key,
      name: `d${child}`,
      ino: child,
      type: DT_DIR,
    }));
    context.inodes.set(ino, seen);
  }
  let looks = 0;
  const { get } = context.inodes;
  context.inodes.get = (ino) => {
    looks++;
    return get.call(context.inodes, ino);
  };
  await checkDirectories(context);
  return { context, told, looks };
}

t.test('each is passed once on the way up', async (t) => {
  const { told, looks } = await nested((n) => (n === 0 ? ROOT_INO : FIRST + n - 1));
  t.same(told, []);
  t.ok(looks < 4 * DEPTH, `${looks} looks at ${DEPTH} directories`);
});

t.test('of a circle one loses its name, and what hangs on it does not', async (t) => {
  // The first ten are in a circle, and the rest hangs on that.
  const { context, told, looks } = await nested((n) => FIRST + (n === 0 ? 9 : n - 1));
  t.equal(told.length, 1);
  t.match(told[0], /is in a circle of directories/);
  t.equal([...context.inodes.values()].filter(({ names }) => names === 0).length, 2, 'it, and the root');
  t.ok(looks < 4 * DEPTH);
});
