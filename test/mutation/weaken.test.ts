/** What a mutation does to a lock is what the mutant would do, and no more: the rest is as before. */
import t from 'tap';
import { belongsTo, forget, giveBack, restore, retake, share, type Weakened } from '../../scripts/mutation/weaken.js';
import type { Held } from '../../src/locking/held.js';
import type { Violation } from '../../src/locking/lockdep/violation.js';
import { Lockdep } from '../../src/locking/lockdep.js';
import { Mutex } from '../../src/locking/mutex.js';
import { RwSem } from '../../src/locking/rwsem.js';
import { RealScheduler } from '../../src/sched/real.js';
import { Task } from '../../src/sched/task.js';

function machine() {
  const seen: Violation[] = [];
  const sched = new RealScheduler();
  const validator = new Lockdep('warn', (violation) => seen.push(violation));
  return { seen, validator, task: new Task(sched, validator), other: new Task(sched, validator) };
}

const names = (task: Task): string[] => task.held.map(({ name, mode, subclass }) => `${name} ${mode} ${subclass}`);

/** Three locks, the last of two of one kind, as a rename takes them. */
async function three(task: Task): Promise<{ readonly locks: readonly Held[]; readonly before: readonly string[] }> {
  const [whole, first, second] = [new Mutex('s_vfs_rename_sem'), new RwSem('i_rwsem'), new RwSem('i_rwsem')];
  const locks = [await whole.lock(task), await first.write(task, 1), await second.write(task, 5)];
  return { locks, before: names(task) };
}

const asTheyWere = (all: Weakened[]): Weakened[] => all;
const theirLevel = ({ guard }: Weakened): number => guard.subclass;

t.test('locks that are taken again as they were teach no other order and leave all as it was', async (t) => {
  const { task, seen, validator } = machine();
  const { locks, before } = await three(task);
  const given = locks[0] === undefined ? undefined : retake(task, locks[0], asTheyWere, theirLevel);
  t.equal(given?.length, 3);
  t.same(names(task), [], 'nothing is held in between');
  for (const one of given ?? []) restore(one);
  t.same(names(task), before);
  t.same(seen, []);
  const order = ['s_vfs_rename_sem', 'i_rwsem/1', 'i_rwsem/5'];
  const learned = validator.tracker.dependencies();
  t.ok(learned.length > 0 && learned.every((one) => order.indexOf(one.before) < order.indexOf(one.after)));
  for (const held of [...locks].reverse()) held.release();
  t.same([names(task), seen], [[], []], 'their owner gives them back as ever');
});

t.test('in another order, or on another level, they do not', async (t) => {
  const swapped = machine();
  const { locks } = await three(swapped.task);
  if (locks[1] !== undefined) retake(swapped.task, locks[1], (all) => [...all].reverse(), theirLevel);
  t.match(swapped.seen, [{ rule: 'lockdep#circular-dependency' }]);

  const levelled = machine();
  const { locks: again } = await three(levelled.task);
  if (again[1] !== undefined) retake(levelled.task, again[1], asTheyWere, () => 1);
  t.match(levelled.seen, [{ rule: 'lockdep#recursive-locking' }]);
});

t.test('who tries a lock is in no order', async (t) => {
  const { task, seen } = machine();
  const [outer, inner] = [new Mutex('s_vfs_rename_sem'), new Mutex('f_pos_lock')];
  const held = await outer.lock(task);
  inner.tryLock(task);
  const given = retake(task, held, (all) => [...all].reverse(), theirLevel);
  t.equal(given?.length, 2);
  t.same(seen, []);
});

t.test('nothing is taken again where somebody waits, because they would come in', async (t) => {
  const { task, other } = machine();
  const lock = new Mutex('f_pos_lock');
  const held = await lock.lock(task);
  const waiting = lock.lock(other);
  t.equal(retake(task, held, asTheyWere, theirLevel), undefined);
  t.same(names(task), ['f_pos_lock write 0']);
  held.release();
  (await waiting).release();
});

t.test('who shares what it held alone lets no writer in', async (t) => {
  const { task, other } = machine();
  const lock = new RwSem('i_rwsem');
  const held = await lock.write(task);
  const writer = Promise.resolve(lock.write(other));
  const weakened = share(task, lock as never, held);
  belongsTo(weakened);
  t.same(names(task), ['i_rwsem read 0']);
  t.same(names(other), []);
  held.release();
  t.same(names(task), []);
  (await writer).release();
});

t.test('who has given back what it believed to have does not get it again', async (t) => {
  const { task, seen } = machine();
  const lock = new RwSem('i_rwsem');
  const weakened = await (async () => {
    using held = await lock.write(task);
    const given = giveBack(task, lock as never, held);
    belongsTo(given);
    t.same(names(task), []);
    return given;
  })();
  held(weakened).release();
  restore(weakened);
  t.same([names(task), seen], [[], []]);
});

const held = ({ guard }: Weakened): Held => guard;

t.test('what is forgotten stays locked, shared as well', async (t) => {
  const { task, other } = machine();
  const lock = new RwSem('mmap_lock');
  const alone = await lock.write(task);
  forget(task, alone);
  const shared = lock.downgrade(alone);
  shared.release();
  t.same(names(task), ['mmap_lock read 0']);
  t.equal(lock.tryWrite(other), undefined);
});
