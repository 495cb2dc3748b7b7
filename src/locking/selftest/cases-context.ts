/** Contexts: what may be waited for where, and locks that completions take as well. */
import { address_space_operations } from '../../contract/address-space.js';
import type { Task } from '../../sched/task.js';
import { call } from '../context.js';
import { KINDS, type Kind, kindOf, RCU_KIND } from './kinds.js';
import { permutations } from './permutations.js';
import type { Case, Expected, Stage } from './scenario.js';

const ALL: readonly Kind[] = [...KINDS, RCU_KIND];
const SPINNING = KINDS.filter(({ spins }) => spins);
const SLEEPING = KINDS.filter(({ spins }) => !spins);

/** Every kind inside every kind: what sleeps may not be taken under what spins, whether or not it would have slept. */
function waitContexts(): Case[] {
  const cases: Case[] = [];
  const asleep = (wrong: boolean): Expected => (wrong ? ['sleep-in-atomic'] : 'nothing');
  for (const inner of ALL) {
    for (const outer of ALL) {
      cases.push({
        row: `in ${outer.name} context`,
        column: inner.name,
        expected: asleep(outer.spins && !inner.spins),
        run: (stage) => stage.play(inner, `${outer.name}:A+ ${inner.name}:B+ ${inner.name}:B- ${outer.name}:A-`),
      });
    }
    cases.push(
      {
        row: 'in completion context',
        column: inner.name,
        expected: asleep(!inner.spins),
        run: (stage) => {
          const task = stage.newCompletion();
          stage.take(stage.subject(inner, 'A'), task)?.release();
        },
      },
      {
        row: 'in an operation that may not block',
        column: inner.name,
        expected: asleep(!inner.spins),
        run: (stage) => {
          const row = address_space_operations.dirty_folio;
          call(stage.task, row, {}, () => stage.play(inner, 'A+ A-'));
        },
      },
    );
  }
  for (const inner of SLEEPING) {
    for (const outer of [...SPINNING, RCU_KIND]) {
      cases.push({
        row: `after ${outer.name} was dropped`,
        column: inner.name,
        expected: 'nothing',
        run: (stage) => stage.play(inner, `${outer.name}:A+ ${outer.name}:A- ${inner.name}:B+ ${inner.name}:B-`),
      });
    }
  }
  return cases;
}

/** An event of a play in which completions take part. */
type Event = (stage: Stage) => void;

/** One lock after the other, all dropped in reverse; the first with completions kept away if asked for. */
const held =
  (kinds: readonly Kind[], names: string, irq: boolean, who?: (stage: Stage) => Task): Event =>
  (stage) => {
    const task = who?.(stage) ?? stage.task;
    const guards = [...names].map((name, i) => {
      const kind = kinds[i] ?? kinds[0];
      return kind === undefined ? undefined : stage.take(stage.subject(kind, name), task, { irq: irq && i === 0 });
    });
    for (const guard of guards.reverse()) guard?.release();
  };
const open = (kind: Kind, names: string): Event => held([kind, kind, kind], names, false);
const closed = (kind: Kind, names: string): Event => held([kind, kind, kind], names, true);
const completion = (kind: Kind, name: string): Event => held([kind], name, false, (stage) => stage.newCompletion());

/** The events in every order. */
function inAllOrders(row: string, kind: Kind, expected: Expected, events: readonly Event[]): Case[] {
  return permutations(events).map(([order, plays]) => ({
    row: `${row} /${order}`,
    column: kind.name,
    expected,
    run: (stage) => {
      for (const play of plays) play(stage);
    },
  }));
}

function completions(): Case[] {
  const cases: Case[] = [];
  for (const kind of SPINNING) {
    // Where all are readers that do not exclude each other, a completion waits for nobody: there they never queue.
    const wrong: Expected = kind.shared ? 'nothing' : ['lock-usage'];
    cases.push(
      ...inAllOrders('completions-on + completion-safe-A', kind, wrong, [open(kind, 'A'), completion(kind, 'A')]),
      ...inAllOrders('completions-off + completion-safe-A', kind, 'nothing', [
        closed(kind, 'A'),
        completion(kind, 'A'),
      ]),
      ...triedFor(kind, wrong),
      ...inAllOrders('safe-A + unsafe-B #1', kind, wrong, [closed(kind, 'AB'), open(kind, 'B'), completion(kind, 'A')]),
      ...inAllOrders('safe-A + B + unsafe-C #2', kind, wrong, [
        (stage) => {
          closed(kind, 'AB')(stage);
          completion(kind, 'A')(stage);
        },
        closed(kind, 'BC'),
        open(kind, 'C'),
      ]),
      ...inAllOrders('safe-A + B always off', kind, 'nothing', [
        closed(kind, 'AB'),
        closed(kind, 'B'),
        completion(kind, 'A'),
      ]),
      ...inAllOrders('completions on while B is held', kind, wrong, [
        (stage) => {
          // A switches them off, and on again under B.
          const a = stage.take(stage.subject(kind, 'A'), stage.task, { irq: true });
          const b = stage.take(stage.subject(kind, 'B'));
          a?.release();
          b?.release();
        },
        completion(kind, 'B'),
      ]),
    );
  }
  return [
    ...cases,
    ...readers(kindOf('rlock'), kindOf('wlock')),
    ...readers(kindOf('rrlock'), kindOf('wrlock')),
    ...queued(),
  ];
}

