/**
 * The dependencies between lock classes and the search in them. An edge says how its two ends were held, because readers that do not exclude
 * each other do not make a deadlock: only a path in which no two neighbours are "taken as recursive reader, then held shared" can close one
 * (the strong paths of Documentation/locking/lockdep-design).
 */
import { type Edge, EXCLUSIVE, type LockClass, READ_RECURSIVE, type ReadState } from './class.js';

/** Bits by how the first lock is held (S shared, E exclusive) and how the second is taken (R as recursive reader, N otherwise). */
export const DEP_SR = 1;
export const DEP_ER = 2;
export const DEP_SN = 4;
export const DEP_EN = 8;

/** The bit of a dependency. */
export function depOf(held: ReadState, taken: ReadState): number {
  return 1 << ((held === EXCLUSIVE ? 1 : 0) + (taken === READ_RECURSIVE ? 0 : 2));
}

/** The same dependencies seen from the other end. */
function reversed(dep: number): number {
  return (dep & (DEP_SR | DEP_EN)) | ((dep & DEP_ER) === 0 ? 0 : DEP_SN) | ((dep & DEP_SN) === 0 ? 0 : DEP_ER);
}

/** A class reached by a search, and the way to it. */
export interface Step {
  readonly cls: LockClass;
  readonly edge: Edge | undefined;
  readonly parent: Step | undefined;
  /** Every way here ends in a recursive reader: the next edge must start exclusively held. */
  readonly onlyReaders: boolean;
}

let searches = 0;

/**
 * Search breadth first along strong paths.
 * @param forwards along the order in which locks are taken, or against it
 * @returns the first step that `match` accepts; undefined where there is none
 */
export function search(
  start: LockClass,
  onlyReaders: boolean,
  forwards: boolean,
  match: (step: Step) => boolean,
): Step | undefined {
  const id = ++searches;
  // A class that was reached by readers only may have to be visited once more by a stronger way.
  const weak = new Set<LockClass>();
  const queue: Step[] = [{ cls: start, edge: undefined, parent: undefined, onlyReaders }];
  if (onlyReaders) weak.add(start);
  else start.visited = id;
  for (let at = 0; at < queue.length; at++) {
    const step = queue[at];
    if (step === undefined) break;
    if (match(step)) return step;
    for (const [next, edge] of forwards ? step.cls.after : step.cls.before) {
      if (next.visited === id) continue;
      let dep = forwards ? edge.dep : reversed(edge.dep);
      if (step.onlyReaders) dep &= DEP_ER | DEP_EN;
      if (dep === 0) continue;
      const readers = (dep & (DEP_SN | DEP_EN)) === 0;
      if (readers) {
        if (weak.has(next)) continue;
        weak.add(next);
      } else next.visited = id;
      queue.push({ cls: next, edge, parent: step, onlyReaders: readers });
    }
  }
  return undefined;
}

/** The edges of a path, from its start on. */
export function edgesOf(step: Step): Edge[] {
  const edges: Edge[] = [];
  for (let at: Step | undefined = step; at?.edge !== undefined; at = at.parent) edges.unshift(at.edge);
  return edges;
}
