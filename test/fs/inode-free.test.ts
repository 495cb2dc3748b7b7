/** What must be true of an inode that goes, of a name that moves, and of a directory that is removed. */
import t from 'tap';
import { __d_drop, __d_rehash, d_drop, d_rehash } from '../../src/fs/dcache.js';
import { d_instantiate, d_move } from '../../src/fs/dcache-alias.js';
import { Dentry } from '../../src/fs/dentry.js';
import { check_no_dio, inode_dio_begin, inode_dio_end, inode_dio_wait } from '../../src/fs/dio-count.js';
import { insert_inode_locked, unlock_new_inode } from '../../src/fs/icache.js';
import {
  I_FREEING,
  I_NEW,
  I_SYNC,
  Inode,
  inode_set_dead,
  inode_state_assign,
  inode_state_change,
} from '../../src/fs/inode.js';
import { call_free_inode, check_evict, check_freed } from '../../src/fs/inode-free.js';
import { do_mkdir } from '../../src/fs/namei.js';
import { newWorld } from './world.js';

t.test('an inode is taken apart when nobody has it', async (t) => {
  const world = await newWorld();
  const task = world.task();
  const messages = (): string[] => world.violations.splice(0).map(({ message }) => message);
  const fresh = (): Inode => {
    const inode = new Inode(world.sb);
    inode.i_count = 0;
    inode_state_change(task, inode, I_FREEING);
    return inode;
  };
  check_freed(task, fresh());
  check_evict(task, fresh());
  t.strictSame(messages(), []);
  const used = fresh();
  used.i_count = 1;
  check_freed(task, used);
  t.match(messages(), [/freed that has references$/]);
  const written = fresh();
  inode_state_change(task, written, I_SYNC);
  check_evict(task, written);
  t.match(messages(), [/freed that has a writeback under way$/]);
  const locked = fresh();
  const held = await locked.i_rwsem.write(task);
  check_freed(task, locked);
  held.release();
  t.match(messages(), [/i_rwsem goes away while it is held/]);
  const found = fresh();
  inode_state_change(task, found, 0, I_FREEING);
  check_freed(task, found);
  t.match(messages(), [/a state in which it can be found/]);
  await world.end();
});

t.test('the state of an inode changes under i_lock', async (t) => {
  const world = await newWorld();
  const task = world.task();
  const inode = new Inode(world.sb);
  inode_state_assign(task, inode, I_SYNC);
  t.match(world.violations.splice(0), [{ rule: 'guarded#inode.i_state', lock: 'i_lock' }]);
  const other = new Inode(world.sb);
  const held = other.i_lock.lock(task);
  inode_state_assign(task, inode, 0);
  held.release();
  t.match(world.violations.splice(0), [{ rule: 'guarded#inode.i_state' }], "another inode's is none");
  inode_state_change(task, inode, I_FREEING);
  t.equal(inode.i_state, I_FREEING);
  inode_state_change(task, inode, I_SYNC, I_FREEING);
  t.equal(inode.i_state, I_SYNC);
  t.notOk(inode.i_lock.isHeld);
  t.strictSame(world.violations, []);
  await world.end();
});

t.test('an inode gets a name when it is complete', async (t) => {
  const world = await newWorld();
  const { sb, root } = world;
  const task = world.task();
  const fresh = new Inode(sb);
  fresh.i_ino = 12_345;
  insert_inode_locked(task, fresh);
  unlock_new_inode(task, fresh);
  t.strictSame(world.violations, []);
  unlock_new_inode(task, fresh);
  t.match(world.violations.splice(0), [{ rule: 'inode#used-when-complete', message: /complete already/ }]);
  inode_state_change(task, fresh, I_NEW);
  d_instantiate(task, new Dentry(sb, 'name', root, {}), fresh);
  t.match(world.violations.splice(0), [{ rule: 'inode#used-when-complete', message: /being read or freed/ }]);
  sb.inodeHash.delete(fresh.i_ino);
  await world.end();
});

t.test('free_inode comes from an RCU callback', async (t) => {
  const world = await newWorld();
  const inode = new Inode(world.sb);
  let freed = 0;
  const free_inode = (): void => void freed++;
  world.sb.rcu.call(call_free_inode, inode, free_inode);
  t.strictSame(world.violations, []);
  call_free_inode(inode, free_inode);
  t.match(world.violations.splice(0), [{ rule: 'super_operations.free_inode#runs-after-a-grace-period' }]);
  t.equal(freed, 2);
  await world.end();
});

t.test('a name is hashed and unhashed under its d_lock', async (t) => {
  const world = await newWorld();
  const { sb, root } = world;
  const task = world.task();
  const dentry = new Dentry(sb, 'name', root, {});
  d_rehash(task, dentry);
  t.equal(root.d_children?.get('name'), dentry);
  d_drop(task, dentry);
  t.equal(root.d_children?.get('name'), undefined);
  t.strictSame(world.violations, []);
  __d_rehash(task, dentry);
  t.match(world.violations.splice(0), [{ rule: 'guarded#whether a dentry is hashed', lock: 'd_lock' }]);
  __d_drop(task, dentry);
  t.match(world.violations.splice(0), [{ rule: 'guarded#whether a dentry is hashed' }]);
  await world.end();
});

t.test('a name moves between directories with both of them locked', async (t) => {
  const world = await newWorld();
  const { root } = world;
  const [a, b] = [
    await world.run((task) => do_mkdir(task, root, 'a', 0o755)),
    await world.run((task) => do_mkdir(task, root, 'b', 0o755)),
  ];
  const [one, two] = [
    await world.run((task) => do_mkdir(task, a, 'one', 0o755)),
    await world.run((task) => do_mkdir(task, b, 'two', 0o755)),
  ];
  const task = world.task();
  await d_move(task, one, two);
  t.strictSame(
    world.violations.splice(0).map(({ rule }) => rule),
    [
      'guarded#the parent of a directory',
      'guarded#the names of a directory in memory',
      'guarded#the names of a directory in memory',
    ],
  );
  await inode_set_dead(task, root.d_inode ?? new Inode(world.sb));
  t.match(world.violations.splice(0), [{ rule: 'guarded#inode attributes' }]);
});

t.test('no blocks go under direct I/O that nobody waits for', async (t) => {
  const world = await newWorld();
  const task = world.task();
  const inode = new Inode(world.sb);
  inode_dio_begin(inode);
  check_no_dio(task, inode);
  t.match(world.violations.splice(0), [{ rule: 'inode#no-direct-io-while-blocks-go' }]);
  inode_dio_end(inode);
  await inode_dio_wait(task, inode);
  check_no_dio(task, inode);
  t.strictSame(world.violations, []);
  await world.end();
});
