/** Quotas of a mount: ordinary users are held to them, root sets them through the control directory, and a daemon that dies leaves them right. */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import t from 'tap';
import { latchfs, mount, run, withMount } from './harness.js';
import { needsRoot, unblemished } from './users.js';

const NOBODY = 'setpriv --reuid 65534 --regid 65534 --clear-groups';

for (const cache of ['none', 'auto', 'always'] as const) {
  t.test(`an ordinary user is held to limits, with cache=${cache}`, { skip: needsRoot }, async (t) => {
    await withMount('memory:64M', `allow_other,usrquota,grpquota,cache=${cache}`, async (m) => {
      await m.sh('chmod 777 .; echo "user 65534 blocks 0 1M inodes 0 4" > .latchfs/quota');
      const big = await m.sh(`${NOBODY} dd if=/dev/zero of=a bs=64k count=32 conv=fsync`);
      t.not(big.status, 0);
      t.match(big.stderr, /Disk quota exceeded/);
      t.match((await m.sh('cat .latchfs/quota')).stdout, /\nuser +65534 +1024 +0 +1024 +- +1 +0 +4 +-\n/);
      t.match((await m.sh('du -k a | cut -f1')).stdout, /^1024$/m, 'what is there fits');
      t.equal((await m.sh('head -c 100000 /dev/zero > root; chmod 666 root')).status, 0, 'root may write');
      t.match((await m.sh(`${NOBODY} touch b c d e`)).stderr, /'e': Disk quota exceeded/);
      t.equal((await m.sh(`${NOBODY} rm a`)).status, 0);
      t.equal(
        (await m.sh(`${NOBODY} dd if=/dev/zero of=b bs=64k count=15 conv=fsync status=none`)).stderr,
        '',
        'again',
      );
      await m.sh('echo "user off" > .latchfs/quota');
      t.equal((await m.sh(`${NOBODY} dd if=/dev/zero of=c bs=64k count=40 conv=fsync status=none`)).stderr, '');
      await m.sh('head -c 50000 /dev/zero > d; printf "sync\\ndrop_caches 3\\n" > .latchfs/control; rm d');
      await m.sh('chown 7:8 c');
      t.match(
        (await m.sh('cat .latchfs/quota')).stdout,
        /\nuser +7 +2560 [\s\S]*\ngroup +8 +2560 /,
        'what changes hands',
      );
      t.match((await m.sh('echo "user 5 lots" > .latchfs/quota')).stderr, /Invalid argument/);
      t.match(m.log(), /quota: EINVAL: expected blocks or inodes, not 'lots'/);
      t.match((await m.sh(`${NOBODY} cat .latchfs/quota`)).stderr, /Permission denied/);
      unblemished(t, m);
    });
  });
}

t.test('a project is made with chattr, and df shows what it may have', { skip: needsRoot }, async (t) => {
  await withMount('memory:64M', 'allow_other,prjquota', async (m) => {
    t.equal((await m.sh('mkdir p; chmod 777 . p; chattr -p 42 p; chattr +P p')).stderr, '');
    await m.sh('echo "project 42 blocks 0 1M inodes 0 10" > .latchfs/quota');
    t.match((await m.sh(`${NOBODY} dd if=/dev/zero of=p/a bs=64k count=32`)).stderr, /Disk quota exceeded/);
    t.match((await m.sh('lsattr -p p/a')).stdout, /^ +42 /, 'files are of the project');
    t.match((await m.sh('df -k --output=size,used,avail p')).stdout, /\n +1024 +1024 +0\n/);
    t.equal(
      (await m.sh(`${NOBODY} dd if=/dev/zero of=b bs=64k count=32 status=none`)).stderr,
      '',
      'elsewhere there is room',
    );
    t.equal((await m.sh(`${NOBODY} mv b p/b`)).status, 1, 'a copy into it is charged');
    t.match((await m.sh('cat .latchfs/quota')).stdout, /\nproject +42 +1024 +0 +1024 +- +\d+ +0 +10 +-\n/);
    unblemished(t, m);
  });
});

t.test('an image gets quotas, and a daemon that is killed leaves them right', { skip: needsRoot }, async (t) => {
  const dir = mkdtempSync(join(tmpdir(), 'latchfs-quota-'));
  const image = join(dir, 'image');
  try {
    t.equal((await run(latchfs, ['mkfs', image, '--size', '64M'])).status, 0);
    await withMount(image, 'allow_other', async (m) => {
      await m.sh(`chmod 777 .; ${NOBODY} sh -c "mkdir d; head -c 50000 /dev/zero > d/f"`);
      t.match((await m.sh('cat .latchfs/quota')).stdout, /^no quotas/);
    });
    const m = await mount(image, 'allow_other,usrquota');
    await m.sh('echo "user 65534 blocks 0 500 inodes 0 100" > .latchfs/quota');
    t.match((await m.sh('cat .latchfs/quota')).stdout, /\nuser +65534 +52 +0 +500 +- +2 +0 +100 +-\n/, 'counted');
    const full = await m.sh(`${NOBODY} bash -c 'for i in $(seq 60); do head -c 9000 /dev/zero > d/$i; done; sync d/1'`);
    t.match(full.stderr, /Disk quota exceeded/);
    await m.sh('echo sync > .latchfs/control');
    m.daemon.kill('SIGKILL');
    await m.unmount();
    const checked = await run(latchfs, ['fsck', image]);
    t.equal(checked.status, 0, checked.stdout);
    await withMount(image, 'allow_other', async (again) => {
      const quota = (await again.sh('cat .latchfs/quota')).stdout;
      t.match(quota, /^user off\n/, 'counted without the option, too');
      t.match(quota, /\nuser +65534 +\d+ +0 +500 +- +\d+ +0 +100 +-\n/, 'limits stay');
      t.equal((await again.sh(`${NOBODY} sh -c "head -c 900000 /dev/zero > d/f"`)).status, 0);
    });
    t.equal((await run(latchfs, ['fsck', image])).status, 0);
    t.equal((await run(latchfs, ['mkfs', image, '--quota', '--force'])).status, 0);
    await withMount(image, 'ro', async (m) => {
      t.match((await m.sh('cat .latchfs/quota')).stdout, /^no quotas/, 'read-only');
    });
    await withMount(image, 'allow_other', async (m) => {
      t.match((await m.sh('cat .latchfs/quota')).stdout, /\nuser +0 +0 +0 +0 +- +1 /, 'from mkfs on');
    });
    t.equal((await run(latchfs, ['fsck', image])).status, 0);
  } finally {
    rmSync(dir, { recursive: true, force: true });
  }
});
