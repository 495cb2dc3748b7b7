/**
 * The table of one section of a locking document, in each of the three forms that ten years have seen: columns made with
 * tabs, a reStructuredText table, and plain text with one cell to a paragraph.
 */
import { DocumentError } from './document-error.js';

/** One row: its operation and its cells. */
export interface TableRow {
  readonly op: string;
  /** By column where `DocumentTable.positioned`, with '' for an empty one; otherwise those that are not empty, in order. */
  readonly cells: readonly string[];
  /** Counted from 1. */
  readonly line: number;
}

export interface DocumentTable {
  /** The header without the column of operations. */
  readonly columns: readonly string[];
  readonly rows: readonly TableRow[];
  /** False for plain text, which does not show which cells are empty. */
  readonly positioned: boolean;
}

interface Token {
  readonly text: string;
  /** Counted from 0, with a tab stop every eight. */
  readonly column: number;
}

const BORDER = /^\s*={2,}(\s+={2,})*\s*$/;
const ROW_START = /^(\w+)(\s*:|(?=\s|$))/;
/** What cells consist of where an identifier alone could be either a cell or an operation. */
const CELL_WORDS = new Set(['yes', 'no', 'maybe', 'read', 'write', 'shared', 'exclusive']);

/**
 * Find and read the table between two lines of a document.
 *
 * @param known the operations that the section has prototypes of
 * @returns undefined where there is none
 * @throws DocumentError where a table begins and cannot be read
 */
export function readTable(
  lines: readonly string[],
  start: number,
  limit: number,
  known: ReadonlySet<string>,
): DocumentTable | undefined {
  for (let index = start; index < limit; index++) {
    const line = lines[index] ?? '';
    if (BORDER.test(line)) return borderedTable(lines, index, limit);
    if (line.trim() === 'ops') return paragraphTable(lines, index, limit, known);
    if (index > start && isTabbedRow(line, known) && /^\s+\S/.test(lines[index - 1] ?? '')) {
      return tabbedTable(lines, index, limit, known);
    }
  }
  return undefined;
}

/** Split at tabs and at runs of spaces; one space does not split. */
function tokens(line: string): Token[] {
  const found: Token[] = [];
  let column = 0;
  let text = '';
  let at = 0;
  let spaces = 0;
  const end = (): void => {
    if (text !== '') found.push({ text, column: at });
    text = '';
    spaces = 0;
  };
  for (const char of line) {
    if (char === '\t') {
      end();
      column += 8 - (column % 8);
      continue;
    }
    if (char === ' ') spaces++;
    else {
      if (spaces > 1) end();
      else if (text !== '' && spaces === 1) text += ' ';
      if (text === '') at = column;
      text += char;
      spaces = 0;
    }
    column++;
  }
  end();
  return found;
}

/** The operation at the start of a row, and the cells after it at the columns where they stand. */
function splitRow(line: string): { readonly op: string; readonly cells: readonly Token[] } | undefined {
  const start = ROW_START.exec(line);
  const op = start?.[1];
  if (start === null || op === undefined) return undefined;
  return { op, cells: tokens(' '.repeat(start[0].length) + line.slice(start[0].length)) };
}

/** Put each text into the last column that begins at or before it; what shares a column is joined by a space. */
function place(cells: readonly Token[], starts: readonly number[]): string[] {
  const placed = starts.map(() => '');
  for (const { text, column } of cells.flatMap((cell) => splitAt(cell, starts))) {
    const index = Math.max(
      0,
      starts.findLastIndex((start) => start <= column),
    );
    placed[index] = placed[index] === '' ? text : `${placed[index]} ${text}`;
  }
  return placed;
}

/** One space between two columns is enough in reStructuredText: split a text where a column begins after a space. */
function splitAt(cell: Token, starts: readonly number[]): readonly Token[] {
  const start = starts.find((at) => at > cell.column && cell.text[at - cell.column - 1] === ' ');
  if (start === undefined) return [cell];
  const at = start - cell.column;
  const rest = { text: cell.text.slice(at), column: start };
  return [{ text: cell.text.slice(0, at - 1), column: cell.column }, ...splitAt(rest, starts)];
}

/* reStructuredText: a border, the header, a border, rows, a border. */

