/** The stress through the kernel: an image that this process serves, and child processes that make random system calls there; then it is unmounted and checked. */
import { execFile } from 'node:child_process';
import { mkdirSync, mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { defaultSettings } from '../../src/cli/mount-options.js';
import { serveFilesystem } from '../../src/cli/mount-serve.js';
import { QUOTA_TYPES } from '../../src/fs/quota/types.js';
import { unmountFuse } from '../../src/fuse/mount.js';
import type { CacheMode } from '../../src/fuse/session-options.js';
import { openLog } from '../../src/report/log.js';
import { LogFile } from '../../src/report/log-file.js';
import { detachCopies, deviceAt } from './copies.js';
import type { Outcome } from './outcome.js';

const root = fileURLToPath(new URL('../../../', import.meta.url));
const LOAD = join(root, 'scripts/stressing/load.py');
const LATCHFS = join(root, 'scripts/latchfs');

interface Ran {
  readonly status: number;
  readonly stdout: string;
  readonly stderr: string;
}

function run(command: string, args: readonly string[], timeout: number): Promise<Ran> {
  return new Promise((resolve) => {
    execFile(command, args, { cwd: '/', timeout, killSignal: 'SIGKILL' }, (error, stdout, stderr) => {
      const status = error === null ? 0 : typeof error.code === 'number' ? error.code : 255;
      resolve({ status, stdout, stderr });
    });
  });
}

/** @param seconds how long the children work @throws MountError where nothing can be mounted */
export async function stressOutside(seed: number, actors: number, cache: CacheMode, seconds: number): Promise<Outcome> {
  const scratch = mkdtempSync(join(tmpdir(), 'latchfs-stress-'));
  const [image, mountpoint, logFile] = [join(scratch, 'image'), join(scratch, 'mnt'), join(scratch, 'log')];
  const faults: string[] = [];
  let cutOff = false;
  const counts = { made: 0, refused: 0 };
  const load = async (): Promise<void> => {
    try {
      const made = await run(
        'mkdir',
        ['d0', 'd1', 'd2'].map((name) => join(mountpoint, name)),
        10_000,
      );
      if (made.status !== 0) faults.push(made.stderr);
      const children = Array.from({ length: actors }, (_, i) =>
        run('python3', [LOAD, mountpoint, String(seed * 100 + i), String(seconds)], Math.ceil(seconds + 60) * 1000),
      );
      for (const { status, stdout, stderr } of await Promise.all(children)) {
        if (status !== 0) faults.push(status === 255 ? `a child hangs or died: ${stderr}` : stderr.trim());
        else {
          const { made, refused } = JSON.parse(stdout) as typeof counts;
          counts.made += made;
          counts.refused += refused;
        }
      }
    } finally {
      const device = deviceAt(mountpoint);
      await unmountFuse(mountpoint, false).catch(() => unmountFuse(mountpoint, true));
      const detached = await detachCopies(device);
      for (const line of detached.lines) console.log(line);
      if (!detached.all) {
        await run('sync', [], 60_000);
        cutOff = true;
        process.kill(process.pid, 'SIGTERM');
      }
    }
  };
  try {
    mkdirSync(mountpoint);
    const made = await run(LATCHFS, ['mkfs', image, '--size', '64M'], 30_000);
    if (made.status !== 0) throw new Error(made.stderr);
    let worked: Promise<void> = Promise.resolve();
    const onReady = (): void => {
      worked = load();
      worked.catch(() => undefined);
    };
    const quota = seed % 2 === 1 ? [...QUOTA_TYPES] : [];
    const settings = { ...defaultSettings(), cache, quota, enforce: 'error' as const, debug: true };
    await serveFilesystem(image, mountpoint, settings, openLog({ level: 'warn', to: new LogFile(logFile) }), {
      onReady,
    });
    await worked;
    for (const line of readFileSync(logFile, 'utf8').split('\n'))
      if (line !== '' && !(cutOff && / is still used: /.test(line))) faults.push(line);
    const checked = await run(LATCHFS, ['fsck', image], 60_000);
    if (checked.status !== 0) faults.push(`fsck: ${checked.stdout}${checked.stderr}`);
  } finally {
    rmSync(scratch, { recursive: true, force: true });
  }
  return { calls: counts.made, refused: counts.refused, faults: faults.map((fault) => `cache=${cache}: ${fault}`) };
}
