/** What the validator finds wrong, with its evidence: plain data, put into words by the reports. */
import type { OrderEvidence, ViolationKind } from '../../sched/validator.js';
import type { LockClass, Trace } from './class.js';

export interface Fault {
  readonly kind: ViolationKind;
  /** The rule, as reports name it: `lockdep#circular` and so on. */
  readonly rule: string;
  readonly message: string;
  readonly lock: LockClass;
  readonly evidence: OrderEvidence;
}

/** A trace as reports show it. */
export function told(trace: Trace | undefined): { readonly task: string; readonly stack: string } {
  if (trace === undefined) return { task: 'unknown', stack: '' };
  return {
    task: trace.syscall === '' ? trace.comm : `${trace.comm} (${trace.syscall})`,
    stack: trace.error.stack ?? '',
  };
}
