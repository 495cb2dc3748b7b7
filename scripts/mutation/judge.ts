/** Whether a mutant is noticed: the scenes that reach its row are played with it and compared with what they are without. */
import { playScene } from '../../src/cli/workload/play.js';
import type { Scene } from '../../src/cli/workload/scenes/index.js';
import type { Row } from '../../src/contract/row.js';
import { Onlooker } from '../../src/report/observed.js';
import type { Task } from '../../src/sched/task.js';
import { type Mutant, readsTheRule } from './mutants.js';
import { Mutator } from './mutator.js';

/** Milliseconds after which a mutant has made a scene hang. */
const HANGS = 3_000;

/** What has noticed a mutant; or that nothing has, or that its rule was never weakened. */
export type Verdict = { readonly killedBy: string } | 'survived' | 'not reached';

/** A scene as it is without a mutant. */
export interface Baseline {
  readonly scene: Scene;
  readonly result: string;
  /** The operations that it calls. */
  readonly rows: ReadonlySet<Row>;
}

/** Errors that nobody waits for any more, of tasks that a mutant has thrown off the rails. */
let stray: string | undefined;
process.on('unhandledRejection', (error) => {
  stray = String(error);
});

class Rows extends Onlooker {
  readonly seen = new Set<Row>();

  override entered(_task: Task, row: Row): void {
    this.seen.add(row);
  }
}

/** Play every scene twice. @throws Error where one goes wrong, or differently */
export async function baselines(scenes: readonly Scene[]): Promise<Baseline[]> {
  const found: Baseline[] = [];
  for (const scene of scenes) {
    const rows = new Rows();
    const first = await playScene(scene, rows);
    const second = await playScene(scene, new Rows());
    const { result } = first;
    const wrong = [
      ...[...first.violations, ...second.violations].map(({ message }) => message),
      ...[...first.undeclared, ...second.undeclared].map((order) => `${order} is not declared`),
      ...(result.startsWith('fails') || result === 'hangs' ? [result] : []),
    ][0];
    if (wrong !== undefined) throw new Error(`without a mutant ${scene.name} goes wrong: ${wrong}`);
    if (second.result !== result) {
      throw new Error(`without a mutant ${scene.name} has two results: ${result} and ${second.result}`);
    }
    found.push({ scene, result, rows: rows.seen });
  }
  return found;
}

export async function judge(mutant: Mutant, known: readonly Baseline[]): Promise<Verdict> {
  let reached = false;
  for (const { scene, result: baseline, rows } of known) {
    if (!rows.has(mutant.row)) continue;
    const mutator = new Mutator(mutant);
    stray = undefined;
    const { result, violations, undeclared } = await playScene(scene, mutator, HANGS);
    if (mutator.fired === 0) continue;
    reached = true;
    const noticed = violations.find(
      ({ kind, rule }) => (mutator.forbiddenTwice && kind === 'sleep-in-atomic') || !readsTheRule(rule, mutant),
    );
    if (noticed !== undefined) return { killedBy: `${noticed.kind} ${noticed.rule ?? ''} in ${scene.name}` };
    const [order] = undeclared;
    if (order !== undefined) return { killedBy: `an order that is not declared, in ${scene.name}: ${order}` };
    if (result !== baseline) return { killedBy: `the result of ${scene.name}: ${result.slice(0, 80)}` };
    if (stray !== undefined) return { killedBy: `an error in ${scene.name}: ${stray}` };
  }
  return reached ? 'survived' : 'not reached';
}
