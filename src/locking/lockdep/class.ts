/**
 * Lock classes. All locks that follow the same rules are one class: those of one name, of one kind of owner (a filesystem type, say), taken on one
 * nesting level. What is learned of one instance holds for all of its class (struct lock_class_key, struct lock_class).
 */
import type { LockName } from '../../contract/row.js';
import type { Fault } from './fault.js';

/** How a lock is waited for. */
export type LockKind = 'spinlock' | 'rwlock' | 'seqlock' | 'mutex' | 'rwsem' | 'bit' | 'rcu' | 'map';

/** Nesting levels of one lock (MAX_LOCKDEP_SUBCLASSES). */
export const SUBCLASSES = 8;

/** The identity of locks that belong together, whatever validator looks at them. */
export class LockClassKey<L extends LockName = LockName> {
  /** Small and dense. */
  readonly id: number;
  readonly name: L;
  /** The number of the name. */
  readonly lock: number;
  readonly kind: LockKind;
  /** Whose locks they are: a filesystem type, a kind of file; '' where the name says it all. */
  readonly owner: string;
  /**
   * The order among locks of this class: negative where `held` may be held when `wanted` is taken (lock_set_cmp_fn). Without one, no two
   * locks of the class may be held together on one nesting level.
   */
  readonly compare: ((held: object, wanted: object) => number) | undefined;

  constructor(name: L, kind: LockKind, owner = '', compare?: (held: object, wanted: object) => number) {
    this.id = ++lastId;
    this.name = name;
    this.lock = lock_number(name);
    this.kind = kind;
    this.owner = owner;
    this.compare = compare;
    keys[this.id] = this;
  }

  /** As reports show it: `latch:i_rwsem`, with the nesting level as `latch:i_rwsem/1`. */
  describe(subclass: number): string {
    const name = this.owner === '' ? this.name : `${this.owner}:${this.name}`;
    return subclass === 0 ? name : `${name}/${subclass}`;
  }
}

const numbers = new Map<LockName, number>();

/** A number for the name of a lock: what is compared at every call is compared by number. */
export function lock_number(name: LockName): number {
  const known = numbers.get(name);
  if (known !== undefined) return known;
  numbers.set(name, numbers.size);
  return numbers.size - 1;
}

let lastId = 0;
const keys: LockClassKey[] = [];
const named = new Map<string, LockClassKey>();

/** The key of that number. */
export function keyOf(id: number): LockClassKey | undefined {
  return keys[id];
}

const defaults = new Map<LockName, LockClassKey>();

/** The key of locks about whose owner nothing is known. */
export function defaultKey<L extends LockName>(name: L, kind: LockKind): LockClassKey<L> {
  const known = defaults.get(name);
  if (known !== undefined) return known as LockClassKey<L>;
  const fresh = new LockClassKey(name, kind);
  defaults.set(name, fresh);
  return fresh;
}

/**
 * The key of the locks of that name of one kind of owner: `class_key('i_rwsem', 'rwsem', 'latch')` for the files of a filesystem type
 * (file_system_type.i_mutex_key and the like).
 */
export function class_key<L extends LockName>(name: L, kind: LockKind, owner: string): LockClassKey<L> {
  const id = `${owner}:${name}`;
  const known = named.get(id);
  if (known !== undefined) return known as LockClassKey<L>;
  const fresh = new LockClassKey(name, kind, owner);
  named.set(id, fresh);
  return fresh;
}

/** How a lock is taken: alone; shared, where a waiting writer keeps new readers out; shared, whoever waits (hlock->read). */
export const EXCLUSIVE = 0;
export const READ = 1;
export const READ_RECURSIVE = 2;
export type ReadState = typeof EXCLUSIVE | typeof READ | typeof READ_RECURSIVE;

/** Usage of a class, as bits: in which contexts it was taken, and whether completions could come while it was held. */
export const USED_IN_COMPLETION = 1;
export const USED_IN_COMPLETION_READ = 2;
export const COMPLETIONS_ENABLED = 4;
export const COMPLETIONS_ENABLED_READ = 8;

/** A class as one validator knows it. */
export class LockClass {
  readonly key: LockClassKey;
  readonly subclass: number;
  /** Its number within the validator: chains name it. */
  readonly index: number;
  /** USED_IN… and COMPLETIONS_… bits. */
  usage = 0;
  /** Where each usage bit was first set. */
  readonly usageTraces = new Map<number, Trace>();
  /** Of the usage bits those that contradicted what was known when they were set. */
  readonly wrong = new Map<number, Fault>();
  /** Classes that were taken while this one was held, and the other way round. */
  readonly after = new Map<LockClass, Edge>();
  readonly before = new Map<LockClass, Edge>();
  /** lock_stat, of those who take it alone and of those who share it. */
  readonly write = new LockUse();
  readonly read = new LockUse();
  /** For searches: the last one that came here. */
  visited = 0;

  constructor(key: LockClassKey, subclass: number, index: number) {
    this.key = key;
    this.subclass = subclass;
    this.index = index;
  }

  get name(): string {
    return this.key.describe(this.subclass);
  }

  /** The usage as lockdep prints it: for writing and for reading, `.` neither, `+` held with completions on, `-` used in one, `?` both. */
  get usageText(): string {
    const pair = (used: number, enabled: number): string => {
      if ((this.usage & used) !== 0) return (this.usage & enabled) !== 0 ? '?' : '-';
      return (this.usage & enabled) !== 0 ? '+' : '.';
    };
    return pair(USED_IN_COMPLETION, COMPLETIONS_ENABLED) + pair(USED_IN_COMPLETION_READ, COMPLETIONS_ENABLED_READ);
  }
}

/** Shortest, longest and sum of some durations, milliseconds. */
export class Times {
  count = 0;
  min = Number.POSITIVE_INFINITY;
  max = 0;
  total = 0;

  add(duration: number): void {
    this.count++;
    this.total += duration;
    if (duration < this.min) this.min = duration;
    if (duration > this.max) this.max = duration;
  }

  clear(): void {
    this.count = 0;
    this.min = Number.POSITIVE_INFINITY;
    this.max = 0;
    this.total = 0;
  }
}

/** How long a class had to be waited for, and was held, in one mode: milliseconds (struct lock_class_stats). */
export class LockUse {
  readonly waits = new Times();
  readonly holds = new Times();

  clear(): void {
    this.waits.clear();
    this.holds.clear();
  }
}

/** Who did something where: kept with each thing learned. The stack is put into words only when somebody reads it. */
export interface Trace {
  readonly error: Error;
  readonly comm: string;
  readonly syscall: string;
}

/** A dependency: `to` was taken while `from` was held. */
export interface Edge {
  readonly from: LockClass;
  readonly to: LockClass;
  /** The kinds of dependency seen, as DEP_ bits. */
  dep: number;
  /** Where `to` was taken the first time. */
  readonly trace: Trace;
}
