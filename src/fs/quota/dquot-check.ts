/** What the operations of a filesystem with quotas promise: each does its locking and calls the generic operation (dquot_operations, the paragraph before the table). */
import type { Row } from '../../contract/row.js';
import type { Task } from '../../sched/task.js';

/**
 * An operation has succeeded.
 * @param undone what it is for has not happened, and nobody has called the generic operation since it was called
 * @throws with enforce=error EIO
 */
export function check_wraps(task: Task, row: Row, undone: boolean, operation: object): void {
  if (!undone || !task.validator.checking) return;
  const name = `${row.section}.${row.op}`;
  task.validator.violation(task, 'promise', {
    message: `${name} has succeeded and has not called the generic operation`,
    rule: `${name}#wraps-the-generic-operation`,
    row,
    held: [...task.held],
    operation,
  });
}
