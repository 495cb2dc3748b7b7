/** Locks that are wanted by many: the order in which they get it, waits that are broken off, downgrading, and a model of it all. */
import fc from 'fast-check';
import t from 'tap';
import { BitLock } from '../../src/locking/bitlock.js';
import type { Held } from '../../src/locking/held.js';
import { class_key } from '../../src/locking/lockdep/class.js';
import type { Violation } from '../../src/locking/lockdep/violation.js';
import { Lockdep } from '../../src/locking/lockdep.js';
import { Mutex } from '../../src/locking/mutex.js';
import { RwSem } from '../../src/locking/rwsem.js';
import { lockStats } from '../../src/report/lock-stat.js';
import { RealScheduler } from '../../src/sched/real.js';
import { Task } from '../../src/sched/task.js';

function machine() {
  const seen: Violation[] = [];
  const validator = new Lockdep('warn', (violation) => seen.push(violation));
  const sched = new RealScheduler();
  const settle = async (): Promise<void> => {
    for (let i = 0; i < 8; i++) await sched.yield();
  };
  return { seen, validator, sched, settle, task: () => new Task(sched, validator) };
}

t.test('readers do not starve a writer, nor writers a reader', async (t) => {
  const { task, settle } = machine();
  const sem = new RwSem('s_umount');
  const order: string[] = [];
  const use = async (name: string, mode: 'read' | 'write'): Promise<void> => {
    const own = task();
    const held = await (mode === 'read' ? sem.read(own) : sem.write(own));
    order.push(name);
    await settle();
    held.release();
  };
  const all = [
    use('r1', 'read'),
    use('r2', 'read'),
    use('w1', 'write'),
    use('r3', 'read'),
    use('w2', 'write'),
    use('r4', 'read'),
  ];
  await Promise.all(all);
  // A reader that comes after a waiting writer does not overtake it, and the other way round.
  t.same(order, ['r1', 'r2', 'w1', 'r3', 'w2', 'r4']);
});

t.test('a wait that is broken off leaves the queue as if it had never been', async (t) => {
  const { task, settle, seen } = machine();
  const sem = new RwSem('s_umount');
  const shared = await sem.read(task());
  const impatient = task();
  const writer = sem.write(impatient, 0, { interruptible: true });
  const behind = sem.read(task());
  t.ok(behind instanceof Promise, 'it waits behind the writer');
  impatient.interrupt();
  await t.rejects(async () => writer, { code: 'EINTR' });
  (await behind).release();
  t.notOk(sem.isContended);
  await t.rejects(async () => sem.write(impatient, 0, { interruptible: true }), { code: 'EINTR' });
  shared.release();
  await settle();
  t.notOk(sem.isHeld);
  t.same(seen, []);
});

t.test('a signal does not break a wait that is not interruptible', async (t) => {
  const { task } = machine();
  const mutex = new Mutex('open_mutex');
  const held = await mutex.lock(task());
  const stubborn = task();
  const waiting = mutex.lock(stubborn);
  stubborn.interrupt();
  held.release();
  (await waiting).release();
  t.notOk(mutex.isHeld);
});

t.test('a downgrade lets in the readers at the head, and no writer in between', async (t) => {
  const { task, settle } = machine();
  const sem = new RwSem('s_umount');
  const alone = await sem.write(task());
  const order: string[] = [];
  const enter = async (name: string, got: Held | Promise<Held>): Promise<Held> => {
    const held = await got;
    order.push(name);
    return held;
  };
  const first = enter('reader', sem.read(task()));
  const writer = enter('writer', sem.write(task()));
  const late = enter('late reader', sem.read(task()));
  const shared = sem.downgrade(alone);
  t.equal(shared.mode, 'read');
  t.ok(alone.released);
  await settle();
  t.same(order, ['reader']);
  shared.release();
  (await first).release();
  (await writer).release();
  (await late).release();
  t.same(order, ['reader', 'writer', 'late reader']);
});

