/** Taking blocks while a filesystem is repaired that has hardly any. */
import fc from 'fast-check';
import t from 'tap';
import { GROUP_BLOCKS, GROUP_HEAD, groupSize, groupsOf } from '../../src/latch/format/layout.js';
import { decodeSuper, type Superblock } from '../../src/latch/format/superblock.js';
import { FsckContext, Report } from '../../src/latch/fsck/context.js';
import type { ReadGroup } from '../../src/latch/fsck/groups.js';
import { Space } from '../../src/latch/fsck/space.js';
import { machine } from './journal/crash-device.js';
import { freshImage } from './world.js';

const image = await freshImage(4 << 20);

/** A device of so many blocks, of which `free` are not used; those of them that `before` names were not used before the damage either. */
function device(blocks: number, free: readonly number[], before: readonly number[] = free): [FsckContext, Space] {
  const m = machine(image, true);
  const plain: Superblock = decodeSuper(image.subarray(0, 4096), 'image', image.length / 4096);
  const context = new FsckContext(m.task(), m.bdev, { ...plain, blocks }, new Report(() => undefined));
  const isFree = new Set(free);
  for (let block = 0; block < blocks; block++) if (!isFree.has(block)) context.usage.claimData(block);
  const groups: ReadGroup[] = [];
  const nothing = Buffer.alloc(0);
  for (let number = 0; number < groupsOf(blocks); number++) {
    const base = number * GROUP_BLOCKS;
    const bits = Buffer.alloc(4096, 0xff);
    const size = groupSize(blocks, number);
    for (const block of before) {
      const at = block - base;
      if (at >= 0 && at < size) bits[at >> 3] = (bits[at >> 3] ?? 0) & ~(1 << (at & 7));
    }
    groups.push({
      number,
      base,
      size,
      seed: 0,
      descriptor: undefined,
      unused: false,
      blocks: bits,
      inodes: nothing,
      room: nothing,
      blocksTrusted: true,
      inodesTrusted: true,
    });
  }
  return [context, new Space(context, groups)];
}

t.test('what was free before comes first, near where it is wanted, and then whatever is free', async (t) => {
  const GROUPS = 3;
  const place = fc
    .tuple(fc.nat(GROUPS - 1), fc.nat(40))
    .map(([group, at]) => group * GROUP_BLOCKS + GROUP_HEAD + at * 7);
  fc.assert(
    fc.property(fc.uniqueArray(place), fc.func(fc.boolean()), fc.array(place), (free, known, wanted) => {
      const left = new Set(free);
      const before = new Set(free.filter((block) => known(block)));
      const [context, space] = device(GROUPS * GROUP_BLOCKS, free, [...before]);
      const order = (near: number): number[] => {
        const first = Math.floor(near / GROUP_BLOCKS);
        const rank = (block: number): number => {
          const distance = (Math.floor(block / GROUP_BLOCKS) - first + GROUPS) % GROUPS;
          const behind = distance === 0 && block < near ? GROUP_BLOCKS : 0;
          return (before.has(block) ? 0 : 1e9) + distance * 2 * GROUP_BLOCKS + behind + (block % GROUP_BLOCKS);
        };
        return [...left].sort((a, b) => rank(a) - rank(b));
      };
      for (const near of wanted) {
        const [best] = order(near);
        if (best === undefined) {
          t.throws(() => space.take(near), { code: 'ENOSPC' });
          context.usage.release(near);
          left.add(near);
          continue;
        }
        t.equal(space.take(near), best);
        left.delete(best);
      }
    }),
    { numRuns: 30 },
  );
});

t.test('a block that is not wanted any more can be taken again', async (t) => {
  const [context, space] = device(2 * GROUP_BLOCKS, [GROUP_BLOCKS + 100]);
  t.equal(space.take(0), GROUP_BLOCKS + 100);
  t.throws(() => space.take(0), { code: 'ENOSPC' });
  context.usage.release(200);
  t.equal(space.take(0), 200);
});

t.test('taking the last blocks of a large device costs no more than the first', async (t) => {
  const GROUPS = 512;
  const free = Array.from({ length: 2000 }, (_, i) => (GROUPS - 1) * GROUP_BLOCKS + GROUP_HEAD + 2 * i);
  const [, space] = device(GROUPS * GROUP_BLOCKS, free, []);
  const start = process.cpuUsage();
  for (const block of free) if (space.take(GROUP_HEAD) !== block) t.fail(`block ${block}`);
  const { user, system } = process.cpuUsage(start);
  t.comment(`${Math.round((user + system) / 1000)} ms`);
  t.ok(user + system < 1_000_000);
});
