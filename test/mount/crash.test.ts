/**
 * The daemon killed at any moment of a busy life: the next mount recovers by itself, fsck finds nothing, and every file that was fsynced is whole. Fifteen rounds;
 * LATCHFS_KILL_ROUNDS says otherwise, a hundred for a proof.
 */
import { spawn } from 'node:child_process';
import { createHash } from 'node:crypto';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { readFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as pause } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import t from 'tap';
import { latchfs, mount, run } from './harness.js';

const ROUNDS = Number(process.env['LATCHFS_KILL_ROUNDS'] ?? 15);
/** Milliseconds after which no further round is begun. */
const PATIENCE = 240_000;
const workload = fileURLToPath(new URL('crash-workload.js', import.meta.url));

/** What must be there: of each file that was not touched since, the digest at its last fsync. */
function promised(log: string): Map<string, string> {
  const files = new Map<string, string>();
  for (const line of log.split('\n')) {
    const [word, name = '', digest = ''] = line.split(' ');
    if (word === 'touch') files.delete(name);
    else if (word === 'sync') files.set(name, digest);
  }
  return files;
}

/** Start the workload, and let it end with the mount. */
function work(dir: string, log: string, seed: number): { readonly ended: Promise<void>; kill(): void } {
  const child = spawn(process.execPath, [workload, dir, log, String(seed)], { stdio: 'ignore' });
  const ended = new Promise<void>((resolve) => child.once('exit', () => resolve()));
  return { ended, kill: () => child.kill('SIGKILL') };
}

async function round(image: string, scratch: string, number: number): Promise<string | undefined> {
  const logs = [0, 1].map((i) => join(scratch, `log-${number}-${i}`));
  const mounted = await mount(image);
  const workers = logs.map((log, i) => work(mounted.dir, log, number * 2 + i + 1));
  await pause(150 + Math.random() * 1500);
  mounted.daemon.kill('SIGKILL');
  const umount = await run(latchfs, ['umount', mounted.dir], { timeout: 30_000 });
  // One that was starting a program when the mount went away may wait for ever: what it has promised is in its log.
  const ended = Promise.all(workers.map((worker) => worker.ended));
  await Promise.race([ended, pause(10_000)]);
  for (const worker of workers) worker.kill();
  await ended;
  await mounted.unmount();
  if (umount.status !== 0) return `umount after the kill: ${umount.stderr}`;
  const before = await run(latchfs, ['fsck', image], { timeout: 60_000 });
  if (before.status !== 0) return `fsck before the recovery: ${before.stdout}${before.stderr}`;
  const again = await mount(image);
  try {
    for (const log of logs) {
      for (const [name, digest] of promised(readFileSync(log, 'utf8'))) {
        const bytes = await readFile(join(again.dir, name)).catch((error: unknown) => String(error));
        if (typeof bytes === 'string') return `${name} was fsynced, and cannot be read: ${bytes}`;
        if (createHash('sha256').update(bytes).digest('hex') !== digest) return `${name} was fsynced, and differs`;
      }
    }
    const left = await again.sh('rm -rf -- *');
    if (left.status !== 0) return `what is left cannot be removed: ${left.stderr}`;
  } finally {
    await again.unmount();
  }
  const after = await run(latchfs, ['fsck', image], { timeout: 60_000 });
  return after.status === 0 ? undefined : `fsck after the recovery: ${after.stdout}${after.stderr}`;
}

t.test('killed at any moment, the daemon leaves an image that recovers by itself', async (t) => {
  const scratch = mkdtempSync(join(tmpdir(), 'latchfs-crash-'));
  const image = join(scratch, 'image');
  try {
    const made = await run(latchfs, ['mkfs', image, '--size', '64M']);
    t.equal(made.status, 0, made.stderr);
    const begun = Date.now();
    let done = 0;
    for (let number = 0; number < ROUNDS; number++) {
      // On a machine that is busy with other things a few rounds must do, unless more were asked for.
      if (process.env['LATCHFS_KILL_ROUNDS'] === undefined && done >= 3 && Date.now() - begun > PATIENCE) break;
      const problem = await round(image, scratch, number);
      t.equal(problem, undefined, `round ${number}`);
      if (problem !== undefined) break;
      done++;
    }
    t.comment(`${done} rounds`);
  } finally {
    rmSync(scratch, { recursive: true, force: true });
  }
});
