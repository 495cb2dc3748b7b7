/** The shell suite on a mount; its golden output is what ext4 and tmpfs give. */
import { join } from 'node:path';
import t, { type Test } from 'tap';
import { mount, root, run } from './harness.js';
import { lacking, needsRoot, unblemished } from './users.js';

const PATIENCE = 800_000;
t.setTimeout(3 * PATIENCE);
const skip = needsRoot || (await lacking('python3'));

async function passes(t: Test, dir: string): Promise<void> {
  const ran = await run(join(root, 'scripts/check'), [dir], { timeout: PATIENCE });
  const failures = ran.stdout.split('\n').filter((line) => !line.startsWith('pass'));
  t.equal(ran.status, 0, ran.status === 0 ? failures.join('; ') : `${failures.join('\n')}${ran.stderr}`);
  t.match(ran.stdout, /\d+ passed, 0 failed/, 'it ran to its end');
}

for (const cache of ['auto']) {
  t.test(`on a mount with cache=${cache}`, { skip, timeout: PATIENCE }, async (t) => {
    const mounted = await mount('memory:2G', `allow_other,cache=${cache}`);
    try {
      await passes(t, mounted.dir);
      unblemished(t, mounted);
    } finally {
      t.equal(await mounted.unmount(), 0, 'it unmounts cleanly');
    }
  });
}
