/** What a direct write has left on the device when the machine goes down. */

import t from 'tap';
import { fput } from '../../src/fs/file-table.js';
import { vfs_iter_write } from '../../src/fs/read-write.js';
import { vfs_fsync_range } from '../../src/fs/sync.js';
import { IovIter } from '../../src/mm/iov-iter.js';
import { O_DIRECT, O_RDWR } from '../../src/uapi/fcntl.js';
import { freshImage, problemsOf, World } from './world.js';

const K = 1024;
const SIZE = 64 * K;
const OLD = Buffer.alloc(SIZE, 'old contents ');

/** Numbers below n, always the same ones. */
function dice(seed: number): (n: number) => number {
  let state = seed;
  return (n) => {
    state = (Math.imul(state, 1103515245) + 12345) >>> 0;
    return (state >>> 8) % n;
  };
}

/** A file on an image, `bytes` written to it directly at `pos`, and fsynced where that is asked for. */
async function written(pos: number, bytes: Buffer, sync: boolean): Promise<World> {
  const world = await World.mount(await freshImage(16 * K * K));
  await world.create('/f');
  await world.write('/f', 0, OLD);
  await world.fsync('/f');
  const file = await world.open('/f', world.task, O_RDWR | O_DIRECT);
  t.equal(await vfs_iter_write(world.task, file, IovIter.ofSource(bytes), pos), bytes.length);
  if (sync) await vfs_fsync_range(world.task, file, 0, Number.MAX_SAFE_INTEGER, false);
  await fput(world.task, file);
  return world;
}

async function afterCrash(world: World, seed: number): Promise<Buffer> {
  const { driver } = world;
  const image = driver.crash(driver.events.length, dice(seed));
  const again = await World.mount(image);
  const content = await again.read('/f');
  await again.unmount();
  t.same(await problemsOf(again.driver.now), []);
  return content;
}

const NEW = Buffer.alloc(20 * K, 'NEW CONTENTS');
const places = [
  ['over what is there', 8 * K],
  ['in sectors of pages', 8 * K + 512],
  ['beyond the end', SIZE - 4 * K],
  ['behind a hole', SIZE + 40 * K],
] as const;

for (const [name, pos] of places) {
  t.test(`written ${name} and fsynced: it is there`, async (t) => {
    const world = await written(pos, NEW, true);
    const expected = Buffer.alloc(Math.max(SIZE, pos + NEW.length));
    OLD.copy(expected);
    NEW.copy(expected, pos);
    for (let seed = 1; seed <= 6; seed++) t.ok((await afterCrash(world, seed)).equals(expected), `crash ${seed}`);
    await world.unmount();
  });
}

t.test('not fsynced: each sector has what it had, or what was written', async (t) => {
  const world = await written(8 * K, NEW, false);
  for (let seed = 1; seed <= 6; seed++) {
    const content = await afterCrash(world, seed);
    t.equal(content.length, SIZE);
    for (let at = 0; at < SIZE; at += 512) {
      const sector = content.subarray(at, at + 512);
      const offset = at - 8 * K;
      const isNew = offset >= 0 && offset < NEW.length && sector.equals(NEW.subarray(offset, offset + 512));
      if (!isNew && !sector.equals(OLD.subarray(at, at + 512))) t.fail(`crash ${seed}: byte ${at}`);
    }
  }
  await world.unmount();
});
