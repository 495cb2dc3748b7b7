/** Storing 1 GiB and discarding it gives the memory back to the system. */
import { execFileSync } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import t from 'tap';

t.test('1 GiB comes and goes', (t) => {
  const program = fileURLToPath(new URL('./memory-returned.js', import.meta.url));
  const told = JSON.parse(execFileSync(process.execPath, [program], { encoding: 'utf8' })) as Record<string, number>;
  const { before = 0, full = 0, half = 0, after = 0 } = told;
  t.ok(full - before > 1000 && full - before < 1100, `1 GiB is resident while stored: ${full - before} MiB`);
  t.ok(half - before < 570, `half of it after every second mebibyte was discarded: ${half - before} MiB`);
  t.ok(after - before < 32, `and nothing afterwards: ${after - before} MiB`);
  t.end();
});
