/** `latchfs fsck`: its exit status, and one line for each problem. */
import {
  closeSync,
  mkdirSync,
  mkdtempSync,
  openSync,
  readFileSync,
  rmSync,
  symlinkSync,
  writeFileSync,
  writeSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
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
    t.equal(busy.status, 8);
    t.match(busy.stderr, /in use|mounted/);
  } finally {
    await mounted.unmount();
  }

  const fd = openSync(image, 'r+');
  writeSync(fd, Buffer.from([0xff]), 0, 1, 4096 + 100);
  const damaged = await run(latchfs, ['fsck', image]);
  t.equal(damaged.status, 4);
  t.match(damaged.stdout, /group 0: the checksum of the block bitmap is wrong\n/);
  t.equal(damaged.stderr, '');
  t.match(damaged.stdout, /\n.*: [0-9]+ problems, .* repair them with: latchfs fsck -y .*image\n$/);
  const preened = await run(latchfs, ['fsck', '-a', image]);
  t.equal(preened.status, 1, preened.stdout);
  t.match(preened.stdout, /: [0-9]+ problems, all repaired, 1 inodes, [0-9]+ of 4096 blocks in use\n$/);
  t.equal((await run(latchfs, ['fsck', '-n', image])).status, 0);

  writeSync(fd, Buffer.from([0xff]), 0, 1, 1024 + 30);
  const worse = await run(latchfs, ['fsck', image]);
  t.equal(worse.status, 4);
  t.match(worse.stdout, /superblock's checksum is wrong; its copy in block 4095 is used/);
  const refused = await run(latchfs, ['fsck', '-p', image]);
  t.equal(refused.status, 4, 'that is nothing to be repaired without a question');
  t.match(refused.stdout, /repair them with: latchfs fsck -y/);
  const mended = await run(latchfs, ['fsck', '-y', image]);
  t.equal(mended.status, 1, mended.stdout);
  t.match((await run(latchfs, ['fsck', image])).stdout, /: clean, /);
  await (await mount(image)).unmount();
  t.equal((await run(latchfs, ['fsck', '-f', '-y', image])).status, 0, 'nothing is left to be repaired');
  closeSync(fd);

  const large = join(scratch, 'large');
  await run(latchfs, ['mkfs', large, '--size', '300M', '--label', 'kept']);
  t.match((await run(latchfs, ['fsck', large])).stdout, /: clean, label "kept", 1 inodes/);
  const whole = readFileSync(large).subarray(0, 4096);
  const second = openSync(large, 'r+');
  writeSync(second, Buffer.alloc(4096), 0, 4096, 0);
  const found = await run(latchfs, ['fsck', '-y', large]);
  t.equal(found.status, 1, found.stderr);
  t.match(found.stdout, /superblock: holds no latchfs; its copy in block 32768 is used/, 'that of the second group');
  t.ok(
    readFileSync(large)
      .subarray(1024 + 64, 1024 + 112)
      .equals(whole.subarray(1024 + 64, 1024 + 112)),
  );
  // The descriptor of a group that was never used.
  writeSync(second, Buffer.from([1]), 0, 1, 2 * 128 * 2 ** 20 + 2048);
  t.match((await run(latchfs, ['fsck', large])).stdout, /group 2: the descriptor has a wrong magic/);
  t.equal((await run(latchfs, ['fsck', '-y', large])).status, 1);
  t.equal((await run(latchfs, ['fsck', large])).status, 0);
  closeSync(second);

  const helpers = join(scratch, 'sbin');
  mkdirSync(helpers);
  for (const name of ['fsck.latchfs', 'fsck.fuse.latchfs']) {
    symlinkSync(join(dirname(latchfs), 'fsck.latchfs'), join(helpers, name));
  }
  const path = `PATH=${process.env['PATH']}:${helpers}`;
  const table = join(scratch, 'fstab');
  writeFileSync(table, `${image} ${scratch} fuse.latchfs defaults 0 2\n`);
  const byTable = await run('env', [path, `FSTAB_FILE=${table}`, '/sbin/fsck', '-A', '-a']);
  t.equal(byTable.status, 0, byTable.stderr);
  t.match(byTable.stdout, /image: clean, /, 'fsck(8) finds it for a line of fstab');
  const byType = await run('env', [path, '/sbin/fsck', '-t', 'latchfs', image, '--', '-n', '-y']);
  t.equal(byType.status, 16, 'and passes options and exit status on');

  for (const [arg, why, status] of [
    [join(scratch, 'none'), /no such image/, 8],
    [scratch, /is a directory/, 8],
    ['memory', /name an image/, 16],
  ] as const) {
    const cannot = await run(latchfs, ['fsck', arg]);
    t.equal(cannot.status, status, arg);
    t.match(cannot.stderr, why);
    t.equal(cannot.stderr.trim().split('\n').length, 1, 'one line');
  }
  writeFileSync(join(scratch, 'other'), Buffer.alloc(1 << 20));
  const other = await run(latchfs, ['fsck', join(scratch, 'other')]);
  t.equal(other.status, 8);
  t.match(other.stderr, /holds no latchfs/);
  const usage = await run(latchfs, ['fsck']);
  t.equal(usage.status, 16);
  t.equal((await run(latchfs, ['fsck', '-n', '-y', image])).status, 16);
  t.equal((await run(latchfs, ['fsck', '--unknown', image])).status, 16);
  t.equal((await run(latchfs, ['fsck', '--help'])).status, 0);
});
