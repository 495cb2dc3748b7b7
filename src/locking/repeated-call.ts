/**
 * A call that a task makes again and again with the same participants, but for one lock that goes from hand to hand: write_begin and write_end for
 * page after page. The first one is checked rule by rule. What the rules ask depends on nothing but the participants and the locks held: so from then on
 * these, all of them and in their order, must be at the call and at the return what they were then. Whatever differs in the least is checked whole.
 */
import type { Row } from '../contract/row.js';
import type { Awaitable } from '../sched/awaitable.js';
import type { OpNode } from '../sched/op-node.js';
import type { Task } from '../sched/task.js';
import { leave, nodeOf, settled } from './checked-call.js';
import { call, type LockRef, type Participants } from './context.js';
import { NOTHING } from './participants.js';
import { checksOf, type RowChecks, type RuleCheck, WANT_WRITE } from './row-checks.js';

/** A class of its own for each operation, so that the compiler knows what each of them calls. F is the function that the filesystem has for it. */
export abstract class RepeatedCall<F extends object, T> {
  readonly #task: Task;
  readonly #row: Row;
  readonly #participants: Participants;
  readonly #implementation: F;
  readonly #checks: RowChecks;
  /** The rules of the lock that the caller gives, and of the one that the operation brings. */
  readonly #given: RuleCheck | undefined;
  readonly #brought: RuleCheck | undefined;
  /** Once it may be repeated: its place among the operations under way, the one around it, how many locks are held beside the one that changes, and the last of them. */
  #op: OpNode | undefined;
  #around: OpNode | undefined;
  #count = 0;
  #last = 0;

  /** @param participants the same each time, but for the lock that is given to `run`, which they must state as well */
  constructor(task: Task, row: Row, participants: Participants, implementation: F) {
    const checks = checksOf(row);
    this.#task = task;
    this.#row = row;
    this.#participants = participants;
    this.#implementation = implementation;
    this.#checks = checks;
    this.#given = checks.released[0];
    this.#brought = checks.brings;
  }

  /** Call the filesystem's function with what belongs to it now. */
  protected abstract operation(implementation: F): Awaitable<T>;

  /** The lock that it has returned with, of an operation that returns with one. */
  protected abstract broughtBy(result: T): LockRef | undefined;

  /**
   * Call it once more, under its row: as `call`.
   * @param given the lock that the caller gives and the operation gives up, where its row says so
   * @throws as `call`
   */
  run(given?: LockRef): Awaitable<T> {
    const task = this.#task;
    const { validator, watch } = task;
    const op = this.#op;
    const asBefore =
      op !== undefined &&
      validator.checking &&
      validator.observer === undefined &&
      task.op === this.#around &&
      this.#holds(given, this.#given);
    if (!asBefore) return this.#whole(given);
    const mark = task.taken;
    const told = task.toldAsleep;
    const kept = this.#count;
    op.calls++;
    task.op = op;
    let result: Awaitable<T>;
    try {
      result = this.operation(this.#implementation);
    } catch (error) {
      leave(task, op, 0, mark, kept, watch, this.#participants, undefined, this.#body());
      throw error;
    }
    if (result instanceof Promise) {
      const outcome = (value: T): Participants => this.#told(value);
      return settled(result, task, op, 0, mark, told, kept, watch, this.#participants, outcome, this.#body());
    }
    const plain = validator.observer === undefined && task.watch === watch;
    if (plain && this.#holds(this.broughtBy(result), this.#brought)) task.op = this.#around;
    else leave(task, op, 0, mark, kept, watch, this.#participants, this.#told(result), this.#body());
    return result;
  }

  /** The call as a function, which has at hand what it calls under a name that reports know. */
  #body(): () => Awaitable<T> {
    const operation = this.#implementation;
    return () => this.operation(operation);
  }

  /** What only the result tells. */
  #told(result: T): Participants {
    const brought = this.#brought;
    return brought === undefined ? NOTHING : { [brought.key]: this.broughtBy(result) };
  }

  /** Every rule is looked at; where they are all kept, what is held now is what must be held the next time. */
  #whole(given: LockRef | undefined): Awaitable<T> {
    const task = this.#task;
    const { validator } = task;
    const before = validator.total;
    const result: Awaitable<T> = call(task, this.#row, this.#participants, this.#body(), (value) => this.#told(value));
    this.#op = undefined;
    if (result instanceof Promise || !validator.checking || validator.total !== before || !this.#isPlain(given))
      return result;
    const count = task.held.length - (this.#brought === undefined ? 0 : 1);
    this.#around = task.op;
    this.#op = nodeOf(task, this.#row);
    this.#count = count;
    this.#last = task.held[count - 1]?.seq ?? 0;
    return result;
  }

  /** Whether nothing but the held locks decides: it may sleep, takes nothing that it gives back, and one lock at most goes from hand to hand each way. */
  #isPlain(given: LockRef | undefined): boolean {
    const { takes, atomic, atomicWith, released, acquired } = this.#checks;
    if (takes.length > 0 || atomic > 0 || atomicWith.length > 0 || released.length > 1 || acquired.length > 1)
      return false;
    return (given === undefined) === (this.#given === undefined);
  }

  /** Whether the locks held are those of the first time, and that one as the rule says. */
  #holds(lock: LockRef | undefined, rule: RuleCheck | undefined): boolean {
    const { held } = this.#task;
    const count = this.#count;
    if (count > 0 && held[count - 1]?.seq !== this.#last) return false;
    if (rule === undefined) return held.length === count;
    const top = held[count];
    if (top === undefined || held.length !== count + 1 || top.lock !== lock) return false;
    return top.key.lock === rule.number && (rule.want !== WANT_WRITE || top.exclusive);
  }
}
