/** The ways to weaken a rule of the contract, and all mutants that follow from it. */
import { ALL_ROWS } from '../../src/contract/index.js';
import type { LockName, LockRule, Row } from '../../src/contract/row.js';

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

/** Locks that are held across waits, so that their order matters. */
const SLEEPING: ReadonlySet<LockName> = new Set([...SHARABLE, 's_vfs_rename_sem', 'f_pos_lock', 'open_mutex', 'folio']);

const nameOf = (row: Row): string => `${row.section}.${row.op}`;

export function describe({ row, way, rule, before }: Mutant): string {
  const what = rule === undefined ? nameOf(row) : rule.id;
  return before === undefined ? `${what}: ${way}` : `${what}: ${way} with ${before.lock} of ${before.of}`;
}

/** Every way to weaken every rule. */
export const ALL_MUTANTS: readonly Mutant[] = ALL_ROWS.flatMap((row) => [
  ...row.rules.flatMap((rule) => waysOf(row, rule).map((way): Mutant => ({ row, way, rule }))),
  ...swapped(row),
  ...(row.mayBlock === 'no' ? [{ row, way: 'sleep planted' as const }] : []),
]);

function waysOf(row: Row, rule: LockRule): Way[] {
  if (rule.mode === 'none') return ['held though it must not be'];
  const ways: Way[] = ['not taken'];
  if (rule.mode === 'write' && SHARABLE.has(rule.lock)) ways.push('shared for exclusive');
  if (rule.heldBy === 'operation') {
    if (rule.atReturn === 'none') ways.push('unlock forgotten');
    return ways;
  }
  if (rule.atReturn === 'released') return [...ways, 'unlock forgotten'];
  if (row.mayBlock !== 'no') ways.push('taken late', 'dropped early');
  // A nesting level says something only where several inodes are locked.
  const inodes = row.rules.filter(
    ({ lock, heldBy, mode }) => lock === 'i_rwsem' && heldBy === 'caller' && mode !== 'none',
  );
  if (rule.lock === 'i_rwsem' && new Set(inodes.map(({ of }) => of)).size > 1) ways.push('wrong subclass');
  return ways;
}

/** Each lock of the caller with the one that is taken before it. */
function swapped(row: Row): Mutant[] {
  const taken = row.rules.filter(
    ({ heldBy, mode, oneOf, lock }) =>
      heldBy === 'caller' && mode !== 'none' && oneOf === undefined && SLEEPING.has(lock),
  );
  return taken.flatMap((rule, i) => {
    const before = taken[i - 1];
    // Variants of one rule are one lock.
    return before === undefined || (before.lock === rule.lock && before.of === rule.of)
      ? []
      : [{ row, way: 'order swapped' as const, rule, before }];
  });
}

/** Whether a report comes of reading the very rule that was weakened: it would say so whatever else is wrong. */
export function readsTheRule(rule: string | undefined, mutant: Mutant): boolean {
  const name = nameOf(mutant.row);
  const generic = ['#leaves-no-lock', '#keeps-what-its-caller-holds', '#may-not-block'].map((tail) => name + tail);
  return rule !== undefined && (rule === mutant.rule?.id || generic.includes(rule));
}
