/**
 * The order among locks of one name, whatever their classes and nesting levels (lock_set_cmp_fn). A nesting level only tells the validator that two of a
 * class may be held together; which one must come first depends on whose they are, and that is for those to say who know their owners.
 */
import type { LockName } from '../../contract/row.js';
import type { Task } from '../../sched/task.js';
import type { HeldLock, TrackedLock } from '../../sched/validator.js';
import { type LockClass, type LockClassKey, lock_number } from './class.js';
import type { Fault } from './fault.js';
import type { HeldClass } from './validate.js';

/** What is wrong about an order, and the rule that it breaks. */
export interface WrongOrder {
  readonly rule: string;
  readonly message: string;
}

/** @returns what is wrong where the lock of `held` is held and that of `wanted` is to be taken; undefined where nothing is */
export type InstanceOrder = (task: Task, held: object, wanted: object) => WrongOrder | undefined;

/** Whether it matters whose locks of two classes they are; where classes alone say enough they need not be compared each time. */
export type Compared = (held: LockClassKey, wanted: LockClassKey) => boolean;

interface Stated {
  readonly order: InstanceOrder;
  readonly compared: Compared;
}

/** By the number of the lock's name. */
const orders: (Stated | undefined)[] = [];

/** State in which order locks of that name are taken, by their owners. */
export function instance_order(name: LockName, order: InstanceOrder, compared: Compared = () => true): void {
  orders[lock_number(name)] = { order, compared };
}

/** Whether it matters whose locks they are: some of those held have the name of the one that is wanted, and there is an order. */
export function areOrdered(held: readonly HeldClass[], wanted: LockClass): boolean {
  const stated = orders[wanted.key.lock];
  if (stated === undefined) return false;
  return held.some(({ cls: { key } }) => key.lock === wanted.key.lock && stated.compared(key, wanted.key));
}

/**
 * Check a lock that is wanted against those of its name that are held.
 * @param nameOf names the class of one of them
 */
export function checkInstances(
  task: Task,
  cls: LockClass,
  wanted: TrackedLock,
  nameOf: (held: HeldLock) => string,
): Fault | undefined {
  const name = cls.key.lock;
  const { owner } = wanted;
  const order = orders[name]?.order;
  if (order === undefined || owner === undefined) return undefined;
  const { held } = task;
  for (let i = 0; i < held.length; i++) {
    const one = held[i];
    if (one === undefined || one.key.lock !== name || one.link === 0) continue;
    const before = (one.lock as Partial<TrackedLock>).owner;
    const wrong = before === undefined ? undefined : order(task, before, owner);
    if (wrong !== undefined) return faultOf(nameOf(one), cls, wrong);
  }
  return undefined;
}

function faultOf(holding: string, cls: LockClass, { rule, message }: WrongOrder): Fault {
  const { name } = cls;
  return {
    kind: 'lock-order',
    rule,
    message: `${name} is wanted while ${holding} is held: ${message}`,
    lock: cls,
    evidence: {
      title: 'locks of one name are taken in the wrong order',
      wanted: name,
      holding,
      chain: [],
      scenario: [
        [`lock(A's ${holding});`, ''],
        ['', "lock(B's, which comes first);"],
        ['', "lock(A's);"],
        [`lock(B's ${name});`, ''],
      ],
    },
  };
}