function borderedTable(lines: readonly string[], start: number, limit: number): DocumentTable {
  // One space may separate two columns of a border, so it is split at every space.
  const starts = tokens(lines[start] ?? '').flatMap(({ text, column }) => {
    let at = column;
    return text.split(' ').map((run) => {
      const here = at;
      at += run.length + 1;
      return here;
    });
  });
  const borders: number[] = [];
  for (let index = start; index < limit && borders.length < 3; index++) {
    if (BORDER.test(lines[index] ?? '')) borders.push(index);
  }
  const [, second, third] = borders;
  if (second === undefined || third === undefined) {
    throw new DocumentError(start + 1, 'the table that begins here is never closed');
  }
  const [, ...columns] = place(lines.slice(start + 1, second).flatMap(tokens), starts);
  const rows: TableRow[] = [];
  for (let index = second + 1; index < third; index++) {
    const line = lines[index] ?? '';
    if (line.trim() === '') continue;
    const row = splitRow(line);
    if (row === undefined) throw new DocumentError(index + 1, 'a row of a table does not begin with an operation');
    const cells = place(row.cells, starts.slice(1));
    rows.push({ op: row.op, cells, line: index + 1 });
  }
  return { columns, rows, positioned: true };
}

/* Columns made with tabs: a header that begins with white space, then rows up to the first line that is none. */

function isTabbedRow(line: string, known: ReadonlySet<string>): boolean {
  const start = /^(\w+)(:?)(\s*)/.exec(line);
  if (start === null || start[1] === undefined) return false;
  if (start[2] === ':') return true;
  const gap = start[3] ?? '';
  return known.has(start[1]) && (gap.includes('\t') || gap.length > 1 || start[0].length === line.length);
}

function tabbedTable(
  lines: readonly string[],
  first: number,
  limit: number,
  known: ReadonlySet<string>,
): DocumentTable {
  const header = tokens(lines[first - 1] ?? '');
  const columns = header.map(({ text }) => text);
  const starts = header.map(({ column }) => column);
  const rows: TableRow[] = [];
  for (let index = first; index < limit; index++) {
    const line = lines[index] ?? '';
    const row = isTabbedRow(line, known) ? splitRow(line) : undefined;
    if (row === undefined) break;
    rows.push({ op: row.op, cells: placeByTabs(row.cells, starts), line: index + 1 });
  }
  return { columns, rows, positioned: true };
}

/** Tabs only roughly align: as many texts as columns go in order, fewer to the nearest column, and a remark to what it remarks on. */
function placeByTabs(cells: readonly Token[], starts: readonly number[]): string[] {
  if (cells.length === starts.length) return cells.map(({ text }) => text);
  const placed = starts.map(() => '');
  let least = 0;
  for (const { text, column } of cells) {
    let nearest = Math.min(least, starts.length - 1);
    for (let index = nearest; index < starts.length; index++) {
      if (Math.abs((starts[index] ?? 0) - column) < Math.abs((starts[nearest] ?? 0) - column)) nearest = index;
    }
    const into = text.startsWith('(') && least > 0 ? least - 1 : nearest;
    placed[into] = placed[into] === '' ? text : `${placed[into]} ${text}`;
    least = into + 1;
  }
  return placed;
}

/* Plain text, as a browser copies it: the header and then each row, one cell to a paragraph. */

function paragraphTable(
  lines: readonly string[],
  start: number,
  limit: number,
  known: ReadonlySet<string>,
): DocumentTable {
  const columns: string[] = [];
  const rows: { op: string; cells: string[]; line: number }[] = [];
  for (let index = start + 1; index < limit; index++) {
    const text = (lines[index] ?? '').trim();
    if (text === '') continue;
    const row = rows.at(-1);
    const op = /^(\w+)(:?)$/.exec(text);
    const full = row !== undefined && row.cells.length >= columns.length;
    if (op?.[1] !== undefined && (op[2] === ':' || known.has(op[1]) || (full && !CELL_WORDS.has(text)))) {
      rows.push({ op: op[1], cells: [], line: index + 1 });
    } else if (row === undefined) columns.push(text);
    else if (full || isProse(text)) break;
    else row.cells.push(text);
  }
  if (columns.length === 0 || rows.length === 0)
    throw new DocumentError(start + 1, 'the table that begins here has no rows');
  return { columns, rows, positioned: false };
}

function isProse(text: string): boolean {
  return text.startsWith('->') || text.endsWith('.') || text.length > 60;
}
