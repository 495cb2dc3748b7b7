/** Which of the system's checks hold an operation to a rule: the names that `latchfs contract` prints beside each. */
import { GUARDED_RULES } from './guarded-rules.js';
import type { LockRule, Row } from './row.js';

/** The checks, and what each of them looks at. */
export const CHECKS = {
  'call-wrapper': 'looks at what the task holds when the operation is called',
  'return-wrapper': 'looks at what the task holds when the operation returns or throws',
  'might-sleep': 'refuses every wait inside an operation that may not block, whether or not it would wait',
  lockdep: 'learns the order in which locks are taken and reports the acquisition that would close a cycle',
  'guarded-state': 'lets the state behind the lock be reached only with the lock held',
} as const;

export type Check = keyof typeof CHECKS;

/** What an operation takes only where it finds that it has to: its caller cannot tell, so that what the lock guards is watched instead. */
const FOUND_INSIDE: ReadonlySet<string> = new Set([
  'vm_operations_struct.fault/invalidate_lock/mapping',
  'vm_operations_struct.page_mkwrite/invalidate_lock/mapping',
]);

/** The checks that enforce one rule. None of them but the wrappers reads the rule itself. */
export function checkedBy(rule: LockRule): readonly Check[] {
  const checks: Check[] = [];
  if (rule.heldBy === 'caller') checks.push('call-wrapper');
  if (rule.mode === 'none') return checks;
  if (FOUND_INSIDE.has(rule.id)) return ['lockdep', 'guarded-state'];
  checks.push('return-wrapper', 'lockdep');
  if (GUARDED_RULES.has(rule.id)) checks.push('guarded-state');
  return checks;
}

/** The checks that enforce what a row says about blocking. */
export function blockingCheckedBy(row: Row): readonly Check[] {
  return row.mayBlock === 'yes' ? [] : ['might-sleep'];
}
