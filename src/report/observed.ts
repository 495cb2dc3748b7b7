/**
 * Which locks were in fact held, by operation and by guarded field, as LockDoc derives it for the kernel from recorded accesses: what was held at
 * every call is what the code believes, and where that is not what the document says, one of the two is wrong.
 */
import type { LockRule, Row } from '../contract/row.js';
import type { Task } from '../sched/task.js';
import type { HeldLock, LockObserver } from '../sched/validator.js';

/** Locks held together: names with modes, in the order of taking; the one that belongs to the object itself is marked. */
export type LockSet = string;

/** How often something was done under each set of locks. */
export interface Observation {
  /** `section.op`, or a guarded field. */
  readonly what: string;
  /** For a field: how it was touched. */
  readonly access: 'call' | 'read' | 'write';
  readonly count: number;
  /** The most frequent first. */
  readonly sets: readonly { readonly locks: LockSet; readonly count: number }[];
  /** What was held every time. */
  readonly always: readonly string[];
}

/** One rule as it was kept. */
interface RuleCount {
  readonly rule: LockRule;
  kept: number;
  broken: number;
}

/** A place where observation and document disagree. */
export interface Disagreement {
  readonly rule: string;
  readonly documented: string;
  readonly observed: string;
}

/** One that looks at nothing, for those that look at some of it. */
export class Onlooker implements LockObserver {
  entered(_task: Task, _row: Row, _participants: Readonly<Record<string, object | undefined>>): void {}
  accessed(_task: Task, _field: string, _write: boolean, _lock: object): void {}
  left(_task: Task, _row: Row, _failed: boolean): void {}
  taken(_task: Task, _held: HeldLock): void {}
  dropped(): void {}
  slept(): void {}
  woke(): void {}
  ended(): void {}
}

export class AccessLog extends Onlooker {
  readonly #sets = new Map<string, Map<LockSet, number>>();
  readonly #rules = new Map<string, RuleCount>();
  readonly #guards = new Map<string, { kept: number; broken: number }>();

  override entered(task: Task, row: Row, participants: Readonly<Record<string, object | undefined>>): void {
    this.#count(`call ${row.section}.${row.op}`, lockSet(task.held, Object.values(participants)));
    for (const rule of row.rules) {
      if (rule.heldBy !== 'caller' || rule.oneOf !== undefined) continue;
      const role = rule.variant === undefined ? rule.of : `${rule.of}/${rule.variant}`;
      const lock = participants[role] ?? participants[`${rule.of}.${rule.lock}`];
      if (lock === undefined || !('name' in lock) || lock.name !== rule.lock) continue;
      const held = task.held.find((one) => one.lock === lock);
      const kept =
        rule.mode === 'none'
          ? held === undefined
          : held !== undefined && (rule.mode !== 'write' || held.mode === 'write');
      const known = this.#rules.get(rule.id) ?? { rule, kept: 0, broken: 0 };
      if (kept) known.kept++;
      else known.broken++;
      this.#rules.set(rule.id, known);
    }
  }

  override accessed(task: Task, field: string, write: boolean, lock: object): void {
    const access = write ? 'write' : 'read';
    this.#count(`${access} ${field}`, lockSet(task.held, [lock]));
    const held = task.held.find((one) => one.lock === lock);
    const known = this.#guards.get(`${access} ${field}`) ?? { kept: 0, broken: 0 };
    if (held !== undefined && (!write || held.mode === 'write')) known.kept++;
    else known.broken++;
    this.#guards.set(`${access} ${field}`, known);
  }

  /** Everything observed, in the order of first sight. */
  observations(): Observation[] {
    return [...this.#sets].map(([key, sets]) => {
      const space = key.indexOf(' ');
      const sorted = [...sets].sort((a, b) => b[1] - a[1]).map(([locks, count]) => ({ locks, count }));
      return {
        what: key.slice(space + 1),
        access: key.slice(0, space) as Observation['access'],
        count: sorted.reduce((sum, { count }) => sum + count, 0),
        sets: sorted,
        always: common(sorted.map(({ locks }) => locks)),
      };
    });
  }

  /** Rules of rows that were not kept every time that they applied, and fields that were changed without their lock. */
  disagreements(): Disagreement[] {
    const found: Disagreement[] = [];
    for (const { rule, kept, broken } of this.#rules.values()) {
      if (broken === 0) continue;
      const documented =
        rule.mode === 'none' ? `${rule.lock} of ${rule.of} not held` : `${rule.lock} of ${rule.of} held (${rule.mode})`;
      found.push({ rule: rule.id, documented, observed: `otherwise in ${broken} of ${kept + broken} calls` });
    }
    for (const [key, { kept, broken }] of this.#guards) {
      if (broken === 0 || !key.startsWith('write ')) continue;
      const name = key.slice('write '.length);
      found.push({
        rule: `guarded#${name}`,
        documented: 'changed with its lock held exclusively',
        observed: `without it in ${broken} of ${kept + broken} changes`,
      });
    }
    return found;
  }

  #count(key: string, locks: LockSet): void {
    let sets = this.#sets.get(key);
    if (sets === undefined) {
      sets = new Map();
      this.#sets.set(key, sets);
    }
    sets.set(locks, (sets.get(locks) ?? 0) + 1);
  }
}

/** `own` marks locks of those who take part. */
function lockSet(held: readonly HeldLock[], own: readonly (object | undefined)[]): LockSet {
  return held
    .map(({ name, subclass, mode, lock }) => {
      const level = subclass === 0 ? '' : `/${subclass}`;
      return `${own.includes(lock) ? 'own ' : ''}${name}${level} (${mode})`;
    })
    .join(', ');
}

/** The locks that are in every set. */
function common(sets: readonly LockSet[]): string[] {
  const [first, ...rest] = sets.map((set) => (set === '' ? [] : set.split(', ')));
  return (first ?? []).filter((lock) => rest.every((other) => other.includes(lock)));
}

/** What was observed and where it disagrees with the document, as text. */
export function observedText(log: AccessLog): string {
  const lines: string[] = [];
  for (const { what, access, count, sets, always } of log.observations()) {
    const verb = access === 'call' ? 'called' : access === 'read' ? 'read' : 'changed';
    lines.push(
      `${what}: ${verb} ${count} times, always with ${always.length === 0 ? 'no lock in common' : always.join(', ')}`,
    );
    for (const { locks, count: times } of sets)
      lines.push(`  ${String(times).padStart(8)}  ${locks === '' ? 'nothing held' : locks}`);
  }
  const wrong = log.disagreements();
  lines.push(
    '',
    wrong.length === 0 ? 'Observation and document agree everywhere.' : 'Observation and document disagree:',
  );
  for (const { rule, documented, observed } of wrong) lines.push(`  ${rule}: ${documented}; ${observed}`);
  return `${lines.join('\n')}\n`;
}

/** Tell several observers, in their order. */
export function observers(...all: readonly LockObserver[]): LockObserver {
  return {
    entered: (...given) => all.forEach((one) => void one.entered(...given)),
    left: (...given) => all.forEach((one) => void one.left(...given)),
    taken: (...given) => all.forEach((one) => void one.taken(...given)),
    dropped: (...given) => all.forEach((one) => void one.dropped(...given)),
    slept: (...given) => all.forEach((one) => void one.slept(...given)),
    woke: (...given) => all.forEach((one) => void one.woke(...given)),
    ended: (...given) => all.forEach((one) => void one.ended(...given)),
    accessed: (...given) => all.forEach((one) => void one.accessed(...given)),
  };
}
