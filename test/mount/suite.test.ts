/** The shell suite on a mount; its golden output is what ext4 and tmpfs give. */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import t, { type Test } from 'tap';
import { mount, root, run } from './harness.js';
import { lacking, needsRoot, unblemished } from './users.js';

const PATIENCE = 800_000;
t.setTimeout(3 * PATIENCE);
const noPython = await lacking('python3');
const skip = needsRoot || noPython;

/** With cache=always the kernel keeps dirty data, and what the filesystem has not been told it cannot answer with. */
const WRITEBACK: Readonly<Record<string, string>> = {
  chattr: 'the kernel keeps the times, and does not hear that flags move the ctime',
  'seek-hole-data-patterns': 'holes are not reported',
  'sparse-huge-offsets': 'holes are not reported',
  'sparse-seek': 'holes are not reported',
  'times-relatime': 'what was written is read from the kernel, and no request moves the atime',
  'tmpfile-many': 'space is taken when data is written back, which sync(2) does not ask a FUSE filesystem for',
  'truncate-times': 'the kernel keeps the times, and does not move them where the size stays',
};

async function passes(t: Test, dir: string, without: readonly string[]): Promise<void> {
  const leaveOut = without.flatMap((name) => ['-x', name]);
  const ran = await run(join(root, 'scripts/check'), [...leaveOut, dir], { timeout: PATIENCE });
  const failures = ran.stdout.split('\n').filter((line) => !line.startsWith('pass'));
  t.equal(ran.status, 0, ran.status === 0 ? failures.join('; ') : `${failures.join('\n')}${ran.stderr}`);
  t.match(ran.stdout, /\d+ passed, 0 failed/, 'it ran to its end');
}

for (const cache of ['none', 'auto', 'always']) {
  const without = cache === 'always' ? WRITEBACK : {};
  for (const [name, reason] of Object.entries(without))
    t.test(`${name} with cache=${cache}`, { skip: reason }, () => {});
  t.test(`on a mount with cache=${cache}`, { skip: noPython, timeout: PATIENCE }, async (t) => {
    const mounted = await mount('memory:2G', `allow_other,cache=${cache}`);
    try {
      await passes(t, mounted.dir, Object.keys(without));
      unblemished(t, mounted);
    } finally {
      t.equal(await mounted.unmount(), 0, 'it unmounts cleanly');
    }
  });
}

t.test('where others may not enter, cases that act as others are skipped', { skip, timeout: PATIENCE }, async (t) => {
  const mounted = await mount('memory:64M', 'nocontrol');
  try {
    const ran = await run(join(root, 'scripts/check'), ['-g', 'perm', '-g', 'acl', mounted.dir], { timeout: PATIENCE });
    t.equal(ran.status, 0, ran.stdout);
    const skipped = ran.stdout.match(/^skip .*: other users may not enter: mount with allow_other$/gm) ?? [];
    t.ok(skipped.length > 8, ran.stdout);
  } finally {
    t.equal(await mounted.unmount(), 0);
  }
});

t.test('on tmpfs: what is expected is what Linux does', { skip, timeout: PATIENCE }, async (t) => {
  const dir = mkdtempSync(join(tmpdir(), 'latchfs-suite-'));
  t.equal((await run('mount', ['-t', 'tmpfs', '-o', 'mode=777,nodev,nosuid', 'suite', dir])).status, 0, 'tmpfs');
  try {
    await passes(t, dir, []);
  } finally {
    await run('umount', [dir]);
    rmSync(dir, { recursive: true });
  }
});
