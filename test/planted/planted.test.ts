/**
 * The validator's own proof: every filesystem under wrong/ has one bug, as kernel developers make them, and gets the report that one would want: the
 * rule by name, the operation, the locks held, a place inside the wrong filesystem, and nothing besides.
 */
import { readdirSync } from 'node:fs';
import t from 'tap';
import { type Planted, play, reportOf } from './harness.js';

const folder = new URL('wrong/', import.meta.url);

for (const file of readdirSync(folder).filter((file) => file.endsWith('.js'))) {
  const name = file.slice(0, -3);
  const { planted } = (await import(new URL(file, folder).href)) as { planted: Planted };
  t.test(`${name}: ${planted.bug}`, async (t) => {
    const seen = await play(name, planted.changes, planted.provoke);
    const source = `test/planted/wrong/${name}.ts`;
    t.strictSame(
      seen.map((violation, i) => reportOf(violation, planted.reports[i], source)),
      planted.reports,
    );
  });
}
