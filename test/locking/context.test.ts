/** Planted mistakes: each is reported with the operation, the row, the locks held and a stack. */
import t from 'tap';
import { address_space_operations } from '../../src/contract/address-space.js';
import { dentry_operations } from '../../src/contract/dentry.js';
import { file_operations } from '../../src/contract/file.js';
import { file_system_type } from '../../src/contract/file-system-type.js';
import { inode_operations } from '../../src/contract/inode.js';
import { super_operations } from '../../src/contract/super.js';
import { BitLock, WaitBit } from '../../src/locking/bitlock.js';
import { call, invoke, take, task_end } from '../../src/locking/context.js';
import { GUARDED, guard_read, guard_write } from '../../src/locking/guarded.js';
import type { Violation } from '../../src/locking/lockdep/violation.js';
import { Lockdep } from '../../src/locking/lockdep.js';
import { Rcu } from '../../src/locking/rcu.js';
import { RwSem } from '../../src/locking/rwsem.js';
import { SpinLock } from '../../src/locking/spinlock.js';
import { locate } from '../../src/report/implementation.js';
import { RealScheduler } from '../../src/sched/real.js';
import { Task } from '../../src/sched/task.js';
import { might_sleep } from '../../src/sched/wait.js';

function machine() {
  const seen: Violation[] = [];
  const validator = new Lockdep('warn', (violation) => seen.push(violation));
  const task = new Task(new RealScheduler(), validator);
  return { seen, task, validator, rwsem: new RwSem('i_rwsem'), other: new RwSem('i_rwsem') };
}

t.test('a caller that skips the lock', (t) => {
  const { seen, task, rwsem } = machine();
  call(task, inode_operations.setattr, { inode: rwsem }, () => undefined);
  t.match(seen, [{ kind: 'lock-not-held', row: 'inode_operations.setattr', lock: 'i_rwsem', stack: /context/ }]);
  t.end();
});

t.test('a caller that holds it shared where the row says exclusive', async (t) => {
  const { seen, task, rwsem } = machine();
  const held = await rwsem.read(task);
  call(task, inode_operations.setattr, { inode: rwsem }, () => undefined);
  held.release();
  t.match(seen, [{ kind: 'wrong-mode', held: [{ lock: 'i_rwsem', mode: 'read' }] }]);
});

t.test('a caller that holds what must not be held, in whichever mode', async (t) => {
  const { seen, task } = machine();
  const [sb, quota] = [new RwSem('s_umount'), new RwSem('dqio_sem')];
  for (const held of [await sb.read(task), undefined]) {
    const umount = held ?? (await sb.write(task));
    using _file = await quota.write(task);
    call(task, super_operations.quota_read, { 'sb.s_umount': sb, 'sb.dqio_sem': quota }, () => 0);
    umount.release();
    t.match(seen.splice(0), [{ kind: 'lock-held', row: 'super_operations.quota_read', lock: 's_umount' }]);
  }
});

t.test('an operation that returns with its lock shared, or with one that it had before', async (t) => {
  const { seen, task } = machine();
  const sb = new RwSem('s_umount');
  (await call(task, file_system_type.mount, { sb }, () => sb.write(task))).release();
  t.same(seen, []);
  (await call(task, file_system_type.mount, { sb }, () => sb.read(task))).release();
  t.match(seen.splice(0), [{ kind: 'wrong-mode', row: 'file_system_type.mount', lock: 's_umount' }]);
  using _before = await sb.write(task);
  await call(task, file_system_type.mount, { sb }, () => undefined);
  t.match(seen, [{ kind: 'lock-not-held', row: 'file_system_type.mount', lock: 's_umount' }]);
});

t.test('an operation that returns with its lock, whosever it is, and with another one', async (t) => {
  const { seen, task } = machine();
  const [sb, rwsem] = [new RwSem('s_umount'), new RwSem('i_rwsem')];
  await call(task, file_system_type.mount, {}, async () => {
    await rwsem.write(task);
    await sb.write(task);
  });
  t.match(seen, [{ kind: 'leaked-by-operation', lock: 'i_rwsem', message: /with i_rwsem still held/ }]);
  t.equal(seen.length, 1);
});

