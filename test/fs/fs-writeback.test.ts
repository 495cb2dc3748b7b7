/** Writing inodes back: by one at a time, however many want it. */
import t from 'tap';
import { dput } from '../../src/fs/dcache.js';
import { write_inode_now, writeback_sb_inodes } from '../../src/fs/fs-writeback.js';
import { I_DIRTY_SYNC, I_SYNC, inode_state_change } from '../../src/fs/inode.js';
import { mark_inode_dirty } from '../../src/fs/inode-dirty.js';
import { do_create } from '../../src/fs/namei.js';
import { sync_filesystem } from '../../src/fs/sync.js';
import { inodeOf, newWorld } from './world.js';

t.test('of several who wait to write an inode each does it alone', async (t) => {
  const world = await newWorld();
  const { sb, root, run } = world;
  const dentry = await run((task) => do_create(task, root, 'f', 0o644, true));
  const inode = inodeOf(dentry);
  let under_way = 0;
  let most = 0;
  let written = 0;
  const { s_op } = sb;
  sb.s_op = {
    ...s_op,
    write_inode: async (task) => {
      most = Math.max(most, ++under_way);
      written++;
      if (written < 4) await mark_inode_dirty(task, inode, I_DIRTY_SYNC);
      for (let i = 0; i < 20; i++) await undefined;
      under_way--;
    },
  };
  await run((task) => mark_inode_dirty(task, inode, I_DIRTY_SYNC));
  await Promise.all([1, 2, 3, 4].map(() => run((task) => write_inode_now(task, inode, true))));
  t.equal(most, 1);
  t.equal(written, 4);
  sb.s_op = s_op;
  await run((task) => dput(task, dentry));
  t.equal(await world.end(), 0);
  t.same(world.violations, []);
});

t.test('a sync writes what another pass has taken from under it and left dirty', async (t) => {
  const world = await newWorld();
  const { sb, root, run } = world;
  const [a, b] = await run(async (task) => [
    await do_create(task, root, 'a', 0o644, true),
    await do_create(task, root, 'b', 0o644, true),
  ]);
  await run((task) => sync_filesystem(task, sb));
  const { s_op } = sb;
  let go = (): void => undefined;
  const gate = new Promise<void>((resolve) => {
    go = resolve;
  });
  const written: string[] = [];
  sb.s_op = {
    ...s_op,
    write_inode: async (task, inode, wbc) => {
      written.push(`${inode === inodeOf(a) ? 'a' : 'b'} ${wbc.sync_mode}`);
      if (inode === inodeOf(a)) await gate;
      // As a pass that does not wait leaves what it cannot write now.
      else if (wbc.sync_mode === 'WBC_SYNC_NONE') await mark_inode_dirty(task, inode, I_DIRTY_SYNC);
    },
  };
  for (const each of [a, b]) await run((task) => mark_inode_dirty(task, inodeOf(each), I_DIRTY_SYNC));
  const pass = (sync_mode: 'WBC_SYNC_ALL' | 'WBC_SYNC_NONE'): Promise<void> =>
    run(async (task) => {
      using _umount = sb.s_umount.tryRead(task);
      await writeback_sb_inodes(task, sb, { sync_mode });
    });
  const all = pass('WBC_SYNC_ALL');
  for (let i = 0; i < 20; i++) await undefined;
  await pass('WBC_SYNC_NONE');
  go();
  await all;
  t.same(written, ['a WBC_SYNC_ALL', 'b WBC_SYNC_NONE', 'b WBC_SYNC_ALL']);
  sb.s_op = s_op;
  for (const each of [a, b]) await run((task) => dput(task, each));
  t.equal(await world.end(), 0);
  t.same(world.violations, []);
});

t.test('an inode that is dirtied while somebody writes it is found by a sync', async (t) => {
  const world = await newWorld();
  const { sb, root, run } = world;
  const dentry = await run((task) => do_create(task, root, 'f', 0o644, true));
  const inode = inodeOf(dentry);
  await run((task) => sync_filesystem(task, sb));
  t.equal(inode.i_io_list, undefined, 'it is clean');
  await run(async (task) => {
    // As fsync does, where pages of a clean file are still on their way.
    inode_state_change(task, inode, I_SYNC);
    await mark_inode_dirty(task, inode, I_DIRTY_SYNC);
    t.equal(inode.i_io_list, sb.s_wb.b_dirty);
    inode_state_change(task, inode, 0, I_SYNC);
  });
  await run((task) => dput(task, dentry));
  t.equal(await world.end(), 0);
  t.same(world.violations, []);
});
