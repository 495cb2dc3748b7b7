/** A locking document of any of the last ten years, read into sections, prototypes and rows. */
import { DocumentError } from './document-error.js';
import { readPrototypes } from './prototypes.js';
import { readTable } from './tables.js';

export { DocumentError } from './document-error.js';

/** What a document says of one operation: its prototype, its row, or both. */
export interface DocumentOperation {
  readonly op: string;
  /** The line of its row, or of its prototype where it has no row; counted from 1. */
  readonly line: number;
  readonly returns?: string;
  readonly prototype?: string;
  /** Absent where the section's table has no row of it, and where the section has no table. */
  readonly cells?: readonly string[];
}

export interface DocumentSection {
  /** As the contract names it: without the word 'operations' after a space. */
  readonly section: string;
  readonly line: number;
  readonly columns: readonly string[];
  /** Whether `cells` are by column, with '' for an empty one; otherwise only those that are not empty, in order. */
  readonly positioned: boolean;
  /** What is said of all its operations at once, such as that all may block. */
  readonly blocking?: string;
  readonly operations: ReadonlyMap<string, DocumentOperation>;
}

const DASHED = /^-{3,}\s*([a-z_]\w*(?: operations)?)\s*-{3,}\s*$/;
const BARE = /^([a-z_]\w*(?: operations)?)[¶#]?\s*$/;
const UNDERLINE = /^\s*[=~-]{3,}\s*$/;
const PROTOTYPES = /^\s*prototypes\s*::?\s*$/i;

/**
 * Read a document: the kernel tree's text or reStructuredText, or the plain text of a rendered page.
 *
 * @throws DocumentError naming the line, where it is not a locking document or a part of it cannot be read
 */
export function parseDocument(text: string): readonly DocumentSection[] {
  const lines = text.split(/\r?\n/);
  const starts = sectionStarts(lines);
  if (starts.length === 0) {
    const first = lines.findIndex((line) => line.trim() !== '');
    throw new DocumentError(
      Math.max(first, 0) + 1,
      'this is not a locking document: no section with prototypes begins anywhere',
    );
  }
  return starts.map((start, index) => readSection(lines, start, starts[index + 1]?.title ?? lines.length));
}

interface SectionStart {
  readonly section: string;
  /** Indexes of the title and of the line after the word 'prototypes'. */
  readonly title: number;
  readonly body: number;
}

function sectionStarts(lines: readonly string[]): SectionStart[] {
  const starts: SectionStart[] = [];
  for (const [title, line] of lines.entries()) {
    const name = (DASHED.exec(line) ?? BARE.exec(line))?.[1];
    if (name === undefined) continue;
    let next = title + 1;
    while (next < lines.length && ((lines[next] ?? '').trim() === '' || UNDERLINE.test(lines[next] ?? ''))) next++;
    if (!PROTOTYPES.test(lines[next] ?? '')) continue;
    starts.push({ section: name.replace(/ operations$/, ''), title, body: next + 1 });
  }
  return starts;
}

function readSection(lines: readonly string[], start: SectionStart, following: number): DocumentSection {
  const limit = endOfSection(lines, start.body, following);
  const { prototypes, end } = readPrototypes(lines, start.body, limit);
  if (prototypes.length === 0)
    throw new DocumentError(start.title + 1, `${start.section} has no prototype that can be read`);
  const known = new Set(prototypes.map(({ op }) => op));
  const table = readTable(lines, end, limit, known);
  const operations = new Map<string, DocumentOperation>();
  for (const { op, returns, parameters, line } of prototypes) {
    if (operations.has(op)) throw new DocumentError(line, `${start.section} has a second prototype of ${op}`);
    operations.set(op, { op, line, returns, prototype: parameters });
  }
  for (const { op, cells, line } of table?.rows ?? []) {
    const known = operations.get(op);
    if (known?.cells !== undefined) throw new DocumentError(line, `${start.section} has a second row of ${op}`);
    operations.set(op, { ...known, op, cells, line });
  }
  const blocking = blockingRule(lines, end, limit);
  return {
    section: start.section,
    line: start.title + 1,
    columns: table?.columns ?? [],
    positioned: table?.positioned ?? true,
    ...(blocking === undefined ? {} : { blocking }),
    operations,
  };
}

/** The last section ends where the dubious stuff begins. */
function endOfSection(lines: readonly string[], start: number, following: number): number {
  for (let index = start; index < following; index++) {
    if (/^\s*Dubious stuff/.test(lines[index] ?? '')) return index;
  }
  return following;
}

function blockingRule(lines: readonly string[], start: number, limit: number): string | undefined {
  for (let index = start; index < Math.min(limit, start + 6); index++) {
    const text = (lines[index] ?? '').trim();
    if (/^all\b.*\bmay block\b/i.test(text)) return text.replace(/\.$/, '');
  }
  return undefined;
}
