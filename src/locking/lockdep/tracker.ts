/** Follows every task down the tree of chains, and has each new chain validated once. */
import type { Task } from '../../sched/task.js';
import type { HeldLock, LockMode, TrackedLock } from '../../sched/validator.js';
import { ChainNode, LINK_IRQ_OFF, LINK_SHIFT, LINK_TRY, readOf } from './chain.js';
import {
  COMPLETIONS_ENABLED,
  EXCLUSIVE,
  keyOf,
  LockClass,
  READ,
  READ_RECURSIVE,
  type ReadState,
  SUBCLASSES,
  type Trace,
  USED_IN_COMPLETION,
} from './class.js';
import type { Fault } from './fault.js';
import { areOrdered, checkInstances } from './instances.js';
import {
  checkCircle,
  checkInversion,
  checkRecursion,
  checkUsage,
  type HeldClass,
  heldClass,
  learn,
  type Wanted,
} from './validate.js';

const readState = (mode: LockMode): ReadState =>
  mode === 'write' ? EXCLUSIVE : mode === 'read' ? READ : READ_RECURSIVE;

export class Tracker {
  /** Every class seen, by its number. */
  readonly classes: LockClass[] = [];
  readonly process = new ChainNode(0, undefined, undefined);
  readonly completion = new ChainNode(0, undefined, undefined);
  /** Called when a class is taken for the first time while another is held. */
  onLearned: ((task: Task, before: LockClass, after: LockClass) => void) | undefined;
  readonly #byKey: (LockClass | undefined)[] = [];
  readonly #report: (task: Task, fault: Fault) => void;

  constructor(report: (task: Task, fault: Fault) => void) {
    this.#report = report;
  }

  /** Which class was taken while which was held, by name. */
  dependencies(): { readonly before: string; readonly after: string }[] {
    return this.classes.flatMap((cls) => [...cls.after.keys()].map((to) => ({ before: cls.name, after: to.name })));
  }

  /** The class of a lock on a nesting level. */
  classOf(keyId: number, subclass: number): LockClass {
    const at = keyId * SUBCLASSES + subclass;
    const known = this.#byKey[at];
    if (known !== undefined) return known;
    const key = keyOf(keyId);
    if (key === undefined) throw new Error(`no lock class key ${keyId}`);
    const fresh = new LockClass(key, subclass, this.classes.length);
    this.classes.push(fresh);
    this.#byKey[at] = fresh;
    return fresh;
  }

  /** About to take a lock: validates the chain that this would make, unless it was before. @returns that chain, for goOn */
  acquire(
    task: Task,
    lock: TrackedLock,
    mode: LockMode,
    subclass: number,
    nest: object | undefined,
  ): ChainNode | undefined {
    const link = linkOf(task, lock.key, readState(mode), subclass, 0);
    const at = this.#at(task);
    const node = at.find(link);
    if (node?.plain === true) return node;
    if (node?.cls === undefined || !node.ordered || nest !== undefined) {
      return this.#validate(task, at, link, lock, nest);
    }
    this.#compare(task, node.cls, lock);
    return node;
  }

  /** A lock was taken. @returns what is wrong about a lock that was tried for; what is about others was reported before they were taken */
  acquired(task: Task, held: HeldLock, read: ReadState, trying: boolean): Fault | undefined {
    const link = linkOf(task, held.key, read, held.subclass, trying ? LINK_TRY : 0);
    const at = this.#at(task);
    const node = at.find(link) ?? this.#first(task, at, link, held.lock as TrackedLock);
    this.goOn(task, held, node);
    return trying && !node.plain ? node.fault : undefined;
  }

  /** A lock was taken, and this is the chain that it makes. */
  goOn(task: Task, held: HeldLock, chain: ChainNode): void {
    chain.count++;
    held.link = chain.link;
    held.before = task.chain;
    task.chain = chain;
  }

