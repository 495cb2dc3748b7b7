/** `latchfs fsck`: its exit status, and one line for each problem. */
import { mkdtempSync, openSync, rmSync, writeFileSync, writeSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import t from 'tap';
import { latchfs, mount, run } from '../mount/harness.js';

t.test('fsck', async (t) => {
  const scratch = mkdtempSync(join(tmpdir(), 'latchfs-fsck-'));
  const image = join(scratch, 'image');
  t.teardown(() => rmSync(scratch, { recursive: true, force: true }));
  await run(latchfs, ['mkfs', image, '--size', '16M']);
  const clean = await run(latchfs, ['fsck', image]);
  t.equal(clean.status, 0, clean.stderr);
  t.match(clean.stdout, /: clean, 1 inodes, [0-9]+ of 4096 blocks in use\n$/);
  t.equal(clean.stdout.split('\n').length, 2, 'one line');

  const mounted = await mount(image);
  try {
    const busy = await run(latchfs, ['fsck', image]);
    t.equal(busy.status, 2);
    t.match(busy.stderr, /in use|mounted/);
  } finally {
    await mounted.unmount();
  }

  const fd = openSync(image, 'r+');
  writeSync(fd, Buffer.from([0xff]), 0, 1, 4096 + 100);
  const damaged = await run(latchfs, ['fsck', image]);
  t.equal(damaged.status, 1);
  t.match(damaged.stdout, /group 0: the checksum of the block bitmap is wrong\n/);
  t.equal(damaged.stderr, '');
  writeSync(fd, Buffer.from([0xff]), 0, 1, 1024 + 30);
  const worse = await run(latchfs, ['fsck', image]);
  t.equal(worse.status, 1);
  t.match(worse.stderr, /superblock's checksum is wrong/);

  for (const [arg, why] of [
    [join(scratch, 'none'), /no such image/],
    [scratch, /is a directory/],
    ['memory', /name an image/],
  ] as const) {
    const cannot = await run(latchfs, ['fsck', arg]);
    t.equal(cannot.status, 2, arg);
    t.match(cannot.stderr, why);
    t.equal(cannot.stderr.trim().split('\n').length, 1, 'one line');
  }
  writeFileSync(join(scratch, 'other'), Buffer.alloc(1 << 20));
  const other = await run(latchfs, ['fsck', join(scratch, 'other')]);
  t.equal(other.status, 2);
  t.match(other.stderr, /holds no latchfs/);
  const usage = await run(latchfs, ['fsck']);
  t.equal(usage.status, 2);
});
