/**
 * Mutation of the contract: every lock rule of every row is weakened in the running code, in every way that makes sense for it, and the workloads that reach the row are
 * run. A check that does not read the rule must report it, or a result must differ.
 */
import { parseArgs } from 'node:util';
import { playScene } from '../../src/cli/workload/play.js';
import { SCENES, type Scene } from '../../src/cli/workload/scenes/index.js';
import { describe, type Mutant, mutantsOf, readsTheRule } from './mutants.js';
import { Mutator } from './mutator.js';

const USAGE = `usage: scripts/mutate [--rows PART] [--every N] [--verbose]
  --rows PART  only operations whose section.op contains PART
  --every N    only each Nth mutant, for a short run
  --verbose    say of each mutant what has noticed it`;

/** What has noticed a mutant; undefined where nothing has. */
type Verdict = { readonly killedBy: string } | 'survived' | 'not reached';

/** Errors that nobody waits for any more, of tasks that a mutant has thrown off the rails. */
let stray: string | undefined;
process.on('unhandledRejection', (error) => {
  stray = String(error);
});

async function judge(mutant: Mutant, baselines: ReadonlyMap<Scene, string>): Promise<Verdict> {
  let reached = false;
  for (const [scene, baseline] of baselines) {
    const mutator = new Mutator(mutant);
    stray = undefined;
    const { result, violations } = await playScene(scene, mutator);
    if (mutator.fired === 0) continue;
    reached = true;
    const noticed = violations.find(({ rule }) => mutator.forbiddenTwice || !readsTheRule(rule, mutant));
    if (noticed !== undefined) return { killedBy: `${noticed.kind} ${noticed.rule ?? ''}` };
    if (result !== baseline) return { killedBy: `the result of ${scene.name}: ${result.slice(0, 80)}` };
    if (stray !== undefined) return { killedBy: `an error: ${stray}` };
  }
  return reached ? 'survived' : 'not reached';
}

const IDLE: Mutant['row'] = {
  section: 'file_operations',
  op: '',
  cells: {},
  mayBlock: 'yes',
  rules: [],
  prose: [],
  reach: [],
};

async function main(): Promise<number> {
  const { values } = parseArgs({
    options: {
      rows: { type: 'string', default: '' },
      every: { type: 'string', default: '1' },
      verbose: { type: 'boolean', default: false },
      help: { type: 'boolean', default: false },
    },
  });
  const every = Number(values.every);
  if (values.help || !Number.isInteger(every) || every < 1) {
    console.log(USAGE);
    return values.help ? 0 : 2;
  }
  const mutants = mutantsOf(values.rows).filter((_, i) => i % every === 0);
  if (mutants.length === 0) {
    console.error(`no operation is called '${values.rows}'`);
    return 2;
  }
  const baselines = new Map<Scene, string>();
  for (const scene of [...SCENES, ...SCENES]) {
    const { result, violations } = await playScene(scene, new Mutator({ row: IDLE, way: 'sleep planted' }));
    const before = baselines.get(scene) ?? result;
    if (result !== before) {
      console.error(`without a mutant ${scene.name} has two results: ${before} and ${result}`);
      return 2;
    }
    if (violations.length > 0 || result.startsWith('fails') || result === 'hangs') {
      console.error(`without a mutant ${scene.name} goes wrong: ${violations[0]?.message ?? result}`);
      return 2;
    }
    baselines.set(scene, result);
  }
  let killed = 0;
  const others: string[] = [];
  for (const mutant of mutants) {
    const verdict = await judge(mutant, baselines);
    if (typeof verdict === 'object') killed++;
    else others.push(`${verdict}: ${describe(mutant)}`);
    if (values.verbose && typeof verdict === 'object')
      console.log(`killed: ${describe(mutant)} by ${verdict.killedBy}`);
  }
  for (const line of others.sort()) console.log(line);
  console.log(`mutants ${mutants.length}, killed ${killed}`);
  return others.length === 0 ? 0 : 1;
}

process.exit(await main());
