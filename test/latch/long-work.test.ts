/** Work on many extents stops again and again for others to have their turn; and what is free in small pieces is not searched through for each of them. */
import t from 'tap';
import { DROP_SLAB, drop_caches } from '../../src/fs/drop-caches.js';
import { infoOf } from '../../src/latch/info.js';
import { freshImage, problemsOf, World } from './world.js';

const SIZE = 32 << 20;
const BLOCK = 4096;
const EXTENTS = 300;
const KEEP_AND_PUNCH = 3;
const ZERO_RANGE = 16;

/** How often others had a turn while `work` was done. */
async function turns(world: World, work: () => Promise<void>): Promise<number> {
  const { sched } = world;
  const plain = sched.yield;
  let count = 0;
  sched.yield = () => {
    count++;
    return plain.call(sched);
  };
  try {
    await work();
  } finally {
    sched.yield = plain;
  }
  return count;
}

async function freshWorld(): Promise<World> {
  return World.mount(await freshImage(SIZE, { random: (n) => Buffer.alloc(n, 5) }));
}

/** Blocks with a hole behind each. */
async function scattered(world: World, name: string): Promise<void> {
  await world.create(name);
  for (let i = 0; i < EXTENTS; i++) await world.write(name, i * 2 * BLOCK, Buffer.alloc(BLOCK, 1 + (i % 200)));
}

t.test('others have their turn between the extents', async (t) => {
  const world = await freshWorld();
  await scattered(world, 'written');
  const written = await turns(world, () => world.fsync('written'));
  t.ok(written >= 2 * EXTENTS - 8, `${written} turns while they get blocks, and are called written`);
  const zeroed = await turns(world, () => world.fallocate('written', ZERO_RANGE, 0, 2 * EXTENTS * BLOCK));
  t.ok(zeroed >= EXTENTS - 8, `${zeroed} turns while the range is zeroed`);
  for (let i = 0; i < EXTENTS; i++) await world.fallocate('written', KEEP_AND_PUNCH, i * 2 * BLOCK, BLOCK);
  const filled = await turns(world, () => world.fallocate('written', 0, 0, 2 * EXTENTS * BLOCK));
  t.ok(filled >= EXTENTS - 8, `${filled} turns while the holes are filled`);
  await scattered(world, 'cut');
  await world.fsync('cut');
  const cut = await turns(world, () => world.truncate('cut', 0));
  t.ok(cut >= EXTENTS - 8, `${cut} turns while it is cut off`);
  t.equal(await world.unmount(), 0);
  t.same(await problemsOf(world.driver.now), []);
});

t.test('others have their turn while names and inodes are dropped', async (t) => {
  const world = await freshWorld();
  for (let i = 0; i < 600; i++) await world.create(`file ${i}`);
  await world.sync();
  const dropped = await turns(world, () => drop_caches(world.task, world.sb, DROP_SLAB));
  t.ok(dropped >= 8, `${dropped} turns`);
  t.equal(world.sb.s_inode_lru.count, 0);
  t.equal(await world.unmount(), 0);
});

t.test('others have their turn while quotas are released', async (t) => {
  const OWNERS = 100;
  const world = await World.mount(await freshImage(SIZE, { random: (n) => Buffer.alloc(n, 5), quota: true }));
  for (let i = 0; i < OWNERS; i++) {
    await world.create(`file ${i}`);
    await world.chown(`file ${i}`, 1000 + i, 0);
  }
  await world.sync();
  await drop_caches(world.task, world.sb, DROP_SLAB);
  t.ok(world.sb.s_dquot.releasing.size >= OWNERS);
  const released = await turns(world, () => world.sync());
  t.ok(released >= OWNERS, `${released} turns`);
  t.equal(world.sb.s_dquot.releasing.size, 0);
  t.equal(await world.unmount(), 0);
});

t.test('where only short runs are free the first of the longest is taken', async (t) => {
  const world = await freshWorld();
  const { task, sb } = world;
  const info = infoOf(sb);
  const { alloc, groups, journal } = info;
  const group = await groups.load(task, 0);
  const rest: { start: number; length: number }[] = [];
  const change = async <T>(work: (handle: Awaited<ReturnType<typeof journal.start>>) => Promise<T>): Promise<T> => {
    const handle = await journal.start(task, 64);
    try {
      return await work(handle);
    } finally {
      await handle.stop(task);
    }
  };
  await change(async (handle) => {
    while (group.freeBlocks > 0) rest.push(await alloc.allocate(task, handle, 1 << 15, 0));
  });
  const [all] = rest;
  if (all === undefined) throw new Error('nothing was free');
  // Single blocks, a run of three, more single blocks.
  const free = async (at: number, length: number): Promise<void> => {
    await change(async (handle) => alloc.free(task, handle, all.start + at, length));
  };
  for (let i = 0; i < 100; i++) await free(100 + 2 * i, 1);
  await free(400, 3);
  for (let i = 0; i < 100; i++) await free(500 + 2 * i, 1);
  await journal.force_commit(task);
  const take = async (goal: number): Promise<[at: number, length: number]> => {
    const run = await change(async (handle) => alloc.allocate(task, handle, 50, all.start + goal));
    return [run.start - all.start, run.length];
  };
  t.same(await take(500), [400, 3], 'the longest, though it lies before');
  t.equal(group.longest, 3);
  t.same(await take(150), [150, 1]);
  t.equal(group.longest, 1, 'it is known that there are only single ones');
  t.same(await take(152), [152, 1], 'so that the next one will do');
  t.same(await take(650), [650, 1]);
  await free(20, 7);
  t.same(await take(300), [500, 1], 'what is free after the commit is not there before');
  await journal.force_commit(task);
  t.equal(group.longest, undefined, 'what was freed may be longer');
  t.same(await take(300), [20, 7]);
  await world.unmount();
});
