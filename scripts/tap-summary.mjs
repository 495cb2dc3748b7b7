// Reads tap's output: prints each test file's result, failed and skipped tests with their text, and the counts as the last line.
import { createInterface } from 'node:readline';

let passed = 0;
let failed = 0;
let skipped = 0;
const tail = [];
for await (const line of createInterface({ input: process.stdin })) {
  const match = /^(\s*)(not ok|ok) \d+(?: - )?(.*)$/.exec(line);
  if (match === null) {
    tail.push(line);
    if (tail.length > 200) tail.shift();
    continue;
  }
  const [, indent = '', verdict, text = ''] = match;
  if (indent === '') {
    console.log(`${verdict === 'ok' ? 'pass' : 'FAIL'}  ${text.replace(/ \{$/, '')}`);
    continue;
  }
  // A subtest's closing line repeats its assertions: only assertions are counted, which end without a time and a brace.
  if (/# time=/.test(text) && !/# SKIP/i.test(text)) continue;
  if (/# (SKIP|TODO)/i.test(text)) {
    skipped++;
    console.log(`skip  ${text.trim()}`);
  } else if (verdict === 'ok') passed++;
  else {
    failed++;
    console.log(`FAIL  ${text.trim()}`);
  }
}
if (failed > 0) console.log(tail.join('\n'));
console.log(`${passed} passed, ${failed} failed${skipped > 0 ? `, ${skipped} skipped` : ''}`);
process.exitCode = failed > 0 || passed === 0 ? 1 : 0;
