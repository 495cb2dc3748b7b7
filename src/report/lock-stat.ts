/** Contention, waiting and holding by class of lock, as text like /proc/lock_stat. */

import { chainsOf } from '../locking/lockdep/chain.js';
import type { LockClass, Times } from '../locking/lockdep/class.js';
import type { Lockdep } from '../locking/lockdep.js';
import { byName } from './lockdep-text.js';

const COLUMNS = [
  'class name',
  'contentions',
  'waittime-min',
  'waittime-max',
  'waittime-total',
  'waittime-avg',
  'acquisitions',
  'holdtime-min',
  'holdtime-max',
  'holdtime-total',
  'holdtime-avg',
] as const;

/** One class in numbers; times in microseconds, 0 where nothing was measured. */
export interface LockStat {
  readonly name: string;
  readonly contentions: number;
  readonly wait: { readonly min: number; readonly max: number; readonly total: number; readonly avg: number };
  readonly acquisitions: number;
  readonly hold: { readonly min: number; readonly max: number; readonly total: number; readonly avg: number };
}

/** The numbers of every class that was taken, in the order of their names. */
export function lockStats(lockdep: Lockdep): LockStat[] {
  const taken = new Map<LockClass, number>();
  for (const root of [lockdep.tracker.process, lockdep.tracker.completion]) {
    for (const { cls, count } of chainsOf(root)) if (cls !== undefined) taken.set(cls, (taken.get(cls) ?? 0) + count);
  }
  return byName(lockdep.tracker.classes).map((cls) => ({
    name: cls.name,
    contentions: cls.contentions,
    wait: microseconds(cls.waits),
    acquisitions: taken.get(cls) ?? 0,
    hold: microseconds(cls.holds),
  }));
}

function microseconds(times: Times): LockStat['wait'] {
  if (times.count === 0) return { min: 0, max: 0, total: 0, avg: 0 };
  return {
    min: times.min * 1000,
    max: times.max * 1000,
    total: times.total * 1000,
    avg: (times.total * 1000) / times.count,
  };
}

/** The table; the classes that were waited for most come first, as in the kernel. */
export function lockStatText(lockdep: Lockdep): string {
  const rows = lockStats(lockdep)
    .filter(({ acquisitions, contentions }) => acquisitions > 0 || contentions > 0)
    .sort((a, b) => b.contentions - a.contentions);
  const time = ({ min, max, total, avg }: LockStat['wait']): string[] =>
    [min, max, total, avg].map((n) => n.toFixed(2));
  const cells = rows.map((row) => [
    row.name,
    String(row.contentions),
    ...time(row.wait),
    String(row.acquisitions),
    ...time(row.hold),
  ]);
  const width = Math.max(20, ...rows.map(({ name }) => name.length + 1));
  const line = (row: readonly string[]): string =>
    row.map((cell, i) => (i === 0 ? `${cell}:`.padStart(width) : cell.padStart(15))).join('');
  const ruler = '-'.repeat(width + 15 * (COLUMNS.length - 1));
  return `${['lock_stat version 0.4', ruler, line(COLUMNS), ruler, ...cells.map(line)].join('\n')}\n`;
}

/** Start to count anew (writing 0 to /proc/lock_stat). */
export function clearLockStat(lockdep: Lockdep): void {
  for (const cls of lockdep.tracker.classes) {
    cls.contentions = 0;
    cls.waits.clear();
    cls.holds.clear();
  }
  for (const root of [lockdep.tracker.process, lockdep.tracker.completion])
    for (const node of chainsOf(root)) node.count = 0;
}
