/** The C prototypes of one section of a locking document. */
import { DocumentError } from './document-error.js';

/** One prototype: `returns (*op)(parameters)`, spaces normalised. */
export interface Prototype {
  readonly op: string;
  readonly returns: string;
  readonly parameters: string;
  /** Counted from 1. */
  readonly line: number;
}

const START = /^\s*([a-z_][\w\s*]*?)\s*\(\s*\*\s*(\w+)\s*\)\s*\(/;
const COMMENT = /\/\*.*?\*\//g;

/** The prototypes that were read, and the index of the first line after them. */
export interface Prototypes {
  readonly prototypes: readonly Prototype[];
  readonly end: number;
}

/**
 * Read prototypes from `lines[start]` on, up to the first line that is neither a prototype nor part of one.
 *
 * @throws DocumentError where a prototype begins and does not end
 */
export function readPrototypes(lines: readonly string[], start: number, limit: number): Prototypes {
  const prototypes: Prototype[] = [];
  let text = '';
  let from = start;
  const finish = (): void => {
    if (text !== '') prototypes.push(parse(text, from));
    text = '';
  };
  let index = start;
  for (; index < limit; index++) {
    const line = (lines[index] ?? '').replaceAll(COMMENT, ' ');
    const blank = line.trim() === '';
    if (START.test(line)) {
      finish();
      text = line;
      from = index;
    } else if (text !== '' && !blank && !isClosed(text)) text += ` ${line}`;
    else if (!blank && line.trim() !== '};') break;
    if (text.trimEnd().endsWith(';')) finish();
  }
  finish();
  return { prototypes, end: index };
}

/** Closed: as many parentheses closed as opened. A document's stray opening one is closed by its semicolon. */
function isClosed(text: string): boolean {
  return text.split('(').length === text.split(')').length;
}

function parse(text: string, index: number): Prototype {
  const start = START.exec(text);
  const rest = start === null ? '' : text.slice(start[0].length).trim().replace(/;$/, '').trim();
  const returns = start?.[1] ?? '';
  const op = start?.[2] ?? '';
  if (op === '' || !rest.endsWith(')'))
    throw new DocumentError(index + 1, `the prototype of ${op || 'an operation'} does not end`);
  // A stray opening parenthesis, as one version after another prints at d_dname, is not part of the list.
  const parameters = rest.slice(0, -1).replace(/^\s*\(+(?=\s*\w+ \w)/, '');
  return { op, returns: normalised(returns), parameters: normalised(parameters), line: index + 1 };
}

/** Runs of white space become one space, and a comma is followed by one and preceded by none. */
function normalised(text: string): string {
  return text.replace(/\s+/g, ' ').replace(/ ?, ?/g, ', ').trim();
}
