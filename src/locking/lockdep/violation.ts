/** What the validator tells: a breach, with what was held and where it was seen. */
import type { CircleMember, OrderEvidence, ViolationKind } from '../../sched/validator.js';

/** A lock that is held, as reports show it. */
export interface ReportedLock {
  readonly lock: string;
  /** The class, with owner and nesting level. */
  readonly class: string;
  readonly mode: string;
  readonly takenIn: string;
  /** Where it was taken: this time with the deep checks on, otherwise where a lock was first taken in this way. */
  readonly stack?: string;
  /** The latter: `stack` may be that of another task, in another system call. */
  readonly firstTime?: true;
}

/** One violation, complete, as the log and the control files show it. */
export interface Violation {
  readonly kind: ViolationKind;
  readonly message: string;
  /** The rule that was broken: the contract's, where the violation is of a row, otherwise this system's. */
  readonly rule: string;
  /** `section.op` of the row, where there is one. */
  readonly row: string | undefined;
  readonly lock: string | undefined;
  readonly task:
    | { readonly id: number; readonly comm: string; readonly pid: number; readonly syscall: string }
    | undefined;
  /** The operations under way, outermost first. */
  readonly ops: readonly string[];
  readonly held: readonly ReportedLock[];
  /** What was learned before, where an order of locks is wrong. */
  readonly order?: OrderEvidence;
  /** Those who wait for each other, or for too long. */
  readonly circle?: readonly CircleMember[];
  /** The function at fault where it has returned already and is on no stack: `function (file:line:column)`. With the deep checks on. */
  readonly implementation?: string;
  /** The stack at the report. */
  readonly stack: string;
  /** How often this violation was seen before this one. */
  readonly seen: number;
}

/** The messages of these name classes with their nesting level. */
const OF_CLASSES: ReadonlySet<ViolationKind> = new Set(['lock-order', 'lock-usage']);

/**
 * What tells one violation from another: they count as the same where all of it is equal, but for numbers. Which page it was, which task, how many, says nothing of which code is
 * wrong; of classes the number is the nesting level.
 */
export function violationKey(of: Pick<Violation, 'kind' | 'rule' | 'row' | 'lock' | 'message'>): string {
  const message = OF_CLASSES.has(of.kind) ? of.message : of.message.replace(/\d+/g, 'N');
  return `${of.kind} ${of.rule} ${of.row ?? ''} ${of.lock ?? ''} ${message}`;
}

/** Where violations go. */
export type ViolationSink = (violation: Violation) => void;
