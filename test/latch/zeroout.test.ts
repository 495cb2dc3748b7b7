/** Preallocated blocks that are called written where the device has no block left for the tree to tell them apart: the rest of their extent is zeroed. */

import t, { type Test } from 'tap';
import { type BioOp, submit_bio_wait } from '../../src/block/bio.js';
import type { FaultPolicy } from '../../src/block/faulty-device.js';
import { EXTENT_SIZE, type Extent } from '../../src/latch/format/inode.js';
import { SLOT } from '../../src/latch/format/tree.js';
import { infoOf, with_handle } from '../../src/latch/info.js';
import { type LatchInode, latchInode } from '../../src/latch/inode.js';
import { SECTORS } from '../../src/latch/map.js';
import { zeroout } from '../../src/latch/zeroout.js';
import { filemap_write_and_wait_range } from '../../src/mm/filemap-wait.js';
import { PAGE_SIZE } from '../../src/mm/folio.js';
import { andThen } from '../../src/sched/awaitable.js';
import { errno } from '../../src/sched/errno.js';
import { O_CREAT, O_DIRECT, O_RDWR } from '../../src/uapi/fcntl.js';
import { inodeOf, outcome } from '../fs/world.js';
import { ended, type Opened, opened } from './opened.js';
import { freshImage, numbers, problemsOf, World } from './world.js';

const P = PAGE_SIZE;
const MIB = 1 << 20;
const PUNCH = 3;
/** Blocks of the file, all of them preallocated. */
const BLOCKS = 200;

const letter = (name: string, pages = 1): Buffer => Buffer.alloc(pages * P, name);

async function inodeOfFile({ world, sys, cached }: Opened): Promise<LatchInode> {
  const { ino } = await sys.fstat(cached);
  return latchInode(world.sb.inodeHash.get(ino) ?? inodeOf(world.root));
}

/** Take all that is free. */
async function fillDevice({ world }: Opened): Promise<void> {
  const info = infoOf(world.sb);
  const all = (): Promise<unknown> =>
    world.run((task) =>
      with_handle(task, info, async (handle) => {
        for (;;) await info.alloc.allocate(task, handle, 64);
      }),
    );
  t.equal(await outcome(all), 'ENOSPC');
}

/** What the blocks of an extent have held for somebody else, so that it would show. */
async function leaveTraces({ world }: Opened, inode: LatchInode, block: number): Promise<void> {
  const { bdev } = infoOf(world.sb);
  await world.run(async (task) => {
    const extent = await inode.extents.find(task, block);
    if (extent === undefined) throw new Error(`block ${block} is not mapped`);
    const traces = letter('!', extent.length);
    const sector = extent.physical * SECTORS;
    await submit_bio_wait(task, bdev, { op: 'write', sector, vecs: [traces], length: traces.length });
  });
}

const ROOM = EXTENT_SIZE + SLOT;

/** Write to a preallocated file here and there until the root of its tree is full, or nearly so. @param first the first block; 0 leaves room for a piece @returns the first block of the preallocated extent at its end */
async function fillRoot(inode: LatchInode, first: number, write: (block: number) => Promise<unknown>): Promise<number> {
  let block = first;
  for (; inode.extents.tree.root.room >= 2 * ROOM; block += 2) await write(block);
  t.equal(Math.floor(inode.extents.tree.root.room / ROOM), 1 - first);
  return block - 1;
}

interface Tight {
  readonly inode: LatchInode;
  readonly tail: number;
}

/** Preallocate the file, fill the root of its tree, and leave no block for another node. */
async function tight(o: Opened, first = 1): Promise<Tight> {
  const { sys } = o;
  await sys.fallocate(o.cached, 0, 0, BLOCKS * P);
  const inode = await inodeOfFile(o);
  const tail = await fillRoot(inode, first, (block) => sys.pwrite(o.direct, letter('o'), block * P));
  await fillDevice(o);
  await leaveTraces(o, inode, tail);
  return { inode, tail };
}

/** What the file should hold: what `tight` has written, and what else is given by its page. */
function contents(tail: number, more: Readonly<Record<number, Buffer>>): Buffer {
  const expected = Buffer.alloc(BLOCKS * P);
  for (let block = tail - 1; block >= 0; block -= 2) letter('o').copy(expected, block * P);
  for (const [page, bytes] of Object.entries(more)) bytes.copy(expected, Number(page) * P);
  return expected;
}

/** The pages in which two files differ. */
function differences(found: Buffer, wanted: Buffer): number[] {
  return Array.from({ length: BLOCKS }, (_, page) => page).filter(
    (page) => !found.subarray(page * P, (page + 1) * P).equals(wanted.subarray(page * P, (page + 1) * P)),
  );
}

async function holds(t: Test, o: Opened, wanted: Buffer): Promise<void> {
  await o.sys.fsync(o.cached);
  await o.sys.fadvise(o.cached, 0, 0, 4);
  t.same(differences(await o.sys.pread(o.cached, BLOCKS * P, 0), wanted), []);
  t.same(differences(await o.sys.pread(o.direct, BLOCKS * P, 0), wanted), []);
}

