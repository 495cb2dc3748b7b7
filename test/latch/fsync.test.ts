/** What fsync and fdatasync wait for. */
import t from 'tap';
import { DROP_SLAB, drop_caches } from '../../src/fs/drop-caches.js';
import { writeback_inodes_sb } from '../../src/fs/fs-writeback.js';
import { freshImage, World } from './world.js';

const SIZE = 4 << 20;
const PAGE = 4096;

/** What a crash now leaves of what was not flushed: nothing. */
async function crashed(world: World): Promise<World> {
  return World.mount(world.driver.crash(world.driver.events.length, (n) => n - 1));
}

async function writtenBack({ sb, task }: World): Promise<void> {
  using _umount = await sb.s_umount.read(task);
  await writeback_inodes_sb(task, sb);
}

for (const datasync of [false, true]) {
  t.test(
    `an inode that has left memory and is read again is synced all the same (${datasync ? 'fdatasync' : 'fsync'})`,
    async (t) => {
      const world = await World.mount(await freshImage(SIZE));
      await world.mkdir('/d');
      await world.create('/d/f');
      await world.write('/d/f', 0, Buffer.alloc(3 * PAGE, 'f'));
      await writtenBack(world);
      const ino = await world.at('/d/f', ({ d_inode }) => d_inode?.i_ino ?? 0);
      await drop_caches(world.task, world.sb, DROP_SLAB);
      t.notOk(world.sb.inodeHash.has(ino), 'it has left memory');
      await world.fsync('/d/f', datasync);
      const after = await crashed(world);
      t.equal((await after.read('/d/f')).compare(Buffer.alloc(3 * PAGE, 'f')), 0);
      await after.unmount();
      await world.unmount();
    },
  );
}

t.test('fdatasync of what was written over needs no commit, and leaves out the times only', async (t) => {
  const world = await World.mount(await freshImage(SIZE));
  await world.create('/f');
  await world.write('/f', 0, Buffer.alloc(2 * PAGE, 'a'));
  await world.fsync('/f');
  const writes = (from: number): number =>
    world.driver.events.slice(from).filter(({ kind }) => kind === 'write').length;
  let before = world.driver.events.length;
  await world.write('/f', 0, Buffer.alloc(PAGE, 'b'));
  await world.fsync('/f', true);
  t.equal(writes(before), 1, 'the page, and nothing in the log');
  t.equal(world.driver.flushes().filter((at) => at >= before).length, 1);
  before = world.driver.events.length;
  await world.fsync('/f');
  t.ok(writes(before) > 1, 'fsync writes the times');
  await world.write('/f', 2 * PAGE, Buffer.alloc(10, 'c'));
  await world.fsync('/f', true);
  const after = await crashed(world);
  const expected = Buffer.concat([Buffer.alloc(PAGE, 'b'), Buffer.alloc(PAGE, 'a'), Buffer.alloc(10, 'c')]);
  t.equal((await after.read('/f')).compare(expected), 0, 'a larger size is there');
  await after.unmount();
  await world.unmount();
});
