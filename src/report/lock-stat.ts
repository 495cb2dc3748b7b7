/** Contention, waiting and holding by class of lock, as text like /proc/lock_stat. */

import { chainsOf, readOf } from '../locking/lockdep/chain.js';
import { EXCLUSIVE, type LockClass, type Times } from '../locking/lockdep/class.js';
import type { Lockdep } from '../locking/lockdep.js';
import { byName } from './lockdep-text.js';

/** Those of the kernel, whatever reads /proc/lock_stat finds them where it looks for them. Bounces are between processors, of which there is one. */
const COLUMNS = [
  'con-bounces',
  'contentions',
  'waittime-min',
  'waittime-max',
  'waittime-total',
  'waittime-avg',
  'acq-bounces',
  'acquisitions',
  'holdtime-min',
  'holdtime-max',
  'holdtime-total',
  'holdtime-avg',
] as const;
const NAME_WIDTH = 40;
const WIDTH = 14;

/** One class in one mode, in numbers; times in microseconds, 0 where nothing was measured. */
export interface LockStat {
  /** With -W and -R behind it where the class was taken in both modes, or only shared. */
  readonly name: string;
  readonly contentions: number;
  readonly wait: { readonly min: number; readonly max: number; readonly total: number; readonly avg: number };
  readonly acquisitions: number;
  readonly hold: { readonly min: number; readonly max: number; readonly total: number; readonly avg: number };
}

/** How often a class was taken. */
interface Taken {
  write: number;
  read: number;
}

/** The numbers of every class, in the order of their names; of one that was never taken shared there is one row, otherwise one for each mode in which it was. */
export function lockStats(lockdep: Lockdep): LockStat[] {
  const counts = new Map<LockClass, Taken>();
  for (const root of [lockdep.tracker.process, lockdep.tracker.completion]) {
    for (const { cls, count, link } of chainsOf(root)) {
      if (cls === undefined) continue;
      const taken = counts.get(cls) ?? { write: 0, read: 0 };
      if (readOf(link) === EXCLUSIVE) taken.write += count;
      else taken.read += count;
      counts.set(cls, taken);
    }
  }
  return byName(lockdep.tracker.classes).flatMap((cls) => {
    const { write, read } = counts.get(cls) ?? { write: 0, read: 0 };
    const shared = read > 0 || cls.read.waits.count > 0;
    const alone = write > 0 || cls.write.waits.count > 0 || !shared;
    return [
      ...(alone ? [statOf(`${cls.name}${shared ? '-W' : ''}`, cls.write, write)] : []),
      ...(shared ? [statOf(`${cls.name}-R`, cls.read, read)] : []),
    ];
  });
}

function statOf(name: string, { waits, holds }: LockClass['write'], acquisitions: number): LockStat {
  return { name, contentions: waits.count, wait: microseconds(waits), acquisitions, hold: microseconds(holds) };
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
  const line = (name: string, cells: readonly string[]): string =>
    name + cells.map((cell) => cell.padStart(WIDTH)).join(' ');
  const ruler = '-'.repeat(NAME_WIDTH + 1 + COLUMNS.length * (WIDTH + 1));
  const lines = rows.map(({ name, contentions, wait, acquisitions, hold }) =>
    line(`${name.padStart(NAME_WIDTH)}:`, [
      '0',
      String(contentions),
      ...time(wait),
      '0',
      String(acquisitions),
      ...time(hold),
    ]),
  );
  const header = line(`${'class name'.padStart(NAME_WIDTH)} `, COLUMNS);
  return `${['lock_stat version 0.4', ruler, header, ruler, '', ...lines].join('\n')}\n`;
}

/** Start to count anew (writing 0 to /proc/lock_stat). */
export function clearLockStat(lockdep: Lockdep): void {
  for (const { write, read } of lockdep.tracker.classes) {
    write.clear();
    read.clear();
  }
  for (const root of [lockdep.tracker.process, lockdep.tracker.completion])
    for (const node of chainsOf(root)) node.count = 0;
}
