/**
 * The same random workload on an image and on tmpfs, at the same time, round after round: every step must answer the same, every tree be equal, also
 * after the image was unmounted and mounted again.
 */
import { mkdtempSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import t from 'tap';
import { latchfs, mount, onTmpfs, type Ran, root, run } from './harness.js';
import { lacking, unblemished } from './users.js';

const ROUNDS = 50;
const STEPS = 60;
/** Rounds between remounts; each round with LATCHFS_LONG. */
const REMOUNT = process.env['LATCHFS_LONG'] === undefined ? 5 : 1;
/** A failure prints it; set it to see that failure again. */
const SEED = process.env['LATCHFS_SEED'] ?? `${Date.now()}`;

const rounds = (...args: string[]): Promise<Ran> =>
  run('python3', [join(root, 'test/mount/work/rounds.py'), ...args], { timeout: 300_000 });

/** The first line in which two texts differ. */
function difference(ours: Ran, theirs: Ran): string | undefined {
  if (ours.status !== 0 || theirs.status !== 0) return `it failed: ${ours.stderr}${theirs.stderr}`;
  if (ours.stdout === theirs.stdout) return undefined;
  const [a, b] = [ours.stdout.split('\n'), theirs.stdout.split('\n')];
  const at = a.findIndex((line, i) => line !== b[i]);
  return `the mount has '${a[at]}' where tmpfs has '${b[at]}'`;
}

t.setTimeout(1_800_000);
const reference = await onTmpfs();
t.teardown(() => reference?.remove());
const skip = reference === undefined ? 'there is no tmpfs here' : await lacking('python3');
t.test(`${ROUNDS} rounds with seed ${SEED}`, { skip, timeout: 1_800_000 }, async (t) => {
  const scratch = mkdtempSync(join(tmpdir(), 'latchfs-rounds-'));
  const image = join(scratch, 'image');
  t.equal((await run(latchfs, ['mkfs', image, '--size', '256M'])).status, 0, 'mkfs');
  const tmpfs = reference?.dir ?? '';
  let mounted = await mount(image);
  let wrong: string | undefined;
  try {
    for (let round = 1; round <= ROUNDS && wrong === undefined; round++) {
      const seed = `${SEED}-${round}`;
      const steps = await Promise.all([mounted.dir, tmpfs].map((dir) => rounds('work', dir, seed, String(STEPS))));
      const compare = async (when: string): Promise<void> => {
        const trees = await Promise.all([mounted.dir, tmpfs].map((dir) => rounds('tree', dir)));
        const found = difference(trees[0] as Ran, trees[1] as Ran);
        if (found !== undefined) wrong ??= `round ${round}, seed ${SEED}, ${when}: ${found}`;
      };
      const answers = difference(steps[0] as Ran, steps[1] as Ran);
      if (answers !== undefined) wrong = `round ${round}, seed ${SEED}, answers: ${answers}`;
      await compare('tree');
      if (round % REMOUNT === 0 && wrong === undefined) {
        unblemished(t, mounted);
        t.equal(await mounted.unmount(), 0, `clean unmount after round ${round}`);
        mounted = await mount(image);
        await compare('tree after the remount');
      }
    }
    t.equal(wrong, undefined, `all rounds agree with tmpfs, seed ${SEED}`);
  } finally {
    t.equal(await mounted.unmount(), 0, 'clean unmount');
    await run('rm', ['-rf', scratch]);
  }
});
