/** The results of a comparison, as a table for people and as JSON. */
import Table from 'cli-table3';

/**
 * One kind of work on every target, in `unit`; `samples` has a list for each time that the target was started, with one number a turn: of transfers several
 * in a round.
 */
export interface Result {
  readonly work: string;
  readonly unit: string;
  readonly samples: Map<string, number[][]>;
}

export function median(numbers: readonly number[]): number {
  const sorted = [...numbers].sort((a, b) => a - b);
  const middle = sorted.length >> 1;
  const [low = Number.NaN, high = Number.NaN] = [sorted[(sorted.length - 1) >> 1], sorted[middle]];
  return (low + high) / 2;
}

/** How many times the base this is, for each start, as a median of turns: neighbours in time are compared, so that slow drift cancels. */
function ratios({ samples, unit }: Result, target: string, base: string): number[] {
  const [ours, theirs] = [samples.get(target), samples.get(base)];
  if (ours === undefined || theirs === undefined) return [];
  return ours.map((turns, start) =>
    median(
      turns.map((value, turn) => {
        const other = theirs[start]?.[turn] ?? Number.NaN;
        return unit === 's' ? other / value : value / other;
      }),
    ),
  );
}

/** How many times the base this is: the median over all starts. */
export function ratio(result: Result, target: string, base: string): number | undefined {
  const each = ratios(result, target, base);
  return each.length === 0 ? undefined : median(each);
}

/** Two targets that differ in nothing but whether locking is checked. */
export interface Checks {
  readonly on: string;
  readonly off: string;
}

/** The part of the throughput that the checks take, for each start: 0.1 is a tenth; below 0 where they seem to win. */
export function taken(result: Result, { on, off }: Checks): number[] {
  return ratios(result, on, off).map((part) => 1 - part);
}

/** The median, and between which the starts lie where there were several. */
function percent(parts: readonly number[]): string {
  if (parts.length === 0) return '-';
  const shown = (part: number): string => (100 * part).toFixed(1);
  const middle = `${shown(median(parts))} %`;
  return parts.length === 1 ? middle : `${middle}\n(${shown(Math.min(...parts))} to ${shown(Math.max(...parts))})`;
}

function shown(value: number, unit: string): string {
  return unit === 's' ? value.toFixed(3) : Math.round(value).toLocaleString('en-US');
}

/**
 * One row a work, one column a target, each with its ratio to `base`: above 1 is faster, whatever the unit. The last column is what the checks cost,
 * where both of `checks` take part.
 */
export function table(results: readonly Result[], targets: readonly string[], base: string, checks: Checks): string {
  const both = targets.includes(checks.on) && targets.includes(checks.off);
  const head = ['work', 'unit', ...targets.map((name) => (name === base ? name : `${name}\n(of ${base})`))];
  if (both) head.push('checks\ntake');
  const aligned = head.map((_, i) => (i < 2 ? 'left' : 'right') as 'left' | 'right');
  const out = new Table({ head, colAligns: aligned, style: { head: [], border: [], compact: true } });
  for (const result of results) {
    const cells = targets.map((name) => {
      const samples = result.samples.get(name);
      if (samples === undefined) return '-';
      const value = shown(median(samples.flat()), result.unit);
      const relative = name === base ? undefined : ratio(result, name, base);
      return relative === undefined ? value : `${value} (${relative.toFixed(2)})`;
    });
    if (both) cells.push(percent(taken(result, checks)));
    out.push([result.work, result.unit, ...cells]);
  }
  return out.toString();
}

/** The same for programs: medians, ratios and every sample. */
export function json(results: readonly Result[], base: string, checks: Checks, machine: object): string {
  const rows = results.map((result) => ({
    work: result.work,
    unit: result.unit,
    checks: taken(result, checks),
    targets: Object.fromEntries(
      [...result.samples].map(([name, samples]) => [
        name,
        { median: median(samples.flat()), ratio: ratio(result, name, base) ?? null, samples },
      ]),
    ),
  }));
  return JSON.stringify({ ...machine, base, results: rows }, null, 2);
}
