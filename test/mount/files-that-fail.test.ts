/** Images, logs and outputs that cannot be what they should: what was there stays as it was, and a mount lives on without its log. */
import {
  existsSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  renameSync,
  statSync,
  truncateSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import t, { type Test } from 'tap';
import { mountAt } from '../../src/fuse/mountinfo.js';
import { latchfs, type Ran, run, sh, withMount } from './harness.js';

const scratch = mkdtempSync(join(tmpdir(), 'latchfs-files-'));
t.teardown(() => run('rm', ['-rf', scratch]));
const at = (name: string): string => join(scratch, name);

function refused(t: Test, ran: Ran, status: number, message: RegExp): void {
  t.equal(ran.status, status, ran.stderr);
  t.match(ran.stderr, message);
  t.equal(ran.stderr.split('\n').length, 2, 'one line');
}

t.test('mkfs changes nothing of what it refuses', async (t) => {
  const image = at('image');
  t.equal((await run(latchfs, ['mkfs', image, '--size', '64M', '--label', 'sixteen bytes ö'])).status, 0);
  refused(t, await run(latchfs, ['mkfs', image, '--size', '16M']), 1, /holds a latchfs already: --force/);
  refused(t, await run(latchfs, ['mkfs', image, '--size', '4K', '--force']), 1, /at least 4 MiB/);
  refused(t, await run(latchfs, ['mkfs', image, '--force', '--label', 'more than sixteen']), 2, /more than 16 bytes/);
  t.equal(statSync(image).size, 64 << 20, 'its size neither');
  t.equal((await run(latchfs, ['fsck', image])).status, 0);
  if (process.getuid?.() === 0) {
    await run('chmod', ['777', scratch]);
    const theirs = ['--reuid=65534', '--regid=65533', '--clear-groups', latchfs, 'mkfs', at('theirs'), '--size', '8M'];
    t.same(await run('setpriv', theirs), { status: 0, stdout: '', stderr: '' });
    await withMount(at('theirs'), 'allow_other', async ({ sh }) => {
      t.equal((await sh('stat -c %u:%g .')).stdout, '65534:65533\n', 'who makes a filesystem can use it');
    });
  }
  writeFileSync(at('notes'), 'something that somebody has written');
  refused(t, await run(latchfs, ['mkfs', at('notes'), '--size', '16M']), 1, /notes holds something else: --force/);
  t.equal(statSync(at('notes')).size, 35);
  t.equal((await run(latchfs, ['mkfs', at('notes'), '--size', '16M', '--force'])).status, 0, 'unless it is told to');
  await run('mke2fs', ['-q', '-F', at('ext'), '8M']);
  if (existsSync(at('ext'))) refused(t, await run(latchfs, ['mkfs', at('ext')]), 1, /ext holds something else/);
});

t.test('an image that could not be made is not left behind', async (t) => {
  refused(t, await run(latchfs, ['mkfs', at('tiny'), '--size', '1']), 1, /at least 4 MiB/);
  refused(t, await run(latchfs, ['mkfs', at('none/image'), '--size', '16M']), 1, /cannot be written: no such file/);
  t.equal(existsSync(at('tiny')), false);
  const small = at('small');
  mkdirSync(small);
  if ((await run('mount', ['-t', 'tmpfs', '-o', 'size=8k', 'tmpfs', small])).status !== 0) return;
  try {
    refused(t, await run(latchfs, ['mkfs', join(small, 'image'), '--size', '16M']), 1, /no space left|ENOSPC/i);
    t.equal(existsSync(join(small, 'image')), false);
  } finally {
    await run('umount', [small]);
  }
});

t.test('an image in use keeps its size', { skip: process.getuid?.() !== 0 && 'needs root' }, async (t) => {
  const image = at('used');
  await run(latchfs, ['mkfs', image, '--size', '16M']);
  await withMount(image, 'allow_other', async ({ dir }) => {
    const began = Date.now();
    const ran = await run(latchfs, ['mkfs', 'used', '--size', '64M', '--force'], { cwd: scratch });
    refused(t, ran, 1, new RegExp(`used is in use: it is mounted on ${dir}`));
    t.equal(statSync(image).size, 16 << 20);
    t.ok(Date.now() - began < 8000, 'and that is known at once, also of a path that is relative');
  });
});

t.test('images too short to be one', async (t) => {
  for (const size of [0, 1, 4095, 4096, 100_000]) {
    const image = at(`short${size}`);
    writeFileSync(image, Buffer.alloc(size));
    const mounted = await run(latchfs, ['mount', image, scratch, '-o', 'nonempty']);
    refused(t, mounted, 1, /holds no latchfs/);
    refused(t, await run(latchfs, ['fsck', image]), 8, /holds no latchfs/);
  }
  await run(latchfs, ['mkfs', at('cut'), '--size', '16M']);
  truncateSync(at('cut'), 8192);
  refused(t, await run(latchfs, ['fsck', at('cut')]), 8, /cut is truncated: 2 blocks of 4096/);
});

t.test('a log that cannot be written', async (t) => {
  const dir = at('mnt');
  mkdirSync(dir);
  const no = await run(latchfs, ['mount', 'memory:16M', dir, '--log', at('none/log')]);
  refused(t, no, 1, /the log .*none\/log cannot be written: no such file or directory/);
  t.equal(mountAt(dir), undefined);
  const full = await run(latchfs, ['mount', 'memory:16M', dir, '-o', 'log=/dev/full']);
  t.same(full, { status: 0, stdout: '', stderr: '' }, 'a full disk is no reason to have no filesystem');
  t.equal((await sh('echo hi > a; rm a', dir)).status, 0);
  t.equal((await run(latchfs, ['umount', dir])).status, 0);
  const log = at('log');
  t.equal((await run(latchfs, ['mount', 'memory:16M', dir, '--log', log])).status, 0);
  renameSync(log, `${log}.1`);
  await sh(`pkill -USR1 -f '[m]ain.js mount memory:16M ${dir}'`);
  t.equal((await run(latchfs, ['umount', dir])).status, 0);
  for (let i = 0; i < 100 && !(existsSync(log) && readFileSync(log, 'utf8').includes('unmounted')); i++)
    await new Promise((resolve) => setTimeout(resolve, 50));
  t.match(readFileSync(`${log}.1`, 'utf8'), /is mounted on/);
  t.match(readFileSync(log, 'utf8'), /unmounted/, 'SIGUSR1 opens the log anew');
});

t.test('an output that cannot be written is one line', async (t) => {
  for (const command of ['contract', 'contract rename', '--help', 'selftest --json']) {
    refused(t, await sh(`${latchfs} ${command} > /dev/full`), 1, /standard output cannot be written: no space left/);
  }
});

t.test('words that are no command', async (t) => {
  refused(t, await run(latchfs, ['unmount', scratch]), 2, /neither a command nor an image is called 'unmount'/);
  refused(t, await run(latchfs, ['frobnicate']), 2, /neither a command nor an image is called 'frobnicate'/);
  refused(t, await run(latchfs, ['mount', '', scratch]), 2, /the source is empty/);
  refused(t, await run(latchfs, ['mount', 'memory', '']), 2, /the mount point is empty/);
  refused(t, await run(latchfs, ['mount', 'memory:32T', at('mnt')]), 2, /too large: at most 16T/);
  const odd = at('-o new\nline');
  mkdirSync(odd);
  t.equal((await run(latchfs, ['mount', 'memory:16M', '--', odd])).status, 0);
  refused(t, await run(latchfs, ['mount', 'memory:16M', odd]), 1, /already mounted on .*-o new\\nline/);
  const shown = readFileSync(join(odd, '.latchfs', 'mounts'), 'latin1').split('\n')[0];
  t.match(shown, /-o\\040new\\012line latch rw/, 'as /proc/mounts writes it');
  t.equal((await run(latchfs, ['umount', '-o new\nline'.replace('-o', './-o')], { cwd: scratch })).status, 0);
});

t.test('a daemon that does not answer is detached', { skip: process.getuid?.() !== 0 && 'needs root' }, async (t) => {
  await withMount('memory:16M', 'allow_other', async ({ dir, daemon }) => {
    daemon.kill('SIGSTOP');
    try {
      t.same(await run(latchfs, ['umount', dir], { timeout: 30_000 }), { status: 0, stdout: '', stderr: '' });
      t.equal(mountAt(dir), undefined);
    } finally {
      daemon.kill('SIGCONT');
    }
  });
});

t.test('where few files may be open', async (t) => {
  t.match(await sh(`ulimit -S -n 64; ${latchfs} fsck ${at('image')}`), { status: 0, stdout: /clean/ });
  mkdirSync(at('few'));
  const none = await sh(`ulimit -n 64; ${latchfs} mount memory:16M ${at('few')}`);
  t.equal(none.status, 1);
  t.match(none.stderr, /^latchfs: only 64 files may be open, which is too few: .*\n$/);
  t.equal(mountAt(at('few')), undefined);
});

t.test('remount', { skip: process.getuid?.() !== 0 && 'needs root' }, async (t) => {
  const remount = (dir: string, options: string): Promise<Ran> => run(latchfs, ['mount', 'x', dir, '-o', options]);
  await withMount('memory:16M', 'allow_other', async ({ dir, sh }) => {
    // What mount(8) hands on to its helper: all that /proc/mounts shows, and the change.
    const shown = 'rw,relatime,user_id=0,group_id=0,default_permissions,allow_other,blksize=4096';
    t.same(await remount(dir, `${shown},remount,ro`), { status: 0, stdout: '', stderr: '' });
    t.match((await sh('touch a')).stderr, /Read-only file system/);
    t.same(await remount(dir, `${shown},remount,rw`), { status: 0, stdout: '', stderr: '' });
    t.equal((await sh('touch a')).status, 0);
  });
  const image = at('remounted');
  await run(latchfs, ['mkfs', image, '--size', '16M']);
  for (const options of ['ro', 'ro,noblkdev'])
    await withMount(image, options, async ({ dir }) => {
      refused(t, await remount(dir, 'remount,rw'), 1, /was mounted read-only, and stays so: umount/);
    });
  refused(t, await run(latchfs, ['mount', 'memory', at('mnt'), '-o', 'user_id=0']), 2, /unknown option 'user_id=0'/);
});