t.test('a lock that is handed on is its new owner’s to release', async (t) => {
  const { task, seen } = machine();
  const sem = new RwSem('s_umount');
  const [one, two] = [task(), task()];
  const held = await sem.write(one);
  held.transfer(two);
  t.same([one.held.length, two.held.length], [0, 1]);
  const next = sem.write(one);
  held.release();
  (await next).release();
  t.same(seen, []);
});

t.test('who waits for a page to be unlocked does not wait for all who want to lock it', async (t) => {
  const { task, seen } = machine();
  const lock = new BitLock('folio');
  let held = await lock.lock(task());
  let unlocked = false;
  const waiting = lock.waitUnlocked(task()).then(() => {
    unlocked = true;
  });
  let turns = 0;
  for (; turns < 20 && !unlocked; turns++) {
    const next = lock.lock(task());
    held.release();
    held = await next;
  }
  t.ok(turns <= 2, `it waited for ${turns} holders`);
  held.release();
  await waiting;
  t.same(seen, []);
});

t.test('contention is counted', async (t) => {
  const { task, validator } = machine();
  const sem = new RwSem('s_umount', class_key('s_umount', 'rwsem', 'counted'));
  const held = await sem.write(task());
  const waiting = [sem.read(task()), sem.read(task())];
  held.release();
  for (const one of waiting) (await one).release();
  const [write, read] = lockStats(validator);
  t.match(write, { name: 'counted:s_umount-W', contentions: 0, acquisitions: 1 });
  t.match(read, { name: 'counted:s_umount-R', contentions: 2, acquisitions: 2 });
  t.ok((read?.wait.max ?? -1) >= (read?.wait.min ?? 0));
});

/** The model: who holds, and who waits, first come first served. */
class Model {
  readonly holders = new Map<number, 'read' | 'write'>();
  readonly queue: { id: number; mode: 'read' | 'write' }[] = [];

  #free(mode: 'read' | 'write'): boolean {
    const modes = [...this.holders.values()];
    return mode === 'read' ? !modes.includes('write') : modes.length === 0;
  }

  want(id: number, mode: 'read' | 'write'): void {
    this.queue.push({ id, mode });
    this.#serve();
  }

  tries(id: number, mode: 'read' | 'write'): boolean {
    if (this.queue.length > 0 || !this.#free(mode)) return false;
    this.holders.set(id, mode);
    return true;
  }

  drop(id: number): void {
    this.holders.delete(id);
    this.#serve();
  }

  downgrade(id: number): void {
    this.holders.set(id, 'read');
    this.#serve();
  }

  breakOff(id: number): void {
    const at = this.queue.findIndex((one) => one.id === id);
    if (at >= 0) this.queue.splice(at, 1);
    this.#serve();
  }

  #serve(): void {
    for (let head = this.queue[0]; head !== undefined && this.#free(head.mode); head = this.queue[0]) {
      this.queue.shift();
      this.holders.set(head.id, head.mode);
    }
  }
}

type Move = readonly ['read' | 'write' | 'tryRead' | 'tryWrite' | 'drop' | 'downgrade' | 'interrupt', number];

const TASKS = 5;
const moves = (modes: readonly Move[0][]) =>
  fc.array(fc.tuple(fc.constantFrom(...modes), fc.integer({ min: 0, max: TASKS - 1 })), { maxLength: 60 });

