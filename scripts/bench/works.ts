/** What is measured, in the order in which one round does it: later works use what earlier ones left. */
import { execFile } from 'node:child_process';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import type { Bench } from './targets.js';

export interface Scale {
  /** Seconds of each transfer and listing. */
  readonly seconds: number;
  /** Files of the name works. */
  readonly files: number;
  /** Files of the tree that is unpacked. */
  readonly tree: number;
}

export interface Work {
  readonly name: string;
  readonly unit: string;
  /** It needs names, not just the one file. */
  readonly names: boolean;
  /** The driver's arguments in directory `dir`. */
  readonly command: (dir: string, scale: Scale) => string[];
  /** The work whose files it uses: where that is not measured, it is done all the same. */
  readonly needs?: string;
  /** Forget what the kernel has cached of names first. */
  readonly cold?: boolean;
  /** Shell commands before and after, not counted. */
  readonly before?: (dir: string, scale: Scale) => string;
  readonly after?: (dir: string, scale: Scale) => string;
}

const transfer = (name: string, work: string, unit: string): Work => ({
  name,
  unit,
  names: false,
  command: (dir, { seconds }) => [work, dir, String(seconds)],
});
const names = (name: string, work: string, extra: Partial<Work> = {}): Work => ({
  name,
  unit: '/s',
  names: true,
  command: (dir, { files }) => [work, join(dir, 'files'), String(files)],
  ...extra,
});
const timed = (name: string, script: string, needs?: string): Work => ({
  name,
  unit: 's',
  names: true,
  command: (dir) => ['time', 'sh', '-ec', `cd ${dir}; ${script}`],
  ...(needs === undefined ? {} : { needs }),
});

/** Of the directory that is listed. */
const ENTRIES = 10_000;
const CREATE = 'create, write 100 bytes, close';
const RENAME = 'rename';
const UNTAR = 'untar';
const GIT = 'git -c user.name=bench -c user.email=bench@localhost -c gc.auto=0';

export function works(tar: string): readonly Work[] {
  return [
    transfer('4 KiB random read, direct', 'read4k', '/s'),
    transfer('4 KiB random write, direct', 'write4k', '/s'),
    transfer('1 MiB sequential read, direct', 'read1m', 'MiB/s'),
    transfer('1 MiB sequential write, direct', 'write1m', 'MiB/s'),
    names(CREATE, 'create', { before: (dir) => `mkdir -p ${dir}/files` }),
    names('stat, cold', 'stat', { cold: true, needs: CREATE }),
    names('open, read, close', 'open', { cold: true, needs: CREATE }),
    names(RENAME, 'rename', { needs: CREATE }),
    names('unlink', 'unlink', { needs: RENAME, after: (dir) => `rmdir ${dir}/files` }),
    {
      name: `readdir of ${ENTRIES.toLocaleString('en-US')} entries`,
      unit: 'entries/s',
      names: true,
      before: (dir) => `mkdir ${dir}/list; cd ${dir}/list; seq -f e%05g ${ENTRIES} | xargs touch`,
      command: (dir, { seconds }) => ['readdir', join(dir, 'list'), String(seconds)],
      after: (dir) => `rm -rf ${dir}/list`,
    },
    timed(UNTAR, `mkdir tree; tar -xf ${tar} -C tree`),
    timed('git add, commit', `cd tree; ${GIT} init -q; ${GIT} add .; ${GIT} commit -qm all`, UNTAR),
    timed('rm -rf', 'rm -rf tree', UNTAR),
  ];
}

/** What a round does: a work, and whether it is measured or only done for those that need it. */
export interface Step {
  readonly work: Work;
  readonly measured: boolean;
}

/** The works whose name matches, and before them what they need. */
export function steps(all: readonly Work[], pattern: RegExp): Step[] {
  const wanted = new Set<string>();
  // Those that are needed come earlier.
  for (const { name, needs } of all.toReversed())
    if (needs !== undefined && (pattern.test(name) || wanted.has(name))) wanted.add(needs);
  return all
    .filter(({ name }) => pattern.test(name) || wanted.has(name))
    .map((work) => ({ work, measured: pattern.test(work.name) }));
}

/** Take away what the works of a round have left, where the one that does so was not among them. */
export async function tidy(bench: Bench, dir: string): Promise<void> {
  await pinned(bench, 'rm', ['-rf', join(dir, 'files'), join(dir, 'tree')]);
}

/** Run a command pinned. @returns its output; @throws Error with what it said */
export function pinned(bench: Bench, command: string, args: readonly string[]): Promise<string> {
  const pin = [...bench.pin, command, ...args];
  return new Promise((resolve, reject) => {
    execFile('env', pin, { timeout: 600_000, killSignal: 'SIGKILL' }, (error, stdout, stderr) => {
      if (error === null) resolve(stdout);
      else reject(new Error(`${command} ${args.join(' ')}: ${stderr.trim() || error.message}`));
    });
  });
}

/** One measurement. @returns it in the work's unit */
export async function measure(bench: Bench, work: Work, dir: string, scale: Scale): Promise<number> {
  const before = work.before?.(dir, scale);
  const after = work.after?.(dir, scale);
  if (before !== undefined) await pinned(bench, 'sh', ['-ec', before]);
  if (work.cold === true) writeFileSync('/proc/sys/vm/drop_caches', '2');
  const output = await pinned(bench, join(bench.scratch, 'driver'), work.command(dir, scale));
  if (after !== undefined) await pinned(bench, 'sh', ['-ec', after]);
  return Number(output);
}
