/** What is reported how often, and under which name: a storm of one fault, two faults at once, and locks that pass from hand to hand. */
import { task_end } from '../context.js';
import type { Held } from '../held.js';
import { RwSem } from '../rwsem.js';
import { KINDS, type Kind, kindOf } from './kinds.js';
import type { Case, Stage } from './scenario.js';

const AB = 'A+ B+ B- A-';
const BA = 'B+ A+ A- B-';
/** How often a fault is played, and which of the times are told of: the first, then at every power of two. */
const TIMES = 9;
const TOLD: readonly number[] = [0, 1, 2, 4, 8];

/** Two lists that shall be equal, in words where they are not. */
function differ(what: string, found: readonly unknown[], wanted: readonly unknown[]): string {
  const [is, shall] = [found, wanted].map((list) => list.join(', '));
  return is === shall ? '' : `${what}: ${is || 'nothing'}, and not ${shall || 'nothing'}`;
}

/** The counts with which things were told, and how often each was seen in all. */
function told(stage: Stage, seen: readonly number[], counts: readonly number[]): string {
  return (
    differ(
      'told when seen so often',
      stage.violations.map((violation) => violation.seen),
      seen,
    ) ||
    differ('seen in all', [...stage.validator.counts().values()], counts) ||
    differ('total', [stage.validator.total], [counts.reduce((sum, count) => sum + count, 0)])
  );
}

/** One order broken again, and two broken at once. */
function storms(kind: Kind): Case[] {
  const column = kind.name;
  const expected = ['lock-order'] as const;
  return [
    {
      row: 'A-B-B-A again and again',
      column,
      expected,
      run: (stage) => {
        stage.play(kind, AB);
        for (let i = 0; i < TIMES; i++) stage.play(kind, BA);
      },
      verify: (stage) => told(stage, TOLD, [TIMES]),
    },
    {
      row: 'A-B-B-A again, by others and under others',
      column,
      expected,
      run: (stage) => {
        stage.play(kind, `${AB} ${BA}`);
        const task = stage.newTask();
        const guards = [...'BA'].map((name) => stage.take(stage.subject(kind, name), task));
        for (const guard of guards.reverse()) guard?.release();
        stage.play(kind, `C+ ${BA} C-`);
      },
      verify: (stage) => told(stage, [0, 1, 2], [3]),
    },
    {
      row: 'A-B, C taken wrongly under both; then C-A',
      column,
      expected,
      // That C may not come after B is one thing. It came after A as well, which nothing forbade.
      run: (stage) => stage.play(kind, `C+ B+ B- C- A+ B+ C+ C- B- A- C+ A+ A- C-`),
      verify: (stage) => told(stage, [0, 0], [1, 1]),
    },
    {
      row: 'two faults, each for itself',
      column,
      expected,
      run: (stage) => stage.play(kind, `${AB} C+ D+ D- C- ${BA} D+ C+ C- D-`),
      verify: (stage) => told(stage, [0, 0], [1, 1]),
    },
  ];
}

function usedAgain(kind: Kind): Case {
  return {
    row: 'completion-safe-A, completions on with A, and again under B',
    column: kind.name,
    expected: ['lock-usage'],
    run: (stage) => {
      stage.take(stage.subject(kind, 'A'), stage.newCompletion())?.release();
      stage.play(kind, 'A+ A- B+ A+ A- B-');
    },
    verify: (stage) => told(stage, [0, 1], [2]),
  };
}

function triedBetween(kind: Kind): Case {
  return {
    row: 'two of a class with C tried for between them; then A-C',
    column: kind.name,
    expected: ['lock-order'],
    run: (stage) => stage.play(kind, 'A1+ C? A2+ A2- C- A1- A+ C+ C- A-'),
    verify: (stage) => told(stage, [0, 0], [1, 1]),
  };
}

function toldOnce(): Case[] {
  // Readers of spinning locks may be taken both ways.
  const kinds = KINDS.filter(({ recursive }) => !recursive);
  return [
    ...kinds.flatMap(storms),
    ...kinds.filter(({ spins, shared }) => spins && !shared).map(usedAgain),
    // Sequence locks have no try.
    ...kinds.filter(({ name }) => name !== 'seq').map(triedBetween),
  ];
}