t.test('of two locks of one kind that an operation is to take, the one that it does not take is named', async (t) => {
  const { seen, task, rwsem, other } = machine();
  const both = { inode_in: rwsem, inode_out: other };
  const takes = async (lock: RwSem<'i_rwsem'>): Promise<void> => (await lock.write(task)).release();
  await call(task, file_operations.remap_file_range, both, () => takes(rwsem));
  await call(task, file_operations.remap_file_range, both, () => takes(other));
  await call(task, file_operations.remap_file_range, both, () => undefined);
  t.same(
    seen.map(({ rule, seen }) => [rule.replace(/.*[/]/, ''), seen]),
    [
      ['inode_out', 0],
      ['inode_in', 0],
      ['inode_out', 1],
      ['inode_in', 1],
    ],
  );
});

t.test('an operation that waits while its caller holds a spinlock', async (t) => {
  const { seen, task } = machine();
  using _spin = new SpinLock('i_lock').lock(task);
  await call(task, file_operations.fsync, {}, async () => undefined);
  t.match(seen, [{ kind: 'sleep-in-atomic', rule: 'spinlock#holder-may-not-sleep' }]);
});

t.test('an operation that may not block in some cases is to blame in those only', (t) => {
  const { seen, task } = machine();
  const walk = new Rcu();
  {
    using _spin = new SpinLock('i_lock').lock(task);
    call(task, dentry_operations.d_revalidate, {}, () => might_sleep(task, 'a wait'));
  }
  using _section = walk.read(task);
  call(task, dentry_operations.d_revalidate, { walk }, () => might_sleep(task, 'a wait'));
  t.same(
    seen.map(({ rule }) => rule),
    ['spinlock#holder-may-not-sleep', 'dentry_operations.d_revalidate#may-not-block'],
  );
  t.end();
});

t.test('who may not sleep for a reason of its own is told that rule, or that there is one', (t) => {
  const { seen, task } = machine();
  task.atomic++;
  might_sleep(task, 'a wait');
  task.atomicRule = 'reclaim#goes-on';
  might_sleep(task, 'a wait');
  t.same(
    seen.map(({ rule }) => rule),
    ['task#may-not-sleep', 'reclaim#goes-on'],
  );
  t.end();
});

t.test('each time counts, also in one task', async (t) => {
  const { seen, task, validator } = machine();
  for (let i = 0; i < 3; i++) {
    await call(task, inode_operations.fiemap, {}, () => {
      return call(task, address_space_operations.dirty_folio, {}, () => Promise.resolve(true));
    });
  }
  t.equal(validator.total, 3);
  const one = { kind: 'sleep-in-atomic', row: 'address_space_operations.dirty_folio' };
  t.match(seen, [
    { ...one, seen: 0 },
    { ...one, seen: 1 },
    { ...one, seen: 2 },
  ]);
  // A wait that was reported is the reason for the promise.
  await call(task, address_space_operations.dirty_folio, {}, async () => {
    might_sleep(task, 'a wait');
    return true;
  });
  t.equal(validator.total, 4);
});

t.test('with the deep checks on, each spinning lock that is kept while others run counts', async (t) => {
  const seen: Violation[] = [];
  const validator = new Lockdep('warn', (violation) => seen.push(violation), { stacks: true });
  const task = new Task(new RealScheduler(), validator);
  const lock = new SpinLock('i_lock');
  for (let i = 0; i < 2; i++) {
    await call(task, file_operations.fsync, {}, async () => {
      await Promise.resolve();
      using _held = lock.lock(task);
      await Promise.resolve();
    });
  }
  t.match(seen, [
    { rule: 'spinlock#holder-may-not-sleep', seen: 0 },
    { rule: 'spinlock#holder-may-not-sleep', seen: 1 },
  ]);
});

