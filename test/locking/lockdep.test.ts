/** The order of locks as it is learned: what is reported, when, with which evidence, and what is right and gets no report. */
import t from 'tap';
import { inode_operations } from '../../src/contract/inode.js';
import type { LockName } from '../../src/contract/row.js';
import { BitLock } from '../../src/locking/bitlock.js';
import { call } from '../../src/locking/context.js';
import type { Held } from '../../src/locking/held.js';
import { fs_reclaim } from '../../src/locking/lock-map.js';
import { class_key, LockClassKey } from '../../src/locking/lockdep/class.js';
import type { Violation } from '../../src/locking/lockdep/violation.js';
import { Lockdep } from '../../src/locking/lockdep.js';
import { Mutex } from '../../src/locking/mutex.js';
import { RwLock } from '../../src/locking/rwlock.js';
import { RwSem } from '../../src/locking/rwsem.js';
import { SpinLock } from '../../src/locking/spinlock.js';
import { violationText } from '../../src/report/violation-text.js';
import { RealScheduler } from '../../src/sched/real.js';
import { Task } from '../../src/sched/task.js';
import type { EnforceLevel } from '../../src/sched/validator.js';

function machine(enforce: EnforceLevel = 'warn', hungTask = 0) {
  const seen: Violation[] = [];
  const validator = new Lockdep(enforce, (violation) => seen.push(violation), { hungTask });
  const sched = new RealScheduler();
  return {
    seen,
    validator,
    task: (comm = 'test') => new Task(sched, validator, { comm }),
    completion: () => new Task(sched, validator, { comm: 'completion', context: 'completion' }),
    rules: () => seen.map(({ rule }) => rule),
  };
}

function now<L extends LockName, M extends 'read' | 'write'>(got: Held<L, M> | Promise<Held<L, M>>): Held<L, M> {
  if (got instanceof Promise) throw new Error('a free lock was not taken at once');
  return got;
}

/** Take locks one after the other, then drop them in reverse. */
function hold(...take: (() => Held | Promise<Held>)[]): void {
  const held: Held[] = [];
  for (const one of take) held.push(now(one()));
  for (const one of held.reverse()) one.release();
}

t.test('two orders are reported at the acquisition that makes the second, before anything waits', (t) => {
  const { task, seen, rules } = machine();
  const [a, b] = [new Mutex('open_mutex'), new RwSem('s_umount')];
  const first = task('first');
  hold(
    () => a.lock(first),
    () => b.write(first),
  );
  t.same(seen, []);
  const second = task('second');
  hold(
    () => b.read(second),
    () => a.lock(second),
  );
  t.same(rules(), ['lockdep#circular-dependency']);
  t.match(seen[0], {
    kind: 'lock-order',
    lock: 'open_mutex',
    task: { comm: 'second' },
    held: [{ lock: 's_umount', mode: 'read', stack: /lockdep.test/ }],
    order: {
      wanted: 'open_mutex',
      holding: 's_umount',
      chain: [{ lock: 's_umount', held: 'open_mutex', task: 'first', stack: /lockdep.test/ }],
    },
  });
  t.end();
});

t.test('where a lock was taken: this time with the deep checks on, otherwise the first time', async (t) => {
  for (const stacks of [false, true]) {
    const { task, seen, validator } = machine();
    validator.stacks = stacks;
    const own = task();
    using _held = now(new Mutex('open_mutex').lock(own));
    await call(own, inode_operations.setattr, { inode: new RwSem('i_rwsem') }, () => undefined);
    t.equal(seen[0]?.held[0]?.firstTime, stacks ? undefined : true);
    t.match(seen[0]?.held[0]?.stack, /lockdep\.test/);
  }
});

