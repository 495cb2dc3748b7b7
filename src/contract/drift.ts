/** The drift between a locking document and the contract: what a maintainer has to look at after a kernel release. */
import { BLOCKING, COLUMNS, SECTIONS, WITHOUT_ROW } from './columns.js';
import type { DocumentOperation, DocumentSection } from './document.js';
import { rowsOfSection } from './index.js';
import type { Row, Section } from './row.js';

export type DriftKind =
  | 'section added'
  | 'section removed'
  | 'column added'
  | 'column removed'
  | 'column renamed'
  | 'blocking changed'
  | 'row added'
  | 'row removed'
  | 'cell changed'
  | 'prototype added'
  | 'prototype removed'
  | 'prototype changed';

/** One difference. `contract` is what the contract has, `document` what the document has; '' stands for nothing. */
export interface Drift {
  readonly kind: DriftKind;
  readonly section: string;
  readonly op?: string;
  readonly column?: string;
  readonly contract?: string;
  readonly document?: string;
  /** The line of the document; absent where the document has nothing to point at. */
  readonly line?: number;
}

/** Every difference, in the order of the document's sections and then of those that it does not have. */
export function driftOf(sections: readonly DocumentSection[]): readonly Drift[] {
  const found: Drift[] = [];
  const seen = new Set<string>();
  for (const section of sections) {
    seen.add(section.section);
    const ours = SECTIONS.find((name) => name === section.section);
    if (ours !== undefined) sectionDrift(ours, section, found);
    else {
      found.push({ kind: 'section added', section: section.section, line: section.line });
      for (const { op, line } of section.operations.values()) {
        found.push({ kind: 'row added', section: section.section, op, line });
      }
    }
  }
  for (const section of SECTIONS) {
    if (seen.has(section)) continue;
    found.push({ kind: 'section removed', section });
    for (const { op } of rowsOfSection(section)) found.push({ kind: 'row removed', section, op });
  }
  return found;
}

function sectionDrift(section: Section, document: DocumentSection, found: Drift[]): void {
  const ours = BLOCKING[section] ?? '';
  const theirs = document.blocking ?? '';
  if (!sameText(ours.toLowerCase(), theirs.toLowerCase())) {
    found.push({ kind: 'blocking changed', section, contract: ours, document: theirs, line: document.line });
  }
  const columns = matchColumns(section, document, found);
  const rows = rowsOfSection(section);
  const names = new Set(rows.map(({ op }) => op));
  for (const operation of document.operations.values()) {
    if (!names.has(operation.op)) found.push({ kind: 'row added', section, op: operation.op, line: operation.line });
  }
  for (const row of rows) {
    const operation = document.operations.get(row.op);
    if (operation === undefined) {
      found.push({ kind: 'row removed', section, op: row.op });
      continue;
    }
    prototypeDrift(row, operation, found);
    const tabled = COLUMNS[section].length > 0 && WITHOUT_ROW[section]?.includes(row.op) !== true;
    const { op, line } = operation;
    // Its cells would not tell: of many rows all are empty.
    if (tabled && operation.cells === undefined) found.push({ kind: 'row removed', section, op, line });
    else if (!tabled && operation.cells !== undefined) found.push({ kind: 'row added', section, op, line });
    else cellDrift(row, operation, document, columns, found);
  }
}

/** For each of the document's columns the contract's, or undefined where it is new. */
type Columns = readonly (string | undefined)[];

function matchColumns(section: Section, document: DocumentSection, found: Drift[]): Columns {
  const ours: readonly string[] = COLUMNS[section];
  const matched: (string | undefined)[] = document.columns.map((column) => ours.find((name) => sameText(name, column)));
  const left = ours.filter((name) => !matched.includes(name));
  const { line } = document;
  for (const [index, column] of document.columns.entries()) {
    if (matched[index] !== undefined) continue;
    // A column that kept its place among the others is the same one under a new name.
    const renamed = left.find((name) => name === ours[index]);
    if (renamed === undefined) found.push({ kind: 'column added', section, column, line });
    else {
      matched[index] = renamed;
      left.splice(left.indexOf(renamed), 1);
      found.push({ kind: 'column renamed', section, column: renamed, contract: renamed, document: column, line });
    }
  }
  for (const column of left) found.push({ kind: 'column removed', section, column, line });
  return matched;
}

function prototypeDrift(row: Row, operation: DocumentOperation, found: Drift[]): void {
  const ours = row.prototype === undefined ? undefined : `${row.returns ?? ''} (${row.prototype})`;
  const theirs = operation.prototype === undefined ? undefined : `${operation.returns ?? ''} (${operation.prototype})`;
  const at = { section: row.section, op: row.op, line: operation.line };
  if (ours === undefined && theirs !== undefined) found.push({ kind: 'prototype added', ...at, document: theirs });
  else if (ours !== undefined && theirs === undefined) found.push({ kind: 'prototype removed', ...at, contract: ours });
  else if (!sameText(ours ?? '', theirs ?? '')) {
    found.push({ kind: 'prototype changed', ...at, contract: ours ?? '', document: theirs ?? '' });
  }
}

function cellDrift(
  row: Row,
  operation: DocumentOperation,
  document: DocumentSection,
  columns: Columns,
  found: Drift[],
): void {
  const ours: readonly string[] = COLUMNS[row.section];
  const expected = ours.map((column) => row.cells[column] ?? '');
  const given = (operation.cells ?? []).map((text) => (text === '-' ? '' : text));
  // Whole rows first: a document that lacks the last column prints its text in the one before.
  if (sameText(expected.join(''), given.join(''))) return;
  const theirs = document.positioned ? byColumn(given, columns, ours) : align(given, expected);
  const at = { section: row.section, op: row.op, line: operation.line };
  for (const [index, column] of ours.entries()) {
    const contract = expected[index] ?? '';
    const text = theirs[index] ?? '';
    if (sameText(contract, text)) continue;
    found.push({ kind: 'cell changed', ...at, column, contract, document: text });
  }
  for (const [index, text] of given.entries()) {
    const column = document.columns[index];
    if (!document.positioned || text === '' || column === undefined || columns[index] !== undefined) continue;
    found.push({ kind: 'cell changed', ...at, column, contract: '', document: text });
  }
}

function byColumn(given: readonly string[], columns: Columns, ours: readonly string[]): readonly string[] {
  return ours.map((column) => given[columns.indexOf(column)] ?? '');
}

/**
 * Put the cells that are there under columns, in order, so that as many as possible agree with the contract: plain text
 * does not show which cells are empty.
 */
function align(given: readonly string[], expected: readonly string[]): readonly string[] {
  const full = given.filter((text) => text !== '');
  if (full.length >= expected.length) return full;
  let best: readonly string[] = [];
  let bestScore = -1;
  const put = (next: number, placed: readonly string[], score: number): void => {
    if (placed.length === expected.length) {
      if (next === full.length && score > bestScore) {
        best = placed;
        bestScore = score;
      }
      return;
    }
    const wanted = expected[placed.length] ?? '';
    const text = full[next];
    if (text !== undefined)
      put(next + 1, [...placed, text], score + (sameText(text, wanted) ? 2 : wanted === '' ? 0 : 1));
    put(next, [...placed, ''], score + (wanted === '' ? 1 : 0));
  };
  put(0, [], 0);
  return best;
}

/** White space and the mark of a footnote's link are how a document is set, not what it says. */
function sameText(a: string, b: string): boolean {
  return a === b || bare(a) === bare(b);
}

function bare(text: string): string {
  return text.replace(/\s+/g, '').replace(/\[(\d+)\]_?/g, '[$1]');
}
