/** What the validator has learned, as text: like /proc/lockdep, /proc/lockdep_chains and /proc/lockdep_stats. */

import { type ChainNode, chainsOf } from '../locking/lockdep/chain.js';
import type { LockClass } from '../locking/lockdep/class.js';
import type { Lockdep } from '../locking/lockdep.js';

/** Every class with its usage, what was taken under it (dependencies, forwards) and how many classes it was taken under. */
export function lockdepText(lockdep: Lockdep): string {
  const lines = ['all lock classes:'];
  for (const cls of byName(lockdep.tracker.classes)) {
    lines.push(
      `FD:${pad(reach(cls, true))} BD:${pad(reach(cls, false))} ${cls.usageText}: ${cls.name} (${cls.key.kind})`,
    );
    for (const { to, dep } of cls.after.values()) lines.push(` -> [${depText(dep)}] ${to.name}`);
  }
  return `${lines.join('\n')}\n`;
}

/** The sequences in which locks were held, each with how often it was. */
export function chainsText(lockdep: Lockdep): string {
  const lines = ['all lock chains:'];
  for (const [context, root] of roots(lockdep)) {
    for (const node of chainsOf(root)) {
      if (node.count > 0) lines.push(`${context}, ${node.count} times: ${pathOf(node).join(' -> ')}`);
    }
  }
  return `${lines.join('\n')}\n`;
}

/** How much was learned, in numbers. */
export function statsText(lockdep: Lockdep): string {
  const { classes } = lockdep.tracker;
  const chains = roots(lockdep).map(([, root]) => [...chainsOf(root)].length);
  const dependencies = classes.reduce((sum, cls) => sum + cls.after.size, 0);
  const rows: [string, number][] = [
    ['lock-classes', classes.length],
    ['direct dependencies', dependencies],
    ['process chains', chains[0] ?? 0],
    ['completion chains', chains[1] ?? 0],
    ['violations', lockdep.total],
    ['distinct violations', lockdep.counts().size],
    ['tasks asleep', [...lockdep.asleep()].length],
  ];
  return rows.map(([name, value]) => ` ${`${name}:`.padEnd(24)}${String(value).padStart(8)}\n`).join('');
}

function roots(lockdep: Lockdep): [string, ChainNode][] {
  return [
    ['process', lockdep.tracker.process],
    ['completion', lockdep.tracker.completion],
  ];
}

/** The classes from the outermost to the last of a chain. */
export function pathOf(node: ChainNode): string[] {
  const names: string[] = [];
  for (let at: ChainNode | undefined = node; at?.cls !== undefined; at = at.parent) names.unshift(at.cls.name);
  return names;
}

/** Sorted, so that two listings can be compared. */
export function byName(classes: readonly LockClass[]): LockClass[] {
  return [...classes].sort((a, b) => (a.name < b.name ? -1 : a.name > b.name ? 1 : 0));
}

/** How many classes can be reached, itself included. */
function reach(start: LockClass, forwards: boolean): number {
  const seen = new Set([start]);
  for (const cls of seen) for (const next of (forwards ? cls.after : cls.before).keys()) seen.add(next);
  return seen.size;
}

function depText(dep: number): string {
  return ['SR', 'ER', 'SN', 'EN'].filter((_, bit) => (dep & (1 << bit)) !== 0).join(',');
}

const pad = (count: number): string => String(count).padStart(4);
