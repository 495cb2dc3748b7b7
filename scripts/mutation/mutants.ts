/** The ways to weaken a rule of the contract, and all mutants that follow from it. */
import { ALL_ROWS } from '../../src/contract/index.js';
import { type LockName, type LockRule, NEVER_SLEEP, type Row } from '../../src/contract/row.js';

export type Way =
  | 'not taken'
  | 'shared for exclusive'
  | 'taken late'
  | 'dropped early'
  | 'wrong subclass'
  | 'order swapped'
  | 'held though it must not be'
  | 'unlock forgotten'
  | 'sleep planted';

export interface Mutant {
  readonly row: Row;
  readonly way: Way;
  /** The rule that is weakened; absent where it is the row's "may not block". */
  readonly rule?: LockRule;
  /** The lock that is taken before it: where the order is swapped. */
  readonly before?: LockRule;
}

/** Locks that can be shared. */
const SHARABLE: ReadonlySet<LockName> = new Set([
  'i_rwsem',
  'invalidate_lock',
  's_umount',
  'mmap_lock',
  'xattr_sem',
  'dqio_sem',
  'dqonoff_sem',
  'dqptr_sem',
]);

/** Locks that come on levels, because several of one class are taken. */
const LEVELLED: ReadonlySet<LockName> = new Set(['i_rwsem', 'invalidate_lock']);

const nameOf = (row: Row): string => `${row.section}.${row.op}`;

export function describe({ row, way, rule, before }: Mutant): string {
  const what = rule === undefined ? nameOf(row) : rule.id;
  return before === undefined ? `${what}: ${way}` : `${what}: ${way} with ${before.lock} of ${before.of}`;
}

/** Every way to weaken every rule. */
export const ALL_MUTANTS: readonly Mutant[] = ALL_ROWS.flatMap((row) => [
  ...row.rules.flatMap((rule) => waysOf(row, rule).map((way): Mutant => ({ row, way, rule }))),
  ...swapped(row),
  ...(row.mayBlock === 'no' || maybe(row) ? [{ row, way: 'sleep planted' as const }] : []),
]);

/** The row may block, but not under some of its locks. */
function maybe({ mayBlock, rules }: Row): boolean {
  return mayBlock === 'maybe' && rules.some(({ lock, mode }) => mode !== 'none' && NEVER_SLEEP.has(lock));
}

function waysOf(row: Row, rule: LockRule): Way[] {
  if (rule.mode === 'none') return ['held though it must not be'];
  const ways: Way[] = ['not taken', 'taken late', 'dropped early', 'unlock forgotten'];
  if (rule.mode === 'write' && SHARABLE.has(rule.lock)) ways.push('shared for exclusive');
  // A nesting level says something only where several of a kind are locked.
  const alike = row.rules.filter(({ lock, mode }) => lock === rule.lock && mode !== 'none');
  if (LEVELLED.has(rule.lock) && new Set(alike.map(({ of }) => of)).size > 1) ways.push('wrong subclass');
  return ways;
}

/** Each lock with the one that is taken before it; read sections of RCU have no order. */
function swapped(row: Row): Mutant[] {
  const taken = row.rules.filter(({ mode, oneOf, lock }) => mode !== 'none' && oneOf === undefined && lock !== 'rcu');
  return taken.flatMap((rule, i) => {
    // Variants of one rule are one lock.
    const before = taken.slice(0, i).findLast(({ lock, of }) => lock !== rule.lock || of !== rule.of);
    return before === undefined ? [] : [{ row, way: 'order swapped' as const, rule, before }];
  });
}

/** What a row says of itself as a whole. */
const OF_THE_ROW = ['#leaves-no-lock', '#may-not-block'];

/**
 * Whether a report comes of reading the rule that was weakened, which would say so whatever else is wrong, or another rule of that lock: rows that are
 * reached with it say of it what this one says. That an operation within the mutant's has lost a lock of its caller is the mutation's own doing.
 */
export function readsTheRule(rule: string | undefined, { row, rule: weakened }: Mutant): boolean {
  if (rule === undefined) return false;
  if (rule.endsWith('#keeps-what-its-caller-holds')) return true;
  if (OF_THE_ROW.some((tail) => rule === nameOf(row) + tail)) return true;
  return ALL_ROWS.some(({ rules }) => rules.some(({ id, lock }) => id === rule && lock === weakened?.lock));
}
