/** The kinds of lock that the selftest goes through, each as one column: how a lock of the kind is made, taken, tried for. */
import type { LockName } from '../../contract/row.js';
import type { Task } from '../../sched/task.js';
import { BitLock } from '../bitlock.js';
import type { Held } from '../held.js';
import { LockClassKey, type LockKind } from '../lockdep/class.js';
import { Mutex } from '../mutex.js';
import { Rcu } from '../rcu.js';
import { RwLock } from '../rwlock.js';
import { RwSem } from '../rwsem.js';
import { SeqLock } from '../seqlock.js';
import { SpinLock } from '../spinlock.js';

/** How a lock is taken in a scenario. */
export interface TakeOptions {
  readonly subclass?: number;
  readonly nest?: object;
  /** With completions kept away. */
  readonly irq?: boolean;
}

/** A lock in a scenario. */
export interface Subject {
  readonly lock: { readonly name: LockName; readonly isHeld: boolean };
  take(task: Task, options?: TakeOptions): Held | Promise<Held>;
  /** Undefined where it cannot be had at once; absent where the kind has no such way. */
  tryTake?(task: Task): Held | undefined;
}

export type KindName =
  | 'spin'
  | 'wlock'
  | 'rlock'
  | 'rrlock'
  | 'wrlock'
  | 'seq'
  | 'mutex'
  | 'wsem'
  | 'rsem'
  | 'bit'
  | 'rcu';

export interface Kind {
  readonly name: KindName;
  /** Its holder may not sleep. */
  readonly spins: boolean;
  /** Holders do not exclude each other. */
  readonly shared: boolean;
  /** Holders come in even where a writer waits, and again where they are in. */
  readonly recursive: boolean;
  /** It has nesting levels. */
  readonly levels: boolean;
  /**
   * @param owner what tells classes apart: locks of one owner are one class
   * @param pool the locks made so far by name, so that both modes of a lock are of one lock
   */
  make(owner: string, name: string, pool: Map<string, object>, compare?: Compare): Subject;
}

/** An order among the locks of one class. */
export type Compare = (held: object, wanted: object) => number;

/** The lock of that name in the pool, or a fresh one. */
function pooled<T extends object>(pool: Map<string, object>, id: string, make: () => T): T {
  const known = pool.get(id);
  if (known !== undefined) return known as T;
  const fresh = make();
  pool.set(id, fresh);
  return fresh;
}

const keys = new Map<string, LockClassKey>();

/** Keys are kept: every case has a validator of its own, which knows nothing of what the others saw. */
function keyFor<L extends LockName>(name: L, kind: LockKind, owner: string, compare?: Compare): LockClassKey<L> {
  if (compare !== undefined) return new LockClassKey(name, kind, owner, compare);
  const id = `${kind} ${owner}`;
  const known = keys.get(id);
  if (known !== undefined) return known as LockClassKey<L>;
  const fresh = new LockClassKey(name, kind, owner);
  keys.set(id, fresh);
  return fresh;
}

const kind = (
  name: KindName,
  traits: { spins?: boolean; shared?: boolean; recursive?: boolean; levels?: boolean },
  make: Kind['make'],
): Kind => ({
  name,
  spins: traits.spins ?? false,
  shared: traits.shared ?? false,
  recursive: traits.recursive ?? false,
  levels: traits.levels ?? true,
  make,
});

function rwlock(
  mode: 'read' | 'write',
  readers: 'queued' | 'recursive',
  ...[owner, name, pool, compare]: Parameters<Kind['make']>
): Subject {
  const key = keyFor('d_lock', 'rwlock', owner, compare);
  const lock = pooled(pool, `${readers} rwlock ${name}`, () => new RwLock('d_lock', key, readers));
  return mode === 'read'
    ? {
        lock,
        take: (task, options) => (options?.irq === true ? lock.readIrq(task) : lock.read(task, options?.subclass)),
        tryTake: (task) => lock.tryRead(task),
      }
    : {
        lock,
        take: (task, options) =>
          options?.irq === true ? lock.writeIrq(task) : lock.write(task, options?.subclass, options?.nest),
        tryTake: (task) => lock.tryWrite(task),
      };
}

