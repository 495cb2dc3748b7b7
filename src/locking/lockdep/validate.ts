/**
 * What is checked when a chain of locks is seen for the first time: the class taken twice, the cycle that a new dependency would close, and
 * locks that completions take against those held while completions may come (validate_chain and mark_usage of kernel/locking/lockdep.c).
 */
import type { HeldLock } from '../../sched/validator.js';
import { readOf } from './chain.js';
import {
  COMPLETIONS_ENABLED,
  COMPLETIONS_ENABLED_READ,
  type Edge,
  EXCLUSIVE,
  type LockClass,
  READ,
  READ_RECURSIVE,
  type ReadState,
  type Trace,
  USED_IN_COMPLETION,
  USED_IN_COMPLETION_READ,
} from './class.js';
import { type Fault, told } from './fault.js';
import { DEP_EN, DEP_ER, DEP_SN, depOf, edgesOf, type Step, search } from './graph.js';

/** A lock that is held, as the checks see it. */
export interface HeldClass {
  readonly cls: LockClass;
  readonly read: ReadState;
  /** It was taken without waiting: nothing was learned of what was held before it. */
  readonly tried: boolean;
  readonly held: HeldLock;
}

/** The lock that is wanted. */
export interface Wanted {
  readonly cls: LockClass;
  readonly read: ReadState;
  readonly lock: object;
  readonly nest: object | undefined;
}

const words = (cls: LockClass, read: ReadState): string =>
  read === EXCLUSIVE ? cls.name : `${cls.name} (${read === READ ? 'shared' : 'shared, recursive'})`;

/** A class that is held already and wanted again (check_deadlock). */
export function checkRecursion(held: readonly HeldClass[], wanted: Wanted): Fault | undefined {
  const nested = wanted.nest !== undefined && held.some((one) => one.held.lock === wanted.nest);
  for (let i = held.length - 1; i >= 0; i--) {
    const one = held[i];
    if (one === undefined || one.cls !== wanted.cls) continue;
    if (wanted.read === READ_RECURSIVE && one.read !== EXCLUSIVE) continue;
    if (nested) continue;
    const { compare } = wanted.cls.key;
    if (compare !== undefined && compare(one.held.lock, wanted.lock) < 0) continue;
    const name = wanted.cls.name;
    return {
      kind: 'lock-order',
      rule: compare === undefined ? 'lockdep#recursive-locking' : 'lockdep#order-within-a-class',
      message:
        compare === undefined
          ? `${words(wanted.cls, wanted.read)} is wanted while another lock of its class is held: two tasks may take them in either order`
          : `${name} is wanted while another of its class is held that comes after it in their order`,
      lock: wanted.cls,
      evidence: {
        title: 'possible recursive locking detected',
        wanted: name,
        holding: one.cls.name,
        chain: [],
        scenario: [
          [`lock(${name});`, ''],
          [`lock(${name});`, ''],
        ],
      },
    };
  }
  return undefined;
}

/** The dependency `held` → `wanted` would close a circle (check_noncircular). */
export function checkCircle(one: HeldClass, wanted: Wanted): Fault | undefined {
  if (one.cls === wanted.cls) return undefined;
  const found = search(
    wanted.cls,
    wanted.read === READ_RECURSIVE,
    true,
    ({ cls, onlyReaders }) => cls === one.cls && (one.read === EXCLUSIVE || !onlyReaders),
  );
  if (found === undefined) return undefined;
  const edges = edgesOf(found);
  const path = [wanted.cls.name, ...edges.map(({ to }) => to.name)];
  return {
    kind: 'lock-order',
    rule: 'lockdep#circular-dependency',
    message: `${words(wanted.cls, wanted.read)} is wanted while ${words(one.cls, one.read)} is held, but elsewhere ${path.join(' → ')} is the order`,
    lock: wanted.cls,
    evidence: {
      title: 'possible circular locking dependency detected',
      wanted: wanted.cls.name,
      holding: one.cls.name,
      chain: edges.map(linkOf),
      scenario: circleScenario(one, wanted, edges),
    },
  };
}

function linkOf(edge: Edge): Fault['evidence']['chain'][number] {
  return { lock: edge.to.name, held: edge.from.name, ...told(edge.trace) };
}

/** The two tasks that would wait for each other: one with the held lock, the other somewhere along the chain. */
function circleScenario(held: HeldClass, wanted: Wanted, edges: readonly Edge[]): [string, string][] {
  const last = edges.at(-1);
  const before = last === undefined ? wanted.cls.name : last.from.name;
  return [
    [step(held.cls.name, held.read !== EXCLUSIVE), ''],
    ['', step(before, last !== undefined && (last.dep & (DEP_EN | DEP_ER)) === 0)],
    ['', step(held.cls.name, last !== undefined && (last.dep & (DEP_EN | DEP_SN)) === 0)],
    [step(wanted.cls.name, wanted.read !== EXCLUSIVE), ''],
  ];
}

const step = (name: string, shared: boolean): string => `${shared ? 'rlock' : 'lock'}(${name});`;

/**
 * A usage is seen for the first time on a class: does it contradict what is known of the class (mark_lock), or of the classes around it?
 * @returns what is wrong
 */
