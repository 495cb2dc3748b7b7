/** Times that the kernel gives files where it caches what is written, next to ours. */
import { chmodSync, mkdirSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import t from 'tap';
import { withMount } from './harness.js';

const ROUNDS = 200;
const mtimeOf = (path: string): bigint => statSync(path, { bigint: true }).mtimeNs;

t.test('what the kernel and we stamp one after the other is in this order', async (t) => {
  for (const cache of ['auto', 'always']) {
    await withMount('memory:64M', `allow_other,cache=${cache}`, async ({ dir }) => {
      const [ours, kernels] = [join(dir, 'ours'), join(dir, 'kernels')];
      mkdirSync(ours);
      writeFileSync(kernels, 'x');
      const other = join(t.testdir(), 'other');
      writeFileSync(other, '');
      let early = 0;
      let late = 0;
      let moved = 0;
      let last = mtimeOf(ours);
      for (let i = 0; i < ROUNDS; i++) {
        // The directory's times have been seen: within a tick, the next change of it is the one that a finer clock would stamp.
        mkdirSync(join(ours, `${i}`));
        const before = mtimeOf(ours);
        writeFileSync(kernels, 'y', { flag: 'r+' });
        if (mtimeOf(kernels) < before) early++;
        // Another filesystem needs a finer time, which the kernel's next stamp is not before.
        statSync(other);
        chmodSync(other, 0o600 + (i & 1));
        writeFileSync(kernels, 'z', { flag: 'r+' });
        mkdirSync(join(ours, `after ${i}`));
        if (mtimeOf(ours) < mtimeOf(kernels)) late++;
        if (before > last) moved++;
        last = mtimeOf(ours);
      }
      t.equal(early, 0, `with cache=${cache}`);
      t.equal(late, 0, 'and what we stamp after the kernel neither');
      t.ok(moved > 0, 'and the time goes on');
      if (cache === 'auto') t.equal(moved, ROUNDS, 'with each change, where all times are ours');
    });
  }
});
