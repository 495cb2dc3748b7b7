/** What is compared: filesystems that can be mounted, each served by a process that is pinned to the same CPU as its client. */
import { type ChildProcess, execFileSync, spawn } from 'node:child_process';
import { existsSync, mkdirSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { mountAt } from '../../src/fuse/mountinfo.js';

export const root = fileURLToPath(new URL('../../../', import.meta.url));

export interface Bench {
  /** A directory for everything that the run makes. */
  readonly scratch: string;
  /** The command before every daemon and client, which pins it to the CPU of the run. */
  readonly pin: readonly string[];
}

export interface Target {
  readonly name: string;
  /** It holds one file and answers nothing else. */
  readonly onlyData: boolean;
  /** Why it cannot take part here. */
  missing(bench: Bench): string | undefined;
  /** Mount it on `dir`. */
  start(bench: Bench, dir: string): Mounted;
}

export interface Mounted {
  readonly dir: string;
  readonly daemon: ChildProcess | undefined;
}

const sleep = (ms: number): Promise<void> => new Promise((resolve) => setTimeout(resolve, ms));

function daemon(bench: Bench, dir: string, command: readonly string[]): Mounted {
  const child = spawn('env', [...bench.pin, ...command], { stdio: ['ignore', 'ignore', 'inherit'] });
  return { dir, daemon: child };
}

/** latchfs itself, with mount options and a transport. */
export function latchfs(name: string, options: string, transport = 'dev-fuse'): Target {
  const command = [join(root, 'scripts/latchfs'), 'mount', 'memory:2G'];
  return {
    name,
    onlyData: false,
    missing: () => (transport === 'dev-fuse' ? undefined : nativeMissing()),
    start: (bench, dir) =>
      daemon(bench, dir, [
        ...command,
        dir,
        '-f',
        '-o',
        options,
        `--transport=${transport}`,
        '--log',
        join(bench.scratch, `${name}.log`),
      ]),
  };
}

/** Why `--transport=fuse-native` does not work here: its own words. */
function nativeMissing(): string | undefined {
  const dir = '/nonexistent/latchfs-bench';
  try {
    execFileSync(join(root, 'scripts/latchfs'), ['mount', 'memory', dir, '-f', '--transport=fuse-native'], {
      stdio: 'pipe',
    });
  } catch (error) {
    const text = error instanceof Error && 'stderr' in error ? String(error.stderr).trim() : String(error);
    return text.includes(dir) ? undefined : text;
  }
  return undefined;
}

/** What the checks cost is what the one of these loses against the other. */
export const CHECKS = { on: 'latchfs', off: 'latchfs-off' } as const;

export const TARGETS: readonly Target[] = [
  {
    name: 'c-loop',
    onlyData: false,
    missing: (bench) =>
      existsSync(join(bench.scratch, 'bare')) ? undefined : 'it needs a C compiler: sudo apt-get install gcc libc6-dev',
    start: (bench, dir) => daemon(bench, dir, [join(bench.scratch, 'bare'), dir]),
  },
  {
    name: 'js-loop',
    onlyData: true,
    missing: () => undefined,
    start: (bench, dir) =>
      daemon(bench, dir, [process.execPath, join(root, 'dist/test/fuse/bare-daemon.js'), dir, `--size=${64 << 20}`]),
  },
  latchfs(CHECKS.on, 'enforce=warn'),
  latchfs(CHECKS.off, 'enforce=off'),
  latchfs('fuse-native', 'enforce=warn', 'fuse-native'),
  {
    name: 'tmpfs',
    onlyData: false,
    missing: () => undefined,
    start: (_, dir) => {
      execFileSync('mount', ['-t', 'tmpfs', '-o', 'size=2G', 'bench', dir]);
      return { dir, daemon: undefined };
    },
  },
];

/** Mount a target and wait until it answers. @throws Error when it does not */
export async function start(bench: Bench, target: Target): Promise<Mounted> {
  const dir = join(bench.scratch, `mnt-${target.name}`);
  mkdirSync(dir, { recursive: true });
  const mounted = target.start(bench, dir);
  for (let i = 0; i < 600 && mountAt(dir) === undefined && (mounted.daemon?.exitCode ?? null) === null; i++) {
    await sleep(25);
  }
  if (mountAt(dir) === undefined) throw new Error(`${target.name} did not mount on ${dir}`);
  return mounted;
}

/** Unmount; whatever holds it is detached. */
export async function stop({ dir, daemon }: Mounted): Promise<void> {
  const ended = daemon === undefined ? undefined : new Promise((resolve) => daemon.once('exit', resolve));
  for (const args of [[dir], ['-l', dir]]) {
    try {
      if (mountAt(dir) !== undefined) execFileSync('umount', args, { stdio: 'pipe' });
    } catch {
      // Busy: the second way always works.
    }
  }
  if (daemon?.exitCode === null) await Promise.race([ended, sleep(10_000).then(() => daemon.kill('SIGKILL'))]);
}