/** Who tries for a lock waits for nobody, but the completion waits for who has got it. */
function triedFor(kind: Kind, wrong: Expected): Case[] {
  if (kind.name === 'seq') return [];
  const tried: Event = (stage) => stage.play(kind, 'A? A-');
  return [
    ...inAllOrders('A tried for with completions on + completion-safe-A', kind, wrong, [tried, completion(kind, 'A')]),
    ...inAllOrders('A taken + A tried for in a completion', kind, 'nothing', [
      open(kind, 'A'),
      (stage) => stage.subject(kind, 'A').tryTake?.(stage.newCompletion())?.release(),
    ]),
  ];
}

/** Readers and writers of one kind of lock, in completions and outside. */
function readers(read: Kind, write: Kind): Case[] {
  const cases: Case[] = [];
  cases.push(
    ...inAllOrders('completion read-recursion #1', read, 'nothing', [
      closed(write, 'A'),
      open(read, 'A'),
      completion(read, 'A'),
    ]),
    ...inAllOrders('completion read-recursion #2', read, ['lock-usage'], [open(read, 'A'), completion(write, 'A')]),
    ...inAllOrders('completion reads, write-held', write, ['lock-usage'], [open(write, 'A'), completion(read, 'A')]),
    ...inAllOrders(
      'completion read inversion',
      write,
      ['lock-usage'],
      [closed(write, 'AB'), open(write, 'B'), completion(read, 'A')],
    ),
    ...inAllOrders('completion reads A, read A over B', read, 'nothing', [
      held([read, write], 'AB', true),
      open(write, 'B'),
      completion(read, 'A'),
    ]),
  );
  // The completion waits for who has A, shared or alone, and that one, shared or alone, for who has B and is interrupted.
  for (const [a, b] of [
    [read, write],
    [write, read],
  ] as const) {
    cases.push(
      ...inAllOrders(
        `completion takes A, B held, ${a.name} A over ${b.name} B`,
        read,
        ['lock-usage'],
        [held([a, b], 'AB', true), open(write, 'B'), completion(write, 'A')],
      ),
    );
  }
  // Who reads B is interrupted, and the completion reads A: they wait where A was taken alone by somebody who waits for B, a reader behind a writer too.
  for (const [a, b, wrong] of [
    [write, write, true],
    [write, read, !read.recursive],
    [read, write, false],
    [read, read, false],
  ] as const) {
    cases.push(
      ...inAllOrders(
        `completion reads A, B read-held, ${a.name} A over ${b.name} B`,
        read,
        wrong ? ['lock-usage'] : 'nothing',
        [held([a, b], 'AB', true), open(read, 'B'), completion(read, 'A')],
      ),
    );
  }
  return cases;
}

/** Readers that queue outside of completions and in none (the "queued read lock tests" of the kernel). */
function queued(): Case[] {
  const [read, spin] = [kindOf('rlock'), kindOf('spin')];
  const inside = (kinds: readonly Kind[], names: string): Event =>
    held(kinds, names, false, (stage) => stage.newCompletion());
  return [
    ...inAllOrders(
      'read A, B in a completion; B, read A',
      read,
      ['lock-order'],
      [inside([read, spin], 'AB'), held([spin, read], 'BA', true)],
    ),
    ...inAllOrders('B, read A in a completion; read A, B', read, 'nothing', [
      inside([spin, read], 'BA'),
      held([read, spin], 'AB', true),
    ]),
    ...inAllOrders(
      'B in a completion; B, read A; A read with completions on',
      read,
      ['lock-usage'],
      [completion(spin, 'B'), held([spin, read], 'BA', true), open(read, 'A')],
    ),
  ];
}

export const contextCases = (): Case[] => [...waitContexts(), ...completions()];