t.test('violations that differ in a number are one: in the number of a class they are two', (t) => {
  const { seen, task, validator } = machine();
  for (const page of [3, 14]) {
    validator.violation(task, 'folio-state', { message: `page ${page} is stale`, rule: 'folio#fresh' });
    validator.violation(task, 'lock-order', { message: `i_rwsem/${page} is wanted`, rule: 'lockdep#order' });
  }
  t.same(
    seen.map(({ message, seen }) => [message, seen]),
    [
      ['page 3 is stale', 0],
      ['i_rwsem/3 is wanted', 0],
      ['page 14 is stale', 1],
      ['i_rwsem/14 is wanted', 0],
    ],
  );
  t.same([...validator.counts().values()], [2, 1, 1]);
  t.end();
});

t.test('a wait with a spinlock held that would have been over at once', async (t) => {
  const { seen, task } = machine();
  using _spin = new SpinLock('i_lock').lock(task);
  await new BitLock('folio').waitUnlocked(task);
  await new WaitBit('writeback').wait(task);
  t.match(seen, [
    { kind: 'sleep-in-atomic', message: /\(folio\)/ },
    { kind: 'sleep-in-atomic', message: /\(writeback\)/ },
  ]);
});

t.test('of two locks that guard a state the second must be held exclusively, too', async (t) => {
  const { seen, task } = machine();
  const [first, second] = [new RwSem('dqonoff_sem'), new RwSem('dqptr_sem')];
  const shared = await second.read(task);
  t.equal(guard_write(task, GUARDED.dquot_on, first, second), false);
  shared.release();
  t.match(seen.splice(0), [{ kind: 'guarded-state' }]);
  using _alone = await second.write(task);
  t.equal(guard_write(task, GUARDED.dquot_on, first, second), true);
  t.same(seen, []);
});

t.test('of two locks that guard a state one must be held by who reads it', async (t) => {
  const { seen, task } = machine();
  const [first, second] = [new RwSem('dqonoff_sem'), new RwSem('dqptr_sem')];
  t.equal(guard_read(task, GUARDED.dquot_on, first, second), false);
  t.match(seen.splice(0), [{ kind: 'guarded-state', rule: 'guarded#quotas in use' }]);
  for (const lock of [first, second]) {
    using _held = await lock.read(task);
    t.equal(guard_read(task, GUARDED.dquot_on, first, second), true);
  }
  t.same(seen, []);
});

t.test('a handler that leaks a lock on its error path', async (t) => {
  const { seen, task, other } = machine();
  const leaking = async (): Promise<void> => {
    await other.write(task);
    throw new Error('planted');
  };
  await t.rejects(async () => call(task, file_operations.fsync, {}, leaking), /planted/);
  t.match(seen, [
    { kind: 'leaked-by-operation', row: 'file_operations.fsync', held: [{ takenIn: 'file_operations.fsync' }] },
  ]);
  task_end(task);
  t.equal(seen.length, 1, 'that it is still held at the end of the task was said');
});

t.test('an operation that is called with its arguments is held to its row as one that a closure calls', async (t) => {
  const seen: Violation[] = [];
  const task = new Task(new RealScheduler(), new Lockdep('warn', (violation) => seen.push(violation), { locate }));
  const [rwsem, other] = [new RwSem('i_rwsem'), new RwSem('i_rwsem')];
  const sums = (by: Task, a: number, b: number): string => `${by.id} ${a} ${b}`;
  t.equal(invoke(task, inode_operations.setattr, { inode: rwsem }, sums, 1, 2), `${task.id} 1 2`);
  t.match(seen.splice(0), [{ kind: 'lock-not-held', row: 'inode_operations.setattr' }]);
  const fails = (_by: Task, _a: number, _b: number): never => {
    throw new Error('planted');
  };
  t.throws(() => invoke(task, file_operations.fsync, {}, fails, 1, 2), /planted/);
  t.same(seen, [], 'failing is no violation');
  const leaks = (by: Task, lock: RwSem<'i_rwsem'>, what: string): string => {
    void lock.write(by);
    return what;
  };
  const leaksLate = async (by: Task, lock: RwSem<'i_rwsem'>, what: string): Promise<string> => {
    await lock.write(by);
    return what;
  };
  for (const leaking of [leaks, leaksLate]) {
    t.equal(await invoke(task, file_operations.fsync, {}, leaking, other, 'done'), 'done');
    t.match(seen.splice(0), [{ kind: 'leaked-by-operation', row: 'file_operations.fsync' }]);
    other.writer?.release();
  }
  task_end(task);
  t.same(seen, []);
});

