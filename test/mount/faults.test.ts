/** `.latchfs/faults`: the device fails on demand, and programs see what they would see of a disk that does. */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import t, { type Test } from 'tap';
import { latchfs, type Mounted, run, withMount } from './harness.js';
import { unblemished } from './users.js';

const scratch = mkdtempSync(join(tmpdir(), 'latchfs-faults-'));
const image = join(scratch, 'image');
t.teardown(() => rmSync(scratch, { recursive: true }));

/** On a fresh image. */
async function onImage(t: Test, body: (mounted: Mounted) => Promise<void>): Promise<void> {
  t.match(await run(latchfs, ['mkfs', image, '--size', '64M', '--force']), { status: 0, stderr: '' });
  await withMount(image, 'noblkdev', body);
}

const fsck = () => run(latchfs, ['fsck', '-n', image]);

t.test('a write that fails is told at the next fsync, once', async (t) => {
  await onImage(t, async (mounted) => {
    const ran = await mounted.sh(`
      echo one > f; sync -d f
      echo write EIO times 1 > .latchfs/faults
      echo other > f; ! sync -d f; sync -d f; echo three > f; sync -d f
      head -n 1 .latchfs/faults`);
    t.match(ran, {
      status: 0,
      stdout: /^write EIO times 1 {4}# 1 of \d+ requests\n$/,
      stderr: /error syncing 'f': Input\/output error/,
    });
    t.equal(ran.stderr.split('error syncing').length, 2, 'once');
    unblemished(t, mounted);
  });
  t.match(await fsck(), { status: 0 });
});

t.test('reads fail in a bad place, every second time, and until that is over', async (t) => {
  await onImage(t, async (mounted) => {
    const ran = await mounted.sh(`
      head -c 1M /dev/urandom > f; sync -d f; sum=$(sha256sum < f)
      cold() { echo drop_caches 1 > .latchfs/control; dd if=f of=/dev/null bs=4k count=1 iflag=direct status=none; }
      printf 'off\\nread interval 2\\n' > .latchfs/faults
      cat .latchfs/faults > rules; echo off > .latchfs/faults; cat rules > .latchfs/faults
      cold || echo failed; cold || echo failed; cold || echo failed
      printf '# nothing is there\\noff\\nread EIO range 60M-64M\\nwrite range 0-4K\\n' > .latchfs/faults
      cold && head -n 2 .latchfs/faults
      echo read > .latchfs/faults; ! cold
      echo off > .latchfs/faults; [ "$(sha256sum < f)" = "$sum" ] && echo whole; grep -c . .latchfs/faults`);
    t.match(ran, {
      status: 0,
      stdout:
        'failed\nfailed\nread EIO range 60M-64M    # 0 of 0 requests\nwrite range 0-4K    # 0 of 0 requests\nwhole\n2\n',
    });
    unblemished(t, mounted);
  });
  t.match(await fsck(), { status: 0 });
});

t.test('a full disk below says so', async (t) => {
  await onImage(t, async (mounted) => {
    const ran = await mounted.sh(
      'echo write ENOSPC probability 100 > .latchfs/faults; echo x > f; ! sync -d f; echo off > .latchfs/faults',
    );
    t.match(ran, { status: 0, stderr: /No space left on device/ });
    unblemished(t, mounted);
  });
});

t.test('a slow device holds up who waits for it, and nobody else', async (t) => {
  await onImage(t, async (mounted) => {
    const ran = await mounted.sh(`
      echo x > f; echo flush delay 3000 > .latchfs/faults
      sync -d f & until grep -q FSYNC .latchfs/tasks; do sleep 0.05; done
      echo y > g; cat g; kill -0 $! && echo 'it waits still'
      wait $!; grep -o 'flush delay.*' .latchfs/faults`);
    t.match(ran, { status: 0, stdout: /^y\nit waits still\nflush delay 3000 {4}# [1-9] of [1-9] requests\n$/ });
    unblemished(t, mounted);
  });
});

t.test('where the log cannot be written, the filesystem is read-only from then on, and recovers', async (t) => {
  await onImage(t, async (mounted) => {
    const ran = await mounted.sh(`
      echo kept > f; sync -d f; echo sync > .latchfs/control
      echo write torn 512 > .latchfs/faults; mkdir d || true; ! sync -d d
      echo off > .latchfs/faults; ! touch e; cat f`);
    t.match(ran, { status: 0, stdout: 'kept\n', stderr: /Read-only file system/ });
    t.match(mounted.log(), /the journal was aborted/);
    t.notMatch(mounted.log(), /locking violation/);
  });
  t.match(await run(latchfs, ['fsck', '-p', image]), { stderr: '' });
  await withMount(image, 'noblkdev', async ({ sh }) => {
    t.match(await sh('cat f; echo more > f; sync -d f'), { status: 0, stdout: 'kept\n' });
  });
  t.match(await fsck(), { status: 0 });
});

t.test('what means nothing is refused whole, with one line in the log', async (t) => {
  await withMount('memory:64M', 'rw', async ({ sh, log }) => {
    for (const [rule, why] of [
      ['wrote EIO', /faults: EINVAL: a rule begins with one of read, write.*not 'wrote'/],
      ['write EPERM', /'EPERM' means nothing in a rule/],
      ['write torn 3', /only a write can be torn, after a multiple of 512 bytes/],
      ['read torn 512', /only a write can be torn/],
      ['write interval 0', /interval takes a number of at least 1, not '0'/],
      ['write times', /times takes a number of at least 1, not ''/],
      ['write delay soon', /delay takes a number of at least 0, not 'soon'/],
      ['write range 5-2', /range takes START-END, such as 1M-2M, not '5-2'/],
      ['write range 5', /range takes a number/],
    ] as const) {
      // The shell would write each line by itself.
      const ran = await sh(`printf 'read EIO\\n${rule}\\n' | dd of=.latchfs/faults status=none`);
      t.match(ran, { status: 1, stderr: /Invalid argument/ }, rule);
      t.match(log(), why);
    }
    t.match(await sh('grep -vc "^#" .latchfs/faults || true'), { stdout: '0\n' });
  });
});