const turn = (): Promise<void> => new Promise((resolve) => setImmediate(resolve));

/** A device whose requests take their time once `slow` is set. */
class SlowDevice {
  slow = false;
  readonly #seen = new Map<BioOp, number>();
  readonly faults: FaultPolicy;

  /** @param times milliseconds that the nth request of a kind takes */
  constructor(times: (op: BioOp, nth: number) => number) {
    this.faults = ({ op }) => {
      if (!this.slow) return undefined;
      const nth = this.count(op) + 1;
      this.#seen.set(op, nth);
      const delay = times(op, nth);
      return delay === 0 ? undefined : { delay };
    };
  }

  count(op: BioOp): number {
    return this.#seen.get(op) ?? 0;
  }

  /** Wait until it has got a request of a kind. */
  async got(op: BioOp): Promise<void> {
    while (this.count(op) === 0) await turn();
  }
}

for (const [what, write, zero] of [
  ['stored', 5, 30],
  ['under way', 60, 10],
] as const) {
  t.test(`what a direct write has ${what} is not zeroed by a page that is written back beside it`, async (t) => {
    const device = new SlowDevice((op) => (op === 'write' ? write : op === 'write_zeroes' ? zero : 0));
    const o = await opened({ faults: device.faults });
    const { tail } = await tight(o);
    const [direct, page] = [tail + 20, tail + 50];
    await o.sys.pwrite(o.cached, letter('c'), page * P);
    device.slow = true;
    const writing = o.sys.pwrite(o.direct, letter('d', 4), direct * P);
    const syncing = o.sys.fsync(o.cached);
    let done = false;
    const both = Promise.all([writing, syncing]).finally(() => {
      done = true;
    });
    while (!done) {
      const seen = await o.sys.pread(o.cached, 4 * P, direct * P);
      t.notOk(seen.includes('!'), 'what the blocks have held before');
      await o.sys.fadvise(o.cached, direct * P, 4 * P, 4);
      await turn();
    }
    t.equal((await both)[0], 4 * P);
    device.slow = false;
    await holds(t, o, contents(tail, { [direct]: letter('d', 4), [page]: letter('c') }));
    t.same(await ended(o), [0]);
  });
}

t.test('two pages that are written back at once do not zero each other', async (t) => {
  const device = new SlowDevice((op, nth) => (op !== 'write_zeroes' ? 0 : nth === 2 ? 60 : 10));
  const o = await opened({ faults: device.faults });
  const { inode, tail } = await tight(o);
  const [first, second] = [tail + 20, tail + 50];
  for (const page of [first, second]) await o.sys.pwrite(o.cached, letter('c'), page * P);
  device.slow = true;
  await Promise.all(
    [first, second].map((page) =>
      o.world.run((task) => filemap_write_and_wait_range(task, inode.i_mapping, page * P, (page + 1) * P - 1)),
    ),
  );
  device.slow = false;
  await holds(t, o, contents(tail, { [first]: letter('c'), [second]: letter('c') }));
  t.same(await ended(o), [0]);
});

t.test('blocks that have gone to another file meanwhile are not zeroed', async (t) => {
  // Without a journal they may go at once.
  const device = new SlowDevice((op) => (op === 'write_zeroes' ? 40 : 0));
  const o = await opened({ faults: device.faults, journal: false });
  const { sys } = o;
  const other = await sys.open('/g', O_CREAT | O_RDWR | O_DIRECT, 0o644);
  const { inode, tail } = await tight(o);
  await sys.pwrite(o.cached, letter('c'), (tail + 20) * P);
  device.slow = true;
  const syncing = o.world.run((task) => filemap_write_and_wait_range(task, inode.i_mapping, 0, BLOCKS * P - 1));
  await device.got('write_zeroes');
  await sys.fallocate(o.cached, PUNCH, (tail + 50) * P, BLOCKS * P);
  t.equal(await sys.pwrite(other, letter('g', 8), 0), 8 * P);
  await syncing;
  device.slow = false;
  t.ok((await sys.pread(other, 8 * P, 0)).equals(letter('g', 8)));
  await holds(t, o, contents(tail, { [tail + 20]: letter('c') }));
  t.same(await ended(o), [0]);
});

t.test('a file whose tree has room for one more piece is zeroed at the nearer end only', async (t) => {
  const o = await opened();
  const { inode, tail } = await tight(o, 0);
  await o.sys.pwrite(o.direct, letter('d'), (tail + 20) * P);
  const pieces = await extentsFrom(o, inode, tail);
  t.match(pieces, [
    { logical: tail - 1, length: 22, unwritten: false },
    { logical: tail + 21, length: BLOCKS - tail - 21, unwritten: true },
  ]);
  await holds(t, o, contents(tail, { [tail + 20]: letter('d') }));
  t.same(await ended(o), [0]);
});

/** The extents of a file from a block on. */
function extentsFrom({ world }: Opened, { extents }: LatchInode, block: number): Promise<Extent[]> {
  const found: Extent[] = [];
  return world.run((task) =>
    andThen(
      extents.iterate(task, block, (extent) => found.push(extent) > 0),
      () => found,
    ),
  );
}