  /** A lock other than the last has left the list of the task. */
  released(task: Task): void {
    // Out of order: what was taken later is now held in another chain.
    let node: ChainNode | undefined;
    for (const one of task.held) {
      if (one.link === 0) continue;
      one.before = node;
      const parent: ChainNode = node ?? this.#root(task);
      node = parent.find(one.link);
      if (node === undefined) {
        const cls = this.#classOfLink(one.link);
        node = parent.add(one.link, cls);
        node.trace = trace(task);
        const before = this.#classesOf(task.held.slice(0, task.held.indexOf(one)));
        if ((one.link & LINK_TRY) === 0)
          this.#dependencies(task, node, before, { cls, read: readOf(one.link), lock: one.lock, nest: undefined });
      }
    }
    task.chain = node;
  }

  /** Completions may come again: everything that the task holds is held while they may. */
  completionsOn(task: Task): void {
    for (const held of task.held) {
      if (held.link === 0) continue;
      const cls = this.#classOfLink(held.link);
      const bit = readOf(held.link) === EXCLUSIVE ? COMPLETIONS_ENABLED : COMPLETIONS_ENABLED << 1;
      const fault = this.#mark(task, cls, bit);
      if (fault !== undefined) this.#report(task, fault);
    }
  }

  /** The class of a lock that is held. */
  classOfHeld(held: HeldLock): LockClass {
    return this.#classOfLink(held.link);
  }

  className(held: HeldLock): string {
    return this.#classOfLink(held.link).name;
  }

  /** Where the lock of that guard was first taken in such a chain. */
  traceOf(held: HeldLock): Trace | undefined {
    if (held.link === 0) return undefined;
    const parent = (held.before as ChainNode | undefined) ?? this.process;
    return (parent.find(held.link) ?? this.completion.find(held.link))?.trace;
  }

