/** Blocks behind the end of a file: what writeback has mapped there goes after a crash, what somebody has asked for stays. */

import t, { type Test } from 'tap';
import { shrink_dcache_sb } from '../../src/fs/dcache-shrink.js';
import { DROP_SLAB, drop_caches } from '../../src/fs/drop-caches.js';
import { prune_icache_sb } from '../../src/fs/icache.js';
import { freeze_super, thaw_super } from '../../src/fs/super-freeze.js';
import { infoOf } from '../../src/latch/info.js';
import { fs_reclaim } from '../../src/locking/lock-map.js';
import { FALLOC_FL_KEEP_SIZE } from '../../src/uapi/falloc.js';
import { settle } from './journal/crash-device.js';
import { freshImage, problemsOf, World } from './world.js';

const P = 4096;

const blocksOf = (w: World, path: string): Promise<number> => w.at(path, ({ d_inode }) => (d_inode?.i_blocks ?? 0) / 8);
const sizeOf = (w: World, path: string): Promise<number> => w.at(path, ({ d_inode }) => d_inode?.i_size ?? 0);

async function started(): Promise<World> {
  const w = await World.mount(await freshImage(4 << 20));
  await w.create('a');
  await w.write('a', 0, Buffer.alloc(2 * P, 'o'));
  return w;
}

/** Append to the file: its data are on the device only after the transaction that has mapped their blocks. @returns where that began, in events of the device */
async function append(w: World, pos: number, length: number): Promise<number> {
  const from = w.driver.events.length;
  const write = w.driver.write.bind(w.driver);
  let open = (): void => undefined;
  const gate = new Promise<void>((resolve) => {
    open = resolve;
  });
  w.driver.write = async (offset, bytes) => {
    if (bytes.includes(Buffer.alloc(512, 'a'))) await gate;
    await write(offset, bytes);
  };
  await w.write('a', pos, Buffer.alloc(length, 'a'));
  const synced = w.fsync('a', false, w.newTask());
  for (let turn = 0; turn < 5; turn++) await settle();
  await infoOf(w.sb).journal.force_commit(w.task);
  open();
  await synced;
  w.driver.write = write;
  return from;
}

/**
 * Look at what is left after each crash from event `from` on, once it was mounted, looked at and unmounted.
 * @param kept blocks that stay behind the end
 * @returns how many crashes had left more
 */
async function looked(t: Test, w: World, from: number, kept: number): Promise<number> {
  let had = 0;
  for (let cut = from; cut <= w.driver.events.length; cut++) {
    const after = await World.mount(w.driver.crash(cut, cut % 2 === 0 ? () => 0 : (n) => n - 2));
    const size = Math.ceil((await sizeOf(after, 'a')) / P);
    if ((await blocksOf(after, 'a')) > Math.max(size, kept)) had++;
    await after.unmount();
    t.same(await problemsOf(after.driver.now), [], `cut ${cut}`);
    const again = await World.mount(after.driver.now);
    t.equal(await blocksOf(again, 'a'), Math.max(size, kept), `cut ${cut}: the file has ${size} blocks`);
    await again.unmount();
  }
  return had;
}

t.test('what was mapped for data that a crash has lost is given back', async (t) => {
  const w = await started();
  await w.sync();
  const from = await append(w, 2 * P, 3 * P - 100);
  await append(w, 5 * P - 100, 6 * P);
  t.ok((await looked(t, w, from, 0)) > 0, 'some had such blocks');
  await w.unmount();
  t.same(await problemsOf(w.driver.now), []);
});

t.test('what fallocate has put behind the end stays', async (t) => {
  const w = await started();
  await w.fallocate('a', FALLOC_FL_KEEP_SIZE, 0, 20 * P);
  await w.sync();
  const from = await append(w, 2 * P, 3 * P);
  t.equal(await looked(t, w, from, 20), 0);
  await w.unmount();
  const after = await World.mount(w.driver.now);
  t.equal(await blocksOf(after, 'a'), 20);
  await after.unmount();
});

t.test('also behind a hole that is appended to', async (t) => {
  const w = await started();
  await w.fallocate('a', FALLOC_FL_KEEP_SIZE, 40 * P, 3 * P);
  await w.sync();
  const from = await append(w, 2 * P, 4 * P);
  for (let cut = from; cut <= w.driver.events.length; cut++) {
    const after = await World.mount(w.driver.crash(cut, (n) => n - 1));
    const before = await blocksOf(after, 'a');
    t.ok(before >= 5, `cut ${cut}`);
    await after.unmount();
    const again = await World.mount(after.driver.now);
    t.equal(await blocksOf(again, 'a'), before);
    await again.unmount();
  }
  await w.unmount();
});

t.test('what is appended after the crash stays', async (t) => {
  const w = await started();
  await w.sync();
  const from = await append(w, 2 * P, 4 * P);
  let found = 0;
  for (let cut = from; cut <= w.driver.events.length; cut++) {
    const after = await World.mount(w.driver.crash(cut, (n) => n - 1));
    if ((await blocksOf(after, 'a')) > 2 && (await sizeOf(after, 'a')) === 2 * P) found++;
    await after.write('a', 2 * P, Buffer.alloc(P + 1, 'b'));
    await after.unmount();
    t.same(await problemsOf(after.driver.now), []);
    const again = await World.mount(after.driver.now);
    t.ok((await again.read('a')).subarray(2 * P, 3 * P + 1).equals(Buffer.alloc(P + 1, 'b')), `cut ${cut}`);
    t.equal(await blocksOf(again, 'a'), Math.ceil((await sizeOf(again, 'a')) / P));
    await again.unmount();
  }
  t.ok(found > 0, 'some had such blocks');
  await w.unmount();
});

t.test('who frees memory, and who looks at a frozen filesystem, waits for nothing', async (t) => {
  const w = await started();
  await w.sync();
  const from = await append(w, 2 * P, 4 * P);
  let found = 0;
  for (let cut = from; cut <= w.driver.events.length; cut++) {
    const after = await World.mount(w.driver.crash(cut, (n) => n - 1));
    const { sb, task } = after;
    const before = await blocksOf(after, 'a');
    if (before > 2 && (await sizeOf(after, 'a')) === 2 * P) {
      found++;
      await freeze_super(task, sb);
      await drop_caches(task, sb, DROP_SLAB);
      t.equal(await blocksOf(after, 'a'), before, 'nothing of what is frozen is given back');
      await thaw_super(task, sb);
      {
        const reclaim = after.newTask();
        using _inside = fs_reclaim.enter(reclaim);
        await shrink_dcache_sb(reclaim, sb);
        await prune_icache_sb(reclaim, sb, 10);
        await prune_icache_sb(reclaim, sb, 10);
      }
      t.equal(await blocksOf(after, 'a'), before, 'and nothing by reclaim');
      await drop_caches(task, sb, DROP_SLAB);
      t.equal(await blocksOf(after, 'a'), 2, 'but when the inode leaves memory otherwise');
    }
    await after.unmount();
    t.equal(sb.machine.validator.total, 0);
    t.same(await problemsOf(after.driver.now), []);
  }
  t.ok(found > 0, 'some had such blocks');
  await w.unmount();
});
