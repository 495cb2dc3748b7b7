/**
 * Nothing is left in use at the unmount, whatever went wrong while it was mounted: handles of what is gone, names that race, calls that fail, wait or are killed
 * (work/leaks.py). LATCHFS_LEAKS_SECONDS makes it longer.
 */
import { mkdtempSync, readFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import t from 'tap';
import { latchfs, mount, root, run } from './harness.js';

const needsRoot = process.getuid?.() !== 0 ? 'opens by handle, freezes and drops caches as root' : false;
const seconds = Number(process.env['LATCHFS_LEAKS_SECONDS'] ?? 1);
const scratch = mkdtempSync(join(tmpdir(), 'latchfs-leaks-'));
t.teardown(() => run('rm', ['-rf', scratch]));

for (const [kind, cache] of [
  ['memory', 'auto'],
  ['image', 'none'],
  ['image', 'always'],
] as const) {
  t.test(`${kind}, cache=${cache}`, { skip: needsRoot }, async (t) => {
    const image = join(scratch, `${kind}.${cache}`);
    const log = `${image}.log`;
    if (kind === 'image') await run(latchfs, ['mkfs', image, '--size', '32M']);
    const mounted = await mount(kind === 'image' ? image : 'memory:32M', `allow_other,cache=${cache},log=${log}`);
    let status = 255;
    try {
      const ran = await mounted.sh(`timeout 90 python3 ${root}/test/mount/work/leaks.py ${seconds} 1`);
      t.equal(ran.status, 0, ran.stderr);
    } finally {
      status = await mounted.unmount();
    }
    t.equal(status, 0, 'the unmount was clean');
    const bad = readFileSync(log, 'utf8')
      .split('\n')
      .filter((line) => /"level":[456]0/.test(line));
    t.strictSame(bad, [], 'without a complaint');
    if (kind === 'image') t.equal((await run(latchfs, ['fsck', image])).status, 0, 'and the image is in order');
  });
}
