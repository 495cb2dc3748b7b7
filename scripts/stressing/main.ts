/** Mixed stress with enforce=error: nothing may break a rule, hang, or leave a filesystem that fsck does not like. */
import { parseArgs } from 'node:util';
import { stressInside } from './inside.js';
import type { Outcome } from './outcome.js';
import { stressOutside } from './outside.js';

const USAGE = `usage: scripts/stress [--seconds N] [--seed N] [--actors N] [--calls N] [--on mounts|syscalls]
  --seconds N  go on with new rounds for so long (10; an hour is 3600)
  --seed N     of the first round; each further round has the next one (random)
  --actors N   processes that work at once (4)
  --calls N    system calls that each of them makes in a round within this process (1000)
  --on WAY     only on mounts, with each cache mode in turn, or only through system calls within this process (both in turn)`;

const MODES = ['none', 'auto', 'always'] as const;
/** Seconds of a round on a mount, at most. */
const ON_MOUNT = 10;

function wholeNumber(text: string | undefined, name: string, otherwise: number): number {
  if (text === undefined) return otherwise;
  const value = Number(text);
  if (Number.isInteger(value) && value > 0) return value;
  console.error(`--${name} ${text}: it must be a whole number above 0`);
  process.exit(2);
}

async function main(): Promise<number> {
  const text = { type: 'string' } as const;
  const { values } = parseArgs({
    options: { seconds: text, seed: text, actors: text, calls: text, on: text, help: { type: 'boolean' } },
  });
  if (values.help === true) {
    console.log(USAGE);
    return 0;
  }
  const seconds = wholeNumber(values.seconds, 'seconds', 10);
  const actors = wholeNumber(values.actors, 'actors', 4);
  const calls = wholeNumber(values.calls, 'calls', 1000);
  const { on } = values;
  if (on !== undefined && on !== 'mounts' && on !== 'syscalls') {
    console.error(`--on ${on}: it must be 'mounts' or 'syscalls'`);
    return 2;
  }
  let seed = wholeNumber(values.seed, 'seed', Math.floor(Math.random() * 2 ** 31) + 1);
  const until = Date.now() + seconds * 1000;
  let [rounds, made, refused, faults] = [0, 0, 0, 0];
  console.log(`first seed ${seed}`);
  // As much time on mounts as within this process.
  const spent = { mounts: 0, syscalls: 0 };
  do {
    const way = on ?? (spent.mounts < spent.syscalls ? 'mounts' : 'syscalls');
    const began = Date.now();
    const left = Math.max(2, Math.min(ON_MOUNT, (until - began) / 1000));
    const outcome: Outcome =
      way === 'syscalls'
        ? await stressInside(seed, actors, calls)
        : await stressOutside(seed, actors, MODES[seed % MODES.length] ?? 'auto', left);
    spent[way] += Date.now() - began;
    for (const fault of outcome.faults) console.log(`seed ${seed}: ${fault}`);
    rounds++;
    made += outcome.calls;
    refused += outcome.refused;
    faults += outcome.faults.length;
    seed++;
  } while (faults === 0 && Date.now() < until);
  console.log(`${rounds} rounds, ${made} calls, ${refused} of them refused, ${faults} faults`);
  return faults === 0 ? 0 : 1;
}

process.exit(await main());
