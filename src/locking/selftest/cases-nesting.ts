/** Several locks of one class: by nesting level, under an outer lock, in an order of their own; and reclaim, which comes back to who allocates. */
import { fs_reclaim } from '../lock-map.js';
import { KINDS, type Kind, kindOf } from './kinds.js';
import type { Case, Expected, Stage } from './scenario.js';

const ORDER = ['lock-order'] as const;
const unlessRecursive = (kind: Kind): Expected => (kind.recursive ? 'nothing' : ORDER);

/** Take locks of one class, each on its level, and drop them. */
function levels(stage: Stage, kind: Kind, ...steps: readonly (readonly [name: string, subclass: number])[]): void {
  const guards = steps.map(([name, subclass]) => stage.take(stage.subject(kind, name), stage.task, { subclass }));
  for (const guard of guards.reverse()) guard?.release();
}

function nestingLevels(): Case[] {
  const cases: Case[] = [];
  for (const kind of KINDS.filter((one) => one.levels)) {
    const column = kind.name;
    const add = (row: string, expected: Expected, run: (stage: Stage) => void) =>
      cases.push({ row, column, expected, run });
    add('level 1, then level 0', 'nothing', (stage) => levels(stage, kind, ['A1', 1], ['A2', 0]));
    add('levels 1, 2, 0, as parents and child', 'nothing', (stage) =>
      levels(stage, kind, ['A1', 1], ['A2', 2], ['A3', 0]),
    );
    add('levels 1-0 and 0-1', unlessRecursive(kind), (stage) => {
      levels(stage, kind, ['A1', 1], ['A2', 0]);
      levels(stage, kind, ['A1', 0], ['A2', 1]);
    });
    add('level 1 twice', unlessRecursive(kind), (stage) => levels(stage, kind, ['A1', 1], ['A2', 1]));
  }
  return cases;
}

/** Locks of one class in the order of their numbers. */
function numbered(stage: Stage, kind: Kind, names: string): void {
  const numbers = new Map<object, number>();
  const compare = (a: object, b: object): number => (numbers.get(a) ?? 0) - (numbers.get(b) ?? 0);
  const key = 'ordered';
  const subjects = new Map<string, ReturnType<Stage['subject']>>();
  // One key for all: the class of the first is that of the others.
  const first = kind.make(key, 'A1', new Map(), compare);
  for (const run of names.split(' ')) {
    const guards = [...run].map((digit) => {
      let subject = subjects.get(digit);
      if (subject === undefined) {
        subject = subjects.size === 0 ? first : kind.make(key, `A${digit}`, new Map(), compare);
        Object.assign(subject.lock, { key: (first.lock as unknown as { key: object }).key });
        subjects.set(digit, subject);
      }
      numbers.set(subject.lock, Number(digit) % 5);
      return stage.take(subject);
    });
    for (const guard of guards.reverse()) guard?.release();
  }
}

function orderedClasses(): Case[] {
  const cases: Case[] = [];
  for (const kind of KINDS) {
    const column = kind.name;
    const add = (row: string, expected: Expected, names: string) =>
      cases.push({ row, column, expected, run: (stage) => numbered(stage, kind, names) });
    add('by address: two ascending', 'nothing', '12');
    add('by address: three ascending', 'nothing', '123');
    add('by address: pairs of three', 'nothing', '12 23 13');
    add('by address: descending', unlessRecursive(kind), '21');
    add('by address: ascending, then descending', unlessRecursive(kind), '12 21');
    // 1 and 6 have one place.
    add('by address: two of one place', unlessRecursive(kind), '16');
  }
  return cases;
}

function outerLocks(): Case[] {
  const cases: Case[] = [];
  // Readers of spinning locks cannot name one.
  for (const kind of KINDS.filter(({ spins, shared }) => !(spins && shared))) {
    const outer = kindOf(kind.spins ? 'spin' : 'mutex');
    const column = kind.name;
    const nested = (stage: Stage, held: boolean, nest: boolean): void => {
      const lock = stage.subject(outer, 'O');
      const guards = [
        held ? stage.take(lock) : undefined,
        stage.take(stage.subject(kind, 'A1')),
        stage.take(stage.subject(kind, 'A2'), stage.task, nest ? { nest: lock.lock } : {}),
      ];
      for (const guard of guards.reverse()) guard?.release();
    };
    cases.push(
      { row: 'nested under an outer lock', column, expected: 'nothing', run: (stage) => nested(stage, true, true) },
      { row: 'nested, outer lock not held', column, expected: ORDER, run: (stage) => nested(stage, false, true) },
      { row: 'outer lock held, but not named', column, expected: ORDER, run: (stage) => nested(stage, true, false) },
      {
        row: 'nested under an outer lock, then without',
        column,
        expected: ORDER,
        run: (stage) => {
          nested(stage, true, true);
          nested(stage, true, false);
        },
      },
    );
  }
  return cases;
}

/** Allocate, which may enter reclaim. */
const allocate = (stage: Stage): void => fs_reclaim.might(stage.task);

/** Make moves with locks of a kind while memory is reclaimed. */
function inReclaim(stage: Stage, kind: Kind, moves: string): void {
  const held = fs_reclaim.enter(stage.task);
  stage.play(kind, moves);
  held.release();
}

/** Allocate with A held. */
function allocateUnder(stage: Stage, kind: Kind): void {
  stage.play(kind, 'A+');
  allocate(stage);
  stage.play(kind, 'A-');
}

function reclaimOf(kind: Kind): Case[] {
  const column = kind.name;
  return [
    {
      row: 'reclaim takes A, A allocates',
      column,
      expected: unlessRecursive(kind),
      run: (stage) => {
        inReclaim(stage, kind, 'A+ A-');
        allocateUnder(stage, kind);
      },
    },
    {
      row: 'A allocates, reclaim takes A',
      column,
      expected: unlessRecursive(kind),
      run: (stage) => {
        allocateUnder(stage, kind);
        inReclaim(stage, kind, 'A+ A-');
      },
    },
    {
      row: 'reclaim takes A-B, B allocates',
      column,
      expected: unlessRecursive(kind),
      run: (stage) => {
        inReclaim(stage, kind, 'A+ B+ B- A-');
        stage.play(kind, 'B+');
        allocate(stage);
      },
    },
    {
      row: 'A allocates, reclaim tries for A',
      column,
      // A sequence lock has no try: reclaim leaves it alone.
      expected: 'nothing',
      run: (stage) => {
        allocateUnder(stage, kind);
        inReclaim(stage, kind, kind.name === 'seq' ? 'B+ B-' : 'A? A-');
      },
    },
    {
      row: 'reclaim allocates under A',
      column,
      expected: ORDER,
      run: (stage) => {
        const held = fs_reclaim.enter(stage.task);
        allocateUnder(stage, kind);
        held.release();
      },
    },
  ];
}

export const nestingCases = (): Case[] => [
  ...nestingLevels(),
  ...orderedClasses(),
  ...outerLocks(),
  ...KINDS.flatMap(reclaimOf),
];
