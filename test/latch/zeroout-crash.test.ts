/** Several writers of one preallocated file, directly and through the cache, on a device that has no block left for its tree, and crashes in the middle of it. */

import fc from 'fast-check';
import t from 'tap';
import { infoOf } from '../../src/latch/info.js';
import { latchInode } from '../../src/latch/inode.js';
import { filemap_write_and_wait_range } from '../../src/mm/filemap-wait.js';
import { PAGE_SIZE } from '../../src/mm/folio.js';
import { errno } from '../../src/sched/errno.js';
import { O_DIRECT, O_RDWR } from '../../src/uapi/fcntl.js';
import { inodeOf } from '../fs/world.js';
import { freshImage, numbers, problemsOf, World } from './world.js';

const P = PAGE_SIZE;
const PAGES = 120;
const WRITERS = 4;
const RUNS = Number(process.env['LATCHFS_CRASH_RUNS'] ?? 8);

/** A page as its writer knows it. */
interface Page {
  /** What was written, in order: a byte each; at first zeroes. */
  readonly written: number[];
  /** The last of them that is safe, and how many events of the device there were by then. */
  readonly safe: { readonly index: number; readonly at: number }[];
}

async function life(seed: number): Promise<void> {
  const choose = numbers(seed);
  const world = await World.mount(await freshImage(4 << 20, {}, 'STALE'));
  await world.create('/f');
  await world.fallocate('/f', 0, 0, PAGES * P);
  await world.sync();
  const inode = latchInode(await world.at('/f', inodeOf));
  const { alloc } = infoOf(world.sb);
  const allocate = alloc.allocate.bind(alloc);
  // Now and then one is free.
  const rarely = numbers(seed + 1);
  alloc.allocate = (...args) => {
    if (rarely(20) > 0) throw errno('ENOSPC');
    return allocate(...args);
  };
  const pages: Page[] = Array.from({ length: PAGES }, () => ({ written: [0], safe: [{ index: 0, at: 0 }] }));
  const start = world.driver.events.length;
  const late = numbers(seed + 2);
  world.driver.delay = () => (late(2) === 0 ? late(40) : 0);
  const writer = async (own: number): Promise<void> => {
    const task = world.newTask();
    const dice = numbers(seed + 10 + own);
    for (let i = 0; i < 30; i++) {
      // Every writer has pages of its own, so that it knows what is in them.
      const number = dice(PAGES / WRITERS) * WRITERS + own;
      const page = pages[number];
      if (page === undefined) continue;
      const what = dice(8);
      if (what < 6) {
        const byte = 1 + dice(255);
        page.written.push(byte);
        const flags = what < 3 ? O_RDWR | O_DIRECT : O_RDWR;
        await world.write('/f', number * P, Buffer.alloc(P, byte), task, flags);
      } else if (what < 7) {
        await filemap_write_and_wait_range(task, inode.i_mapping, number * P, (number + 3) * P);
      } else {
        const known = pages.map(({ written }) => written.length - 1);
        const mine = known.map((index, at) => (at % WRITERS === own ? index : -1));
        await world.fsync('/f', dice(2) === 0, task);
        const at = world.driver.events.length;
        mine.forEach((index, each) => {
          if (index >= 0) pages[each]?.safe.push({ index, at });
        });
      }
    }
  };
  await Promise.all(Array.from({ length: WRITERS }, (_, own) => writer(own)));
  const end = world.driver.events.length;
  const found = await world.read('/f');
  pages.forEach(({ written }, number) => {
    const last = written[written.length - 1] ?? 0;
    if (!holds(found, number, [last])) throw new Error(`page ${number} has lost what was written last`);
  });
  for (let i = 0; i < 25; i++) {
    const cut = start + choose(end - start + 1);
    await checkAfter(world.driver.crash(cut, choose), cut, pages);
  }
  await world.unmount();
  const left = await problemsOf(world.driver.now);
  if (left.length > 0) throw new Error(left.join('; '));
  if (world.said.length > 0) throw new Error(world.said.join('; '));
}

/** Whether each sector of a page has one of some bytes throughout. */
function holds(content: Buffer, page: number, bytes: readonly number[]): boolean {
  for (let at = page * P; at < (page + 1) * P; at += 512) {
    const [first] = content.subarray(at, at + 1);
    if (!bytes.includes(first ?? -1) || content.subarray(at, at + 512).some((byte) => byte !== first)) return false;
  }
  return true;
}

async function checkAfter(image: Buffer, cut: number, pages: readonly Page[]): Promise<void> {
  const world = await World.mount(image);
  const content = await world.read('/f');
  await world.unmount();
  const problems = await problemsOf(world.driver.now);
  if (problems.length > 0) throw new Error(`cut ${cut}: ${problems.join('; ')}`);
  pages.forEach(({ written, safe }, number) => {
    const oldest = Math.max(...safe.filter(({ at }) => at <= cut).map(({ index }) => index));
    if (!holds(content, number, written.slice(oldest))) {
      throw new Error(
        `cut ${cut}: page ${number} begins with ${content.toString('latin1', number * P, number * P + 8)}`,
      );
    }
  });
}

const only = process.env['LATCHFS_CRASH_SEED'];

t.test('nothing that was written is lost, and nothing shown that others have left', async (t) => {
  await fc.assert(fc.asyncProperty(fc.integer({ min: 1, max: 1 << 30 }), life), {
    numRuns: RUNS,
    endOnFailure: true,
    ...(only === undefined ? {} : { examples: [[Number(only)]] }),
  });
  t.pass(`${RUNS} lives`);
});
