/** What a signal ends that arrives while its process waits for an answer: only a fatal one ends what Linux lets only fatal ones end. */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { setTimeout as sleep } from 'node:timers/promises';
import t from 'tap';
import { fatal_signal_pending } from '../../src/fuse/signals.js';
import { withMount } from './harness.js';

t.test('a long copy goes on through signals that have a handler', async (t) => {
  await withMount('memory:1G', 'allow_other', async (m) => {
    const ran = await m.sh(`head -c 128M /dev/zero > a; python3 - <<'END'
import os, signal
hits = []
signal.signal(signal.SIGALRM, lambda *_: hits.append(1))
a = os.open('a', os.O_RDONLY)
b = os.open('b', os.O_WRONLY | os.O_CREAT)
signal.setitimer(signal.ITIMER_REAL, 0.002, 0.002)
pieces = {os.copy_file_range(a, b, 1 << 30) for _ in range(8)}
signal.setitimer(signal.ITIMER_REAL, 0)
print(pieces, len(hits) > 0)
END`);
    t.equal(ran.stdout, `{${16 << 20}} True\n`, ran.stderr);
  });
});

t.test('a fatal signal is told from others, also when it is the second', async (t) => {
  await withMount('memory:64M', 'allow_other,cache=none', async (m) => {
    const child = spawn(
      'python3',
      [
        '-u',
        '-c',
        `
import os, signal
signal.signal(signal.SIGUSR1, lambda *_: None)
f = os.open('f', os.O_WRONLY | os.O_CREAT)
print('open')
os.read(0, 1)
os.write(f, b'x')
`,
      ],
      { cwd: m.dir, stdio: ['pipe', 'pipe', 'inherit'] },
    );
    const ended = once(child, 'exit');
    await once(child.stdout, 'data');
    await m.sh('echo freeze > .latchfs/control');
    child.stdin.write('\n');
    const pid = child.pid ?? 0;
    await sleep(300);
    t.notOk(fatal_signal_pending(pid), 'nothing yet');
    child.kill('SIGUSR1');
    await sleep(100);
    t.notOk(fatal_signal_pending(pid), 'one with a handler');
    child.kill('SIGKILL');
    await sleep(100);
    t.ok(fatal_signal_pending(pid), 'one that ends it');
    t.equal(child.exitCode, null, 'while it waits for the write');
    await m.sh('echo thaw > .latchfs/control');
    t.same(await ended, [null, 'SIGKILL']);
  });
  t.notOk(fatal_signal_pending(0));
  t.notOk(fatal_signal_pending(2 ** 30), 'nobody');
});
