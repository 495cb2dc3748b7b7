/** What the comparison of mounts makes of its samples. */
import t from 'tap';
import { json, type Result, ratio, table, taken } from '../../scripts/bench/table.js';

const CHECKS = { on: 'on', off: 'off' };

function result(unit: string, on: number[], off: number[]): Result {
  return started(unit, [on], [off]);
}

function started(unit: string, on: number[][], off: number[][]): Result {
  return {
    work: 'some work',
    unit,
    samples: new Map([
      ['on', on],
      ['off', off],
    ]),
  };
}

const near = (value: number | undefined, wanted: number): boolean => Math.abs((value ?? Number.NaN) - wanted) < 1e-9;

t.test('what the checks take is told round by round, whatever the unit', async (t) => {
  // The machine was twice as slow in the second round: medians of each column alone would tell of nothing.
  const rates = result('/s', [90, 45, 80], [100, 50, 100]);
  t.ok(near(taken(rates, CHECKS)[0], 0.1));
  const times = result('s', [1.25, 2.5, 5], [1, 2, 4]);
  t.ok(near(taken(times, CHECKS)[0], 0.2), 'a longer time is less throughput');
  t.equal(ratio(times, 'on', 'off'), 0.8);
});

t.test('daemons that were started several times are compared with those of the same start', async (t) => {
  // Where those of the second start were compared with the ones of the first, the checks would seem to take a half.
  const rates = started('/s', [[90], [45, 47], [85]], [[100], [50, 50], [100]]);
  const parts = taken(rates, CHECKS);
  t.ok(near(parts[0], 0.1) && near(parts[1], 0.08) && near(parts[2], 0.15), String(parts));
  t.ok(near(ratio(rates, 'on', 'off'), 0.9), 'the median of the starts');
  const text = table([rates], ['on', 'off'], 'off', CHECKS);
  t.match(text, /10\.0 %/);
  t.match(text, /\(8\.0 to 15\.0\)/);
});

t.test('the table has it as its last column where both take part', async (t) => {
  const rates = result('/s', [90], [100]);
  const rowOf = (text: string): string => text.split('\n').find((line) => line.includes('some work')) ?? '';
  t.match(rowOf(table([rates], ['on', 'off'], 'off', CHECKS)), /90 \(0\.90\).*100.*10\.0 %/);
  t.notMatch(table([rates], ['on'], 'on', CHECKS), '%');
  const { results } = JSON.parse(json([rates], 'off', CHECKS, {}));
  t.ok(near(results[0].checks[0], 0.1));
  const alone = { ...rates, samples: new Map([['on', [[1]]]]) };
  t.equal(JSON.parse(json([alone], 'on', CHECKS, {})).results[0].checks.length, 0);
});
