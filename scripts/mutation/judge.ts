/** Whether a mutant is noticed: the scenes that reach its row are played with it and compared with what they are without. */
import { playScene } from '../../src/cli/workload/play.js';
import type { Scene } from '../../src/cli/workload/scenes/index.js';
import type { Row } from '../../src/contract/row.js';
import { Onlooker } from '../../src/report/observed.js';
import type { Task } from '../../src/sched/task.js';
import { type Mutant, readsTheRule } from './mutants.js';
import { Mutator } from './mutator.js';

/** Milliseconds after which a mutant has made a scene hang: at least so many, and so many times what the scene takes without it on this machine. */
const HANGS = { atLeast: 3_000, times: 50 };

/** What has noticed a mutant; or that nothing has, or that its rule was never weakened. */
export type Verdict = { readonly killedBy: string } | 'survived' | 'not reached';

/** A scene as it is without a mutant. */
export interface Baseline {
  readonly scene: Scene;
  readonly result: string;
  /** The operations that it calls. */
  readonly rows: ReadonlySet<Row>;
  /** Milliseconds that it takes at most, unless it hangs. */
  readonly patience: number;
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
    const start = performance.now();
    const first = await playScene(scene, rows);
    const patience = Math.max(HANGS.atLeast, HANGS.times * (performance.now() - start));
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
    found.push({ scene, result, rows: rows.seen, patience });
  }
  return found;
}

export async function judge(mutant: Mutant, known: readonly Baseline[]): Promise<Verdict> {
  let reached = false;
  for (const { scene, result: baseline, rows, patience } of known) {
    if (!rows.has(mutant.row)) continue;
    const mutator = new Mutator(mutant);
    stray = undefined;
    const { result, violations, undeclared } = await playScene(scene, mutator, patience);
    if (mutator.fired === 0) continue;
    reached = true;
    const noticed = violations.find(
      ({ kind, rule }) => (mutator.forbiddenTwice && kind === 'sleep-in-atomic') || !readsTheRule(rule, mutant),
    );
    if (noticed !== undefined) return { killedBy: `${noticed.kind} ${noticed.rule ?? ''} in ${scene.name}` };
    const [order] = undeclared;
    if (order !== undefined) return { killedBy: `an order that is not declared, in ${scene.name}: ${order}` };
    if (mutator.lost) continue;
    if (result !== baseline) return { killedBy: `the result of ${scene.name}: ${result.slice(0, 80)}` };
    if (stray !== undefined) return { killedBy: `an error in ${scene.name}: ${stray}` };
  }
  return reached ? 'survived' : 'not reached';
}
