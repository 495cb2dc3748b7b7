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

/** What the children have done, and what was wrong. */
class Course {
  readonly faults: string[] = [];
  made = 0;
  refused = 0;
  /** The mount had to be cut off from who used it still. */
  cutOff = false;

  /** Let the children work on a mount, and unmount it. */
  async load(mountpoint: string, seed: number, actors: number, seconds: number): Promise<void> {
    try {
      const directories = ['d0', 'd1', 'd2'].map((name) => join(mountpoint, name));
      const made = await run('mkdir', directories, 10_000);
      if (made.status !== 0) this.faults.push(made.stderr);
      const children = Array.from({ length: actors }, (_, i) =>
        run('python3', [LOAD, mountpoint, String(seed * 100 + i), String(seconds)], Math.ceil(seconds + 60) * 1000),
      );
      for (const child of await Promise.all(children)) this.#worked(child);
    } finally {
      await this.#unmount(mountpoint);
    }
  }

  #worked({ status, stdout, stderr }: Ran): void {
    if (status !== 0) {
      this.faults.push(status === 255 ? `a child hangs or died: ${stderr}` : stderr.trim());
      return;
    }
    const counts = JSON.parse(stdout) as { readonly made: number; readonly refused: number };
    this.made += counts.made;
    this.refused += counts.refused;
  }

  async #unmount(mountpoint: string): Promise<void> {
    const device = deviceAt(mountpoint);
    await unmountFuse(mountpoint, false).catch(() => unmountFuse(mountpoint, true));
    const detached = await detachCopies(device);
    for (const line of detached.lines) console.log(line);
    if (detached.all) return;
    await run('sync', [], 60_000);
    this.cutOff = true;
    process.kill(process.pid, 'SIGTERM');
  }

  /** What the daemon has logged is a fault, but that it was cut off. */
  readLog(file: string): void {
    for (const line of readFileSync(file, 'utf8').split('\n'))
      if (line !== '' && !(this.cutOff && / is still used: /.test(line))) this.faults.push(line);
  }
}

/** @param seconds how long the children work @throws MountError where nothing can be mounted */
export async function stressOutside(seed: number, actors: number, cache: CacheMode, seconds: number): Promise<Outcome> {
  const scratch = mkdtempSync(join(tmpdir(), 'latchfs-stress-'));
  const [image, mountpoint, logFile] = [join(scratch, 'image'), join(scratch, 'mnt'), join(scratch, 'log')];
  const course = new Course();
  try {
    mkdirSync(mountpoint);
    const made = await run(LATCHFS, ['mkfs', image, '--size', '64M'], 30_000);
    if (made.status !== 0) throw new Error(made.stderr);
    let worked: Promise<void> = Promise.resolve();
    const onReady = (): void => {
      worked = course.load(mountpoint, seed, actors, seconds);
      worked.catch(() => undefined);
    };
    const quota = seed % 2 === 1 ? [...QUOTA_TYPES] : [];
    const settings = { ...defaultSettings(), cache, quota, enforce: 'error' as const, debug: true };
    await serveFilesystem(image, mountpoint, settings, openLog({ level: 'warn', to: new LogFile(logFile) }), {
      onReady,
    });
    await worked;
    course.readLog(logFile);
    const checked = await run(LATCHFS, ['fsck', image], 60_000);
    if (checked.status !== 0) course.faults.push(`fsck: ${checked.stdout}${checked.stderr}`);
  } finally {
    rmSync(scratch, { recursive: true, force: true });
  }
  return {
    calls: course.made,
    refused: course.refused,
    faults: course.faults.map((fault) => `cache=${cache}: ${fault}`),
  };
}
