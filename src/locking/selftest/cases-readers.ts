/** Readers: recursive ones (rwlocks that are not queued), ones that queue behind writers (rwlocks, rwsems), and both mixed with writers, in every order of events. */
import { type Kind, kindOf } from './kinds.js';
import { permutations } from './permutations.js';
import type { Case, Expected } from './scenario.js';

const ORDER = ['lock-order'] as const;

/** A lock with both modes, and a lock of its world that has one. */
interface Family {
  readonly read: Kind;
  readonly write: Kind;
  readonly plain: Kind;
  readonly recursive: boolean;
}

const families = (): Family[] => [
  { read: kindOf('rrlock'), write: kindOf('wrlock'), plain: kindOf('spin'), recursive: true },
  { read: kindOf('rlock'), write: kindOf('wlock'), plain: kindOf('spin'), recursive: false },
  { read: kindOf('rsem'), write: kindOf('wsem'), plain: kindOf('mutex'), recursive: false },
];

/** Moves in which r, w and l stand for the family's kinds. */
function spelt({ read, write, plain }: Family, moves: string): string {
  const names: Record<string, string> = { r: read.name, w: write.name, l: plain.name };
  return moves.replace(/\b([rwl]):/g, (_, letter: string) => `${names[letter]}:`);
}

/** With recursive readers, and with readers that queue. */
const rows: readonly (readonly [row: string, moves: string, recursive: Expected, queueing: Expected])[] = [
  ['recursive read lock', 'r:A+ r:A+ r:A- r:A-', 'nothing', ['double-lock']],
  ['recursive read lock, two of a class', 'r:A1+ r:A2+ r:A2- r:A1-', 'nothing', ORDER],
  ['mixed read-write lock', 'r:A+ w:A+ w:A- r:A-', ['double-lock'], ['double-lock']],
  ['mixed write-read lock', 'w:A+ r:A+ r:A- w:A-', ['double-lock'], ['double-lock']],
  ['mixed read-write lock, two of a class', 'r:A1+ w:A2+ w:A2- r:A1-', ORDER, ORDER],
  ['mixed write-read lock, two of a class', 'w:A1+ r:A2+ r:A2- w:A1-', ORDER, ORDER],
  ['mixed read-lock/lock-write ABBA', 'r:A+ l:B+ l:B- r:A- l:B+ w:A+ w:A- l:B-', ORDER, ORDER],
  ['mixed read-lock/lock-read ABBA', 'r:A+ l:B+ l:B- r:A- l:B+ r:A+ r:A- l:B-', 'nothing', ORDER],
  ['mixed write-lock/lock-write ABBA', 'w:A+ l:B+ l:B- w:A- l:B+ w:A+ w:A- l:B-', ORDER, ORDER],
  ['mixed write-lock/lock-read ABBA', 'w:A+ l:B+ l:B- w:A- l:B+ r:A+ r:A- l:B-', ORDER, ORDER],
  [
    'chain cached mixed R-L/L-W ABBA',
    'r:A+ l:B+ l:B- r:A- l:B+ r:A+ r:A- l:B- r:A+ l:B+ l:B- r:A- l:B+ w:A+ w:A- l:B-',
    ORDER,
    ORDER,
  ],
  ['chain cached mixed W-R/R-R', 'w:A+ r:B+ r:B- w:A- r:A+ r:B+ r:B- r:A- r:B+ r:A+ r:A- r:B-', 'nothing', ORDER],
  [
    // The way on from B, read, is open to who writes B only, and that is the longer way to B.
    'A-B read, A-C-B written, B read-D, D-A',
    'l:A+ r:B+ r:B- l:A- l:A+ l:C+ l:C- l:A- l:C+ w:B+ w:B- l:C- r:B+ l:D+ l:D- r:B- l:D+ l:A+ l:A- l:D-',
    ORDER,
    ORDER,
  ],
  // B, read, does not connect A with C where who reads it waits for nobody: A-C is learned by itself.
  ['A-B read-C, then C-A', 'l:A+ r:B+ l:C+ l:C- r:B- l:A- l:C+ l:A+ l:A- l:C-', ORDER, ORDER],
  [
    // That A-B was seen with a reader as well makes it no weaker.
    'A-B written, then read; then read B-A',
    'w:A+ w:B+ w:B- w:A- w:A+ r:B+ r:B- w:A- r:B+ w:A+ w:A- r:B-',
    ORDER,
    ORDER,
  ],
  ['A-B read, B read-D, D-A', 'l:A+ r:B+ r:B- l:A- r:B+ l:D+ l:D- r:B- l:D+ l:A+ l:A- l:D-', 'nothing', ORDER],
  [
    'read A-B both ways, then write A under write B',
    'r:A+ r:B+ r:B- r:A- r:B+ r:A+ r:A- r:B- w:B+ w:A+ w:A- w:B-',
    ORDER,
    ORDER,
  ],
];

/** Three dependencies that close a circle, each as two moves; what becomes of them does not depend on the order in which they are learned. */
const circles: readonly (readonly [row: string, events: readonly [string, string, string], recursive: Expected])[] = [
  ['W1R2/W2R3/W3R1', ['w:A+ r:B+ r:B- w:A-', 'w:B+ r:C+ r:C- w:B-', 'w:C+ r:A+ r:A- w:C-'], ORDER],
  ['W1W2/R2R3/W3R1', ['w:A+ w:B+ w:B- w:A-', 'r:B+ r:C+ r:C- r:B-', 'w:C+ r:A+ r:A- w:C-'], ORDER],
  ['W1W2/R2R3/R3W1', ['w:A+ w:B+ w:B- w:A-', 'r:B+ r:C+ r:C- r:B-', 'r:C+ w:A+ w:A- r:C-'], 'nothing'],
  ['W1R2/R2R3/W3W1', ['w:A+ r:B+ r:B- w:A-', 'r:B+ r:C+ r:C- r:B-', 'w:C+ w:A+ w:A- w:C-'], 'nothing'],
];

/** The cases of this file for every kind of lock that has readers. */
export function readerCases(): Case[] {
  const cases: Case[] = [];
  for (const family of families()) {
    const column = family.read.name;
    for (const [row, moves, recursive, queueing] of rows) {
      const expected = family.recursive ? recursive : queueing;
      cases.push({ row, column, expected, run: (stage) => stage.play(family.read, spelt(family, moves)) });
    }
    for (const [row, events, recursive] of circles) {
      for (const [order, moves] of permutations(events)) {
        cases.push({
          row: `${row} /${order}`,
          column,
          expected: family.recursive ? recursive : ORDER,
          run: (stage) => stage.play(family.read, spelt(family, moves.join(' '))),
        });
      }
    }
  }
  return cases;
}
