/** State that may be touched only with its lock: by a check, by a type, and on a filesystem at work. */
import t from 'tap';
import { i_size_write } from '../../src/fs/inode.js';
import { GUARDED, Guarded, guard_read, guard_write } from '../../src/locking/guarded.js';
import type { Exclusive } from '../../src/locking/held.js';
import type { Violation } from '../../src/locking/lockdep/violation.js';
import { Lockdep } from '../../src/locking/lockdep.js';
import { RwSem } from '../../src/locking/rwsem.js';
import { SpinLock } from '../../src/locking/spinlock.js';
import { Onlooker } from '../../src/report/observed.js';
import { RealScheduler } from '../../src/sched/real.js';
import { Task } from '../../src/sched/task.js';
import { newWorld } from '../fs/world.js';

function machine() {
  const seen: Violation[] = [];
  const validator = new Lockdep('warn', (violation) => seen.push(violation));
  return { seen, validator, task: new Task(new RealScheduler(), validator) };
}

t.test('a change wants the lock alone, a look wants it at all', async (t) => {
  const { task, seen, validator } = machine();
  const lock = new RwSem('i_rwsem');
  guard_write(task, GUARDED.dir_entries, lock);
  guard_read(task, GUARDED.dir_entries, lock);
  t.match(seen, [
    { kind: 'guarded-state', rule: 'guarded#directory entries', lock: 'i_rwsem', message: /changed without i_rwsem/ },
    { kind: 'guarded-state', message: /read without i_rwsem/ },
  ]);
  const shared = await lock.read(task);
  t.ok(guard_read(task, GUARDED.dir_entries, lock));
  t.notOk(guard_write(task, GUARDED.dir_entries, lock));
  shared.release();
  const alone = await lock.write(task);
  t.ok(guard_write(task, GUARDED.dir_entries, lock));
  t.notOk(guard_write(task, GUARDED.dir_entries, new RwSem('i_rwsem')), 'the lock of another directory does not do');
  alone.release();
  t.equal(seen.length, 4);
  t.ok(guard_read(task, GUARDED.i_size, lock), 'what may be read without a lock');
  validator.enforce = 'off';
  t.ok(guard_write(task, GUARDED.dir_entries, lock));
  validator.enforce = 'error';
  t.throws(() => guard_write(task, GUARDED.dir_entries, lock), { code: 'EIO' });
});

t.test('one of several locks is enough', async (t) => {
  const { task, seen } = machine();
  const [io, pointers] = [new RwSem('dqio_sem'), new RwSem('dqptr_sem')];
  const held = await pointers.write(task);
  t.ok(guard_write(task, GUARDED.dquot, io, pointers));
  held.release();
  t.notOk(guard_write(task, GUARDED.dquot, io, pointers));
  t.equal(seen.length, 1);
});

t.test('who watches is told behind which of several locks state was touched', async (t) => {
  const { task, validator } = machine();
  const [io, pointers] = [new RwSem('dqio_sem'), new RwSem('dqptr_sem')];
  const told: object[] = [];
  class Told extends Onlooker {
    override accessed(_task: Task, _field: string, _write: boolean, lock: object): void {
      told.push(lock);
    }
  }
  validator.observer = new Told();
  const shared = await io.read(task);
  const alone = await pointers.write(task);
  guard_read(task, GUARDED.dquot, io, pointers);
  guard_write(task, GUARDED.dquot, io, pointers);
  for (const held of [alone, shared]) held.release();
  guard_write(task, GUARDED.dquot, io);
  t.same(
    told.map((lock) => (lock === io ? 'io' : 'pointers')),
    ['io', 'pointers', 'io'],
  );
});

t.test('a value behind its guard', (t) => {
  const { task, seen } = machine();
  const lock = new SpinLock('flc_lock');
  const list = new Guarded<string[], 'flc_lock'>(lock, GUARDED.flc_lists, []);
  const held = lock.lock(task);
  list.update(held, (names) => names.push('one'));
  list.set([...list.get(held), 'two'], held);
  t.same(list.get(held), ['one', 'two']);
  t.same(seen, []);
  held.release();
  list.get(held);
  t.match(seen, [{ kind: 'guarded-state', message: /read without flc_lock/ }], 'a guard that was given back');
  const other = new SpinLock('flc_lock').lock(task);
  list.set([], other);
  t.equal(seen.length, 2, "another lock's guard");
  other.release();
  t.same(list.peek(), []);
  const shared = (guard: { readonly mode: 'read' }): void => {
    // @ts-expect-error a shared guard does not let anybody change the value
    const wrong: Exclusive<'flc_lock'> = guard;
    void wrong;
  };
  t.equal(typeof shared, 'function');
  t.end();
});

t.test('the size of a file, without and with its lock', async (t) => {
  const world = await newWorld();
  const inode = world.root.d_inode;
  if (inode === undefined) throw new Error('no root');
  const before = inode.i_size;
  await world.run(async (task) => {
    i_size_write(task, inode, before);
    using _held = await inode.i_rwsem.write(task);
    i_size_write(task, inode, before);
  });
  t.match(world.violations, [{ kind: 'guarded-state', rule: 'guarded#inode.i_size' }]);
  t.equal(world.violations.length, 1);
  await world.end();
});
