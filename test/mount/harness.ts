/** Mounts for tests: a daemon in a child process, commands in others, and an unmount whatever happens. */
import { type ChildProcess, execFile, spawn } from 'node:child_process';
import { chmodSync, mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { detachCopies, deviceAt } from '../../scripts/stressing/copies.js';
import { mountAt } from '../../src/fuse/mountinfo.js';

export const root = fileURLToPath(new URL('../../../', import.meta.url));
export const latchfs = join(root, 'scripts/latchfs');

/** Why a test that acts as other users, or as the administrator, cannot be run. */
export const othersNeedRoot = process.geteuid?.() === 0 ? false : 'it needs root';

export interface Ran {
  readonly status: number;
  readonly stdout: string;
  readonly stderr: string;
}

/** Run a command to its end, at most `timeout` milliseconds. */
export function run(
  command: string,
  args: readonly string[],
  options: { cwd?: string; timeout?: number } = {},
): Promise<Ran> {
  return new Promise((resolve) => {
    const { cwd = '/', timeout = 120_000 } = options;
    execFile(
      command,
      [...args],
      { cwd, timeout, killSignal: 'SIGKILL', maxBuffer: 1 << 26 },
      (error, stdout, stderr) => {
        const status = error === null ? 0 : typeof error.code === 'number' ? error.code : 255;
        resolve({ status, stdout, stderr });
      },
    );
  });
}

/** Run a shell script in `cwd`; it stops at the first command that fails. */
export function sh(script: string, cwd = '/', timeout = 120_000): Promise<Ran> {
  return run('bash', ['-euo', 'pipefail', '-c', script], { cwd, timeout });
}

export interface Mounted {
  /** The mount point. */
  readonly dir: string;
  readonly daemon: ChildProcess;
  /** The daemon's log so far, one JSON record a line. */
  log(): string;
  /** Run a shell script in the mount. */
  sh(script: string, timeout?: number): Promise<Ran>;
  /** Unmount, and wait for the daemon's end. @returns its exit status */
  unmount(): Promise<number>;
}

const pause = (ms: number): Promise<void> => new Promise((resolve) => setTimeout(resolve, ms));

/** umount(8), which ordinary users may not call. */
function unmountWith(args: readonly string[], timeout: number): Promise<Ran> {
  const command = process.geteuid?.() === 0 ? 'umount' : latchfs;
  return run(command, command === latchfs ? ['umount', ...args] : args, { timeout });
}

/**
 * The command that runs a shell script in a mount namespace of its own, as root. A new namespace has a copy of every mount, also of those of other tests, which would stay
 * alive in it after their unmount, and keep their images in use: what is not under `keep` is detached first.
 */
export function apart(keep: string, script: string, ...args: string[]): [string, ...string[]] {
  const alone = `while read -r _ at type _; do
    case $type:$at in fuse*:${keep}*) ;; fuse*) umount -l "$(printf '%b' "$at")" ;; esac
  done <<<"$(cat /proc/self/mounts)"
  `;
  return ['unshare', '-m', '--propagation', 'private', 'bash', '-euc', alone + script, 'apart', ...args];
}

/** An empty directory on the system's own tmpfs, to compare with. @returns undefined where there is none for this user; and what takes it away again */
export async function onTmpfs(): Promise<{ readonly dir: string; remove(): Promise<unknown> } | undefined> {
  if (process.geteuid?.() === 0) {
    const dir = mkdtempSync(join(tmpdir(), 'latchfs-tmpfs-'));
    const made = await run('mount', ['-t', 'tmpfs', '-o', 'mode=755,nodev,nosuid', 'tmpfs', dir]);
    if (made.status === 0) return { dir, remove: () => run('sh', ['-c', 'umount "$0" && rmdir "$0"', dir]) };
    rmSync(dir, { recursive: true });
    return undefined;
  }
  if ((await run('stat', ['-f', '-c', '%T', '/dev/shm'])).stdout !== 'tmpfs\n') return undefined;
  try {
    const dir = mkdtempSync('/dev/shm/latchfs-tmpfs-');
    chmodSync(dir, 0o755);
    return { dir, remove: () => run('sh', ['-c', 'chmod -R u+rwX "$0"; rm -rf "$0"', dir]) };
  } catch {
    return undefined;
  }
}

/** Options as whoever runs the tests may give them: an ordinary user's mount is for nobody else. */
function permitted(options: string): string {
  if (process.geteuid?.() === 0) return options;
  return (
    options
      .split(',')
      .filter((option) => option !== 'allow_other')
      .join(',') || 'rw'
  );
}

/** Mount `source` on a fresh directory. */
export async function mount(source: string, options = 'allow_other'): Promise<Mounted> {
  const scratch = mkdtempSync(join(tmpdir(), 'latchfs-test-'));
  // Everybody may go through: other users are tested as well.
  chmodSync(scratch, 0o755);
  const dir = join(scratch, 'mnt');
  const logFile = join(scratch, 'log');
  await run('mkdir', [dir]);
  const daemon = spawn(latchfs, ['mount', source, dir, '-f', '-o', permitted(options), '--log', logFile], {
    stdio: ['ignore', 'ignore', 'pipe'],
  });
  let stderr = '';
  daemon.stderr?.on('data', (chunk: Buffer) => {
    stderr += chunk.toString();
  });
  const ended = new Promise<number>((resolve) => daemon.once('exit', (code) => resolve(code ?? 255)));
  let exited = false;
  ended.then(
    () => {
      exited = true;
    },
    () => undefined,
  );
  for (let i = 0; i < 4000 && !exited && mountAt(dir) === undefined; i++) await pause(25);
  if (exited || mountAt(dir) === undefined) {
    daemon.kill('SIGKILL');
    throw new Error(`mount of ${source} failed: ${stderr}`);
  }
  await run('stat', [dir], { timeout: 20_000 });
  const log = (): string => {
    try {
      return readFileSync(logFile, 'utf8');
    } catch {
      return '';
    }
  };
  const unmount = async (): Promise<number> => {
    // As umount(8) and latchfs say it.
    const busy = (): boolean => / busy| is in use/.test(clean.stderr);
    const device = deviceAt(dir);
    let clean = await unmountWith([dir], 120_000);
    // Whoever looks at all mounts of the machine at this moment (df, say) uses this one, too; what a test has left open stays open.
    for (let i = 0; i < 20 && busy(); i++) {
      await pause(100);
      clean = await unmountWith([dir], 120_000);
    }
    if (busy()) {
      const users = await run('fuser', ['-vm', dir], { timeout: 20_000 });
      console.error(`umount of ${dir}: ${clean.stderr}${users.stderr}`);
    }
    if (clean.status !== 0) await unmountWith(['-l', dir], 30_000);
    const detached = await detachCopies(device);
    for (const line of detached.lines) console.error(line);
    if (!detached.all) {
      // What the kernel has not written yet is in its cache still.
      await run('sync', []);
      daemon.kill('SIGTERM');
    }
    let timer: NodeJS.Timeout | undefined;
    const late = new Promise<number>((resolve) => {
      timer = setTimeout(() => resolve(254), 120_000);
    });
    const status = await Promise.race([ended, late]);
    clearTimeout(timer);
    if (status === 254) {
      const state = await run('grep', [
        '-hE',
        '^(State|Threads|VmRSS|.*_switches)|^[a-z_0-9]+$',
        `/proc/${daemon.pid}/wchan`,
        `/proc/${daemon.pid}/status`,
      ]);
      console.error(`the daemon of ${dir} has not ended 120 s after the unmount:\n${state.stdout}${log()}${stderr}`);
      daemon.kill('SIGKILL');
    }
    rmSync(scratch, { recursive: true, force: true });
    return clean.status === 0 ? status : 253;
  };
  return { dir, daemon, log, sh: (script, timeout) => sh(script, dir, timeout), unmount };
}

/** Run `body` on a mount, and unmount it also when it fails. */
export async function withMount(
  source: string,
  options: string,
  body: (mounted: Mounted) => Promise<void>,
): Promise<void> {
  const mounted = await mount(source, options);
  try {
    await body(mounted);
  } finally {
    await mounted.unmount();
  }
}
