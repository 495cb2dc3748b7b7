/** Orders of two to four classes, tries, unbalanced unlocking, and locks that go away: every kind of lock in every row. */
import type { ViolationKind } from '../../sched/validator.js';
import { task_end } from '../context.js';
import { check_lock_freed } from '../held.js';
import { KINDS, type Kind } from './kinds.js';
import type { Case, Expected } from './scenario.js';

const ORDER: readonly ViolationKind[] = ['lock-order'];

/** Take the first, then the second, and drop both. */
const pair = (first: string, second: string): string => `${first}+ ${second}+ ${second}- ${first}-`;

/** Readers that do not exclude each other cannot wait for each other either. */
const unlessRecursive = (kind: Kind): Expected => (kind.recursive ? 'nothing' : ORDER);

const wrongOrders: readonly (readonly [row: string, moves: string])[] = [
  ['A-A deadlock', 'A1+ A2+ A2- A1-'],
  ['A-B-B-A deadlock', `${pair('A', 'B')} ${pair('B', 'A')}`],
  ['A-B-B-C-C-A deadlock', `${pair('A', 'B')} ${pair('B', 'C')} ${pair('C', 'A')}`],
  ['A-B-C-A-B-C deadlock', `${pair('A', 'B')} ${pair('C', 'A')} ${pair('B', 'C')}`],
  ['A-B-B-C-C-D-D-A deadlock', `${pair('A', 'B')} ${pair('B', 'C')} ${pair('C', 'D')} ${pair('D', 'A')}`],
  ['A-B-C-D-B-D-D-A deadlock', `${pair('A', 'B')} ${pair('C', 'D')} ${pair('B', 'D')} ${pair('D', 'A')}`],
  ['A-B-C-D-B-C-D-A deadlock', `${pair('A', 'B')} ${pair('C', 'D')} ${pair('B', 'C')} ${pair('D', 'A')}`],
  ['A-B-C held at once, then C-A', `A+ B+ C+ C- B- A- ${pair('C', 'A')}`],
  ['A dropped under B, then B-C, C-B', 'A+ B+ A- C+ C- B- C+ B+ B- C-'],
];

const rightOrders: readonly (readonly [row: string, moves: string])[] = [
  ['A-B-C in one order', `${pair('A', 'B')} ${pair('B', 'C')} ${pair('A', 'C')}`],
  ['A-B, A-C, B-D, C-D', `${pair('A', 'B')} ${pair('A', 'C')} ${pair('B', 'D')} ${pair('C', 'D')}`],
  ['A-B again and again', `${pair('A', 'B')} ${pair('A', 'B')} ${pair('A1', 'B1')} ${pair('A2', 'B2')}`],
  ['dropped in the order of taking', 'A+ B+ C+ A- B- C- A+ B+ C+ B- A- C-'],
  ['A dropped under B, then C, and A-C', `A+ B+ A- C+ C- B- ${pair('A', 'C')}`],
  ['one after the other, both ways', 'A+ A- B+ B- B+ B- A+ A-'],
];

function orders(): Case[] {
  const cases: Case[] = [];
  for (const kind of KINDS) {
    for (const [row, moves] of wrongOrders) {
      cases.push({ row, column: kind.name, expected: unlessRecursive(kind), run: (stage) => stage.play(kind, moves) });
    }
    for (const [row, moves] of rightOrders) {
      cases.push({ row, column: kind.name, expected: 'nothing', run: (stage) => stage.play(kind, moves) });
    }
  }
  return cases;
}

/** Two kinds of lock, one class each, in both orders. */
function mixedKinds(): Case[] {
  const cases: Case[] = [];
  for (const [i, first] of KINDS.entries()) {
    for (const second of KINDS.slice(i + 1)) {
      // A sleeping lock under a spinning one is wrong for another reason.
      if (first.spins !== second.spins) continue;
      const there = `${first.name}:A+ ${second.name}:B+ ${second.name}:B- ${first.name}:A-`;
      const back = `${second.name}:B+ ${first.name}:A+ ${first.name}:A- ${second.name}:B-`;
      const expected = first.recursive || second.recursive ? 'nothing' : ORDER;
      const row = `A-B-B-A with B a ${second.name}`;
      cases.push({ row, column: first.name, expected, run: (stage) => stage.play(first, `${there} ${back}`) });
    }
  }
  return cases;
}

const tries: readonly (readonly [row: string, moves: string, wrong: boolean])[] = [
  ['A-B, then B with A tried for', 'A+ B+ B- A- B+ A? A- B-', false],
  ['A-B, then A under B tried for', 'A+ B+ B- A- B? A+ A- B-', true],
  ['A-B and B-A, both tried for', 'A? B? B- A- B? A? A- B-', false],
  ['another of the class tried for', 'A1+ A2? A2- A1-', false],
  ['A, B tried for, C; then C-A', 'A+ B? C+ C- B- A- C+ A+ A- C-', true],
];

function trylocks(): Case[] {
  const cases: Case[] = [];
  for (const kind of KINDS) {
    // Sequence locks have no try.
    if (kind.name === 'seq') continue;
    for (const [row, moves, wrong] of tries) {
      const expected = wrong ? unlessRecursive(kind) : 'nothing';
      cases.push({ row, column: kind.name, expected, run: (stage) => stage.play(kind, moves) });
    }
  }
  return cases;
}

function lifetimes(): Case[] {
  const cases: Case[] = [];
  for (const kind of KINDS) {
    const column = kind.name;
    cases.push(
      {
        row: 'taken twice',
        column,
        expected: kind.recursive ? 'nothing' : ['double-lock'],
        run: (stage) => stage.play(kind, 'A+ A+ A- A-'),
      },
      {
        row: 'double unlock',
        column,
        expected: ['unlock-not-owner'],
        run: (stage) => {
          const guard = stage.take(stage.subject(kind, 'A'));
          guard?.release();
          guard?.release();
        },
      },
      {
        row: 'init held',
        column,
        expected: ['lock-held'],
        run: (stage) => {
          stage.play(kind, 'A+');
          check_lock_freed(stage.task, stage.subject(kind, 'A').lock);
        },
      },
      {
        row: 'init when dropped',
        column,
        expected: 'nothing',
        run: (stage) => {
          stage.play(kind, 'A+ A-');
          check_lock_freed(stage.task, stage.subject(kind, 'A').lock);
        },
      },
      {
        row: 'held at the end of the task',
        column,
        expected: ['held-at-task-end'],
        run: (stage) => {
          stage.play(kind, 'A+');
          task_end(stage.task);
        },
      },
    );
  }
  return cases;
}

export const orderCases = (): Case[] => [...orders(), ...mixedKinds(), ...trylocks(), ...lifetimes()];
