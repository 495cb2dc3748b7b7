/** Compares mounts side by side in one run: every round does each work once on every target, daemon and client pinned to one CPU. */
import { execFileSync } from 'node:child_process';
import { mkdirSync, mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { availableParallelism, cpus, release } from 'node:os';
import { join } from 'node:path';
import { Command } from 'commander';
import { json, type Result, table } from './table.js';
import { type Bench, CHECKS, latchfs, type Mounted, root, start, stop, TARGETS, type Target } from './targets.js';
import { measure, pinned, type Scale, type Step, steps, tidy, works } from './works.js';

/** Into how many turns the time of a transfer is split: what is to be compared lies close together in time then, and other load meets all alike. */
const TURNS = 5;

interface Options {
  starts: string;
  rounds: string;
  warmUp: string;
  seconds: string;
  files: string;
  tree: string;
  cpu: string;
  targets?: string;
  add: string[];
  only?: string;
  json?: true;
}

function options(): Options {
  return new Command('scripts/bench/run')
    .description('Compare latchfs with other filesystems: medians of interleaved rounds. Needs root and a C compiler.')
    .option(
      '--starts <n>',
      'how often all begin anew: what a compiler makes of a daemon differs from start to start',
      '1',
    )
    .option('--rounds <n>', 'how often each work is measured in a start', '5')
    .option('--warm-up <n>', 'how many rounds of the works on names go before, and do not count', '5')
    .option('--seconds <s>', 'how long each transfer and listing goes on', '0.5')
    .option('--files <n>', 'how many files are created, looked up, renamed and removed', '5000')
    .option('--tree <n>', 'how many files are unpacked, committed and removed', '2000')
    .option('--cpu <n>', 'the CPU that everything is pinned to', String(availableParallelism() - 1))
    .option('--targets <list>', `which of ${TARGETS.map(({ name }) => name).join(', ')}`)
    .option(
      '--add <name=options>',
      'one more latchfs with mount options of its own; may be repeated',
      (value, list: string[]) => [...list, value],
      [],
    )
    .option('--only <pattern>', 'only works whose name matches; what they need is done before, and not measured')
    .option('--json', 'print JSON instead of a table')
    .parse()
    .opts<Options>();
}

function fail(message: string): never {
  process.stderr.write(`scripts/bench: ${message}\n`);
  process.exit(2);
}

/** The driver, and the C loop: compiled here. */
function compile(scratch: string): void {
  for (const name of ['driver', 'bare']) {
    try {
      execFileSync('cc', ['-O2', '-o', join(scratch, name), join(root, 'scripts/bench', `${name}.c`)], {
        stdio: 'pipe',
      });
    } catch {
      fail('it needs a C compiler for the client: sudo apt-get install gcc libc6-dev');
    }
  }
}

/** A source tree as people unpack one: nested directories, files of 100 bytes to 30 KiB. */
async function makeTar(bench: Bench, files: number): Promise<string> {
  const tree = join(bench.scratch, 'tree');
  const tar = join(bench.scratch, 'tree.tar');
  const script = `mkdir -p ${tree}; cd ${tree}; for i in $(seq 1 ${files}); do d=d$((i % 40))/e$((i % 7)); mkdir -p $d
    head -c $((100 + i * 7919 % 30000 * (i % 5) / 4)) ${process.execPath} >$d/f$i; done; tar -cf ${tar} .; rm -rf ${tree}`;
  await pinned(bench, 'bash', ['-euc', script]);
  return tar;
}

function chosen(bench: Bench, given: Options): Target[] {
  const wanted = given.targets?.split(',');
  const unknown = wanted?.find((name) => !TARGETS.some((target) => target.name === name));
  if (unknown !== undefined) fail(`there is no target '${unknown}'`);
  const added = given.add.map((text) => {
    const at = text.indexOf('=');
    return latchfs(text.slice(0, at), text.slice(at + 1));
  });
  return [...TARGETS.filter(({ name }) => wanted?.includes(name) ?? true), ...added].filter((target) => {
    const why = target.missing(bench);
    if (why !== undefined) process.stderr.write(`${target.name} is left out: ${why}\n`);
    return why === undefined;
  });
}

async function compare(bench: Bench, given: Options, scale: Scale): Promise<{ results: Result[]; targets: Target[] }> {
  const pattern = new RegExp(given.only ?? '', 'i');
  const list = steps(works(await makeTar(bench, scale.tree)), pattern);
  if (list.length === 0) fail(`no work matches '${given.only}'`);
  const results = list.map(({ work: { name, unit } }): Result => ({ work: name, unit, samples: new Map() }));
  const targets = chosen(bench, given);
  for (let start = 0; start < Number(given.starts); start++) {
    process.stderr.write(`start ${start + 1} of ${given.starts}\n`);
    await compareOnce(bench, given, scale, list, turned(targets, start), results);
  }
  return { results: results.filter((_, i) => list[i]?.measured === true), targets };
}

/** The same in another order: the first becomes the last so many times. */
function turned<T>(list: readonly T[], times: number): T[] {
  const first = times % list.length;
  return [...list.slice(first), ...list.slice(0, first)];
}

/** Start all targets, and do all rounds. @param results to which the samples of this start are added */
async function compareOnce(
  bench: Bench,
  given: Options,
  scale: Scale,
  list: readonly Step[],
  targets: readonly Target[],
  results: readonly Result[],
): Promise<void> {
  const mounted: [Target, Mounted][] = [];
  try {
    for (const target of targets) mounted.push([target, await start(bench, target)]);
    for (const [, { dir }] of mounted) await pinned(bench, join(bench.scratch, 'driver'), ['fill', dir]);
    const rounds = Number(given.rounds);
    const warmUp = list.some(({ work }) => work.names) ? Number(given.warmUp) : 1;
    // What warms up compilers and caches does not count. Transfers need a round for that; what is done a few thousand times a round goes on getting faster for some
    // 25,000 times, and with checks and without it does not do so at the same pace.
    for (let round = -warmUp; round < rounds; round++) {
      process.stderr.write(round < 0 ? `warming up, ${-round} to go\n` : `round ${round + 1} of ${rounds}\n`);
      for (const [i, step] of list.entries()) {
        if (round < -1 && !step.work.names) continue;
        const samples = await turns(bench, scale, step, mounted, round);
        const measured = round >= 0 && step.measured ? samples : [];
        for (const [name, values] of measured) add(results[i], name, round === 0, values);
      }
      for (const [{ onlyData }, { dir }] of mounted) if (!onlyData) await tidy(bench, dir);
    }
  } finally {
    for (const [, each] of mounted) await stop(each);
  }
}

/** Keep what was measured of a target. @param first of this start */
function add(result: Result | undefined, name: string, first: boolean, values: readonly number[]): void {
  const starts = result?.samples.get(name) ?? [];
  if (first) starts.push([]);
  starts.at(-1)?.push(...values);
  result?.samples.set(name, starts);
}

/** Do a work of a round on every target. @returns what was measured, by target */
async function turns(
  bench: Bench,
  scale: Scale,
  { work }: Step,
  mounted: readonly (readonly [Target, Mounted])[],
  round: number,
): Promise<Map<string, number[]>> {
  const samples = new Map<string, number[]>();
  const count = work.names ? 1 : TURNS;
  for (let turn = 0; turn < count; turn++) {
    // Every turn begins with another target, so that none always follows the same neighbour.
    for (const [target, { dir }] of turned(mounted, Math.max(round, 0) * count + turn)) {
      if (work.names && target.onlyData) continue;
      const value = await measure(bench, work, dir, { ...scale, seconds: scale.seconds / count });
      samples.set(target.name, [...(samples.get(target.name) ?? []), value]);
    }
  }
  return samples;
}

/** The command that pins what follows it, and lets it go before other load. */
function pin({ cpu }: Options): string[] {
  return ['taskset', '-c', cpu, 'nice', '-n', '-15'];
}

const given = options();
if (process.getuid?.() !== 0) fail('it mounts and pins as root: sudo scripts/bench/run');
// Memory behind every file of the run, so that no disk is measured.
const bench: Bench = { scratch: mkdtempSync('/tmp/latchfs-bench-'), pin: pin(given) };
execFileSync('mount', ['-t', 'tmpfs', '-o', 'size=1G', 'bench', bench.scratch]);
// However it ends: with a message, by an exception or by a signal. What is mounted within goes with it.
process.on('exit', () => {
  execFileSync('umount', ['-l', bench.scratch]);
  rmSync(bench.scratch, { recursive: true, force: true });
});
for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) process.on(signal, () => process.exit(1));
compile(bench.scratch);
mkdirSync(join(bench.scratch, 'out'));
const scale = { seconds: Number(given.seconds), files: Number(given.files), tree: Number(given.tree) };
const { results, targets } = await compare(bench, given, scale);
const names = targets.map(({ name }) => name);
const base = names.find((name) => name === 'c-loop') ?? names.find((name) => name === 'js-loop') ?? names[0] ?? '';
const machine = {
  cpu: cpus()[Number(given.cpu)]?.model ?? 'unknown',
  pinned: Number(given.cpu),
  kernel: release(),
  node: process.version,
  load: readFileSync('/proc/loadavg', 'utf8').split(' ')[0],
  starts: Number(given.starts),
  rounds: Number(given.rounds),
};
const counted = (count: number, what: string): string => `${count} ${what}${count === 1 ? '' : 's'}`;
if (given.json === true) console.log(json(results, base, CHECKS, machine));
else {
  console.log(table(results, names, base, CHECKS));
  console.log(
    `Medians of ${counted(machine.starts, 'start')} of ${counted(machine.rounds, 'round')}, pinned to CPU ${machine.pinned} (${machine.cpu}), Linux ${machine.kernel}, Node ${machine.node}. ` +
      `In brackets: how many times as fast as ${base}. The checks' part is that of the throughput of ${CHECKS.off} that ${CHECKS.on} lacks.`,
  );
}
