/** Locks that somebody has forgotten, or gives back for somebody else: told of once, and nobody waits for ever. */
import t from 'tap';
import { task_end } from '../../src/locking/context.js';
import type { Violation } from '../../src/locking/lockdep/violation.js';
import { Lockdep } from '../../src/locking/lockdep.js';
import { RwSem } from '../../src/locking/rwsem.js';
import { RealScheduler } from '../../src/sched/real.js';
import { Task } from '../../src/sched/task.js';
import type { EnforceLevel } from '../../src/sched/validator.js';
import { WaitQueue } from '../../src/sched/wait.js';

function machine(enforce: EnforceLevel) {
  const seen: Violation[] = [];
  const validator = new Lockdep(enforce, (violation) => seen.push(violation));
  const sched = new RealScheduler();
  return { seen, newTask: (comm: string) => new Task(sched, validator, { comm }), sem: new RwSem('i_rwsem') };
}

for (const enforce of ['off', 'warn', 'error'] as const) {
  t.test(`enforce=${enforce}: what a task leaks is given back at its end`, async (t) => {
    const { seen, newTask, sem } = machine(enforce);
    const [leaking, waiting] = [newTask('leaking'), newTask('waiting')];
    const leaked = await sem.write(leaking);
    const wanted = sem.write(waiting);
    if (enforce === 'error') t.throws(() => task_end(leaking), { code: 'EIO' });
    else task_end(leaking);
    t.match(seen, enforce === 'off' ? [] : [{ kind: 'held-at-task-end', held: [{ lock: 'i_rwsem' }] }]);
    (await wanted).release();
    leaked.release();
    t.equal(seen.length, enforce === 'off' ? 0 : 1, 'that it comes back late is not told of again');
    task_end(waiting);
  });
}

t.test('enforce=error: nobody can give back what somebody else holds who sleeps', async (t) => {
  const { seen, newTask, sem } = machine('error');
  const [owner, queue] = [newTask('owner'), new WaitQueue()];
  const held = await sem.write(owner);
  const asleep = queue.wait(owner);
  t.throws(() => held.release(), { code: 'EIO' });
  t.match(seen, [{ kind: 'unlock-not-owner', message: /another task than owner\/0 #\d+, who holds it/ }]);
  t.equal(sem.writer, held, 'its owner has it still');
  queue.wake_all();
  await asleep;
  held.release();
  t.equal(sem.isHeld, false);
  t.equal(seen.length, 1);
});

t.test('shared, alone for a while, and shared again under the same guard', async (t) => {
  const { seen, newTask, sem } = machine('warn');
  const [one, other] = [newTask('one'), newTask('other')];
  const [held, shared] = [await sem.read(one), await sem.read(other)];
  let alone = false;
  const done = sem.exclusively(held, () => {
    alone = sem.writer?.task === one;
  });
  t.equal(alone, false, 'it waits for other readers');
  shared.release();
  await done;
  t.equal(alone, true);
  t.same([held.released, sem.writer], [false, undefined]);
  const second = await sem.read(other);
  second.release();
  held.release();
  t.equal(sem.isHeld, false);
  task_end(one);
  task_end(other);
  t.same(seen, []);
});
