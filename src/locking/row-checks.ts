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
  // What every call looks at stands first, in one line of the processor's cache.
  /** The next one that speaks at the call. */
  next: RuleCheck | undefined;
  /** The key as a number, if it is one of the frequent ones. */
  readonly role: number;
  /** The number of the lock that the rule speaks of. */
  readonly number: number;
  readonly want: Want;
  /** The caller's lock is given up by the operation. */
  readonly released: boolean;
  /** The name under which the participants state the lock: the role, or `role/variant` where the row tells variants apart. */
  readonly key: string;
  readonly lock: LockName;
  readonly rule: LockRule;

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
  // What every call looks at stands first, in one line of the processor's cache.
  /** Whether anything is to be looked at before the call. */
  readonly asks: boolean;
  /** Whether there are `groups`. */
  readonly chooses: boolean;
  /** Whether there are `begins`. */
  readonly ends: boolean;
  /** Whether there are `takes`, `atomicWith`, `released`. */
  readonly watches: boolean;
  readonly depends: boolean;
  readonly releases: boolean;
  /** 1 where the operation may not sleep. */
  readonly atomic: number;
  /** What the caller holds, or must not hold, at the call: the first of a list. */
  readonly atCall: RuleCheck | undefined;
  /** The first of `acquired`. */
  readonly brings: RuleCheck | undefined;
  readonly row: Row;
  /** Alternatives: of each group one must be held at the call. */
  readonly groups: readonly (readonly RuleCheck[])[];
  /** The caller's locks as they are at the return: held still, or given up. */
  readonly atReturn: readonly RuleCheck[];
  /** Those of them that are given up. */
  readonly released: readonly RuleCheck[];
  /** What the operation takes and returns with. */
  readonly acquired: readonly RuleCheck[];
  /** What the operation takes and drops again. */
  readonly takes: readonly RuleCheck[];
  /** Operations that may have kept locks until this one, which gives them up. */
  readonly begins: readonly Row[];
  /** Where it may sleep in some cases only: it may not where the caller states the lock of one of these. */
  readonly atomicWith: readonly RuleCheck[];
  /** The number of locks at the return is exact: the row speaks of single locks, not of a batch. */
  readonly exact: boolean;
}

/** The role of a batch: the operation gives up those that it tries, and may leave the rest to its caller (readahead). */
const BATCH = 'folios';

/** Whether a lock is one that an operation has taken for itself that may keep it until this one. What the rules speak of is none of them. */
export function isKeptFor({ begins, released }: RowChecks, { takenIn, name }: HeldLock): boolean {
  return takenIn !== undefined && begins.includes(takenIn) && !released.some(({ lock }) => lock === name);
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
  const released = caller.filter(({ released, rule }) => released && rule.of !== BATCH);
  const takes = operation.filter(({ rule }) => rule.atReturn !== 'acquired');
  const atomicWith =
    row.mayBlock === 'maybe' ? caller.filter(({ rule, want }) => want !== WANT_NONE && NEVER_SLEEP.has(rule.lock)) : [];
  const begins = rowsOfSection(row.section).filter(({ keepsUntil }) => keepsUntil === row.op);
  const fresh: RowChecks = {
    asks: caller.length > 0,
    chooses: alternatives.size > 0,
    ends: begins.length > 0,
    watches: takes.length > 0,
    depends: atomicWith.length > 0,
    releases: released.length > 0,
    atomic: row.mayBlock === 'no' ? 1 : 0,
    atCall: listed([...agreed, ...caller.filter(({ rule }) => rule.oneOf === undefined)]),
    brings: acquired[0],
    row,
    groups: [...alternatives.values()],
    atReturn: caller.filter(({ rule, want }) => rule.oneOf === undefined && want !== WANT_NONE && rule.of !== BATCH),
    released,
    acquired,
    takes,
    begins,
    atomicWith,
    exact: agreed.length === 0 && !all.some(({ rule }) => rule.of === BATCH),
  };
  compiled.set(row, fresh);
  return fresh;
}

/** Chain them up. @returns the first */
function listed(checks: readonly RuleCheck[]): RuleCheck | undefined {
  return checks.reduceRight<RuleCheck | undefined>((next, check) => {
    check.next = next;
    return check;
  }, undefined);
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
