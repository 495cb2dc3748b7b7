/** latchfs trace on a mount: what a command's requests did under which locks, in three formats, and what cannot be traced. */
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import t from 'tap';
import type { RequestTrace } from '../../src/report/trace.js';
import { latchfs, othersNeedRoot, run, withMount } from './harness.js';

t.test('a file that moves between directories', async (t) => {
  await withMount('memory:64M', 'allow_other', async (m) => {
    const trace = (rest: string) => m.sh(`${latchfs} trace ${rest}`);
    await m.sh('mkdir a b; echo data > a/x');
    const tree = await trace('. -- mv a/x b/y');
    t.equal(tree.status, 0, tree.stderr);
    const rename = tree.stdout.split('\n\n').find((request) => request.startsWith('RENAME')) ?? '';
    const locks = [...rename.matchAll(/^ +[\d.]+ +([+-] \S+|inode_operations\.rename)/gm)].map(([, what]) => what);
    const before = locks.slice(0, locks.indexOf('inode_operations.rename'));
    t.same(before.slice(1, 5), ['+ s_vfs_rename_sem', '+ i_rwsem/1', '+ i_rwsem/5', '+ i_rwsem'], rename);
    for (const taken of before) t.ok(locks.includes(String(taken).replace('+', '-')), `${taken} and dropped`);
    t.notMatch(tree.stdout, /waits for an event/);

    const json = await trace('. --json -- mv b/y a/x');
    const requests: RequestTrace[] = JSON.parse(json.stdout);
    const moved = requests.find(({ syscall }) => syscall.startsWith('RENAME'));
    t.ok(moved?.events.some(({ what, name }) => what === 'enter' && name === 'inode_operations.rename'));
    t.same(
      requests.filter(({ events }) => events.length === 0),
      [],
    );
    // mv looks names up and moves; had we seen ourselves, there were reads and writes of a control file.
    t.notOk(
      requests.some(({ syscall }) => /^(OPEN|READ|WRITE|FLUSH|RELEASE)$/.test(syscall)),
      json.stdout,
    );

    const file = join(m.dir, '../chrome.json');
    const chrome = await trace(`. --chrome ${file} -- mv a/x b/y`);
    t.same([chrome.status, chrome.stdout, chrome.stderr], [0, '', '']);
    const { traceEvents } = JSON.parse(readFileSync(file, 'utf8'));
    t.ok(Array.isArray(traceEvents) && traceEvents.length > 10);
    for (const { name, ph, ts, pid, tid } of traceEvents)
      t.match({ name, ph, ts, pid, tid }, { name: String, ph: /^[BEbeiM]$/, ts: Number, pid: Number, tid: Number });
    const count = (kind: string): number => traceEvents.filter(({ ph }: { ph: string }) => ph === kind).length;
    t.equal(count('B'), count('E'));
    t.equal(count('b'), count('e'));
    t.match((await m.sh('head -n 1 .latchfs/trace')).stdout, /^\{"tracing":false,.*"kept":0,"dropped":0,/);
  });
});

t.test('the command is run as if it were run alone', async (t) => {
  await withMount('memory:64M', 'allow_other', async (m) => {
    const trace = (rest: string) => m.sh(`${latchfs} trace ${rest}`);
    const off = async (why: string): Promise<void> => {
      t.match((await m.sh('head -n 1 .latchfs/trace')).stdout, /^\{"tracing":false/, why);
    };
    const ran = await trace(". --output ../out -- sh -c 'cat; ls . >&2; exit 7' -- x <<<input");
    t.same([ran.status, ran.stdout, ran.stderr], [7, 'input\n', '']);
    t.match(readFileSync(join(m.dir, '../out'), 'utf8'), /^READDIR|\nREADDIR/);
    await off('after a failure');
    t.equal((await trace(". -- sh -c 'kill -KILL $$'")).status, 137);
    await off('after a kill');
    const missing = await trace('. -- no-such-command');
    t.same([missing.status, missing.stderr], [127, 'latchfs: no-such-command: command not found\n']);
    await off('after a command that is not there');
    const terminated = await m.sh(
      `${latchfs} trace . -- sh -c 'trap "exit 9" TERM; touch started; while :; do sleep 0.1; done' >/dev/null & ` +
        'for i in $(seq 200); do [ -e started ] && break; sleep 0.05; done; kill -TERM $!; wait $!',
    );
    t.equal(terminated.status, 9, 'signals are passed on');
    await off('after a signal');
  });
});

t.test('the control file', async (t) => {
  await withMount('memory:64M', 'allow_other', async (m) => {
    await m.sh('echo on > .latchfs/trace; mkdir d; rmdir d');
    const [header, ...lines] = (await m.sh('cat .latchfs/trace')).stdout.trimEnd().split('\n');
    t.match(JSON.parse(header ?? ''), {
      tracing: true,
      enforce: 'warn',
      kept: lines.length,
      dropped: 0,
      limit: 100_000,
    });
    t.ok(lines.some((line) => JSON.parse(line).name === 'inode_operations.mkdir'));
    t.match((await m.sh('echo on > .latchfs/trace')).stderr, /busy/);
    t.match((await m.sh(`${latchfs} trace . -- true`)).stderr, /^latchfs: \. is being traced already .*\n$/);
    await m.sh('echo clear > .latchfs/trace');
    t.notMatch((await m.sh('cat .latchfs/trace')).stdout, /mkdir/);
    await m.sh('echo off > .latchfs/trace; mkdir d');
    t.notMatch((await m.sh('cat .latchfs/trace')).stdout, /mkdir/);
    t.match((await m.sh('echo bogus > .latchfs/trace')).stderr, /Invalid argument/);
    t.match(m.log(), /trace: .*takes on, off or clear, not 'bogus'/);
    t.notMatch(m.log(), /violation/);
  });
});

t.test('what cannot be traced is said in one line', async (t) => {
  await withMount('memory:64M', 'allow_other,nocontrol', async (m) => {
    writeFileSync(join(m.dir, '../plain'), '');
    for (const [rest, status, message] of [
      ['. -- touch ran', 1, /^latchfs: \. has no control directory: no latchfs, or mounted with nocontrol\n$/],
      ['/proc -- touch ran', 1, /^latchfs: \/proc is not on a latchfs mount\n$/],
      ['nowhere -- touch ran', 1, /^latchfs: nowhere does not exist\n$/],
      ['. --json --chrome x -- touch ran', 2, /^latchfs: --json and --chrome exclude each other\n$/],
      ['. --output ../plain/x -- touch ran', 1, /^latchfs: \.\.\/plain\/x cannot be written: not a directory/],
      ['. --format xml -- touch ran', 2, /^latchfs: option '--format.*'xml' is invalid.*tree, json, chrome/],
      ['.', 2, /^latchfs: missing required argument 'command'; 'latchfs --help' shows the usage\n$/],
    ] as const) {
      const ran = await m.sh(`${latchfs} trace ${rest}`);
      t.equal(ran.status, status, rest);
      t.match(ran.stderr, message, rest);
    }
    t.equal((await m.sh('ls')).stdout, '', 'no command was run');
  });
});

t.test('only who mounted it may', { skip: othersNeedRoot }, async (t) => {
  await withMount('memory:64M', 'allow_other', async (m) => {
    const ran = await m.sh(`setpriv --reuid 65534 --clear-groups ${latchfs} trace . -- true`);
    t.equal(ran.status, 1);
    t.match(ran.stderr, /^latchfs: \. cannot be traced: only who mounted it may\n$/);
    const nowhere = await m.sh(`${latchfs} trace . -o /proc/nothing/x -- touch ran`);
    t.equal(nowhere.status, 1);
    t.match(nowhere.stderr, /^latchfs: \/proc\/nothing\/x cannot be written: /);
    t.equal((await m.sh('ls')).stdout, '', 'no command was run');
  });
});

t.test('a mount that goes away meanwhile', async (t) => {
  await withMount('memory:64M', 'allow_other', async (m) => {
    const ran = await run(latchfs, ['trace', m.dir, '--', 'umount', m.dir]);
    t.equal(ran.status, 1);
    t.match(ran.stderr, /^latchfs: \S+ was unmounted while it was traced: the trace is lost\n$/);
  });
});
