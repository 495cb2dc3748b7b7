/** The declared order of locks: without a circle, and what a filesystem at work teaches the validator lies within it. */
import t, { type Test } from 'tap';
import { openSource } from '../../src/cli/machine.js';
import { dput } from '../../src/fs/dcache.js';
import { fput } from '../../src/fs/file-table.js';
import { open_or_create } from '../../src/fs/namei/open-last.js';
import { do_link, do_mkdir, do_rename, do_rmdir, do_symlink, do_unlink } from '../../src/fs/namei.js';
import { vfs_iter_read, vfs_iter_write } from '../../src/fs/read-write.js';
import { kill_sb, vfs_mount } from '../../src/fs/super.js';
import { vfs_fsync_range } from '../../src/fs/sync.js';
import { mkfs } from '../../src/latch/mkfs.js';
import { latch_fs_type } from '../../src/latch/super.js';
import { BitLock } from '../../src/locking/bitlock.js';
import type { Violation } from '../../src/locking/lockdep/violation.js';
import { Lockdep } from '../../src/locking/lockdep.js';
import { declaredCircle, LOCK_ORDER, undeclared } from '../../src/locking/order.js';
import { RwSem } from '../../src/locking/rwsem.js';
import { IovIter } from '../../src/mm/iov-iter.js';
import { MemoryControl } from '../../src/mm/memory.js';
import { lockStats } from '../../src/report/lock-stat.js';
import { chainsText, lockdepText, statsText } from '../../src/report/lockdep-text.js';
import { RealScheduler } from '../../src/sched/real.js';
import { Task } from '../../src/sched/task.js';

t.test('the declared order has no circle and gives a reason for each edge', (t) => {
  t.equal(declaredCircle(), undefined);
  t.ok(LOCK_ORDER.every(({ why }) => why !== ''));
  const pairs = LOCK_ORDER.map(({ before, after }) => `${before} ${after}`);
  t.equal(new Set(pairs).size, pairs.length, 'each edge once');
  t.same(undeclared([{ before: 'latch:i_rwsem/1', after: 'latch:i_rwsem' }]), []);
  t.same(undeclared([{ before: 'i_lock', after: 'i_rwsem' }]), ['i_lock → i_rwsem']);
  t.same(undeclared([{ before: 'latch-directory:i_rwsem', after: 'latch:i_rwsem' }]), [
    'latch-directory:i_rwsem → latch:i_rwsem',
  ]);
  const stacked = { before: 'overlay-directory:i_rwsem', after: 'latch-directory:i_rwsem' };
  t.same(undeclared([stacked]), [], 'a filesystem that lies on another one');
  t.equal(undeclared([{ before: stacked.after, after: stacked.before }]).length, 1, 'not the other way round');
  t.end();
});

t.test('an order that is not declared is reported where it is seen first', (t) => {
  const seen: Violation[] = [];
  const validator = new Lockdep('error', (violation) => seen.push(violation), { declared: true, stacks: true });
  const task = new Task(new RealScheduler(), validator, { comm: 'work' });
  const [folio, xattrs, invalidate] = [new BitLock('folio'), new RwSem('xattr_sem'), new RwSem('invalidate_lock')];
  const declared = [invalidate.read(task), folio.lock(task)];
  t.same(seen, []);
  const guards = [...declared, xattrs.read(task)];
  t.match(seen, [{ rule: 'order#declared', message: /^xattr_sem is taken while folio is held/ }], 'and nothing fails');
  for (const guard of guards.reverse()) if (!(guard instanceof Promise)) guard.release();
  t.end();
});

for (const quota of [false, true]) {
  t.test(`what a filesystem at work teaches is declared${quota ? ', with quotas' : ''}`, (t) => atWork(t, quota));
}

async function atWork(t: Test, quota: boolean): Promise<void> {
  const seen: Violation[] = [];
  const validator = new Lockdep('warn', (violation) => seen.push(violation));
  const sched = new RealScheduler();
  const machine = { sched, validator, memory: new MemoryControl(sched, { limit: 4 << 20, validator }) };
  const task = (): Task => new Task(sched, validator, { comm: 'work' });
  const bdev = openSource(machine, 'memory:64M', undefined, false);
  await mkfs(task(), bdev, { quota });
  const sb = await vfs_mount(machine, latch_fs_type, bdev, 0);
  const root = sb.s_root;
  if (root === undefined) throw new Error('not mounted');
  const [a, b] = [await do_mkdir(task(), root, 'a', 0o755), await do_mkdir(task(), root, 'b', 0o755)];
  const one = async (worker: number): Promise<void> => {
    for (let i = 0; i < 8; i++) {
      const own = task();
      const name = `${worker}-${i}`;
      const { file, dentry } = await open_or_create(own, a, name, 0o102, 0o644);
      await vfs_iter_write(own, file, IovIter.ofSource(Buffer.alloc(200_000, i)), 0, {});
      await vfs_fsync_range(own, file, 0, Number.MAX_SAFE_INTEGER, false);
      const iter = IovIter.ofDest(100_000);
      await vfs_iter_read(own, file, iter, 0, { direct: false });
      iter.release();
      await dput(own, await do_link(own, dentry, b, name));
      await do_rename(own, a, name, b, `${name}-moved`, 0);
      await dput(own, await do_symlink(own, a, name, 'target'));
      await do_unlink(own, b, name);
      await fput(own, file);
      await dput(own, dentry);
    }
  };
  await Promise.all([0, 1, 2].map(one));
  await do_rename(task(), root, 'a', b, 'inner', 0);
  await do_rename(task(), b, 'inner', root, 'a', 0);
  await dput(task(), await do_mkdir(task(), a, 'empty', 0o755));
  await do_rmdir(task(), a, 'empty');
  for (const dentry of [a, b]) await dput(task(), dentry);
  await kill_sb(sb);
  t.same(
    seen.map(({ message }) => message),
    [],
  );
  const learned = validator.tracker.dependencies();
  t.ok(learned.length > 10, 'it has learned something');
  t.same(undeclared(learned), []);
  const stats = lockStats(validator);
  t.ok(stats.some(({ contentions, wait }) => contentions > 0 && wait.total >= 0));
  t.ok(stats.some(({ name, acquisitions }) => name === 'alloc_lock' && acquisitions > 0));
  t.match(lockdepText(validator), /^ -> \[EN\] /m);
  t.match(chainsText(validator), /s_vfs_rename_sem -> \S*i_rwsem\/1/);
  t.match(statsText(validator), /lock-classes: +\d+/);
}
