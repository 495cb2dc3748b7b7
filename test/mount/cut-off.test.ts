/** An image that somebody cuts off under its mount. */
import { statSync, truncateSync } from 'node:fs';
import t from 'tap';
import { latchfs, run, withMount } from './harness.js';

const needsRoot = process.getuid?.() !== 0 ? 'mounts as root' : false;
const MIB = 2 ** 20;

t.test('an image that is cut off under its mount', { skip: needsRoot, timeout: 120_000 }, async (t) => {
  const image = `/tmp/latchfs-cut-off-${process.pid}.img`;
  t.equal((await run(latchfs, ['mkfs', image, '--size', '64M'])).status, 0);
  try {
    let log = '';
    await withMount(image, 'allow_other', async (mounted) => {
      await mounted.sh('for i in $(seq 40); do head -c 1M /dev/urandom >> f; done; sync');
      truncateSync(image, 2 * MIB);
      const script = `import os, mmap
b = mmap.mmap(-1, 4096)
fd = os.open("f", os.O_RDONLY | os.O_DIRECT)
for at in range(0, 40 << 20, 1 << 20):
  os.preadv(fd, [b], at)`;
      t.match((await mounted.sh(`python3 -c '${script}'`)).stderr, /Errno 5\]/, 'what is lost is not read as zeroes');
      t.match((await mounted.sh('echo more >> f')).stderr, /Read-only file system/);
      t.equal((await mounted.sh('mkdir d')).status, 1);
      t.equal(statSync(image).size, 2 * MIB, 'nor does the file grow again');
      log = mounted.log();
    });
    const lines = log.split('\n').filter((line) => /abort|cut off/.test(line));
    t.equal(lines.length, 1, log);
    t.match(
      lines[0] ?? '',
      /the journal was aborted \(EIO: the image was cut off at byte 2097152 of 67108864\): the filesystem is read-only/,
    );
    t.notMatch(log, /locking violation/);
    const refused = await run(latchfs, ['mount', image, '/mnt']);
    t.equal(refused.status, 1);
    t.match(refused.stderr, /latchfs/);
  } finally {
    await run('rm', ['-f', image]);
  }
});
