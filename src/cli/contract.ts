/** `latchfs contract`: the locking document printed for people and for machines. Formatting only. */
import Table from 'cli-table3';
import { blockingCheckedBy, CHECKS, checkedBy } from '../contract/checks.js';
import {
  ALL_ROWS,
  COLUMNS,
  findRows,
  type LockRule,
  type Row,
  rowsOfSection,
  SECTIONS,
  type Section,
} from '../contract/index.js';
import { nearest } from './nearest.js';

/** Where the text goes: standard output, or a test's buffer. */
export interface Output {
  write(text: string): unknown;
}

export interface PrintOptions {
  readonly json?: boolean;
}

/** An operation that the contract does not have; the message is one line and names those that are spelt almost so. */
export class UnknownOperation extends Error {
  readonly op: string;
  readonly near: readonly string[];

  constructor(op: string, near: readonly string[]) {
    const hint = near.length === 0 ? '' : `; did you mean ${near.join(', ')}?`;
    super(`the contract has no operation '${op}'${hint}`);
    this.name = 'UnknownOperation';
    this.op = op;
    this.near = near;
  }
}

/**
 * Print the contract, or the operations of one name.
 *
 * @param op an operation (`rename`) or `section.operation`; everything where absent
 * @throws UnknownOperation where no section has it
 */
export function printContract(out: Output, op?: string, options: PrintOptions = {}): void {
  const rows = op === undefined ? ALL_ROWS : named(op);
  if (options.json) out.write(`${JSON.stringify(rows.map(toJson), null, 2)}\n`);
  else if (op === undefined) {
    for (const section of SECTIONS) out.write(`${sectionTable(section)}\n\n`);
    out.write('* under a condition: `latchfs contract OPERATION` prints it\n');
  } else out.write(`${rows.map(wholeOperation).join('\n\n')}\n`);
}

function named(op: string): readonly Row[] {
  const rows = findRows(op);
  if (rows.length === 0) throw new UnknownOperation(op, nearMatches(op));
  return rows;
}

/** One row in the shape that scripts read. */
export function toJson(row: Row) {
  return {
    section: row.section,
    op: row.op,
    cells: row.cells,
    mayBlock: row.mayBlock,
    rules: row.rules.map((rule) => ({
      id: rule.id,
      lock: rule.lock,
      mode: rule.mode,
      when: rule.when ?? null,
      heldBy: rule.heldBy,
      checkedBy: checkedBy(rule),
    })),
    reach: row.reach,
  };
}

function sectionTable(section: Section): string {
  const columns = COLUMNS[section];
  const table = new Table({
    head: ['ops', ...columns, 'rules here', 'blocks', 'reach'],
    style: { head: [], border: [], compact: true },
  });
  for (const row of rowsOfSection(section)) {
    table.push([
      row.op,
      ...columns.map((column) => row.cells[column] ?? ''),
      row.rules.map(inShort).join('\n'),
      row.mayBlock,
      row.reach.join(', '),
    ]);
  }
  return `${section}\n${table.toString()}`;
}

const IN_SHORT = { read: 'shared', write: 'exclusive', any: 'held', none: 'not held' } as const;
const AT_RETURN = { held: '', released: ', unlocked', acquired: ', kept at return', none: '' } as const;

function inShort(rule: LockRule): string {
  const mode =
    rule.heldBy === 'operation' ? `taken ${rule.mode === 'any' ? '' : IN_SHORT[rule.mode]}` : IN_SHORT[rule.mode];
  const when = rule.when === undefined ? '' : ' *';
  return `${rule.of}.${rule.lock}: ${mode.trim()}${AT_RETURN[rule.atReturn]}${when}`;
}

const MODE_WORDS = {
  read: 'held at least shared',
  write: 'held exclusively',
  any: 'held, in whichever mode',
  none: 'not held',
} as const;

const TAKEN_WORDS = { read: 'taken shared', write: 'taken exclusively', any: 'taken', none: 'not taken' } as const;

const RETURN_WORDS = {
  held: 'still held at the return',
  released: 'released by the operation or by the I/O that it began',
  acquired: 'held at the return, for the caller to release',
  none: '',
} as const;

function wholeRule(rule: LockRule, position: string): string[] {
  const byOperation = rule.heldBy === 'operation';
  const lines = [
    `  ${position} ${rule.lock} of ${rule.of}: ${byOperation ? TAKEN_WORDS[rule.mode] : MODE_WORDS[rule.mode]}`,
    `       id          ${rule.id}`,
  ];
  if (rule.when !== undefined) lines.push(`       when        ${rule.when}`);
  if (rule.oneOf !== undefined) lines.push(`       or          another of the alternatives '${rule.oneOf}'`);
  if (rule.mode !== 'none') lines.push(`       taken by    ${byOperation ? 'the operation' : 'its caller'}`);
  const atReturn = byOperation && rule.atReturn === 'none' ? 'dropped before the return' : RETURN_WORDS[rule.atReturn];
  if (atReturn !== '') lines.push(`       at return   ${atReturn}`);
  lines.push(`       checked by  ${checkedBy(rule).join(', ')}`);
  return lines;
}

function wholeOperation(row: Row): string {
  const lines = [`${row.section}.${row.op}`];
  if (row.prototype !== undefined) lines.push(`  ${row.returns ?? 'void'} (*${row.op})(${row.prototype})`);
  const cells = Object.entries(row.cells).map(([column, text]) => `${column}: ${text}`);
  lines.push('', `the document's row   ${cells.length === 0 ? 'none, or empty' : cells.join(' | ')}`);
  lines.push(`may block            ${mayBlock(row)}`);
  if (row.context !== undefined) lines.push(`runs in              ${row.context} context`);
  lines.push(`reached from         ${row.reach.join(', ')}`);
  if (row.keepsUntil !== undefined) lines.push(`may keep locked      what is its own, until ${row.keepsUntil}`);
  lines.push('', 'locks, in the order in which they are taken:');
  const taken = row.rules.filter((rule) => rule.mode !== 'none');
  const forbidden = row.rules.filter((rule) => rule.mode === 'none');
  if (row.rules.length === 0) lines.push('  none is prescribed');
  for (const [index, rule] of taken.entries()) lines.push(...wholeRule(rule, `${index + 1}.`));
  for (const rule of forbidden) lines.push(...wholeRule(rule, '-.'));
  if (row.prose.length > 0) {
    lines.push('', 'prose:');
    for (const rule of row.prose) lines.push(`  ${rule.id}`, `       ${rule.demands}`, `       (${rule.at})`);
  }
  const checks = new Set([...row.rules.flatMap(checkedBy), ...blockingCheckedBy(row)]);
  if (checks.size > 0) {
    lines.push('', 'checks:');
    for (const check of checks) lines.push(`  ${check.padEnd(15)} ${CHECKS[check]}`);
  }
  return lines.join('\n');
}

function mayBlock(row: Row): string {
  const condition = row.blockCondition === undefined ? '' : ` (${row.blockCondition})`;
  const checks = blockingCheckedBy(row);
  return `${row.mayBlock}${condition}${checks.length === 0 ? '' : `; checked by ${checks.join(', ')}`}`;
}

/** Up to five operations that are spelt almost like `op`, the nearest first. */
function nearMatches(op: string): readonly string[] {
  return nearest(op, new Set(ALL_ROWS.flatMap((row) => [row.op, `${row.section}.${row.op}`])), 5);
}
