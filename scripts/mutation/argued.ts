/** The survivors that ARCHITECTURE.md argues for, one by one. */
import { readFileSync } from 'node:fs';

const DOCUMENT = new URL('../../../ARCHITECTURE.md', import.meta.url);

const read = (): string => readFileSync(DOCUMENT, 'utf8');

/** A row of its table: | `id` | reason | */
const ROW = /^\| `([a-z_]+\.\w+[^`]*: [^`]+)` \| (.+) \|$/;

/** Why nothing can notice a mutant, by its id. */
export function arguedSurvivors(text = read()): Map<string, string> {
  const found = new Map<string, string>();
  for (const line of text.split('\n')) {
    const [, id, reason] = ROW.exec(line) ?? [];
    if (id !== undefined && reason !== undefined) found.set(id, reason);
  }
  return found;
}

/** How many mutants ARCHITECTURE.md says that there are, and how many of them are killed. @throws Error where it does not say so */
export function figures(text = read()): { readonly mutants: number; readonly killed: number } {
  const [, mutants, killed] = /\bmutants (\d+), killed (\d+)\b/.exec(text) ?? [];
  if (mutants === undefined || killed === undefined) throw new Error('ARCHITECTURE.md has no figures');
  return { mutants: Number(mutants), killed: Number(killed) };
}
