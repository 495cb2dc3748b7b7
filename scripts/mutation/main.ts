/**
 * Mutation of the contract: every lock rule of every row is weakened in the running code, in every way that makes sense for it, and the workloads that reach the row are
 * run. A check that does not read the rule must report it, or a result must differ.
 */
import { SCENES } from '../../src/cli/workload/scenes/index.js';
import { arguedSurvivors } from './argued.js';
import { baselines, judge } from './judge.js';
import { ALL_MUTANTS, describe } from './mutants.js';
import { drawn, type Options, parse, USAGE, UsageError } from './options.js';

/** @returns the exit status */
async function main(options: Options): Promise<number> {
  if (options.help) {
    console.log(USAGE);
    return 0;
  }
  const argued = arguedSurvivors();
  const unknown = [...argued.keys()].filter((id) => !ALL_MUTANTS.some((mutant) => describe(mutant) === id));
  if (unknown.length > 0) throw new UsageError(`ARCHITECTURE.md argues for what is no mutant: ${unknown.join('; ')}`);
  const meant = ALL_MUTANTS.filter(
    (mutant) => options.only(mutant) && (!options.argued || argued.has(describe(mutant))),
  );
  if (meant.length === 0) throw new UsageError('no mutant is called that');
  const mutants = options.sample === undefined ? meant : drawn(meant, options.sample, options.seed);
  if (options.sample !== undefined) console.log(`a sample of ${mutants.length} by --seed ${options.seed}`);
  if (options.list) {
    for (const mutant of mutants) console.log(describe(mutant));
    return 0;
  }
  const known = await baselines(SCENES);
  const count = { killed: 0, argued: 0, survived: 0, 'not reached': 0 };
  const lines: string[] = [];
  let vain = 0;
  for (const mutant of mutants) {
    const id = describe(mutant);
    const verdict = await judge(mutant, known);
    const excused = argued.has(id);
    if (typeof verdict === 'object') {
      count.killed++;
      if (options.verbose) console.log(`killed: ${id} by ${verdict.killedBy}`);
    } else if (excused) {
      count.argued++;
      lines.push(`argued: ${id}`);
    } else {
      count[verdict]++;
      lines.push(`${verdict}: ${id}`);
    }
    if (excused && typeof verdict === 'object') {
      vain++;
      lines.push(`argued in vain: ${id} is killed`);
    }
  }
  for (const line of lines.sort()) console.log(line);
  const others = (['argued', 'survived', 'not reached'] as const).filter((what) => count[what] > 0);
  console.log(
    [`mutants ${mutants.length}`, `killed ${count.killed}`, ...others.map((what) => `${what} ${count[what]}`)].join(
      ', ',
    ),
  );
  return count.survived + count['not reached'] + vain === 0 ? 0 : 1;
}

try {
  process.exitCode = await main(parse(process.argv.slice(2)));
} catch (error) {
  console.error(error instanceof UsageError ? `${error.message} (see scripts/mutate --help)` : String(error));
  process.exitCode = 2;
}
// A task that a mutant has left asleep would keep the process.
process.exit();
