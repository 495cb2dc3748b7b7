/** Which works a round of the benchmark does, and that some of them can be done alone. */
import { readFileSync } from 'node:fs';
import t from 'tap';
import { steps, works } from '../../scripts/bench/works.js';
import { type Ran, root, run } from '../mount/harness.js';
import { lacking, needsRoot } from '../mount/users.js';

const skip = needsRoot || (await lacking('cc', 'git', 'taskset'));

/** Without scripts/bench/run, which builds first: other tests are running. */
function bench(...args: string[]): Promise<Ran> {
  return run(process.execPath, [`${root}/dist/scripts/bench/mounts.js`, ...args], { timeout: 120_000 });
}

/** What benchmarks have mounted for themselves. */
function scratches(): string[] {
  return readFileSync('/proc/mounts', 'latin1')
    .split('\n')
    .filter((line) => line.startsWith('bench '));
}

function shown(pattern: RegExp): string[] {
  return steps(works('tar'), pattern).map(({ work, measured }) => (measured ? work.name : `(${work.name})`));
}

t.test('a work comes with what it needs', async (t) => {
  t.same(shown(/untar/), ['untar']);
  t.same(shown(/git/), ['(untar)', 'git add, commit']);
  t.same(shown(/untar|rm -rf/), ['untar', 'rm -rf']);
  t.same(shown(/unlink/), ['(create, write 100 bytes, close)', '(rename)', 'unlink']);
  t.same(shown(/4 KiB/), ['4 KiB random read, direct', '4 KiB random write, direct']);
  t.same(shown(/nothing/), []);
  t.equal(shown(/(?:)/).length, works('tar').length);
  t.notMatch(shown(/(?:)/).join(), '(create');
});

t.test('several rounds of one work', { skip, timeout: 300_000 }, async (t) => {
  const scale = [
    '--starts',
    '2',
    '--rounds',
    '2',
    '--targets',
    'tmpfs',
    '--files',
    '20',
    '--tree',
    '20',
    '--seconds',
    '0.05',
  ];
  for (const only of ['untar', 'rm -rf', 'stat']) {
    const ran = await bench('--only', only, ...scale, '--json');
    t.equal(ran.status, 0, `${only}: ${ran.stderr}`);
    if (ran.status !== 0) continue;
    const { results } = JSON.parse(ran.stdout);
    t.match(results, [{ work: new RegExp(only) }]);
    t.same(
      results[0].targets.tmpfs.samples.map((turns: number[]) => turns.length),
      [2, 2],
      'two starts of two rounds',
    );
    t.equal(results.length, 1);
  }
  const before = scratches();
  const none = await bench('--only', 'nothing', ...scale);
  t.equal(none.status, 2);
  t.match(none.stderr, /no work matches 'nothing'/);
  t.same(scratches(), before, 'nothing stays mounted');
});
