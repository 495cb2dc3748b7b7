/** Mutation of the contract: what is weakened is noticed by something that does not read the rule, or ARCHITECTURE.md argues why nothing can. */
import { spawnSync } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import t from 'tap';
import { arguedSurvivors, figures } from '../../scripts/mutation/argued.js';
import { ALL_MUTANTS, describe, readsTheRule, type Way } from '../../scripts/mutation/mutants.js';
import { drawn, parse } from '../../scripts/mutation/options.js';
import { ALL_ROWS } from '../../src/contract/index.js';

const main = fileURLToPath(new URL('../../scripts/mutation/main.js', import.meta.url));

function mutate(...args: string[]): { status: number | null; lines: string[]; errors: string } {
  const { status, stdout, stderr } = spawnSync(process.execPath, ['--enable-source-maps', main, ...args], {
    encoding: 'utf8',
    timeout: 600_000,
  });
  return { status, lines: stdout.trimEnd().split('\n'), errors: stderr };
}

/** How many a run of the tests tries; all of them take some minutes where others work as well. */
const SAMPLE = 100;

t.test('what is weakened is noticed, and by what', (t) => {
  const chosen = ['inode_operations.create\\/', 'write_end\\/folio.*: unlock', 'lm_break: sleep'];
  const { status, lines } = mutate('--only', `/${chosen.join('|')}/`, '--verbose');
  t.equal(status, 0);
  t.equal(lines.at(-1), 'mutants 7, killed 7');
  t.match(
    lines[0],
    /^killed: inode_operations.create\/i_rwsem\/dir: not taken by guarded-state guarded#directory entries in names/,
  );
  const killed = (id: string) => lines.find((line) => line.startsWith(`killed: ${id}`)) ?? '';
  t.match(
    killed('address_space_operations.write_end/folio/folio: unlock forgotten'),
    /by (the result|leaked|held-at-task-end)/,
    'a page that stays locked makes a reader hang, or is found at the end of its operation or task',
  );
  t.match(
    killed('lock_manager_operations.lm_break: sleep planted'),
    /by sleep-in-atomic/,
    'a sleep under a spinlock is found whatever the row says',
  );
  t.end();
});

interface Finding {
  readonly mutant: string;
  readonly verdict: string;
  readonly by?: string;
  readonly argued?: string;
}

const found = (...args: string[]): Finding[] => JSON.parse(mutate(...args, '--json').lines.join('\n'));

t.test('of a sample of all, drawn by chance, none survives that is not argued for', (t) => {
  const seed = String(1 + Math.floor(Math.random() * 0xffffffff));
  const findings = found('--sample', String(SAMPLE), '--seed', seed);
  const at = `--sample ${SAMPLE} --seed ${seed}`;
  t.equal(findings.length, SAMPLE, at);
  t.same(
    findings.filter(({ verdict, argued }) => verdict !== 'killed' && argued === undefined),
    [],
    at,
  );
  t.ok(
    findings.every(({ verdict, by }) => (verdict === 'killed') === (by !== undefined)),
    'what is killed is killed by something',
  );
  t.end();
});

t.test('what ARCHITECTURE.md argues for survives in fact', (t) => {
  const argued = arguedSurvivors();
  const findings = found('--argued');
  t.same(
    findings.map(({ mutant, argued: why }) => [mutant, why]).sort(),
    [...argued].sort(),
    'the mutants that it names, with its reasons',
  );
  t.same(
    findings.filter(({ verdict }) => verdict === 'killed'),
    [],
  );
  t.end();
});

t.test('ARCHITECTURE.md says how many mutants there are, and how many of them are killed', (t) => {
  const { mutants, killed } = figures();
  t.equal(mutants, ALL_MUTANTS.length);
  t.equal(killed, ALL_MUTANTS.length - arguedSurvivors().size, 'all that it does not argue for');
  t.equal(new Set(ALL_MUTANTS.map(describe)).size, mutants, 'each has an id of its own');
  t.end();
});

t.test('every rule is weakened in every way that it has', (t) => {
  const rules = ALL_ROWS.flatMap((row) => row.rules.map((rule) => ({ row, rule })));
  for (const { rule } of rules) {
    const ways = new Set(ALL_MUTANTS.filter((mutant) => mutant.rule === rule).map(({ way }) => way));
    const expected =
      rule.mode === 'none'
        ? ['held though it must not be']
        : ['not taken', 'taken late', 'dropped early', 'unlock forgotten'];
    for (const way of expected) t.ok(ways.has(way as Way), `${rule.id}: ${way}`);
  }
  const planted = ALL_MUTANTS.filter(({ way }) => way === 'sleep planted').map(({ row }) => row);
  t.same(
    planted,
    ALL_ROWS.filter(({ mayBlock }) => mayBlock !== 'yes'),
    'a sleep is planted wherever a row forbids one',
  );
  t.end();
});

t.test('what counts as noticed', (t) => {
  const mutant = ALL_MUTANTS.find((one) => describe(one) === 'inode_operations.unlink/i_rwsem/victim: not taken');
  if (mutant === undefined) throw new Error('no such mutant');
  const counts = (rule: string) => !readsTheRule(rule, mutant);
  t.notOk(counts('inode_operations.unlink/i_rwsem/victim'), 'not the rule itself');
  t.notOk(counts('inode_operations.setattr/i_rwsem/inode'), 'not what another row says of that lock');
  t.notOk(counts('inode_operations.unlink#leaves-no-lock'), 'not what the row says of itself');
  t.notOk(counts('super_operations.statfs#keeps-what-its-caller-holds'), 'not what an operation within it lost');
  t.ok(counts('guarded#inode.i_nlink'));
  t.ok(counts('lockdep#circular-dependency'));
  t.ok(counts('super_operations.put_super/s_umount/sb'), 'a rule of another lock');
  t.end();
});

t.test('the table of survivors', (t) => {
  const text = ['| mutant | why |', '|---|---|', '| `a.b/c/d: not taken` | because |', '| `scripts/mutate` | x |'];
  t.same([...arguedSurvivors(text.join('\n'))], [['a.b/c/d: not taken', 'because']]);
  t.end();
});

t.test('the slices of all are all', (t) => {
  const slices = ['1/3', '2/3', '3/3'].flatMap((slice) => mutate('--list', '--slice', slice).lines);
  t.same(slices.sort(), ALL_MUTANTS.map(describe).sort());
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
  refused(['--slice', '4/3'], /^--slice takes I\/N with I from 1 to N, not '4\/3' \(see/);
  refused(['--slice', '1'], /^--slice takes I\/N with I from 1 to N, not '1' \(see/);
  refused(['--seed', '0'], /^--seed takes a number from 1 on, not '0' \(see/);
  refused(['--bogus'], /^Unknown option '--bogus'.*\(see scripts\/mutate --help\)\n$/);
  t.end();
});
