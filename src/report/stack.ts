/** Stacks as reports show them: the positions in the TypeScript sources, without what every stack here has in common. */
import { relative } from 'node:path';
import { fileURLToPath } from 'node:url';

const root = fileURLToPath(new URL('../../../', import.meta.url));

/** One line of a stack. */
export interface Frame {
  /** The function, '' at top level. */
  readonly name: string;
  /** The file from the root of the project; one that is elsewhere as Node names it. */
  readonly file: string;
  readonly line: number;
  readonly column: number;
}

/** What every acquisition and every report passes through: it says nothing about who took the lock, or broke the rule. */
const MACHINERY = /(^|\/)src\/((locking|sched)\/|(fs|mm)\/([\w-]+\/)*[\w-]+-check\.[jt]s$)|^node:/;
const REPORTERS: ReadonlySet<string> = new Set(['folio_violation']);

/** The frames of `Error.stack`, innermost first. */
export function frames(stack: string): Frame[] {
  const found: Frame[] = [];
  for (const line of stack.split('\n')) {
    const match = /^\s+at (?:(?:async )?(.+?) \()?(?:file:\/\/)?([^()]+?):(\d+):(\d+)\)?$/.exec(line);
    if (match === null) continue;
    const [, name = '', path = '', row = '0', column = '0'] = match;
    const file = path.startsWith(root) ? relative(root, path) : path;
    found.push({ name, file, line: Number(row), column: Number(column) });
  }
  return found;
}

/** Without the frames of the locks and of the validator at its inner end; all of it where nothing else is there. */
export function callers(stack: string): Frame[] {
  const all = frames(stack);
  const own = all.filter(({ file, name }) => !MACHINERY.test(file) && !REPORTERS.has(name));
  return own.length === 0 ? all : own;
}

/** `function+file:line:column`, as a line of a report. */
export function describeFrame({ name, file, line, column }: Frame): string {
  const place = `${file}:${line}:${column}`;
  return name === '' ? place : `${name} (${place})`;
}

/** Where something was done: the innermost caller. */
export function place(stack: string | undefined): string {
  const [first] = stack === undefined ? [] : callers(stack);
  return first === undefined ? 'an unknown place' : describeFrame(first);
}
