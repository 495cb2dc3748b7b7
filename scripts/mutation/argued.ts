/** The survivors that ARCHITECTURE.md argues for, one by one. */
import { readFileSync } from 'node:fs';

const DOCUMENT = new URL('../../../ARCHITECTURE.md', import.meta.url);

/** A row of its table: | `id` | reason | */
const ROW = /^\| `([a-z_]+\.\w+[^`]*: [^`]+)` \| (.+) \|$/;

/** Why nothing can notice a mutant, by its id. */
export function arguedSurvivors(text = readFileSync(DOCUMENT, 'utf8')): Map<string, string> {
  const found = new Map<string, string>();
  for (const line of text.split('\n')) {
    const [, id, reason] = ROW.exec(line) ?? [];
    if (id !== undefined && reason !== undefined) found.set(id, reason);
  }
  return found;
}
