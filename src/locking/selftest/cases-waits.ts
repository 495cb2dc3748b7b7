/** Tasks that really wait for each other: circles of two, three and four, circles beside tasks that wait on, and waits that look like one and end. */
import { isErrno } from '../../sched/errno.js';
import type { Task } from '../../sched/task.js';
import { BitLock } from '../bitlock.js';
import type { Held } from '../held.js';
import { RwSem } from '../rwsem.js';
import { KINDS, type Kind, kindOf } from './kinds.js';
import type { Case, Stage } from './scenario.js';

/** In a circle of classes the order is wrong as well. */
const CIRCLE = ['deadlock', 'lock-order'] as const;

/** Take a lock, waiting for it, and drop it as soon as it is had; a refusal ends the wait. */
async function want(kind: Kind, stage: Stage, name: string, task: Task): Promise<void> {
  try {
    (await stage.subject(kind, name).take(task)).release();
  } catch (error) {
    if (!isErrno(error, 'EDEADLK')) throw error;
  }
}

/** As many tasks as there are names, each with one lock, each wanting that of the next. */
async function ring(stage: Stage, holds: Kind, wants: Kind, names: string, outsiders: number): Promise<void> {
  const tasks = [...names].map((name) => ({ name, task: stage.newTask() }));
  const guards = new Map<string, Held | undefined>();
  for (const { name, task } of tasks) guards.set(name, stage.take(stage.subject(holds, name), task));
  const waiting: Promise<void>[] = [];
  for (let i = 0; i < outsiders; i++) waiting.push(want(wants, stage, names.charAt(i % names.length), stage.newTask()));
  for (const [i, { name, task }] of tasks.entries()) {
    const next = names.charAt((i + 1) % names.length);
    waiting.push(want(wants, stage, next, task).then(() => guards.get(name)?.release()));
  }
  await stage.settle();
  await Promise.all(waiting);
}

/** The tasks in a row: each wants what the next one has, and the last wants nothing. */
async function row(stage: Stage, kind: Kind, names: string): Promise<void> {
  const held = [...names].map((name) => {
    const task = stage.newTask();
    return { name, task, guard: stage.take(stage.subject(kind, name), task) };
  });
  const waiting = held.map(async ({ task, guard }, i) => {
    const next = held[i + 1];
    if (next !== undefined) await want(kind, stage, next.name, task);
    else await stage.settle();
    guard?.release();
  });
  await Promise.all(waiting);
}

function circles(): Case[] {
  const cases: Case[] = [];
  const sleeping = KINDS.filter(({ spins }) => !spins);
  for (const kind of sleeping) {
    // Readers do not wait for readers: those of a semaphore hold it shared and want it alone.
    const wants = kind.shared ? kindOf('wsem') : kind;
    for (const names of ['AB', 'ABC', 'ABCD']) {
      cases.push({
        row: `${names.length} tasks wait in a circle`,
        column: kind.name,
        expected: CIRCLE,
        run: (stage) => ring(stage, kind, wants, names, 0),
      });
    }
    cases.push(
      {
        row: 'a circle beside tasks that wait',
        column: kind.name,
        expected: CIRCLE,
        run: (stage) => ring(stage, kind, wants, 'ABC', 4),
      },
      {
        row: 'four tasks wait in a row',
        column: kind.name,
        expected: 'nothing',
        run: (stage) => row(stage, kind, 'ABCD'),
      },
      {
        row: 'many tasks wait for one',
        column: kind.name,
        expected: 'nothing',
        run: async (stage) => {
          const guard = stage.take(stage.subject(kind, 'A'));
          const waiting = Array.from({ length: 6 }, () => want(wants, stage, 'A', stage.newTask()));
          await stage.settle();
          guard?.release();
          await Promise.all(waiting);
        },
      },
    );
  }
  return cases;
}

function queues(): Case[] {
  return [
    {
      row: 'a reader behind a writer behind a reader that waits for it',
      column: 'rsem',
      expected: CIRCLE,
      run: async (stage) => {
        const [read, write, mutex] = [kindOf('rsem'), kindOf('wsem'), kindOf('mutex')];
        const [first, writer, last] = [stage.newTask(), stage.newTask(), stage.newTask()];
        const shared = stage.take(stage.subject(read, 'A'), first);
        const own = stage.take(stage.subject(mutex, 'B'), last);
        const waiting = [want(write, stage, 'A', writer), want(read, stage, 'A', last).then(() => own?.release())];
        await want(mutex, stage, 'B', first);
        shared?.release();
        await Promise.all(waiting);
      },
    },
    {
      row: 'a downgraded holder lets readers in, and is waited for by none',
      column: 'wsem',
      expected: 'nothing',
      run: async (stage) => {
        const lock = new RwSem('s_umount');
        const [one, two] = [stage.newTask(), stage.newTask()];
        const alone = await lock.write(one);
        const reading = lock.read(two);
        const shared = lock.downgrade(alone);
        (await reading).release();
        shared.release();
      },
    },
  ];
}

/** A bit lock, which anybody may unlock who was left to. */
function bits(): Case[] {
  return [
    {
      row: 'waiting for a lock of its own to be unlocked',
      column: 'bit',
      expected: ['deadlock'],
      run: async (stage) => {
        const lock = new BitLock('folio');
        const held = stage.take({ lock: { name: 'folio', isHeld: false }, take: (task) => lock.lock(task) });
        try {
          await lock.waitUnlocked(stage.task);
        } catch (error) {
          if (!isErrno(error, 'EDEADLK')) throw error;
        }
        held?.release();
      },
    },
    {
      row: 'unlocked by a task that does not hold it',
      column: 'bit',
      expected: ['unlock-not-owner'],
      run: (stage) => {
        const lock = new BitLock('folio');
        const held = stage.take({ lock: { name: 'folio', isHeld: false }, take: (task) => lock.lock(task) });
        lock.unlock(stage.newTask());
        held?.release();
      },
    },
    {
      row: 'left to I/O, unlocked by its completion',
      column: 'bit',
      expected: 'nothing',
      run: (stage) => {
        const lock = new BitLock('folio');
        stage.take({ lock: { name: 'folio', isHeld: false }, take: (task) => lock.lock(task) })?.handOver();
        lock.unlock(stage.newCompletion());
      },
    },
  ];
}

export const waitCases = (): Case[] => [...circles(), ...queues(), ...bits()];