t.test('a report says where an operation is written that was called with its arguments', (t) => {
  const seen: Violation[] = [];
  const task = new Task(new RealScheduler(), new Lockdep('warn', (violation) => seen.push(violation), { locate }));
  const leaves = (by: Task, lock: RwSem<'i_rwsem'>, _what: string): void => {
    void lock.write(by);
  };
  const invokes = (fsync: () => void): void => {
    // What has the operation's name where it is called is not it.
    void invoke(task, file_operations.fsync, {}, leaves, new RwSem('i_rwsem'), String(fsync));
  };
  invokes(() => undefined);
  t.match(seen.splice(0), [{ implementation: /^leaves \(test\/locking\/context\.test\.ts:/ }]);
  const promises = (_by: Task, _what: string): Promise<void> => Promise.resolve();
  const awaits = (dirty_folio: () => void): void => {
    void invoke(task, address_space_operations.dirty_folio, {}, promises, String(dirty_folio));
  };
  awaits(() => undefined);
  t.match(seen, [{ implementation: /^promises \(test\/locking\/context\.test\.ts:/ }]);
  t.end();
});

t.test('a lock that a task keeps to its end', async (t) => {
  const { seen, task, other } = machine();
  await other.write(task);
  task_end(task);
  t.match(seen, [{ kind: 'held-at-task-end', rule: 'task#holds-nothing-at-its-end' }]);
});

t.test('a sleep under a spinlock, and a lock given back twice', (t) => {
  const { seen, task } = machine();
  const held = new SpinLock('i_lock').lock(task);
  might_sleep(task, 'test');
  held.release();
  held.release();
  t.same(
    seen.map((violation) => violation.kind),
    ['sleep-in-atomic', 'unlock-not-owner'],
  );
  t.end();
});

t.test('a lock taken twice is refused, and the right way leaves no trace', async (t) => {
  const { seen, task, rwsem } = machine();
  const held = await take(task, inode_operations.setattr, 'inode', rwsem);
  t.throws(() => rwsem.write(task), { code: 'EDEADLK' });
  call(task, inode_operations.setattr, { inode: rwsem }, () => undefined);
  held.release();
  task_end(task);
  t.same(
    seen.map((violation) => violation.kind),
    ['double-lock'],
  );
});

t.test('a free lock is taken without a promise; waiters come in order, readers between writers', async (t) => {
  const { task, rwsem } = machine();
  const order: string[] = [];
  const first = rwsem.write(task);
  t.notOk(first instanceof Promise);
  const others = ['read a', 'write b', 'read c'].map(async (name) => {
    const own = new Task(task.sched, task.validator);
    const held = await (name.startsWith('read') ? rwsem.read(own) : rwsem.write(own));
    order.push(name);
    held.release();
  });
  (await first).release();
  await Promise.all(others);
  t.same(order, ['read a', 'write b', 'read c']);
  t.notOk(rwsem.isHeld);
});

t.test('a signal ends a wait with EINTR, and the next in line goes on', async (t) => {
  const { task, rwsem } = machine();
  const first = await rwsem.write(task);
  const interrupted = new Task(task.sched, task.validator);
  const waiting = rwsem.write(interrupted, 0, { interruptible: true });
  const next = rwsem.read(new Task(task.sched, task.validator));
  interrupted.interrupt();
  await t.rejects(async () => waiting, { code: 'EINTR' });
  first.release();
  (await next).release();
  t.notOk(rwsem.isHeld);
});
