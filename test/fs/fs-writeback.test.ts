/** Writing inodes back: by one at a time, however many want it. */
import t from 'tap';
import { dput } from '../../src/fs/dcache.js';
import { write_inode_now } from '../../src/fs/fs-writeback.js';
import { I_DIRTY_SYNC } from '../../src/fs/inode.js';
import { mark_inode_dirty } from '../../src/fs/inode-dirty.js';
import { do_create } from '../../src/fs/namei.js';
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