t.test('the report reads as that of lockdep', (t) => {
  const { task, seen } = machine();
  const [a, b, c] = [new Mutex('open_mutex'), new RwSem('s_umount'), new Mutex('f_pos_lock')];
  const one = task('one');
  one.syscall = 'fsync';
  hold(
    () => a.lock(one),
    () => b.write(one),
  );
  hold(
    () => b.write(one),
    () => c.lock(one),
  );
  hold(
    () => c.lock(one),
    () => a.lock(one),
  );
  const [violation] = seen;
  const text = violation === undefined ? '' : violationText(violation);
  for (const part of [
    /WARNING: possible circular locking dependency detected/,
    /one\/0 \(fsync\) is trying to acquire open_mutex at: .*test\/locking\/lockdep\.test\.[jt]s:\d+/,
    /but it holds already: f_pos_lock/,
    /the existing dependency chain \(in reverse order\) is:/,
    /-> #2 f_pos_lock, taken under s_umount by one \(fsync\):\n +\S.*lockdep\.test/,
    /-> #1 s_umount, taken under open_mutex/,
    /open_mutex --> s_umount --> f_pos_lock/,
    / +lock\(f_pos_lock\);\n +lock\(s_umount\);\n +lock\(f_pos_lock\);\n +lock\(open_mutex\);/,
    /1 lock held by one\/0:\n #0: f_pos_lock \(write\), in no operation, at: .*lockdep\.test/,
    /stack backtrace:/,
  ]) {
    t.match(text, part);
  }
  t.end();
});

t.test('the scenario shows two locks that were taken one under the other, and who shares one', (t) => {
  const { task, seen } = machine();
  const own = task();
  const [a, b, c] = [new Mutex('open_mutex'), new Mutex('f_pos_lock'), new Mutex('namespace_sem')];
  const [s, r] = [new RwSem('s_umount'), new RwLock('d_lock')];
  const chain: (() => Held | Promise<Held>)[] = [
    () => a.lock(own),
    () => b.lock(own),
    () => c.lock(own),
    () => s.read(own),
  ];
  for (let i = 0; i + 1 < chain.length; i++) hold(...chain.slice(i, i + 2));
  hold(
    () => s.read(own),
    () => a.lock(own),
  );
  t.strictSame(seen[0]?.order?.scenario, [
    ['rlock(s_umount);', ''],
    ['', 'lock(namespace_sem);'],
    ['', 'lock(s_umount);'],
    ['lock(open_mutex);', ''],
  ]);
  t.match(seen[0]?.message, /^open_mutex is wanted while s_umount \(shared\) is held/);
  const spin = new RwLock('i_lock', undefined, 'recursive');
  hold(
    () => r.write(own),
    () => spin.read(own),
  );
  hold(
    () => spin.write(own),
    () => r.read(own),
  );
  t.strictSame(seen[1]?.order?.scenario, [
    ['lock(i_lock);', ''],
    ['', 'lock(d_lock);'],
    ['', 'rlock(i_lock);'],
    ['rlock(d_lock);', ''],
  ]);
  t.end();
});

t.test('a circle over three classes, and over ten', (t) => {
  for (const length of [3, 10]) {
    const { task, rules } = machine();
    const own = task();
    const locks = Array.from(
      { length },
      (_, i) => new Mutex('open_mutex', new LockClassKey('open_mutex', 'mutex', `${i}`)),
    );
    for (let i = 0; i + 1 < length; i++) {
      hold(
        () => (locks[i] as Mutex<'open_mutex'>).lock(own),
        () => (locks[i + 1] as Mutex<'open_mutex'>).lock(own),
      );
    }
    t.same(rules(), []);
    hold(
      () => (locks[length - 1] as Mutex<'open_mutex'>).lock(own),
      () => (locks[0] as Mutex<'open_mutex'>).lock(own),
    );
    t.same(rules(), ['lockdep#circular-dependency']);
  }
  t.end();
});

t.test('each distinct violation is reported once and counted, and error fails the call', (t) => {
  const { task, seen, validator } = machine();
  const own = task();
  const [a, b] = [new Mutex('open_mutex'), new Mutex('f_pos_lock')];
  const wrong = (): void => {
    hold(
      () => a.lock(own),
      () => b.lock(own),
    );
    hold(
      () => b.lock(own),
      () => a.lock(own),
    );
  };
  wrong();
  wrong();
  wrong();
  t.equal(validator.total, 3);
  t.same(
    seen.map((violation) => violation.seen),
    [0, 1, 2],
    'the first, and then at powers of two',
  );
  validator.enforce = 'error';
  const held = now(b.lock(own));
  t.throws(() => a.lock(own), { code: 'EDEADLK' });
  t.notOk(a.isHeld);
  held.release();
  t.end();
});

t.test('a lock tried for makes no order of its own, but what is taken under it does', (t) => {
  const { task, rules } = machine();
  const own = task();
  const [a, b] = [new Mutex('open_mutex'), new Mutex('f_pos_lock')];
  hold(
    () => a.lock(own),
    () => b.lock(own),
  );
  const held = now(b.lock(own));
  a.tryLock(own)?.release();
  held.release();
  t.same(rules(), []);
  const tried = b.tryLock(own);
  hold(() => a.lock(own));
  tried?.release();
  t.same(rules(), ['lockdep#circular-dependency']);
  t.end();
});

