/** Times that the kernel gives files where it caches what is written, next to ours. */
import { mkdirSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import t from 'tap';
import { withMount } from './harness.js';

const ROUNDS = 200;
const mtimeOf = (path: string): bigint => statSync(path, { bigint: true }).mtimeNs;

t.test('what the kernel stamps after us is no older than what we have stamped', async (t) => {
  for (const cache of ['auto', 'always']) {
    await withMount('memory:64M', `allow_other,cache=${cache}`, async ({ dir }) => {
      const [ours, kernels] = [join(dir, 'ours'), join(dir, 'kernels')];
      mkdirSync(ours);
      writeFileSync(kernels, 'x');
      let early = 0;
      let moved = 0;
      let last = mtimeOf(ours);
      for (let i = 0; i < ROUNDS; i++) {
        // The directory's times have been seen: within a tick, the next change of it is the one that a finer clock would stamp.
        mkdirSync(join(ours, `${i}`));
        const before = mtimeOf(ours);
        writeFileSync(kernels, 'y', { flag: 'r+' });
        if (mtimeOf(kernels) < before) early++;
        if (before > last) moved++;
        last = before;
      }
      t.equal(early, 0, `with cache=${cache}`);
      t.ok(moved > 0, 'and the time goes on');
      if (cache === 'auto') t.equal(moved, ROUNDS, 'with each change, where all times are ours');
    });
  }
});
