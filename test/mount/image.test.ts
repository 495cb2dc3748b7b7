/** Images over remounts, one mount at a time, and what is left of a daemon that was killed. */
import { spawn } from 'node:child_process';
import { mkdtempSync, statSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import t from 'tap';
import { mount, root, run } from './harness.js';

t.setTimeout(900_000);
const needsRoot = process.getuid?.() !== 0 ? 'mounts as root' : false;

t.test('an image keeps its tree over a remount', { skip: needsRoot, timeout: 600_000 }, async (t) => {
  const image = `/tmp/latchfs-test-${process.pid}.img`;
  const made = await run(`${root}scripts/latchfs`, ['mkfs', image, '--size', '256M']);
  t.equal(made.status, 0, `mkfs: ${made.stderr}`);
  try {
    const listing = `find . -printf '%P %y %m %U %G %n %s %T@ %l\\n' | sort; find . -type f -exec sha256sum {} + | sort`;
    let before = '';
    for (const round of [1, 2, 3]) {
      const mounted = await mount(image);
      try {
        if (round > 1) t.equal((await mounted.sh(listing)).stdout, before, `round ${round}: all as it was`);
        const work = await mounted.sh(
          `mkdir -p r${round}/sub; for i in $(seq 1 200); do head -c $((i * 97)) /dev/urandom >r${round}/f$i; done
           rm -f r${round}/f1?; ln r${round}/f20 r${round}/link; ln -s f21 r${round}/soft; mv r${round}/f22 r${round}/sub/; setfattr -n user.r -v ${round} r${round}/f23
           fallocate -l 1M r${round}/pre; truncate -s 30M r${round}/sparse; sync`,
        );
        t.equal(work.status, 0, work.stderr);
        before = (await mounted.sh(listing)).stdout;
        t.notMatch(mounted.log(), /locking violation|"level":50/);
      } finally {
        t.equal(await mounted.unmount(), 0, 'clean unmount');
      }
    }
    const first = await mount(image);
    try {
      const label = `import fcntl, os
root = os.open('.', 0)
fcntl.ioctl(root, 0x41009432, b'named'.ljust(256, b'\\0'))
print(fcntl.ioctl(root, 0x81009431, bytes(256)).rstrip(b'\\0').decode())`;
      t.equal((await first.sh(`python3 -c "${label}"`)).stdout, 'named\n', 'the label is set and told');
      const second = await run(`${root}scripts/latchfs`, ['mount', image, '/media', '-f']);
      t.equal(second.status, 1, 'a second mount of an image is refused');
      t.match(second.stderr, /in use/);
    } finally {
      await first.unmount();
    }
    t.equal(statSync(image).size, 256 * 2 ** 20, 'the image has kept its size');
  } finally {
    await run('rm', ['-f', image]);
  }
});

t.test('a daemon that is killed leaves what umount clears', { skip: needsRoot, timeout: 600_000 }, async (t) => {
  const mounted = await mount('memory:64M');
  mounted.daemon.kill('SIGKILL');
  await new Promise((resolve) => mounted.daemon.once('exit', resolve));
  const cleared = await run(`${root}scripts/latchfs`, ['umount', mounted.dir]);
  t.equal(cleared.status, 0, cleared.stderr);
  const again = await run(`${root}scripts/latchfs`, ['mount', 'memory:64M', mounted.dir]);
  t.equal(again.status, 0, `the next mount works ${again.stderr}`);
  t.equal((await run(`${root}scripts/latchfs`, ['umount', mounted.dir])).status, 0);
});

t.test(
  'who has an image in a mount namespace of his own is named',
  { skip: needsRoot, timeout: 600_000 },
  async (t) => {
    const dir = mkdtempSync(join(tmpdir(), 'latchfs-apart-'));
    t.teardown(() => run('rm', ['-rf', dir]));
    const image = join(dir, 'image');
    t.equal((await run(`${root}scripts/latchfs`, ['mkfs', image, '--size', '16M'])).status, 0);
    const script = `mkdir "$1/m" && "$0" mount "$1/image" "$1/m" && echo mounted && exec sleep 1000`;
    const args = ['-m', '--propagation', 'private', 'sh', '-c', script, `${root}scripts/latchfs`, dir];
    const holder = spawn('unshare', args, { stdio: ['ignore', 'pipe', 'inherit'] });
    await new Promise((resolve) => holder.stdout.once('data', resolve));
    const refused = await run(`${root}scripts/latchfs`, ['mount', image, '/media', '-f']);
    t.match(
      refused.stderr,
      /image is in use: the mount namespace of process \d+ \(\w+\) has it mounted on \S+\/m; end that process, or run: nsenter -t \d+ -m umount \S+\/m\n$/,
    );
    const [, remedy = 'false'] = /or run: (.*)\n/.exec(refused.stderr) ?? [];
    t.equal((await run('sh', ['-c', remedy])).status, 0, 'what it says to run unmounts it');
    holder.kill();
    t.equal((await run(`${root}scripts/latchfs`, ['fsck', image])).status, 0, 'and then the image is free');
  },
);