t.test('recursive readers: only what could wait counts', (t) => {
  const { task, rules } = machine();
  const own = task();
  const [x, y] = [new RwLock('d_lock', undefined, 'recursive'), new RwLock('i_lock', undefined, 'recursive')];
  hold(
    () => x.read(own),
    () => y.read(own),
    () => x.read(own),
  );
  hold(
    () => y.read(own),
    () => x.read(own),
  );
  t.same(rules(), [], 'readers in both orders, and again');
  hold(
    () => y.write(own),
    () => x.read(own),
  );
  t.same(rules(), [], 'x is read whoever reads it, and y waits for nobody who waits for it');
  hold(
    () => x.write(own),
    () => y.write(own),
  );
  t.same(rules(), ['lockdep#circular-dependency']);
  t.end();
});

t.test('readers of spinning locks queue behind writers, but in completions', (t) => {
  const { task, completion, rules } = machine();
  const [x, y] = [new RwLock('d_lock'), new RwLock('i_lock')];
  const inside = completion();
  hold(
    () => x.readIrq(inside),
    () => y.readIrq(inside),
    () => x.read(inside),
  );
  hold(
    () => y.read(inside),
    () => x.read(inside),
  );
  t.same(rules(), [], 'in a completion in both orders, and again');
  const own = task();
  const first = x.tryRead(own);
  t.throws(() => x.read(own), { code: 'EDEADLK' }, 'a writer may have come in between');
  first?.release();
  t.same(rules(), ['lock#not-taken-twice']);
  hold(
    () => x.read(own),
    () => y.read(own),
  );
  hold(
    () => y.read(own),
    () => x.read(own),
  );
  t.same(rules(), ['lock#not-taken-twice', 'lockdep#circular-dependency']);
  t.end();
});

t.test('readers of sleeping locks queue behind writers, so their order counts', (t) => {
  const { task, rules } = machine();
  const own = task();
  const [x, y] = [new RwSem('s_umount'), new RwSem('mmap_lock')];
  hold(
    () => x.read(own),
    () => y.read(own),
  );
  hold(
    () => y.read(own),
    () => x.read(own),
  );
  t.same(rules(), ['lockdep#circular-dependency']);
  t.end();
});

t.test('two locks of one class: by level, under a lock, in an order, or not at all', (t) => {
  const { task, rules } = machine();
  const own = task();
  const [a, b] = [new RwSem('i_rwsem'), new RwSem('i_rwsem')];
  hold(
    () => a.write(own, 1),
    () => b.write(own),
  );
  t.same(rules(), []);
  const outer = new Mutex('s_vfs_rename_sem');
  hold(
    () => outer.lock(own),
    () => a.write(own),
    () => b.write(own, 0, { nest: outer }),
  );
  t.same(rules(), []);
  hold(
    () => a.write(own),
    () => b.write(own),
  );
  t.same(rules(), ['lockdep#recursive-locking']);
  const numbers = new Map<object, number>();
  const key = new LockClassKey('i_rwsem', 'rwsem', 'ordered', (x, y) => (numbers.get(x) ?? 0) - (numbers.get(y) ?? 0));
  const ordered = [1, 2, 3].map((n) => {
    const lock = new RwSem('i_rwsem', key);
    numbers.set(lock, n);
    return lock;
  });
  const [one, two, three] = ordered as [RwSem<'i_rwsem'>, RwSem<'i_rwsem'>, RwSem<'i_rwsem'>];
  hold(
    () => one.write(own),
    () => two.write(own),
    () => three.write(own),
  );
  t.equal(rules().length, 1);
  hold(
    () => two.write(own),
    () => one.write(own),
  );
  t.same(rules()[1], 'lockdep#order-within-a-class');
  t.end();
});

t.test('classes are told apart by their owners', (t) => {
  const { task, rules } = machine();
  const own = task();
  const upper = new RwSem('i_rwsem', class_key('i_rwsem', 'rwsem', 'upper'));
  const lower = new RwSem('i_rwsem', class_key('i_rwsem', 'rwsem', 'lower'));
  hold(
    () => upper.write(own),
    () => lower.write(own),
  );
  t.same(rules(), []);
  hold(
    () => lower.write(own),
    () => upper.write(own),
  );
  t.same(rules(), ['lockdep#circular-dependency']);
  t.end();
});