/** The names of the two locks of the first report. */
const names = (wanted: string, holding: string) => (stage: Stage) => {
  const { order } = stage.violations[0] ?? {};
  return differ('wanted and held', [order?.wanted, order?.holding], [wanted, holding]);
};

/** Take a lock and give it to another task. @returns its guard, and who has it now */
function given(stage: Stage, kind: Kind, name: string, subclass = 0) {
  const guard: Held | undefined = stage.take(stage.subject(kind, name), stage.task, { subclass });
  const receiver = stage.newTask();
  guard?.transfer(receiver);
  return { guard, receiver };
}

/** Known already is B alone: what matters is that A is held now. */
function takesInside(kind: Kind): Case {
  const lock = lockNameOf(kind);
  return {
    row: 'A given to another, who takes B; then B-A',
    column: kind.name,
    expected: ['lock-order'],
    run: (stage) => {
      stage.play(kind, 'B+ B-');
      const { guard, receiver } = given(stage, kind, 'A');
      stage.take(stage.subject(kind, 'B'), receiver)?.release();
      guard?.release();
      stage.play(kind, BA);
    },
    verify: names(`A:${lock}`, `B:${lock}`),
  };
}

/** Nobody has waited for A with B held. */
function hasInside(kind: Kind): Case {
  return {
    row: 'A given to another, who has B; then A-B',
    column: kind.name,
    expected: 'nothing',
    run: (stage) => {
      const receiver = stage.newTask();
      const b = stage.take(stage.subject(kind, 'B'), receiver);
      const a = stage.take(stage.subject(kind, 'A'));
      a?.transfer(receiver);
      a?.release();
      b?.release();
      stage.play(kind, AB);
    },
  };
}

/** The giver has A no more when it takes B. */
function takesAfterwards(kind: Kind): Case {
  return {
    row: 'A given away, then B, and B-A',
    column: kind.name,
    expected: 'nothing',
    run: (stage) => {
      const { guard, receiver } = given(stage, kind, 'A');
      stage.play(kind, 'B+ B-');
      guard?.release();
      task_end(receiver);
      stage.play(kind, BA);
    },
  };
}

function keeps(kind: Kind): Case {
  return {
    row: 'given to another, and kept by it',
    column: kind.name,
    expected: ['held-at-task-end'],
    run: (stage) => {
      const { receiver } = given(stage, kind, 'A');
      task_end(stage.task);
      task_end(receiver);
    },
    verify: ({ violations: [first] }) =>
      differ('held at the end', first?.held.map((held) => held.class) ?? [], [`A:${lockNameOf(kind)}`]),
  };
}

function takesInsideLevel(kind: Kind): Case {
  const lock = lockNameOf(kind);
  return {
    row: 'A/1 given to another, who takes B; then B-A/1',
    column: kind.name,
    expected: ['lock-order'],
    run: (stage) => {
      const { guard, receiver } = given(stage, kind, 'A', 1);
      stage.take(stage.subject(kind, 'B'), receiver)?.release();
      guard?.release();
      const b = stage.take(stage.subject(kind, 'B'));
      stage.take(stage.subject(kind, 'A'), stage.task, { subclass: 1 })?.release();
      b?.release();
    },
    verify: names(`A:${lock}/1`, `B:${lock}`),
  };
}

const downgraded: Case = {
  row: 'A downgraded, then B; then B-A',
  column: 'wsem',
  expected: ['lock-order'],
  run: async (stage) => {
    const kind = kindOf('wsem');
    const { lock } = stage.subject(kind, 'A');
    if (!(lock instanceof RwSem)) throw new Error('no semaphore');
    const shared = lock.downgrade(await lock.write(stage.task, 0));
    stage.take(stage.subject(kind, 'B'))?.release();
    shared.release();
    stage.play(kind, BA);
  },
  verify: names('A:s_umount', 'B:s_umount'),
};

function lockNameOf(kind: Kind): string {
  return kind.make('A', 'A', new Map()).lock.name;
}

function handedOver(): Case[] {
  // A spinning lock stays with who has taken it.
  const kinds = KINDS.filter(({ spins }) => !spins);
  const levels = kinds.filter(({ levels }) => levels);
  const ofEach = [takesInside, hasInside, takesAfterwards, keeps];
  return [...kinds.flatMap((kind) => ofEach.map((one) => one(kind))), ...levels.map(takesInsideLevel), downgraded];
}

export const reportCases = (): Case[] => [...toldOnce(), ...handedOver()];