export function checkUsage(cls: LockClass, bit: number): Fault | undefined {
  const [used, read] = [(bit & (USED_IN_COMPLETION | USED_IN_COMPLETION_READ)) !== 0, (bit & 0b1010) !== 0];
  // Two readers do not exclude each other, so a shared use stands against exclusive ones only.
  const both = used ? COMPLETIONS_ENABLED | COMPLETIONS_ENABLED_READ : USED_IN_COMPLETION | USED_IN_COMPLETION_READ;
  const alone = used ? COMPLETIONS_ENABLED : USED_IN_COMPLETION;
  const against = read ? alone : both;
  if ((cls.usage & against) !== 0) return inconsistent(cls, bit, cls.usage & against);
  const found = search(cls, read, used, (step) => {
    if (step.edge === undefined) return false;
    return (step.cls.usage & (step.onlyReaders ? alone : both)) !== 0;
  });
  if (found === undefined) return undefined;
  return used ? inversion(cls, found.cls, edgesOf(found)) : inversion(found.cls, cls, edgesOf(found).reverse());
}

/** The new dependency would lead from a lock that completions take to one that is held while they may come (check_irq_usage). */
export function checkInversion(one: HeldClass, wanted: Wanted): Fault | undefined {
  const safe = search(one.cls, one.read !== EXCLUSIVE, false, (step) => usedInCompletion(step));
  if (safe === undefined) return undefined;
  const unsafe = search(wanted.cls, wanted.read === READ_RECURSIVE, true, (step) => heldWithCompletions(step));
  if (unsafe === undefined) return undefined;
  // Shared at both ends is no better: what is between them takes the one alone and waits for the other, and the completion waits for it.
  return inversion(safe.cls, unsafe.cls, [...edgesOf(safe).reverse(), ...edgesOf(unsafe)], wanted.cls);
}

function usedInCompletion({ cls, onlyReaders }: Step): boolean {
  const mask = onlyReaders ? USED_IN_COMPLETION : USED_IN_COMPLETION | USED_IN_COMPLETION_READ;
  return (cls.usage & mask) !== 0;
}

function heldWithCompletions({ cls, onlyReaders }: Step): boolean {
  const mask = onlyReaders ? COMPLETIONS_ENABLED : COMPLETIONS_ENABLED | COMPLETIONS_ENABLED_READ;
  return (cls.usage & mask) !== 0;
}

/** A usage bit in words. */
export function usageName(bit: number): string {
  if (bit === USED_IN_COMPLETION) return 'taken in a completion';
  if (bit === USED_IN_COMPLETION_READ) return 'taken shared in a completion';
  return bit === COMPLETIONS_ENABLED ? 'held while completions may come' : 'held shared while completions may come';
}

function usagesOf(cls: LockClass, mask: number): { what: string; task: string; stack: string }[] {
  const found: { what: string; task: string; stack: string }[] = [];
  for (const [bit, trace] of cls.usageTraces) {
    if ((bit & mask) !== 0) found.push({ what: `${cls.name} was ${usageName(bit)}`, ...told(trace) });
  }
  return found;
}

function inconsistent(cls: LockClass, bit: number, against: number): Fault {
  const { name } = cls;
  return {
    kind: 'lock-usage',
    rule: 'lockdep#inconsistent-usage',
    message: `${name} is ${usageName(bit)}, and elsewhere it is used the other way: the completion would wait for the task that it interrupts`,
    lock: cls,
    evidence: {
      title: 'inconsistent lock state',
      wanted: name,
      holding: name,
      chain: [],
      scenario: [
        [`lock(${name});`, ''],
        ['<completion>', ''],
        [`  lock(${name});`, ''],
      ],
      usages: usagesOf(cls, against),
    },
  };
}

function inversion(safe: LockClass, unsafe: LockClass, edges: readonly Edge[], wanted: LockClass = unsafe): Fault {
  return {
    kind: 'lock-usage',
    rule: 'lockdep#completion-inversion',
    message: `${safe.name} is taken in completions, and ${unsafe.name}, which is held while completions may come, is taken under it`,
    lock: wanted,
    evidence: {
      title: 'possible completion lock inversion dependency detected',
      wanted: wanted.name,
      holding: safe.name,
      chain: edges.map(linkOf),
      scenario: [
        [`lock(${unsafe.name});`, ''],
        ['', 'completions off;'],
        ['', `lock(${safe.name});`],
        ['', `lock(${unsafe.name});`],
        ['<completion>', ''],
        [`  lock(${safe.name});`, ''],
      ],
      usages: [
        ...usagesOf(safe, USED_IN_COMPLETION | USED_IN_COMPLETION_READ),
        ...usagesOf(unsafe, COMPLETIONS_ENABLED | COMPLETIONS_ENABLED_READ),
      ],
    },
  };
}

/** Learn that `wanted` is taken while `one` is held. @returns whether nothing was known of the two before */
export function learn(one: HeldClass, wanted: Wanted, trace: Trace): boolean {
  const dep = depOf(one.read, wanted.read);
  const known = one.cls.after.get(wanted.cls);
  if (known !== undefined) {
    known.dep |= dep;
    return false;
  }
  const edge: Edge = { from: one.cls, to: wanted.cls, dep, trace };
  one.cls.after.set(wanted.cls, edge);
  wanted.cls.before.set(one.cls, edge);
  return true;
}

/** What a chain's link says of a lock that is held. */
export function heldClass(held: HeldLock, cls: LockClass, tryBit: number): HeldClass {
  return { cls, read: readOf(held.link), tried: (held.link & tryBit) !== 0, held };
}