  #root(task: Task): ChainNode {
    return task.context === 'completion' ? this.completion : this.process;
  }

  #at(task: Task): ChainNode {
    return task.chain === undefined ? this.#root(task) : (task.chain as ChainNode);
  }

  #classOfLink(link: number): LockClass {
    const id = link >> LINK_SHIFT;
    return this.classOf(Math.floor(id / SUBCLASSES), id % SUBCLASSES);
  }

  /** A chain that no acquire has prepared: a try, or a guard that changed hands. */
  #first(task: Task, at: ChainNode, link: number, lock: TrackedLock): ChainNode {
    if ((link & LINK_TRY) === 0) return this.#validate(task, at, link, lock, undefined);
    const node = at.add(link, this.#classOfLink(link));
    node.trace = trace(task);
    node.fault = this.#used(task, node);
    node.plain = node.fault === undefined;
    return node;
  }

  #validate(task: Task, at: ChainNode, link: number, lock: TrackedLock, nest: object | undefined): ChainNode {
    let node = at.find(link);
    if (node?.fault !== undefined) {
      this.#report(task, node.fault);
      return node;
    }
    const cls = node?.cls ?? this.#classOfLink(link);
    node ??= at.add(link, cls);
    node.trace ??= trace(task);
    if (!node.validated) node.fault = this.#used(task, node);
    const held = this.#classesOf(task.held);
    this.#dependencies(task, node, held, { cls, read: readOf(link), lock, nest });
    if (node.fault === undefined && nest === undefined && areOrdered(held, cls)) this.#compare(task, cls, lock);
    return node;
  }

  /** Whose locks they are may differ each time. */
  #compare(task: Task, cls: LockClass, lock: TrackedLock): void {
    const fault = checkInstances(task, cls, lock, this.#nameOf);
    if (fault !== undefined) this.#report(task, fault);
  }

  readonly #nameOf = (held: HeldLock): string => this.className(held);

  /**
   * Check a lock against those held, and learn the dependencies. Two locks of one class are compared at every acquisition, because what makes them
   * right, an order among instances or a lock that they nest under, may differ the next time.
   */
  #dependencies(task: Task, node: ChainNode, classes: readonly HeldClass[], wanted: Wanted): void {
    const again = classes.some(
      ({ cls, read }) => cls === wanted.cls && (wanted.read !== READ_RECURSIVE || read === EXCLUSIVE),
    );
    let fault = node.fault ?? (again ? checkRecursion(classes, wanted) : undefined);
    if (!node.validated) {
      node.validated = true;
      const learned: LockClass[] = [];
      // Whatever is wrong already: what else is held is as good a reason as ever.
      const closing = this.#learnFrom(classes, wanted, trace(task), learned);
      node.fault ??= closing;
      fault ??= closing;
      for (const before of learned) this.onLearned?.(task, before, wanted.cls);
    }
    const quiet = fault === undefined && !again;
    node.ordered = quiet && areOrdered(classes, wanted.cls);
    node.plain = quiet && !node.ordered;
    if (fault !== undefined) this.#report(task, fault);
  }

  #classesOf(held: readonly HeldLock[]): HeldClass[] {
    return held.filter(({ link }) => link !== 0).map((one) => heldClass(one, this.#classOfLink(one.link), LINK_TRY));
  }

  /**
   * Back to the last lock that was waited for and is not a recursive reader: those before it are connected through it. One after which the wanted one may not be taken connects
   * nothing, because that is not learned.
   * @returns the first thing that is wrong
   */
  #learnFrom(held: readonly HeldClass[], wanted: Wanted, where: Trace, learned: LockClass[]): Fault | undefined {
    let first: Fault | undefined;
    for (let i = held.length - 1; i >= 0; i--) {
      const one = held[i];
      if (one === undefined) break;
      const other = one.cls !== wanted.cls;
      const fault = other ? (checkCircle(one, wanted) ?? checkInversion(one, wanted)) : undefined;
      first ??= fault;
      if (fault !== undefined) continue;
      if (other && learn(one, wanted, where) && this.onLearned !== undefined) learned.push(one.cls);
      if (!one.tried && one.read !== READ_RECURSIVE) break;
    }
    return first;
  }

  /** Note in which context a class is taken. */
  #used(task: Task, node: ChainNode): Fault | undefined {
    const { cls, link } = node;
    if (cls === undefined || cls.key.kind === 'map') return undefined;
    const shared = readOf(link) !== EXCLUSIVE;
    const tried = (link & LINK_TRY) !== 0;
    if (task.context === 'completion') {
      return tried ? undefined : this.#mark(task, cls, shared ? USED_IN_COMPLETION << 1 : USED_IN_COMPLETION);
    }
    if ((link & LINK_IRQ_OFF) !== 0) return undefined;
    return this.#mark(task, cls, shared ? COMPLETIONS_ENABLED << 1 : COMPLETIONS_ENABLED);
  }

  /** @returns what is wrong about it: then it is wrong in every chain, not only where it was seen first */
  #mark(task: Task, cls: LockClass, bit: number): Fault | undefined {
    if ((cls.usage & bit) !== 0) return cls.wrong.get(bit);
    const fault = checkUsage(cls, bit);
    if (fault !== undefined) cls.wrong.set(bit, fault);
    cls.usage |= bit;
    cls.usageTraces.set(bit, trace(task));
    return fault;
  }
}

function linkOf(task: Task, key: TrackedLock['key'], read: ReadState, subclass: number, bits: number): number {
  const off = task.completionsOff > 0 ? LINK_IRQ_OFF : 0;
  return ((key.id * SUBCLASSES + subclass) << LINK_SHIFT) | read | off | bits;
}

/** The stack of this moment, deeper than Node keeps by default; put into words only when it is read. */
export function trace(task: Task): Trace {
  const limit = Error.stackTraceLimit;
  Error.stackTraceLimit = 24;
  const error = new Error('trace');
  Error.stackTraceLimit = limit;
  return { error, comm: task.comm, syscall: task.syscall };
}
