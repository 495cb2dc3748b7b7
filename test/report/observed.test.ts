/** What was held, by operation and field, as recorded; and where that is not what the document says. */
import t from 'tap';
import { inode_operations } from '../../src/contract/inode.js';
import { super_operations } from '../../src/contract/super.js';
import { dput } from '../../src/fs/dcache.js';
import { fput } from '../../src/fs/file-table.js';
import { open_or_create } from '../../src/fs/namei/open-last.js';
import { do_mkdir, do_rmdir, do_unlink } from '../../src/fs/namei.js';
import { vfs_iter_write } from '../../src/fs/read-write.js';
import { call } from '../../src/locking/context.js';
import { GUARDED, guard_write } from '../../src/locking/guarded.js';
import { Lockdep } from '../../src/locking/lockdep.js';
import { RwSem } from '../../src/locking/rwsem.js';
import { IovIter } from '../../src/mm/iov-iter.js';
import { AccessLog, observedText, observers } from '../../src/report/observed.js';
import { RealScheduler } from '../../src/sched/real.js';
import { Task } from '../../src/sched/task.js';
import { newWorld } from '../fs/world.js';

t.test('sets of locks are counted, and what is always held is found', async (t) => {
  const log = new AccessLog();
  const validator = new Lockdep('warn', () => undefined);
  validator.observer = observers(log);
  const task = new Task(new RealScheduler(), validator);
  const [inode, sb] = [new RwSem('i_rwsem'), new RwSem('s_umount')];
  const outer = await sb.read(task);
  const held = await inode.write(task);
  call(task, inode_operations.setattr, { inode }, () => guard_write(task, GUARDED.i_size, inode) && undefined);
  held.release();
  call(task, inode_operations.setattr, { inode }, () => undefined);
  outer.release();
  guard_write(task, GUARDED.i_size, inode);
  call(task, super_operations.statfs, { 'sb/path': sb }, () => undefined);
  t.match(log.observations(), [
    {
      what: 'inode_operations.setattr',
      access: 'call',
      count: 2,
      sets: [
        { locks: 's_umount (read), own i_rwsem (write)', count: 1 },
        { locks: 's_umount (read)', count: 1 },
      ],
      always: ['s_umount (read)'],
    },
    { what: 'inode.i_size', access: 'write', count: 2, always: [] },
    { what: 'super_operations.statfs', sets: [{ locks: '', count: 1 }] },
  ]);
  t.match(log.disagreements(), [
    { rule: 'inode_operations.setattr/i_rwsem/inode', observed: 'otherwise in 1 of 2 calls' },
    { rule: 'guarded#inode.i_size', observed: 'without it in 1 of 2 changes' },
  ]);
  const text = observedText(log);
  t.match(text, /inode_operations\.setattr: called 2 times, always with s_umount \(read\)/);
  t.match(text, /Observation and document disagree:\n {2}inode_operations.setattr\/i_rwsem\/inode/);
});

t.test('a filesystem at work agrees with the document', async (t) => {
  const world = await newWorld();
  const log = new AccessLog();
  const { validator } = world.machine;
  if (!(validator instanceof Lockdep)) throw new Error('another validator');
  validator.observer = log;
  await world.run(async (task) => {
    const dir = await do_mkdir(task, world.root, 'd', 0o755);
    const { file, dentry } = await open_or_create(task, dir, 'f', 0o102, 0o644);
    await vfs_iter_write(task, file, IovIter.ofSource(Buffer.alloc(9000)), 0, {});
    await fput(task, file);
    await dput(task, dentry);
    await do_unlink(task, dir, 'f');
    await dput(task, dir);
    await do_rmdir(task, world.root, 'd');
  });
  await world.end();
  const seen = log.observations().map(({ what }) => what);
  for (const what of ['inode_operations.mkdir', 'inode.i_size', 'directory entries', 'dentry.d_inode']) {
    t.ok(seen.includes(what), what);
  }
  t.same(log.disagreements(), []);
  t.same(world.violations, []);
  t.match(observedText(log), /Observation and document agree everywhere\./);
});
