/** That tests at the same time do not disturb each other. */
import { spawn } from 'node:child_process';
import { mkdtempSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import t, { type Test } from 'tap';
import { apart, latchfs, mount, run } from './harness.js';
import { needsRoot } from './users.js';

t.setTimeout(600_000);

t.test('a namespace of one test keeps no mount of another', { skip: needsRoot }, async (t) => {
  const scratch = mkdtempSync(join(tmpdir(), 'latchfs-harness-'));
  t.teardown(() => run('rm', ['-rf', scratch]));
  const image = join(scratch, 'image');
  t.equal((await run(latchfs, ['mkfs', image, '--size', '32M'])).status, 0);
  const [kept, mounted] = [await mount('memory:16M'), await mount(image)];
  const [command, ...args] = apart(kept.dir, 'grep -c latchfs-test- /proc/self/mounts; exec sleep 1000');
  const holder = spawn(command, args, { stdio: ['ignore', 'pipe', 'inherit'] });
  t.teardown(() => holder.kill());
  const count = await new Promise<string>((resolve) => holder.stdout.once('data', (text) => resolve(String(text))));
  t.equal(count, '1\n', 'of all mounts of tests it sees its own');
  t.equal(await mounted.unmount(), 0, 'the daemon of the other ends with its mount');
  const checked = await run(latchfs, ['fsck', image]);
  t.equal(checked.status, 0, `and its image is free ${checked.stderr}`);
  holder.kill();
  t.equal(await kept.unmount(), 0);
});

/** An image that is mounted, and a namespace with a copy of that mount, which `hide` may hide. */
async function copied(t: Test, hide: string): Promise<number> {
  const scratch = mkdtempSync(join(tmpdir(), 'latchfs-harness-'));
  t.teardown(() => run('rm', ['-rf', scratch]));
  const image = join(scratch, 'image');
  t.equal((await run(latchfs, ['mkfs', image, '--size', '32M'])).status, 0);
  const mounted = await mount(image);
  t.equal((await mounted.sh('head -c 1M /dev/zero > a')).status, 0);
  const script = `${hide}; echo in; exec sleep 1000`;
  const args = ['-m', '--propagation', 'private', 'sh', '-euc', script, 'copy', dirname(mounted.dir)];
  const holder = spawn('unshare', args, { stdio: ['ignore', 'pipe', 'inherit'] });
  t.teardown(() => holder.kill());
  await new Promise((resolve) => holder.stdout.once('data', resolve));
  const status = await mounted.unmount();
  const checked = await run(latchfs, ['fsck', image]);
  t.equal(checked.status, 0, `and its image is free ${checked.stderr}`);
  return status;
}

t.test('a namespace that anybody made meanwhile keeps no daemon alive', { skip: needsRoot }, async (t) => {
  t.equal(await copied(t, ':'), 0);
});

t.test('nor does one in which another mount hides it', { skip: needsRoot }, async (t) => {
  t.equal(await copied(t, 'mount -t tmpfs none "$1"'), 0);
});
