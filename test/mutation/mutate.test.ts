/** Mutation of the contract, for a few rows: what is weakened is noticed by something that does not read the rule, and what is not is said. */
import { spawnSync } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import t from 'tap';

const main = fileURLToPath(new URL('../../scripts/mutation/main.js', import.meta.url));

function mutate(...args: string[]): { status: number | null; lines: string[]; errors: string } {
  const { status, stdout, stderr } = spawnSync(process.execPath, [main, ...args], {
    encoding: 'utf8',
    timeout: 60_000,
  });
  return { status, lines: stdout.trimEnd().split('\n'), errors: stderr };
}

t.test('every way to weaken the lock of a directory is noticed', (t) => {
  const { status, lines } = mutate('--rows', 'inode_operations.create', '--verbose');
  t.equal(status, 0);
  t.equal(lines.at(-1), 'mutants 4, killed 4');
  t.match(
    lines[0],
    /^killed: inode_operations.create\/i_rwsem\/dir: not taken by guarded-state guarded#directory entries/,
  );
  t.end();
});

t.test('a page that stays locked makes a reader hang, or is found at the end of its task', (t) => {
  const { status, lines } = mutate('--rows', 'address_space_operations.write_end', '--verbose');
  t.equal(status, 0);
  t.match(
    lines.find((line) => line.includes('unlock forgotten')),
    /^killed: /,
  );
  t.end();
});

t.test('a sleep under a spinlock is found whatever the row says', (t) => {
  const { status, lines } = mutate('--rows', 'lock_manager_operations.lm_break', '--verbose');
  t.match(
    lines.find((line) => line.includes('lm_break: sleep planted')),
    /^killed: .*sleep-in-atomic/,
  );
  t.equal(status, 1, 'not all are reached');
  t.end();
});

t.test('what nothing notices is said, with an exit status', (t) => {
  const { status, lines } = mutate('--rows', 'inode_operations.tmpfile');
  t.equal(status, 1);
  t.same(lines, ['survived: inode_operations.tmpfile/i_rwsem/dir: held though it must not be', 'mutants 1, killed 0']);
  t.end();
});

t.test('bad options', (t) => {
  t.match(mutate('--rows', 'nothing'), { status: 2, errors: /^no operation is called 'nothing'\n$/ });
  t.match(mutate('--every', 'x'), { status: 2 });
  t.end();
});