t.test('locks dropped out of order are followed', (t) => {
  const { task, rules, validator } = machine();
  const own = task();
  const [a, b, c] = [new Mutex('open_mutex'), new Mutex('f_pos_lock'), new Mutex('alloc_lock')];
  const first = now(a.lock(own));
  const second = now(b.lock(own));
  first.release();
  hold(() => c.lock(own));
  second.release();
  t.equal(own.chain, undefined, 'nothing is held');
  const after = (name: string) =>
    [...(validator.tracker.classes.find((cls) => cls.name === name)?.after.keys() ?? [])].map((cls) => cls.name);
  t.same(after('open_mutex'), ['f_pos_lock'], 'it was not held any more when alloc_lock was taken');
  t.same(after('f_pos_lock'), ['alloc_lock']);
  t.same(rules(), []);
  t.end();
});

t.test('a lock that completions take must be held with them away', (t) => {
  const { task, rules, seen, completion: completionTask } = machine();
  const [own, completion] = [task(), completionTask()];
  const [lock, outer] = [new SpinLock('swap_lock'), new SpinLock('flc_lock')];
  hold(() => lock.lock(completion));
  hold(() => lock.lockIrq(own));
  t.same(rules(), []);
  hold(() => lock.lock(own));
  t.same(rules(), ['lockdep#inconsistent-usage']);
  // What is taken under it while completions are away is held by others while they may come.
  hold(() => outer.lock(own));
  hold(
    () => lock.lockIrq(own),
    () => outer.lock(own),
  );
  t.equal(rules()[1], 'lockdep#completion-inversion');
  t.same(
    seen[1]?.order?.usages?.map(({ what }) => what),
    ['swap_lock was taken in a completion', 'flc_lock was held while completions may come'],
    'how swap_lock was used otherwise is another story',
  );
  t.end();
});

t.test('reclaim is entered by who allocates, and may want what that one holds', (t) => {
  const { task, rules } = machine();
  const own = task();
  const lock = new RwSem('xattr_sem');
  const inside = fs_reclaim.enter(own);
  hold(() => lock.write(own));
  inside.release();
  t.same(rules(), []);
  const held = now(lock.write(own));
  fs_reclaim.might(own);
  held.release();
  t.same(rules(), ['lockdep#circular-dependency']);
  t.end();
});

t.test('tasks that wait in a circle are found at once, the others wait on', async (t) => {
  const { task, seen, validator } = machine();
  const [one, two, three, other] = [task('one'), task('two'), task('three'), task('other')];
  // Of one class each, so that the order of classes says nothing.
  const lock = (owner: string) => new Mutex('open_mutex', class_key('open_mutex', 'mutex', `circle-${owner}`));
  const [a, b, c] = [lock('a'), lock('b'), lock('c')];
  const held = [await a.lock(one), await b.lock(two), await c.lock(three)];
  const outsider = a.lock(other);
  const waitB = Promise.resolve(b.lock(one)).then((guard) => guard.release());
  const waitC = Promise.resolve(c.lock(two)).then((guard) => guard.release());
  t.notOk(seen.some(({ kind }) => kind === 'deadlock'));
  await t.rejects(async () => a.lock(three), { code: 'EDEADLK' });
  t.same(
    [...validator.asleep()].map(({ comm }) => comm),
    ['other', 'one', 'two'],
    'who was refused is awake',
  );
  const found = seen.find(({ kind }) => kind === 'deadlock');
  t.match(found?.circle, [{ task: /three/, waitsFor: /open_mutex/, stack: /lockdep.test/ }, { task: /other|one/ }]);
  t.ok(found?.circle?.every(({ stack }) => stack !== ''));
  t.match(found === undefined ? '' : violationText(found), /waits for open_mutex \(write\), holding open_mutex/);
  // The circle is broken: everybody gets on.
  held[2]?.release();
  await waitC;
  held[1]?.release();
  await waitB;
  held[0]?.release();
  (await outsider).release();
});

