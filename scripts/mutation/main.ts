/**
 * Mutation of the contract: every lock rule of every row is weakened in the running code, in every way that makes sense for it, and the workloads that reach the row are
 * run. A check that does not read the rule must report it, or a result must differ.
 */
import { SCENES } from '../../src/cli/workload/scenes/index.js';
import { arguedSurvivors } from './argued.js';
import { baselines, judge, type Verdict } from './judge.js';
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
  const { sample, slice, seed } = options;
  const part = slice === undefined ? meant : meant.filter((_, i) => i % slice.of === slice.number - 1);
  const mutants = sample === undefined ? part : drawn(part, sample, seed);
  if (sample !== undefined && !options.json) console.log(`a sample of ${mutants.length} by --seed ${seed}`);
  if (options.list) {
    for (const mutant of mutants) console.log(describe(mutant));
    return 0;
  }
  const known = await baselines(SCENES);
  const findings: Finding[] = [];
  for (const mutant of mutants) {
    const id = describe(mutant);
    const verdict = await judge(mutant, known);
    const found = finding(id, verdict, argued.get(id));
    findings.push(found);
    if (options.verbose) console.log(lineOf(found));
  }
  if (options.json) console.log(JSON.stringify(findings, null, 1));
  else report(findings, options.verbose);
  return findings.every(({ verdict, argued }) => (verdict === 'killed') === (argued === undefined)) ? 0 : 1;
}

/** What is known of a mutant at the end. */
interface Finding {
  readonly mutant: string;
  readonly verdict: 'killed' | 'survived' | 'not reached';
  /** What has noticed it. */
  readonly by?: string;
  /** Why nothing can, as ARCHITECTURE.md has it. */
  readonly argued?: string;
}

function finding(mutant: string, verdict: Verdict, argued: string | undefined): Finding {
  return {
    mutant,
    ...(typeof verdict === 'string' ? { verdict } : { verdict: 'killed', by: verdict.killedBy }),
    ...(argued === undefined ? {} : { argued }),
  };
}

function lineOf({ mutant, verdict, by, argued }: Finding): string {
  if (by !== undefined)
    return argued === undefined ? `killed: ${mutant} by ${by}` : `argued in vain: ${mutant} is killed by ${by}`;
  return `${argued === undefined ? verdict : 'argued'}: ${mutant}`;
}

/** What is not killed, and how many there are of each kind. */
function report(findings: readonly Finding[], verbose: boolean): void {
  const notable = findings.filter(({ by, argued }) => by === undefined || argued !== undefined);
  if (!verbose) for (const line of notable.map(lineOf).sort()) console.log(line);
  const count = (is: (one: Finding) => boolean) => findings.filter(is).length;
  const parts = [`mutants ${findings.length}`, `killed ${count(({ by }) => by !== undefined)}`];
  const others = {
    argued: count(({ by, argued }) => by === undefined && argued !== undefined),
    survived: count(({ verdict, argued }) => verdict === 'survived' && argued === undefined),
    'not reached': count(({ verdict, argued }) => verdict === 'not reached' && argued === undefined),
  };
  for (const [what, number] of Object.entries(others)) if (number > 0) parts.push(`${what} ${number}`);
  console.log(parts.join(', '));
}

try {
  process.exitCode = await main(parse(process.argv.slice(2)));
} catch (error) {
  console.error(error instanceof UsageError ? `${error.message} (see scripts/mutate --help)` : String(error));
  process.exitCode = 2;
}
// A task that a mutant has left asleep would keep the process.
process.exit();
