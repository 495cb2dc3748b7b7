/** Mutation of the contract: what is weakened is noticed by something that does not read the rule, or ARCHITECTURE.md argues why nothing can. */
import { spawnSync } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import t from 'tap';
import { arguedSurvivors } from '../../scripts/mutation/argued.js';
import { drawn, parse } from '../../scripts/mutation/options.js';

const main = fileURLToPath(new URL('../../scripts/mutation/main.js', import.meta.url));

function mutate(...args: string[]): { status: number | null; lines: string[]; errors: string } {
  const { status, stdout, stderr } = spawnSync(process.execPath, ['--enable-source-maps', main, ...args], {
    encoding: 'utf8',
    timeout: 240_000,
  });
  return { status, lines: stdout.trimEnd().split('\n'), errors: stderr };
}

/** How many a run of the tests tries; all of them take some minutes where others work as well. */
const SAMPLE = 200;

t.test('every way to weaken the lock of a directory is noticed', (t) => {
  const { status, lines } = mutate('--only', 'inode_operations.create/', '--verbose');
  t.equal(status, 0);
  t.equal(lines.at(-1), 'mutants 4, killed 4');
  t.match(
    lines[0],
    /^killed: inode_operations.create\/i_rwsem\/dir: not taken by guarded-state guarded#directory entries in names/,
  );
  t.end();
});

t.test('a page that stays locked makes a reader hang, or is found at the end of its task', (t) => {
  const { status, lines } = mutate('--only', 'address_space_operations.write_end/', '--verbose');
  t.equal(status, 0);
  t.match(
    lines.find((line) => line.includes('unlock forgotten')),
    /^killed: /,
  );
  t.end();
});

t.test('a sleep under a spinlock is found whatever the row says', (t) => {
  const { status, lines } = mutate('--only', '/lm_break: sleep/', '--verbose');
  t.match(lines[0], /^killed: .*sleep-in-atomic/);
  t.equal(status, 0);
  t.end();
});

t.test('a sample of all is drawn by chance, and none survives that is not argued for', (t) => {
  const { status, lines, errors } = mutate('--sample', String(SAMPLE));
  t.equal(errors, '');
  t.comment(`${lines[0]}; ${lines.at(-1)}`);
  t.match(lines[0], /^a sample of \d+ by --seed \d+$/, 'the seed is said');
  t.same(
    lines.filter((line) => line.startsWith('survived: ') || line.startsWith('argued in vain: ')),
    [],
    lines[0] ?? '',
  );
  t.match(lines.at(-1), /^mutants \d+, killed \d+/);
  t.ok(status === 0 || lines.some((line) => line.startsWith('not reached: ')), 'the exit status says so');
  t.end();
});

t.test('what ARCHITECTURE.md argues for survives in fact', (t) => {
  const argued = [...arguedSurvivors().keys()];
  const { status, lines, errors } = mutate('--argued');
  t.equal(errors, '');
  t.equal(status, 0);
  t.same(lines.slice(0, -1), argued.map((id) => `argued: ${id}`).sort());
  t.equal(lines.at(-1), `mutants ${argued.length}, killed 0, argued ${argued.length}`);
  t.end();
});

t.test('the table of survivors', (t) => {
  const text = ['| mutant | why |', '|---|---|', '| `a.b/c/d: not taken` | because |', '| `scripts/mutate` | x |'];
  t.same([...arguedSurvivors(text.join('\n'))], [['a.b/c/d: not taken', 'because']]);
  t.end();
});

t.test('a list, without a run', (t) => {
  const { status, lines } = mutate('--list', '--only', '/inode_operations\\.(create|mkdir)\\/.*: not taken/');
  t.equal(status, 0);
  t.same(lines, ['inode_operations.create/i_rwsem/dir: not taken', 'inode_operations.mkdir/i_rwsem/dir: not taken']);
  t.end();
});

t.test('a seed gives the same sample again', (t) => {
  const all = Array.from({ length: 100 }, (_, i) => i);
  t.same(drawn(all, 10, 7), drawn(all, 10, 7));
  t.notSame(drawn(all, 10, 7), drawn(all, 10, 8));
  t.equal(drawn(all, 10, 7).length, 10);
  t.equal(drawn(all, 1000, 7).length, 100);
  t.not(parse(['--sample', '3']).seed, parse(['--sample', '3']).seed);
  t.end();
});

t.test('help and bad options', (t) => {
  t.match(mutate('--help'), { status: 0, lines: [/^usage: scripts\/mutate /], errors: '' });
  const refused = (args: string[], errors: RegExp) => t.match(mutate(...args), { status: 2, errors });
  refused(['--only', 'nothing'], /^no mutant is called that \(see scripts\/mutate --help\)\n$/);
  refused(['--only', '/(/'], /^--only \/\(\/ is no regular expression \(see/);
  refused(['--sample', 'x'], /^--sample takes a number from 1 on, not 'x' \(see/);
  refused(['--seed', '0'], /^--seed takes a number from 1 on, not '0' \(see/);
  refused(['--bogus'], /^Unknown option '--bogus'.*\(see scripts\/mutate --help\)\n$/);
  t.end();
});
