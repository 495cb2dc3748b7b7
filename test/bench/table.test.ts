/** What the comparison of mounts makes of its samples. */
import t from 'tap';
import { json, type Result, ratio, table, taken } from '../../scripts/bench/table.js';

const CHECKS = { on: 'on', off: 'off' };

function result(unit: string, on: number[], off: number[]): Result {
  return {
    work: 'some work',
    unit,
    samples: new Map([
      ['on', on],
      ['off', off],
    ]),
  };
}

t.test('what the checks take is told round by round, whatever the unit', async (t) => {
  // The machine was twice as slow in the second round: medians of each column alone would tell of nothing.
  const rates = result('/s', [90, 45, 80], [100, 50, 100]);
  t.ok(Math.abs((taken(rates, CHECKS) ?? 1) - 0.1) < 1e-9);
  const times = result('s', [1.25, 2.5, 5], [1, 2, 4]);
  t.ok(Math.abs((taken(times, CHECKS) ?? 1) - 0.2) < 1e-9, 'a longer time is less throughput');
  t.equal(ratio(times, 'on', 'off'), 0.8);
});

t.test('the table has it as its last column where both take part', async (t) => {
  const rates = result('/s', [90], [100]);
  const rowOf = (text: string): string => text.split('\n').find((line) => line.includes('some work')) ?? '';
  t.match(rowOf(table([rates], ['on', 'off'], 'off', CHECKS)), /90 \(0\.90\).*100.*10\.0 %/);
  t.notMatch(table([rates], ['on'], 'on', CHECKS), '%');
  const { results } = JSON.parse(json([rates], 'off', CHECKS, {}));
  t.ok(Math.abs(results[0].checks - 0.1) < 1e-9);
  const alone = { ...rates, samples: new Map([['on', [1]]]) };
  t.equal(JSON.parse(json([alone], 'on', CHECKS, {})).results[0].checks, null);
});