/** Play moves on a lock and on the model: after each, the same tasks hold it in the same modes, and the same wait in the same order. */
async function play(lock: RwSem<'s_umount'> | Mutex<'open_mutex'>, plan: readonly Move[]): Promise<void> {
  const { task, settle, seen } = machine();
  const model = new Model();
  const tasks = Array.from({ length: TASKS }, task);
  const held = new Map<number, Held>();
  const waiting = new Set<number>();
  const has = (id: number): boolean => held.has(id) || waiting.has(id);
  const want = (id: number, own: Task, mode: 'read' | 'write'): void => {
    const options = { interruptible: true };
    const got =
      lock instanceof Mutex
        ? lock.lock(own, 0, options)
        : mode === 'read'
          ? lock.read(own, 0, options)
          : lock.write(own, 0, options);
    model.want(id, mode);
    if (!(got instanceof Promise)) held.set(id, got);
    else {
      waiting.add(id);
      got.then(
        (guard) => {
          waiting.delete(id);
          held.set(id, guard);
        },
        () => waiting.delete(id),
      );
    }
  };
  for (const [what, id] of plan) {
    const own = tasks[id];
    if (own === undefined) continue;
    const guard = held.get(id);
    if ((what === 'read' || what === 'write') && !has(id)) want(id, own, lock instanceof Mutex ? 'write' : what);
    else if ((what === 'tryRead' || what === 'tryWrite') && !has(id)) {
      const mode = what === 'tryRead' && !(lock instanceof Mutex) ? 'read' : 'write';
      const got = lock instanceof Mutex ? lock.tryLock(own) : mode === 'read' ? lock.tryRead(own) : lock.tryWrite(own);
      if (model.tries(id, mode) !== (got !== undefined)) throw new Error(`${what} by ${id} is not as in the model`);
      if (got !== undefined) held.set(id, got);
    } else if (what === 'drop' && guard !== undefined) {
      held.delete(id);
      guard.release();
      model.drop(id);
    } else if (what === 'downgrade' && guard?.mode === 'write' && lock instanceof RwSem) {
      held.set(id, lock.downgrade(guard as Held<'s_umount', 'write'>));
      model.downgrade(id);
    } else if (what === 'interrupt' && waiting.has(id)) {
      own.interrupt();
      own.signalled = false;
      model.breakOff(id);
    }
    await settle();
    const now = [...held].map(([owner, { mode }]) => `${owner} ${mode}`).sort();
    const wanted = [...model.holders].map(([owner, mode]) => `${owner} ${mode}`).sort();
    if (now.join() !== wanted.join()) throw new Error(`held by ${now.join()}, and by ${wanted.join()} in the model`);
    const queue = lock.waiting().map((one) => tasks.indexOf(one));
    if (queue.join() !== model.queue.map((one) => one.id).join())
      throw new Error(`${queue.join()} wait in another order`);
  }
  // Everybody gets on: nobody is left behind.
  while (held.size > 0) {
    for (const [id, guard] of [...held]) {
      held.delete(id);
      guard.release();
    }
    await settle();
  }
  if (waiting.size > 0 || lock.isHeld || lock.isContended) throw new Error('somebody is left behind');
  if (seen.length > 0) throw new Error(seen[0]?.message);
}

t.test('a semaphore does what the model does', async (t) => {
  const all = moves([
    'read',
    'write',
    'read',
    'write',
    'tryRead',
    'tryWrite',
    'drop',
    'drop',
    'drop',
    'downgrade',
    'interrupt',
  ]);
  await t.resolves(
    fc.assert(
      fc.asyncProperty(all, (plan) => play(new RwSem('s_umount'), plan)),
      { numRuns: 200 },
    ),
  );
});

t.test('so does a mutex', async (t) => {
  const all = moves(['write', 'write', 'tryWrite', 'drop', 'drop', 'interrupt']);
  await t.resolves(
    fc.assert(
      fc.asyncProperty(all, (plan) => play(new Mutex('open_mutex'), plan)),
      { numRuns: 200 },
    ),
  );
});

t.test('thousands may wait for one lock', async (t) => {
  const { task } = machine();
  const sem = new RwSem('i_rwsem');
  const owner = task();
  const held = await sem.write(owner);
  const before = process.cpuUsage();
  let done = 0;
  const waits = Array.from({ length: 3_000 }, async (_, i) => {
    const own = task();
    const lock = await (i % 3 === 0 ? sem.read(own) : sem.write(own));
    lock.release();
    done++;
  });
  held.release();
  await Promise.all(waits);
  t.equal(done, 3_000);
  const { user, system } = process.cpuUsage(before);
  t.ok(user + system < 20_000_000, 'whether they wait in a circle is not asked of each pair');
});