t.test('who has got what it waited for waits no more', async (t) => {
  const { task, seen, validator } = machine();
  const [one, two] = [task('one'), task('two')];
  const lock = (owner: string) => new Mutex('open_mutex', class_key('open_mutex', 'mutex', `over-${owner}`));
  const [a, b] = [lock('a'), lock('b')];
  const mine = await b.lock(one);
  const theirs = await a.lock(two);
  const wanted = Promise.resolve(a.lock(one));
  t.same([...validator.asleep()], [one]);
  theirs.release();
  (await wanted).release();
  t.same([...validator.asleep()], []);
  // one has waited for what two has now, and has what two waits for.
  const again = await a.lock(two);
  const waiting = Promise.resolve(b.lock(two));
  t.notOk(seen.some(({ kind }) => kind === 'deadlock'));
  mine.release();
  (await waiting).release();
  again.release();
});

t.test('only those who wait for each other are in the circle', async (t) => {
  const { task, seen } = machine();
  const [writer, aside, reader, far] = [task('writer'), task('aside'), task('reader'), task('far')];
  const key = (owner: string) => class_key('open_mutex', 'mutex', `aside-${owner}`);
  const sem = new RwSem('s_umount', class_key('s_umount', 'rwsem', 'aside'));
  const [a, b] = [new Mutex('open_mutex', key('a')), new Mutex('open_mutex', key('b'))];
  const held = [await sem.read(aside), await sem.read(reader), await a.lock(far), await b.lock(writer)];
  const elsewhere = Promise.resolve(a.lock(aside));
  const waiting = Promise.resolve(b.lock(reader));
  await t.rejects(async () => sem.write(writer), { code: 'EDEADLK' });
  const [found] = seen.filter(({ kind }) => kind === 'deadlock');
  t.match(found?.circle, [{ task: /writer/ }, { task: /reader/ }]);
  t.equal(found?.circle?.length, 2);
  for (const guard of held.reverse()) guard.release();
  for (const guard of [await elsewhere, await waiting]) guard.release();
});

t.test('a reader that waits behind a waiting writer waits for the readers in front', async (t) => {
  const { task, seen } = machine();
  const [reader, writer, third] = [task('reader'), task('writer'), task('third')];
  const sem = new RwSem('s_umount', class_key('s_umount', 'rwsem', 'queue'));
  const mutex = new Mutex('alloc_lock', class_key('alloc_lock', 'mutex', 'queue'));
  const shared = await sem.read(reader);
  const mine = await mutex.lock(third);
  const exclusive = sem.write(writer);
  const behind = sem.read(third);
  await t.rejects(async () => mutex.lock(reader), { code: 'EDEADLK' });
  t.equal(seen.find(({ kind }) => kind === 'deadlock')?.circle?.length, 3);
  shared.release();
  (await exclusive).release();
  (await behind).release();
  mine.release();
});

t.test('a folio that its own waiter has locked', async (t) => {
  const { task, seen } = machine();
  const own = task();
  const folio = new BitLock('folio');
  const held = now(folio.lock(own));
  await t.rejects(folio.waitUnlocked(own), { code: 'EDEADLK' });
  t.same(
    seen.map(({ kind }) => kind),
    ['deadlock'],
  );
  held.release();
});

t.test('who can be interrupted may wait for as long as it likes', async (t) => {
  const { task, seen } = machine('warn', 20);
  const [owner, waiter, stuck] = [task('owner'), task('waiter'), task('stuck')];
  const [lock, other] = [new Mutex('open_mutex'), new Mutex('f_pos_lock')];
  const [held, heldToo] = [now(lock.lock(owner)), now(other.lock(owner))];
  const waiting = lock.lock(waiter, 0, { interruptible: true });
  const stuckWaiting = other.lock(stuck);
  while (seen.length === 0) await new Promise((resolve) => owner.sched.timer(5, () => resolve(undefined)));
  heldToo.release();
  held.release();
  (await waiting).release();
  (await stuckWaiting).release();
  t.match(seen, [{ kind: 'hung-task', message: /stuck.*f_pos_lock/ }]);
  t.equal(seen.length, 1, 'the other one has slept for longer');
});

t.test('a task that sleeps for too long is reported with who has what it wants', async (t) => {
  const { task, seen } = machine('warn', 20);
  const [owner, waiter] = [task('owner'), task('waiter')];
  const lock = new Mutex('open_mutex');
  const held = now(lock.lock(owner));
  const waiting = lock.lock(waiter);
  while (seen.length === 0) await new Promise((resolve) => owner.sched.timer(5, () => resolve(undefined)));
  held.release();
  (await waiting).release();
  t.match(seen, [{ kind: 'hung-task', rule: 'task#goes-on', message: /waiter.*open_mutex.*held by owner/ }]);
});
