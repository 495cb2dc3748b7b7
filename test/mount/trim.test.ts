/** FITRIM through the kernel: fstrim(8) on a mounted image gives blocks back to the file that it is in. */
import { mkdtempSync, rmSync, statSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import t from 'tap';
import { latchfs, othersNeedRoot, sh, withMount } from './harness.js';

const dir = mkdtempSync(join(tmpdir(), 'latchfs-trim-'));
t.teardown(() => rmSync(dir, { recursive: true, force: true }));

t.test('fstrim gives back what is free', { skip: othersNeedRoot }, async (t) => {
  const image = join(dir, 'image');
  t.equal((await sh(`${latchfs} mkfs ${image} --size 64M`)).status, 0);
  await withMount(image, 'allow_other', async (m) => {
    await m.sh('head -c 20M /dev/urandom > big; echo small > small; sync');
    const used = statSync(image).blocks;
    await m.sh('rm big; sync');
    t.ok(statSync(image).blocks > 20 * 2048, 'a removed file still takes room');
    const user = await m.sh('setpriv --reuid 65534 --clear-groups fstrim -v .');
    t.match(user.stderr, /not permitted/);
    const trimmed = await m.sh('fstrim -v .');
    t.equal(trimmed.status, 0, trimmed.stderr);
    t.match(trimmed.stdout, /6[0-9][.]?\d* MiB \(\d+ bytes\) trimmed/);
    const left = statSync(image).blocks;
    t.ok(left < used - 19 * 2048, `it is given back: ${left} of ${used} sectors are left`);
    t.match((await m.sh('fstrim -v .')).stdout, / \(?0 (B|bytes)/, 'once');
    t.match((await m.sh('fstrim -o 1T .')).stderr, /Invalid argument/);
    t.equal((await m.sh('cat small')).stdout, 'small\n');
  });
  t.equal((await sh(`${latchfs} fsck ${image}`)).status, 0);
});

t.test('what was removed makes room at once', async (t) => {
  await withMount('memory:64M', '', async (m) => {
    // Deleting it takes a while, in which other requests are served; who comes before that is over finds the room all the same.
    const free = '$(stat -f -c %f .)';
    const fill = 'dd if=/dev/zero of=full bs=1M count=50 status=none';
    const script = `before=${free}; for i in 1 2 3 4; do
      ${fill}; rm full; [ ${free} -ge $((before - 2)) ] || echo "round $i: ${free} of $before blocks"
      ${fill}; rm full; ${fill}; rm full
    done`;
    const ran = await m.sh(script);
    t.equal(ran.stderr, '');
    t.equal(ran.stdout, '');
    t.equal(ran.status, 0);
  });
});
