/** What scripts/mutate is asked to do. */
import { parseArgs } from 'node:util';
import { describe, type Mutant } from './mutants.js';

export const USAGE = `usage: scripts/mutate [--only PATTERN] [--slice I/N] [--sample N] [--seed S] [--argued] [--list] [--json] [--verbose]
Weakens each lock rule of the contract in the running code, plays the scenes that reach it, and says what nothing has noticed.
  --only PATTERN  only mutants whose id (section.op/lock/of: way) contains PATTERN; between slashes it is a regular expression
  --slice I/N     only each N-th of them, from the I-th on: N slices are all
  --sample N      only N of them, drawn by chance; the seed is printed
  --seed S        draw the same sample again, 1 to 4294967295
  --argued        only those whose survival ARCHITECTURE.md argues for
  --list          print the ids, run nothing
  --json          print an array of { mutant, verdict: killed, survived or not reached, by: what has noticed it, argued: why nothing can }
  --verbose       say of each mutant what has noticed it
exit status: 0 each mutant is killed, or ARCHITECTURE.md argues why nothing can notice it; 1 some are not; 2 bad usage, or the scenes fail by themselves`;

/** A line for the user, of what is wrong with the arguments. */
export class UsageError extends Error {}

export interface Options {
  readonly only: (mutant: Mutant) => boolean;
  readonly slice: { readonly number: number; readonly of: number } | undefined;
  /** How many are drawn; undefined for all. */
  readonly sample: number | undefined;
  readonly seed: number;
  readonly argued: boolean;
  readonly list: boolean;
  readonly json: boolean;
  readonly verbose: boolean;
  readonly help: boolean;
}

/** @throws UsageError */
export function parse(args: readonly string[]): Options {
  const { values } = parsed(args);
  return {
    only: matching(values.only),
    slice: values.slice === undefined ? undefined : sliceOf(values.slice),
    sample: values.sample === undefined ? undefined : numberOf('--sample', values.sample),
    seed: values.seed === undefined ? 1 + Math.floor(Math.random() * 0xffffffff) : numberOf('--seed', values.seed),
    argued: values.argued,
    list: values.list,
    json: values.json,
    verbose: values.verbose && !values.json,
    help: values.help,
  };
}

function parsed(args: readonly string[]) {
  try {
    return parseArgs({
      args: [...args],
      options: {
        only: { type: 'string', default: '' },
        slice: { type: 'string' },
        sample: { type: 'string' },
        seed: { type: 'string' },
        argued: { type: 'boolean', default: false },
        list: { type: 'boolean', default: false },
        json: { type: 'boolean', default: false },
        verbose: { type: 'boolean', default: false },
        help: { type: 'boolean', default: false },
      },
    });
  } catch (error) {
    throw new UsageError(error instanceof Error ? error.message : String(error));
  }
}

function numberOf(name: string, text: string): number {
  const value = Number(text);
  if (!/^\d+$/.test(text) || value < 1 || value > 0xffffffff)
    throw new UsageError(`${name} takes a number from 1 on, not '${text}'`);
  return value;
}

function sliceOf(text: string): Options['slice'] {
  const [number = 0, of = 0] = /^\d+\/\d+$/.test(text) ? text.split('/').map(Number) : [];
  if (number < 1 || number > of) throw new UsageError(`--slice takes I/N with I from 1 to N, not '${text}'`);
  return { number, of };
}

function matching(pattern: string): Options['only'] {
  const inner = /^\/(.+)\/$/.exec(pattern)?.[1];
  if (inner === undefined) return (mutant) => describe(mutant).includes(pattern);
  try {
    const expression = new RegExp(inner);
    return (mutant) => expression.test(describe(mutant));
  } catch {
    throw new UsageError(`--only ${pattern} is no regular expression`);
  }
}

/** `count` of `all`, by chance, in their order; the same for the same seed. */
export function drawn<T>(all: readonly T[], count: number, seed: number): T[] {
  let state = seed >>> 0;
  const chance = (): number => {
    state = (state + 0x6d2b79f5) >>> 0;
    let mixed = Math.imul(state ^ (state >>> 15), state | 1);
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
  };
  let left = Math.min(count, all.length);
  return all.filter((_, i) => {
    const take = chance() * (all.length - i) < left;
    if (take) left--;
    return take;
  });
}
