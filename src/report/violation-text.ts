/**
 * A violation as text, in the form that lockdep's users read: what was broken and where the document says so, who did it, what it wanted and what it
 * held, how that order came to be known, and how two tasks can come to wait for each other.
 */
import { ALL_ROWS, type Row } from '../contract/index.js';
import type { ReportedLock, Violation } from '../locking/lockdep/violation.js';
import { callers, describeFrame, place } from './stack.js';

const WIDE = '='.repeat(58);
const THIN = '-'.repeat(58);
/** Only the deep checks pay for a stack at every lock. */
const FIRST_TIME =
  ' (the first time: that is where one like it was first taken after the same locks; with debug=all, where this one was)';
/** Lines of a stack that a report shows. */
const DEPTH = 12;

const TITLES: Partial<Record<Violation['kind'], string>> = {
  'lock-not-held': 'a lock is not held that must be',
  'lock-held': 'a lock is held that must not be',
  'wrong-mode': 'a lock is held in the wrong mode',
  'double-lock': 'possible recursive locking detected',
  'unlock-not-owner': 'bad unlock balance detected',
  'held-at-task-end': 'lock held at the end of a task',
  'leaked-by-operation': 'lock held when returning from an operation',
  'not-released': 'lock not given up by an operation',
  'sleep-in-atomic': 'sleeping function called from invalid context',
  'lock-order': 'possible circular locking dependency detected',
  'lock-usage': 'inconsistent lock state',
  deadlock: 'tasks wait for each other',
  'hung-task': 'task blocked for too long',
  'guarded-state': 'state touched without its lock',
  'folio-state': 'a folio is in a state that it must not be in',
  promise: 'a promise of the contract is broken',
};

/** Where the document says it: section and operation, and the cell or the paragraph. */
export function clauseOf(violation: Violation): string | undefined {
  const { rule, row: op, lock } = violation;
  if (rule.startsWith('directory-locking#')) {
    return 'inode_operations, the sentence below the table that leads to the document on directory locking';
  }
  for (const row of ALL_ROWS) {
    const name = `${row.section}.${row.op}`;
    if (!rule.startsWith(`${name}/`) && !rule.startsWith(`${name}#`)) continue;
    const prose = row.prose.find(({ id }) => id === rule);
    return prose === undefined ? lockClause(row, lock) : `${prose.at}: ${prose.demands}`;
  }
  // A rule of this system's own, in an operation whose row speaks of the same lock.
  const around = ALL_ROWS.find((row) => `${row.section}.${row.op}` === op);
  return around?.rules.some((rule) => rule.lock === lock) === true ? lockClause(around, lock) : undefined;
}

/** What a row says of one lock: in a column of the lock's, else in a paragraph that names it, else somewhere in the row. */
function lockClause(row: Row, lock: string | undefined): string {
  const named = Object.keys(row.cells).some((column) => lock !== undefined && column.includes(lock));
  const prose = named || lock === undefined ? undefined : row.prose.find(({ demands }) => demands.includes(lock));
  return prose === undefined ? rowClause(row) : `${prose.at}: ${prose.demands}`;
}

function rowClause(row: Row): string {
  const cells = Object.entries(row.cells).map(([column, text]) => `${column} "${text}"`);
  return `${row.section}, the row of ${row.op}${cells.length === 0 ? ' and its paragraph' : `: ${cells.join(', ')}`}`;
}

/** The whole report, lines separated by newlines. */
export function violationText(violation: Violation): string {
  const { order, circle } = violation;
  const title = order?.title ?? TITLES[violation.kind] ?? violation.kind;
  const clause = clauseOf(violation);
  return [
    WIDE,
    `WARNING: ${title}`,
    violation.message,
    `rule: ${violation.rule}`,
    ...(clause === undefined ? [] : [`document: ${clause}`]),
    THIN,
    `${who(violation)} ${order === undefined ? 'did it' : `is trying to acquire ${order.wanted}`} at: ${place(violation.stack)}`,
    ...(violation.implementation === undefined ? [] : [`the operation is: ${violation.implementation}`]),
    ...(violation.ops.length === 0 ? [] : [`in: ${violation.ops.join(' → ')}`]),
    ...(order === undefined ? [] : orderText(order)),
    ...(circle === undefined ? [] : circleText(circle)),
    '',
    ...heldText(violation),
    '',
    'stack backtrace:',
    ...stackText(violation.stack),
    WIDE,
  ].join('\n');
}

function who({ task }: Violation): string {
  if (task === undefined) return 'no task';
  return `${task.comm}/${task.pid}${task.syscall === '' ? '' : ` (${task.syscall})`}`;
}

function orderText(order: NonNullable<Violation['order']>): string[] {
  const text = ['', `but it holds already: ${order.holding}`];
  if (order.chain.length > 0) {
    text.push('', 'the existing dependency chain (in reverse order) is:');
    for (const [i, link] of [...order.chain.entries()].reverse()) {
      text.push('', `-> #${i + 1} ${link.lock}, taken under ${link.held} by ${link.task}:`, ...stackText(link.stack));
    }
    text.push('', `-> #0 ${order.wanted}, wanted now under ${order.holding}`);
    const chain = [order.chain[0]?.held ?? order.wanted, ...order.chain.map(({ lock }) => lock)];
    text.push('', 'Chain exists of:', `  ${chain.join(' --> ')}`);
  }
  for (const usage of order.usages ?? []) text.push('', `${usage.what} by ${usage.task}:`, ...stackText(usage.stack));
  text.push(
    '',
    ' Possible unsafe locking scenario:',
    '',
    '       task 0                    task 1',
    '       ----                      ----',
  );
  for (const [first, second] of order.scenario) text.push(`  ${first.padEnd(26)}${second}`.trimEnd());
  text.push('', ' *** DEADLOCK ***');
  return text;
}

function circleText(circle: NonNullable<Violation['circle']>): string[] {
  return circle.flatMap((member) => [
    '',
    `${member.task} waits for ${member.waitsFor}, holding ${member.held.length === 0 ? 'nothing' : member.held.join(', ')}:`,
    ...stackText(member.stack),
  ]);
}

function heldText({ held, task }: Violation): string[] {
  const name = task === undefined ? 'nobody' : `${task.comm}/${task.pid}`;
  if (held.length === 0) return [`no locks held by ${name}.`];
  return [
    `${held.length} ${held.length === 1 ? 'lock' : 'locks'} held by ${name}:`,
    ...held.map((lock, i) => ` #${i}: ${lock.class} (${lock.mode}), in ${lock.takenIn}, at: ${takenAt(lock)}`),
    ...(held.some(({ firstTime }) => firstTime) ? [FIRST_TIME] : []),
  ];
}

function takenAt({ stack, firstTime }: ReportedLock): string {
  return firstTime ? `${place(stack)}, the first time` : place(stack);
}

function stackText(stack: string): string[] {
  return callers(stack)
    .slice(0, DEPTH)
    .map((frame) => `       ${describeFrame(frame)}`);
}