t.test('where an extent begins can change without a block: nothing is zeroed, nothing refused', async (t) => {
  const device = new SlowDevice(() => 0);
  const o = await opened({ faults: device.faults });
  const { inode, tail } = await tight(o);
  device.slow = true;
  for (let page = tail; page < tail + 8; page += 2) await o.sys.pwrite(o.direct, letter('d', 2), page * P);
  t.match(await extentsFrom(o, inode, tail + 8), [{ logical: tail + 8, unwritten: true }], 'in order, as a log grows');
  t.equal(device.count('write_zeroes'), 0);
  await o.sys.fallocate(o.cached, PUNCH, (tail + 8) * P, 4 * P);
  t.match(await extentsFrom(o, inode, tail + 8), [{ logical: tail + 12, unwritten: true }], 'a hole at the beginning');
  await holds(t, o, contents(tail, { [tail]: letter('d', 8) }));
  t.same(await ended(o), [0]);
});

const EXTENT: Extent = { logical: 100, physical: 1000, length: 50, unwritten: true };

for (const [what, start, end, zeroed] of [
  ['near the beginning', 110, 120, ['100-110', '120-150']],
  ['near the end', 130, 145, ['145-150', '100-130']],
  ['at the beginning', 100, 120, ['120-150']],
  ['at the end', 130, 150, ['100-130']],
] as const) {
  t.test(`blocks ${what} of an extent: no more is zeroed than it takes`, async (t) => {
    for (let fits = 1; fits <= zeroed.length + 1; fits++) {
      const steps: string[] = [];
      let tries = 0;
      const done = zeroout(
        EXTENT,
        start,
        end,
        (low, high) => {
          if (++tries < fits) throw errno('ENOSPC');
          steps.push(`written ${low}-${high}`);
        },
        ({ logical, length, physical }) => {
          t.equal(physical - logical, 900);
          steps.push(`${logical}-${logical + length}`);
        },
      );
      if (fits > zeroed.length) t.equal(await outcome(() => done), 'ENOSPC');
      else {
        await done;
        const low = zeroed.slice(0, fits).some((piece) => piece.startsWith('100-')) ? 100 : start;
        const high = zeroed.slice(0, fits).some((piece) => piece.endsWith('-150')) ? 150 : end;
        t.same(steps, [...zeroed.slice(0, fits), `written ${low}-${high}`]);
      }
    }
    const failing = zeroout(
      EXTENT,
      start,
      end,
      () => undefined,
      () => {
        throw errno('EIO');
      },
    );
    t.equal(await outcome(() => failing), 'EIO', 'what cannot be zeroed is not called written');
  });
}

t.test(
  'a crash at any moment while an extent is zeroed: every block has what it had, or what was written',
  async (t) => {
    const world = await World.mount(await freshImage(4 * MIB, {}, 'STALE'));
    await world.create('/f');
    await world.fallocate('/f', 0, 0, BLOCKS * P);
    const DIRECT = O_RDWR | O_DIRECT;
    const inode = latchInode(await world.at('/f', inodeOf));
    const tail = await fillRoot(inode, 1, (block) => world.write('/f', block * P, letter('o'), world.task, DIRECT));
    await world.fsync('/f');
    const before = await world.read('/f');
    infoOf(world.sb).alloc.allocate = () => {
      throw errno('ENOSPC');
    };
    const start = world.driver.events.length;
    world.driver.delay = () => 30;
    const [direct, page] = [tail + 20, tail + 50];
    await world.write('/f', page * P, letter('c'));
    const syncer = world.newTask();
    const writing = world.write('/f', direct * P, letter('d', 4), world.task, DIRECT);
    await Promise.all([writing, world.fsync('/f', false, syncer), world.sync(world.newTask())]);
    const synced = world.driver.events.length;
    await world.fsync('/f');
    const end = world.driver.events.length;
    const after = contents(tail, { [direct]: letter('d', 4), [page]: letter('c') });
    t.same(differences(await world.read('/f'), after), []);
    let half = 0;
    for (let cut = start; cut <= end; cut++) {
      for (let seed = 1; seed <= 4; seed++) {
        const again = await World.mount(world.driver.crash(cut, numbers(seed)));
        const found = await again.read('/f');
        await again.unmount();
        t.same(await problemsOf(again.driver.now), []);
        if (cut >= synced && !found.subarray(page * P, (page + 1) * P).equals(letter('c')))
          t.fail(`cut ${cut}: fsynced`);
        const differs = differences(found, after);
        if (differs.length > 0 && differences(found, before).length > 0) half++;
        for (const block of differs) {
          for (let at = block * P; at < (block + 1) * P; at += 512) {
            const sector = found.subarray(at, at + 512);
            if (sector.equals(before.subarray(at, at + 512)) || sector.equals(after.subarray(at, at + 512))) continue;
            t.fail(`cut ${cut}: block ${block}: ${sector.toString('latin1', 0, 8)}`);
          }
        }
        if (cut === end) t.same(differs, []);
      }
    }
    t.comment(`${end - start} moments, ${half} of them half done`);
    await world.unmount();
  },
);