function rwsem(mode: 'read' | 'write', ...[owner, name, pool, compare]: Parameters<Kind['make']>): Subject {
  const lock = pooled(pool, `rwsem ${name}`, () => new RwSem('s_umount', keyFor('s_umount', 'rwsem', owner, compare)));
  const nested = (options: TakeOptions | undefined) =>
    options?.nest === undefined ? undefined : { nest: options.nest };
  return mode === 'read'
    ? { lock, take: (task, o) => lock.read(task, o?.subclass, nested(o)), tryTake: (task) => lock.tryRead(task) }
    : { lock, take: (task, o) => lock.write(task, o?.subclass, nested(o)), tryTake: (task) => lock.tryWrite(task) };
}

export const KINDS: readonly Kind[] = [
  kind('spin', { spins: true }, (owner, _name, _pool, compare) => {
    const lock = new SpinLock('i_lock', keyFor('i_lock', 'spinlock', owner, compare));
    return {
      lock,
      take: (task, options) =>
        options?.irq === true ? lock.lockIrq(task) : lock.lock(task, options?.subclass, options?.nest),
      tryTake: (task) => lock.tryLock(task),
    };
  }),
  kind('wlock', { spins: true }, (...given) => rwlock('write', 'queued', ...given)),
  kind('rlock', { spins: true, shared: true }, (...given) => rwlock('read', 'queued', ...given)),
  kind('rrlock', { spins: true, shared: true, recursive: true }, (...given) => rwlock('read', 'recursive', ...given)),
  kind('seq', { spins: true }, (owner, _name, _pool, compare) => {
    const lock = new SeqLock('rename_lock', keyFor('rename_lock', 'seqlock', owner, compare));
    return {
      lock,
      take: (task, options) =>
        options?.irq === true ? lock.lockIrq(task) : lock.write(task, options?.subclass, options?.nest),
    };
  }),
  kind('mutex', {}, (owner, _name, _pool, compare) => {
    const lock = new Mutex('open_mutex', keyFor('open_mutex', 'mutex', owner, compare));
    return {
      lock,
      take: (task, options) =>
        lock.lock(task, options?.subclass, options?.nest === undefined ? undefined : { nest: options.nest }),
      tryTake: (task) => lock.tryLock(task),
    };
  }),
  kind('wsem', {}, (...given) => rwsem('write', ...given)),
  kind('rsem', { shared: true }, (...given) => rwsem('read', ...given)),
  kind('bit', { levels: false }, (owner, _name, _pool, compare) => {
    const lock = new BitLock('folio', keyFor('folio', 'bit', owner, compare));
    return {
      lock,
      take: (task, options) => lock.lock(task, options?.nest === undefined ? undefined : { nest: options.nest }),
      tryTake: (task) => lock.tryLock(task),
    };
  }),
];

/** Read sections: no case of exclusion, but a context. */
export const RCU_KIND: Kind = kind('rcu', { spins: true, shared: true, recursive: true, levels: false }, () => {
  const lock = new Rcu();
  return { lock: { name: 'rcu', isHeld: false }, take: (task) => lock.read(task) };
});

/** Who takes alone what others read recursively. Alone it is a wlock, and no column. */
const WRLOCK_KIND: Kind = kind('wrlock', { spins: true }, (...given) => rwlock('write', 'recursive', ...given));

/** The kind of that name. */
export function kindOf(name: KindName): Kind {
  const found = [...KINDS, RCU_KIND, WRLOCK_KIND].find((one) => one.name === name);
  if (found === undefined) throw new Error(`no kind ${name}`);
  return found;
}
