/** statfs(2) counts inodes as it does elsewhere: each create takes one that is free, also where it needs a block for inodes. */
import t from 'tap';
import { vfs_statfs } from '../../src/fs/super.js';
import { decodeSuper, encodeSuper } from '../../src/latch/format/superblock.js';
import { freshImage, problemsOf, World } from './world.js';

async function counts(w: World): Promise<{ readonly files: number; readonly free: number }> {
  return w.at('', async (root) => {
    const st = await vfs_statfs(w.task, root);
    return { files: st.f_files, free: st.f_ffree };
  });
}

t.test('each create takes one free inode', async (t) => {
  const w = await World.mount(await freshImage(8 << 20));
  const empty = await counts(w);
  await w.mkdir('sub');
  // With these the directory has its first block: the entries of the others fit into it.
  for (let i = 0; i < 10; i++) await w.create(`sub/first${i}`);
  const before = await counts(w);
  for (let i = 1; i <= 40; i++) {
    await w.create(`sub/${i}`);
    const now = await counts(w);
    t.equal(now.free, before.free - i, 'also where a block of inodes is made');
    t.equal(now.files, before.files, 'how many there can be does not change by that');
  }
  for (const name of await w.list('sub')) await w.unlink(`sub/${name}`);
  await w.rmdir('sub');
  await w.sync();
  t.same(await counts(w), empty, 'all come back');
  await w.unmount();
});

t.test('an image whose superblock does not count the blocks of inodes', async (t) => {
  const w = await World.mount(await freshImage(8 << 20));
  for (let i = 0; i < 50; i++) await w.create(`${i}`);
  const counted = await counts(w);
  await w.unmount();
  const image = w.driver.now;
  const block = image.subarray(0, 4096);
  const disk = decodeSuper(block, 'image', 2048);
  t.equal(disk.inodeBlocks, 4);
  encodeSuper(block, { ...disk, compat: 0, inodeBlocks: 0 });
  t.same(await problemsOf(image), [], 'is one that an earlier latchfs has written');
  const again = await World.mount(image);
  t.same(await counts(again), counted);
  await again.unmount();
  t.equal(decodeSuper(again.driver.now.subarray(0, 4096), 'image', 2048).inodeBlocks, 4, 'it does from now on');
  t.same(await problemsOf(again.driver.now), []);
});
