/** The contract written out as a locking document, in each of the forms that are read: what the tests plant drift into. */
import { WITHOUT_ROW } from '../../src/contract/columns.js';
import { BLOCKING, COLUMNS, type Row, rowsOfSection, SECTIONS, type Section } from '../../src/contract/index.js';

const heading = (section: Section): string => (section === 'xattr_handler' ? 'xattr_handler operations' : section);

function prototypes(section: Section): string[] {
  return rowsOfSection(section)
    .filter((row) => row.prototype !== undefined)
    .map((row) => `\t${row.returns} (*${row.op}) (${row.prototype});`);
}

function tabled(section: Section): readonly Row[] {
  if (COLUMNS[section].length === 0) return [];
  return rowsOfSection(section).filter((row) => WITHOUT_ROW[section]?.includes(row.op) !== true);
}

const texts = (row: Row): string[] => COLUMNS[row.section].map((column) => row.cells[column] ?? '');

/** One cell to a paragraph, as a browser copies the page. */
export function asPlainText(): string {
  const lines = ['Locking', ''];
  for (const section of SECTIONS) {
    lines.push(heading(section), '', 'prototypes:', '', ...prototypes(section).map((line) => line.trim()));
    lines.push('', 'locking rules:', '', BLOCKING[section] ?? '', '');
    const rows = tabled(section);
    if (rows.length > 0) lines.push('ops', '', ...COLUMNS[section].flatMap((column) => [column, '']));
    for (const row of rows)
      lines.push(`${row.op}:`, '', ...texts(row).flatMap((text) => (text === '' ? [] : [text, ''])));
    lines.push('->some_operation() is explained in a sentence.', '');
  }
  lines.push('Dubious stuff', '', '(if you notice something)');
  return `${lines.join('\n')}\n`;
}

/** The kernel tree's reStructuredText. */
export function asReStructuredText(): string {
  const lines = ['=======', 'Locking', '=======', '', 'Some words.', ''];
  for (const section of SECTIONS) {
    const title = heading(section);
    lines.push(title, '='.repeat(title.length), '', 'prototypes::', '', ...prototypes(section), '', 'locking rules:');
    lines.push(`\t${BLOCKING[section] ?? ''}`, '');
    const rows = tabled(section);
    const header = ['ops', ...COLUMNS[section]];
    const cells = rows.map((row) => [`${row.op}:`, ...texts(row)]);
    const widths = header.map((_, index) => Math.max(...[header, ...cells].map((row) => (row[index] ?? '').length)));
    const border = widths.map((width) => '='.repeat(width)).join(' ');
    const setLine = (row: readonly string[]) =>
      widths.map((width, index) => (row[index] ?? '').padEnd(width)).join(' ');
    if (rows.length > 0) lines.push(border, setLine(header), border, ...cells.map(setLine), border, '');
    lines.push('->some_operation() is explained in a sentence.', '');
  }
  lines.push('-'.repeat(40), '', '\t\t\tDubious stuff', '');
  return lines.join('\n');
}
