// Reads the tap output of test files: prints each file's result and seconds, failed and skipped tests with their text, and the counts as the last line.
import { readFileSync } from 'node:fs';
import { basename } from 'node:path';

let passed = 0;
let failed = 0;
let skipped = 0;
for (const file of process.argv.slice(2)) {
  const text = readFileSync(file, 'utf8');
  const name = basename(file).replace(/^dist_test_/, '').replaceAll('_', '/');
  let [ok, bad] = [0, 0];
  for (const line of text.split('\n')) {
    const match = /^\s*(not ok|ok) \d+(?: - )?(.*)$/.exec(line);
    if (match === null) continue;
    const [, verdict, what = ''] = match;
    if (/# (SKIP|TODO)/i.test(what)) {
      skipped++;
      console.log(`skip  ${name}: ${what.trim()}`);
    } else if (/# time=/.test(what)) {
      // A subtest's closing line repeats its assertions, which are counted already.
    } else if (verdict === 'ok') ok++;
    else {
      bad++;
      console.log(`FAIL  ${name}: ${what.trim()}`);
    }
  }
  const ended = /exit status (\d+)\s*$/.exec(text)?.[1];
  // The last one is of the whole file.
  const [, amount = '0', unit] = [...text.matchAll(/^# time=([\d.]+)(ms|s|m)$/gm)].at(-1) ?? [];
  const seconds = (Number(amount) * ({ ms: 0.001, m: 60 }[unit] ?? 1)).toFixed(1);
  if (ended !== '0' && bad === 0) bad++;
  if (ok + bad === 0 && !/# SKIP/i.test(text)) bad++;
  if (bad > 0) console.log(text.split('\n').slice(-80).join('\n'));
  console.log(`${bad > 0 ? 'FAIL' : 'pass'}  ${name} (${ok}, ${seconds} s)`);
  passed += ok;
  failed += bad;
}
console.log(`${passed} passed, ${failed} failed${skipped > 0 ? `, ${skipped} skipped` : ''}`);
process.exitCode = failed > 0 || passed === 0 ? 1 : 0;
