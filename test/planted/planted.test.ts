/**
 * The validator's own proof: every filesystem under wrong/ has one bug, as kernel developers make them, and gets the report that one would want: the
 * rule by name, the operation, the locks held, a place inside the wrong filesystem, and nothing besides. Those under right/ do unusual things that are
 * right, and get none.
 */
import { readdirSync } from 'node:fs';
import t from 'tap';
import { type Planted, play, reportOf, type Unusual } from './harness.js';

/** The modules of a folder, by name. */
async function modulesIn<T>(folder: string): Promise<[name: string, module: T][]> {
  const url = new URL(folder, import.meta.url);
  const files = readdirSync(url).filter((file) => file.endsWith('.js'));
  return Promise.all(files.map(async (file) => [file.slice(0, -3), (await import(new URL(file, url).href)) as T]));
}

const wrong = await modulesIn<{ planted: Planted }>('wrong/');
const right = await modulesIn<{ unusual: Unusual }>('right/');

t.ok(wrong.length >= 20 && right.length >= 5, `${wrong.length} wrong filesystems and ${right.length} right ones`);

for (const [name, { planted }] of wrong) {
  t.test(`${name}: ${planted.bug}`, async (t) => {
    const seen = await play(name, planted.changes, planted.provoke);
    const source = `test/planted/wrong/${name}.ts`;
    t.strictSame(
      seen.map((violation, i) => reportOf(violation, planted.reports[i], source)),
      planted.reports,
    );
  });
}

for (const [name, { unusual }] of right) {
  t.test(`${name}: ${unusual.what}`, async (t) => {
    const seen = await play(name, unusual.changes, async (stage) => t.ok(await unusual.use(stage), 'it did'));
    t.strictSame(
      seen.map(({ message }) => message),
      [],
    );
  });
}
