/**
 * A row of the contract as it is checked at run time, found once: which rules speak at the call and which at the return, under which
 * name the caller states the lock of each, and what a row that may not block forbids.
 */
import { rowsOfSection } from '../contract/index.js';
import { type LockName, type LockRule, NEVER_SLEEP, type Row } from '../contract/row.js';
import type { HeldLock } from '../sched/validator.js';
import { lock_number } from './lockdep/class.js';

/** What must be held: nothing, anything, or the lock exclusively. */
export const WANT_NONE = 0;
export const WANT_ANY = 1;
export const WANT_WRITE = 2;

/** The roles that most rows have. */
export const ROLES = {
  inode: 0,
  folio: 1,
  dir: 2,
  mapping: 3,
  mm: 4,
  sb: 5,
  victim: 6,
  old_dir: 7,
  new_dir: 8,
  walk: 9,
  dentry: 10,
  dcache: 11,
} as const;
const numbers: Readonly<Record<string, number>> = ROLES;

type Want = typeof WANT_NONE | typeof WANT_ANY | typeof WANT_WRITE;

/** One rule as it is checked. A class, so that all of them have one shape: rules are looked at in every call. */
export class RuleCheck {
  readonly rule: LockRule;
  /** The name under which the participants state the lock: the role, or `role/variant` where the row tells variants apart. */
  readonly key: string;
  /** The key as a number, if it is one of the frequent ones. */
  readonly role: number;
  /** The lock that the rule speaks of, and its number. */
  readonly lock: LockName;
  readonly number: number;
  readonly want: Want;
  /** The caller's lock is given up by the operation. */
  readonly released: boolean;

  constructor(rule: LockRule, key: string, released: boolean) {
    this.rule = rule;
    this.key = key;
    this.role = numbers[key] ?? -1;
    this.lock = rule.lock;
    this.number = lock_number(rule.lock);
    this.want = rule.mode === 'none' ? WANT_NONE : rule.mode === 'write' ? WANT_WRITE : WANT_ANY;
    this.released = released;
  }
}

export interface RowChecks {
  readonly row: Row;
  /** What the caller holds, or must not hold, at the call. */
  readonly atCall: readonly RuleCheck[];
  /** Whether anything is to be looked at before the call. */
  readonly asks: boolean;
  /** Alternatives: of each group one must be held at the call. */
  readonly groups: readonly (readonly RuleCheck[])[];
  /** The caller's locks as they are at the return: held still, or given up. */
  readonly atReturn: readonly RuleCheck[];
  /** Those of them that are given up. */
  readonly released: readonly RuleCheck[];
  /** What the operation takes and returns with. */
  readonly acquired: readonly RuleCheck[];
  /** The first of those. */
  readonly brings: RuleCheck | undefined;
  /** What the operation takes and drops again. */
  readonly takes: readonly RuleCheck[];
  /** 1 where the operation may not sleep. */
  readonly atomic: number;
  /** Where it may sleep in some cases only: it may not where the caller states the lock of one of these. */
  readonly atomicWith: readonly RuleCheck[];
  /** Another operation may have kept locks until this one, which gives them up. */
  readonly ends: boolean;
  /** The number of locks at the return is exact: the row speaks of single locks, not of a batch. */
  readonly exact: boolean;
}

/** The role of a batch: the operation gives up those that it tries, and may leave the rest to its caller (readahead). */
const BATCH = 'folios';

/** The locks that an operation has taken for itself that may keep them until this one. What the rules speak of is none of them. */
export function keptFor({ row, released }: RowChecks, held: readonly HeldLock[]): HeldLock[] {
  return held.filter(
    ({ takenIn, name }) =>
      takenIn?.keepsUntil === row.op && takenIn.section === row.section && !released.some(({ lock }) => lock === name),
  );
}

const compiled = new Map<Row, RowChecks>();

/** The checks of a row. */
export function checksOf(row: Row): RowChecks {
  return compiled.get(row) ?? compile(row);
}

function compile(row: Row): RowChecks {
  const all = row.rules.map((rule) => check(row, rule));
  const caller = all.filter(({ rule }) => rule.heldBy === 'caller');
  const operation = all.filter(({ rule }) => rule.heldBy === 'operation');
  const alternatives = new Map<string, RuleCheck[]>();
  for (const one of caller) {
    const { oneOf } = one.rule;
    if (oneOf !== undefined) alternatives.set(oneOf, [...(alternatives.get(oneOf) ?? []), one]);
  }
  const agreed = agreedAtCall(caller);
  const acquired = operation.filter(({ rule }) => rule.atReturn === 'acquired');
  const fresh: RowChecks = {
    row,
    atCall: [...agreed, ...caller.filter(({ rule }) => rule.oneOf === undefined)],
    asks: caller.length > 0,
    groups: [...alternatives.values()],
    atReturn: caller.filter(({ rule, want }) => rule.oneOf === undefined && want !== WANT_NONE && rule.of !== BATCH),
    released: caller.filter(({ released, rule }) => released && rule.of !== BATCH),
    acquired,
    brings: acquired[0],
    takes: operation.filter(({ rule }) => rule.atReturn !== 'acquired'),
    atomic: row.mayBlock === 'no' ? 1 : 0,
    atomicWith:
      row.mayBlock === 'maybe'
        ? caller.filter(({ rule, want }) => want !== WANT_NONE && NEVER_SLEEP.has(rule.lock))
        : [],
    ends: rowsOfSection(row.section).some(({ keepsUntil }) => keepsUntil === row.op),
    exact: agreed.length === 0 && !all.some(({ rule }) => rule.of === BATCH),
  };
  compiled.set(row, fresh);
  return fresh;
}

/**
 * Variants that differ in nothing but the state at the return: at the call the role alone states the lock, and the result says later which of them
 * applies (writepage).
 */
function agreedAtCall(caller: readonly RuleCheck[]): RuleCheck[] {
  const agreed: RuleCheck[] = [];
  for (const one of caller) {
    const { lock, of, mode, variant } = one.rule;
    if (variant === undefined || agreed.some(({ rule }) => rule.lock === lock && rule.of === of)) continue;
    const others = caller.filter(({ rule }) => rule !== one.rule && rule.lock === lock && rule.of === of);
    if (others.length === 0 || !others.every(({ rule }) => rule.mode === mode)) continue;
    if (others.every(({ rule }) => rule.atReturn === one.rule.atReturn)) continue;
    agreed.push(new RuleCheck(one.rule, of, false));
  }
  return agreed;
}

function check(row: Row, rule: LockRule): RuleCheck {
  // One role may have two locks in a row; then the lock's name tells them apart.
  const ambiguous = row.rules.some(
    (other) => other.of === rule.of && other.lock !== rule.lock && other.oneOf === undefined,
  );
  const role = ambiguous ? `${rule.of}.${rule.lock}` : rule.of;
  const key = rule.variant === undefined ? role : `${role}/${rule.variant}`;
  return new RuleCheck(rule, key, rule.atReturn === 'released');
}
