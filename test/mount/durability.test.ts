/** What fsync and an unmount promise, seen from outside: in the image file, while it is mounted and afterwards. */
import { copyFileSync, mkdtempSync, readFileSync } from 'node:fs';
import { release, tmpdir } from 'node:os';
import { join } from 'node:path';
import t from 'tap';
import { mountAt } from '../../src/fuse/mountinfo.js';
import { latchfs, mount, run, sh } from './harness.js';
import { lacking, needsRoot, unblemished } from './users.js';

const scratch = mkdtempSync(join(tmpdir(), 'latchfs-durability-'));
const image = join(scratch, 'image');
t.teardown(() => run('rm', ['-rf', scratch]));
t.setTimeout(600_000);
const skip = needsRoot || (await lacking('python3'));

/** Whether these bytes are anywhere in the image. */
const stored = (pattern: string): boolean => readFileSync(image).includes(pattern);

/** Ways to make data durable, each in Python with `fd` open on a file to which `data` has been written. */
const WAYS: readonly (readonly [string, string, string])[] = [
  ['fsync', '0', 'os.fsync(fd)'],
  ['fdatasync', '0', 'os.fdatasync(fd)'],
  ['osync', 'os.O_SYNC', 'pass'],
  ['odsync', 'os.O_DSYNC', 'pass'],
  ['msync', '0', 'm = mmap.mmap(fd, 8192); m[4096:4096 + len(data)] = data; m.flush(); os.fsync(fd)'],
];

for (const cache of ['auto', 'always', 'none']) {
  t.test(
    `fsync puts the data on the device before it returns, cache=${cache}`,
    { skip, timeout: 300_000 },
    async (t) => {
      t.equal((await run(latchfs, ['mkfs', image, '--size', '64M', '--force'])).status, 0, 'mkfs');
      const mounted = await mount(image, `allow_other,cache=${cache}`);
      try {
        for (const [name, flags, act] of WAYS) {
          const pattern = `${cache} data of ${name} `;
          const script = `python3 -c 'import mmap, os
fd = os.open("${name}", os.O_RDWR | os.O_CREAT | ${flags}); data = b"${pattern}"; os.ftruncate(fd, 8192); os.pwrite(fd, data * 20, 0)
${act}'`;
          const ran = await mounted.sh(script);
          t.equal(ran.status, 0, `${name} ${ran.stderr}`);
          t.ok(stored(pattern), `after ${name} the image has the data`);
        }
        unblemished(t, mounted);
      } finally {
        t.equal(await mounted.unmount(), 0, 'clean unmount');
      }
    },
  );
}

/** Linux 6.18 is the first to bring sync(2) to the server of a disk. */
const [major = 0, minor = 0] = release().split('.').map(Number);
const noSync = major * 1000 + minor < 6018 ? `${release()} sends no SYNCFS` : false;
for (const [cache, call] of [
  ['auto', 'sync'],
  ['always', 'sync'],
  ['auto', 'sync -f f'],
] as const) {
  t.test(`${call} puts all on the device, cache=${cache}`, { skip: skip || noSync, timeout: 300_000 }, async (t) => {
    t.equal((await run(latchfs, ['mkfs', image, '--size', '64M', '--force'])).status, 0, 'mkfs');
    const mounted = await mount(image, `allow_other,cache=${cache}`);
    let status = 255;
    try {
      t.match(mountAt(mounted.dir), { fstype: 'fuseblk', source: /^\/dev\/loop/ }, 'it is mounted as a disk');
      t.equal((await mounted.sh(`echo "${cache} data for ${call}" >f; mkdir d; mv f d/; cp d/f f; ${call}`)).status, 0);
      t.ok(stored(`${cache} data for ${call}\n`), 'the data is there');
      // What a crash at this moment would leave.
      const copy = join(scratch, 'copy');
      copyFileSync(image, copy);
      const after = await mount(copy, 'ro');
      try {
        t.equal((await after.sh('cat d/f')).stdout, `${cache} data for ${call}\n`, 'and so are the names');
      } finally {
        await after.unmount();
      }
      unblemished(t, mounted);
    } finally {
      status = await mounted.unmount();
    }
    t.equal(status, 0, 'clean unmount');
    t.equal((await run('losetup', ['-j', image])).stdout, '', 'the loop device is free');
  });
}

t.test('without a loop device an image is shown by its path', { skip }, async (t) => {
  t.equal((await run(latchfs, ['mkfs', image, '--size', '64M', '--force'])).status, 0, 'mkfs');
  for (const options of ['noblkdev', 'fsname=name', 'ro']) {
    const mounted = await mount(image, options);
    try {
      const source = options === 'noblkdev' ? image : options === 'ro' ? /^\/dev\/loop/ : 'name';
      t.match(mountAt(mounted.dir), { fstype: options === 'ro' ? 'fuseblk' : 'fuse', source });
      unblemished(t, mounted);
    } finally {
      t.equal(await mounted.unmount(), 0);
    }
  }
});

t.test('an unmount leaves nothing dirty', { skip, timeout: 300_000 }, async (t) => {
  t.equal((await run(latchfs, ['mkfs', image, '--size', '64M', '--force'])).status, 0, 'mkfs');
  const mounted = await mount(image, 'allow_other,cache=always');
  const wrote = await mounted.sh(
    'for i in $(seq 100); do echo "file number $i of the last moment" >f$i; done; mkdir d; mv f1 d/moved; rm f2; ln f3 l',
  );
  t.equal(wrote.status, 0, wrote.stderr);
  t.equal(await mounted.unmount(), 0, 'clean unmount');
  for (const i of [1, 3, 50, 100]) t.ok(stored(`file number ${i} of the last moment`), `file ${i} is in the image`);
  // A copy of the image shows whether the file itself has everything, whatever the system still caches for the original.
  const copy = join(scratch, 'copy');
  copyFileSync(image, copy);
  const again = await mount(copy, 'ro');
  try {
    const seen = await sh(`cd ${again.dir}; ls | wc -l; cat d/moved; [ ! -e f1 ]; [ ! -e f2 ]; stat -c %h l`);
    t.equal(seen.stdout, '100\nfile number 1 of the last moment\n2\n', seen.stderr);
    unblemished(t, again);
  } finally {
    t.equal(await again.unmount(), 0, 'a read-only mount unmounts cleanly');
  }
});

t.test('umount returns when the image is free', { skip: skip || noSync, timeout: 120_000 }, async (t) => {
  t.equal((await run(latchfs, ['mkfs', image, '--size', '64M', '--force'])).status, 0, 'mkfs');
  for (const before of ['', 'echo freeze > .latchfs/control']) {
    const mounted = await mount(image);
    try {
      // Much to write, and an inode that is open and has no name.
      t.equal(
        (await mounted.sh(`for i in $(seq 300); do echo $i > f$i; done; exec 3>gone; rm gone; ${before}`)).status,
        0,
      );
      const checked = await sh(`umount ${mounted.dir} && ${latchfs} fsck ${image}`);
      t.equal(checked.status, 0, checked.stderr);
      t.match(checked.stdout, /: clean, /, before);
      unblemished(t, mounted);
    } finally {
      await mounted.unmount();
    }
  }
});
