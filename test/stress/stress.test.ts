/**
 * Random system calls of several processes at once, in process and on mounts with each cache mode, with enforce=error: no rule is broken, nothing hangs, and fsck finds
 * nothing afterwards. LATCHFS_STRESS_SECONDS makes it longer. And the stress itself: what is wrong with a filesystem is seen.
 */
import { spawn } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import t from 'tap';
import { stressInside } from '../../scripts/stressing/inside.js';
import { mounts } from '../../src/fuse/mountinfo.js';
import { errno } from '../../src/sched/errno.js';
import { othersNeedRoot } from '../mount/harness.js';
import { lacking } from '../mount/users.js';

const main = fileURLToPath(new URL('../../scripts/stressing/main.js', import.meta.url));
const seconds = process.env['LATCHFS_STRESS_SECONDS'] ?? '30';

interface Stressed {
  readonly status: number | null;
  readonly output: string;
}

const stress = (...args: string[]): Promise<Stressed> => stressIn(tmpdir(), ...args);

/** @param dir where it mounts */
function stressIn(dir: string, ...args: string[]): Promise<Stressed> {
  return new Promise((resolve) => {
    const env = { ...process.env, TMPDIR: dir };
    const child = spawn(process.execPath, ['--enable-source-maps', main, ...args], { cwd: '/', env });
    let output = '';
    for (const stream of [child.stdout, child.stderr])
      stream.setEncoding('utf8').on('data', (text: string) => {
        output += text;
      });
    child.on('close', (status) => resolve({ status, output }));
  });
}

t.test('within this process', async (t) => {
  const { status, output } = await stress('--seconds', seconds, '--on', 'syscalls');
  t.equal(status, 0, output.slice(0, 5000));
  t.match(output, /\n\d+ rounds, \d+ calls, \d+ of them refused, 0 faults\n$/);
});

const skip = await lacking('python3');

t.test('on mounts', { skip }, async (t) => {
  const { status, output } = await stress('--seconds', seconds, '--on', 'mounts');
  t.equal(status, 0, output.slice(0, 5000));
  t.match(output, /\n\d+ rounds, \d+ calls, \d+ of them refused, 0 faults\n$/);
});

t.test('a copy of the mount in another namespace does not hold it up', { skip: skip || othersNeedRoot }, async (t) => {
  const dir = mkdtempSync(join(tmpdir(), 'latchfs-copied-'));
  t.teardown(() => rmSync(dir, { recursive: true }));
  const ran = stressIn(dir, '--seconds', '4', '--on', 'mounts');
  while (!mounts().some(({ mountpoint }) => mountpoint.startsWith(dir)))
    await new Promise((resolve) => setTimeout(resolve, 50));
  const copy = spawn('unshare', ['-m', '--propagation', 'private', 'sleep', '1000'], { stdio: 'ignore' });
  t.teardown(() => copy.kill());
  const { status, output } = await ran;
  t.equal(status, 0, output.slice(0, 5000));
  t.match(
    output,
    /latchfs-stress-\w+\/mnt was still mounted in the namespace of process \d+ \(\S+\); it was detached\n/,
  );
});

t.test('a lock that is not given back and an error that is no errno are seen', async (t) => {
  const forgetful = await stressInside(1, 2, 1500, (sb) => {
    const { statfs } = sb.s_op;
    sb.s_op = {
      ...sb.s_op,
      statfs: async (task, root) => {
        await root.d_inode?.i_lock.lock(task);
        return (await statfs?.(task, root)) ?? Promise.reject(errno('ENOSYS'));
      },
    };
  });
  t.match(forgetful.faults[0], /statfs/);
  t.match(forgetful.faults[0], /i_lock/);
  const careless = await stressInside(1, 2, 1500, (sb) => {
    sb.s_op = {
      ...sb.s_op,
      statfs: () => {
        throw new TypeError('planted');
      },
    };
  });
  t.match(careless.faults[0], /statfs: TypeError: planted/);
});

t.test('bad options', async (t) => {
  t.match(await stress('--seconds', 'x'), { status: 2, output: /^--seconds x: it must be a whole number above 0\n$/ });
  t.match(await stress('--on', 'fire'), { status: 2, output: /^--on fire: it must be 'mounts' or 'syscalls'\n$/ });
  t.match(await stress('--help'), { status: 0, output: /^usage: scripts\/stress/ });
});
