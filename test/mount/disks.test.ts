/** Block devices as sources: mounted as themselves, refused where another has them, or the file behind them, and where they cannot be written. */
import { mkdirSync, mkdtempSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import t, { type Test } from 'tap';
import { mountAt } from '../../src/fuse/mountinfo.js';
import { latchfs, mount, type Ran, run, sh } from './harness.js';
import { needsRoot, unblemished } from './users.js';

const scratch = mkdtempSync(join(tmpdir(), 'latchfs-disks-'));
const image = join(scratch, 'image');
const empty = join(scratch, 'empty');
mkdirSync(empty);
t.teardown(() => run('rm', ['-rf', scratch]));
t.setTimeout(300_000);

/** Attach a loop device to the image, which is what comes nearest to a disk. */
async function attach(...options: string[]): Promise<string> {
  const made = await run('losetup', [...options, '-f', '--show', image]);
  if (made.status !== 0) throw new Error(made.stderr);
  return made.stdout.trim();
}
const detach = (disk: string): Promise<Ran> => run('losetup', ['-d', disk]);
const skip = needsRoot || ((await run('losetup', ['-f'])).status !== 0 && 'there are no loop devices');

async function made(t: Test): Promise<void> {
  t.equal((await run(latchfs, ['mkfs', image, '--size', '32M', '--force'])).status, 0, 'mkfs');
}

async function refused(t: Test, args: string[], message: RegExp): Promise<void> {
  const ran = await run(latchfs, args);
  t.not(ran.status, 0, `${args.join(' ')} is refused`);
  t.match(ran.stderr, message);
  t.equal(ran.stderr.split('\n').length, 2, 'in one line');
  t.equal(mountAt(empty), undefined, 'nothing is mounted');
}

t.test('a disk is mounted under its own name, and nobody else can take it', { skip }, async (t) => {
  await made(t);
  const disk = await attach();
  try {
    const mounted = await mount(disk);
    t.match(mountAt(mounted.dir), { fstype: /^fuseblk/, source: disk }, 'it is its own source');
    const inUse =
      /^latchfs: (?:\S+ cannot be checked: )?\S+ is in use: it is mounted on \S+; run: latchfs umount \S+\n$/;
    await refused(t, ['mount', disk, empty], inUse);
    await refused(t, ['mount', image, empty], inUse);
    await refused(t, ['fsck', disk], inUse);
    await refused(t, ['mkfs', image, '--force'], inUse);
    const exclusive = `exec python3 -c 'import os; os.open("${disk}", os.O_RDWR | os.O_EXCL)'`;
    t.match((await sh(exclusive)).stderr, /Device or resource busy/, 'others (mkfs.ext4, say) see that it is mounted');
    t.equal(
      (await mounted.sh('head -c 9M /dev/urandom >a; sync; rm a; echo b >b; sync; fstrim .')).status,
      0,
      'it works',
    );
    unblemished(t, mounted);
    t.equal((await run('umount', [disk])).status, 0, 'umount(8) finds it by its name');
    t.equal(await new Promise((resolve) => mounted.daemon.once('exit', resolve)), 0);
    t.match((await run(latchfs, ['fsck', disk])).stdout, /clean, 2 inodes/);
  } finally {
    await detach(disk);
  }
});

t.test('one image is mounted once, by whatever names', { skip }, async (t) => {
  await made(t);
  const [disk, other] = [await attach(), await attach()];
  try {
    for (const first of [image, disk]) {
      const mounted = await mount(first);
      for (const second of [image, disk, other])
        await refused(t, ['mount', second, empty], /is in use: it is mounted on/);
      t.equal(await mounted.unmount(), 0);
    }
  } finally {
    await detach(disk);
    await detach(other);
  }
});

t.test('a disk that another filesystem has mounted, or that is write-protected', { skip }, async (t) => {
  writeFileSync(image, Buffer.alloc(32 << 20));
  const disk = await attach();
  const dir = join(scratch, 'ext4');
  try {
    t.equal((await sh(`mkfs.ext4 -q ${disk}; mkdir ${dir}; mount ${disk} ${dir}`)).status, 0);
    await refused(t, ['mount', disk, empty], new RegExp(`is in use: it is mounted on ${dir}; run: umount ${dir}\n`));
    await refused(t, ['mkfs', disk, '--force'], /is in use/);
  } finally {
    await run('umount', [dir]);
    await detach(disk);
  }
  await made(t);
  const readOnly = await attach('-r');
  try {
    await refused(t, ['mount', readOnly, empty], /is write-protected; mount it with -o ro/);
    await refused(t, ['mkfs', readOnly, '--force'], /is write-protected/);
    const mounted = await mount(readOnly, 'ro');
    t.match(mountAt(mounted.dir), { source: readOnly });
    t.equal(await mounted.unmount(), 0);
  } finally {
    await detach(readOnly);
  }
});
