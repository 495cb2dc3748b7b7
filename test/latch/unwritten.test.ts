/** What blocks that a file has just got show of what they held before, when the device fails or the machine goes down: nothing. */
import t from 'tap';
import { infoOf } from '../../src/latch/info.js';
import { latchInode } from '../../src/latch/inode.js';
import { PAGE_SIZE } from '../../src/mm/folio.js';
import { invalidate_mapping_pages } from '../../src/mm/invalidate.js';
import { inodeOf } from '../fs/world.js';
import { freshImage, numbers, problemsOf, World } from './world.js';

const P = PAGE_SIZE;
const NEW = 'N'.charCodeAt(0);
const KEEP_SIZE = 1;

/** A filesystem whose free blocks hold something of somebody. */
async function stale(): Promise<World> {
  return World.mount(await freshImage(8 << 20, {}, 'STALE'));
}

/** Writes of file data fail, where `fails` says so of the page within the request's first block. */
function failData(world: World, fails: (first: number) => boolean): () => void {
  const { driver } = world;
  const write = driver.write.bind(driver);
  driver.write = (offset, from) => {
    if (from.length >= P && from[8] === NEW && fails(from.readUInt32LE(0))) throw new Error('a bad place');
    return write(offset, from);
  };
  return () => {
    driver.write = write;
  };
}

/** Pages `first` to `first + count`, each with its number in front. */
function pages(first: number, count: number): Buffer {
  const bytes = Buffer.alloc(count * P, NEW);
  for (let i = 0; i < count; i++) bytes.writeUInt32LE(first + i, i * P);
  return bytes;
}

/** What is on the device of a file, past what the cache has kept. */
async function onDevice(world: World, path: string): Promise<Buffer> {
  await world.at(path, async (dentry) => {
    await invalidate_mapping_pages(world.task, inodeOf(dentry).i_mapping, 0, Number.MAX_SAFE_INTEGER);
  });
  return world.read(path);
}

function zeroes(bytes: Buffer): boolean {
  return bytes.every((byte) => byte === 0);
}

t.test('a write to a hole that fails leaves zeroes', async (t) => {
  const world = await stale();
  await world.create('/f');
  await world.truncate('/f', 8 * P);
  await world.sync();
  const mend = failData(world, () => true);
  await world.write('/f', 0, pages(0, 4));
  await t.rejects(world.fsync('/f'), { code: 'EIO' });
  mend();
  t.ok(zeroes(await onDevice(world, '/f')), 'read again');
  await world.sync();
  const crashed = await World.mount(world.driver.now);
  t.ok(zeroes(await crashed.read('/f')), 'after a crash');
  await crashed.unmount();
  await world.write('/f', 0, pages(0, 4));
  await world.fsync('/f');
  t.ok((await onDevice(world, '/f')).subarray(0, 4 * P).equals(pages(0, 4)), 'and the next write works');
  await world.unmount();
  t.same(await problemsOf(world.driver.now), []);
});

t.test('a write behind the end that fails leaves zeroes', async (t) => {
  const world = await stale();
  await world.create('/f');
  await world.write('/f', 0, pages(0, 1));
  await world.fsync('/f');
  const mend = failData(world, (first) => first > 0);
  await world.write('/f', P, pages(1, 5));
  await t.rejects(world.fsync('/f'), { code: 'EIO' });
  mend();
  await world.sync();
  const after = await onDevice(world, '/f');
  t.ok(after.subarray(0, P).equals(pages(0, 1)));
  t.ok(zeroes(after.subarray(P)));
  const crashed = await World.mount(world.driver.now);
  t.ok((await crashed.read('/f')).equals(pages(0, 1)), 'nothing was promised of what is behind');
  await crashed.unmount();
  await world.unmount();
  t.same(await problemsOf(world.driver.now), []);
});

t.test('a write to preallocated blocks that fails leaves zeroes', async (t) => {
  const world = await stale();
  await world.create('/f');
  await world.fallocate('/f', 0, 0, 8 * P);
  await world.sync();
  const mend = failData(world, () => true);
  await world.write('/f', 2 * P, pages(2, 4));
  await t.rejects(world.fsync('/f'), { code: 'EIO' });
  mend();
  t.ok(zeroes(await onDevice(world, '/f')));
  await world.unmount();
  t.same(await problemsOf(world.driver.now), []);
});

t.test('of several writes those that went well are there', async (t) => {
  const world = await stale();
  await world.create('/f');
  const mend = failData(world, (first) => first === 8);
  for (const first of [0, 8, 16]) await world.write('/f', first * P, pages(first, 4));
  await t.rejects(world.fsync('/f'), { code: 'EIO' });
  mend();
  await world.sync();
  for (const [what, content] of [
    ['read again', await onDevice(world, '/f')],
    ['after a crash', await (await World.mount(world.driver.now)).read('/f')],
  ] as const) {
    t.equal(content.length, 20 * P, what);
    t.ok(content.subarray(0, 4 * P).equals(pages(0, 4)), what);
    t.ok(zeroes(content.subarray(8 * P, 12 * P)), what);
    t.ok(content.subarray(16 * P).equals(pages(16, 4)), what);
  }
  await world.unmount();
});

t.test('a page that reaches the device late is zeroes until then, whatever is committed', async (t) => {
  const choose = numbers(7);
  const world = await stale();
  await world.create('/f');
  await world.truncate('/f', 64 * P);
  await world.sync();
  const begun = world.driver.events.length;
  const late = numbers(8);
  world.driver.delay = () => late(200);
  for (let at = 0; at < 64; at += 4) await world.write('/f', at * P, pages(at, 3));
  const written = world.sync();
  for (let i = 0; i < 5; i++) {
    await infoOf(world.sb).journal.force_commit(world.newTask());
    await world.create(`/other${i}`, world.newTask());
  }
  await written;
  const end = world.driver.events.length;
  for (let cut = begun; cut <= end; cut += 1 + Math.floor((end - begun) / 40)) {
    const crashed = await World.mount(world.driver.crash(cut, choose));
    const content = await crashed.read('/f');
    for (let at = 0; at < content.length; at += 512) {
      const first = content[at + 8];
      if (first !== 0 && first !== NEW) t.fail(`cut ${cut}: byte ${at} of the file is somebody's`);
    }
    await crashed.unmount();
    t.same(await problemsOf(crashed.driver.now), [], `cut ${cut}`);
  }
  t.ok((await world.read('/f')).subarray(0, 3 * P).equals(pages(0, 3)));
  await world.unmount();
});

t.test('an edge that is cut off while its page is being written does not come back', async (t) => {
  const world = await stale();
  await world.create('/f');
  await world.fallocate('/f', KEEP_SIZE, 0, 4 * P);
  await world.write('/f', 0, pages(0, 2));
  world.driver.delay = () => 300;
  const synced = world.sync();
  for (let i = 0; i < 40; i++) await undefined;
  await world.truncate('/f', P + 100, world.newTask());
  await synced;
  await world.sync();
  const inode = latchInode(await world.at('/f', inodeOf));
  const extent = await inode.extents.find(world.task, 1);
  const block = (extent?.physical ?? 0) + 1 - (extent?.logical ?? 0);
  t.ok(
    zeroes(world.driver.now.subarray(block * P + 100, (block + 1) * P)),
    'nor is it on the device, for who maps the page',
  );
  await world.truncate('/f', 2 * P);
  t.ok(zeroes((await onDevice(world, '/f')).subarray(P + 100)));
  t.equal(inode.i_disksize, 2 * P);
  await world.unmount();
});
