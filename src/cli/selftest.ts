/** `latchfs selftest [--json]`: the validator's own test, as the kernel prints its at boot. */
import Table from 'cli-table3';
import { type Outcome, runSuite, suites } from '../locking/selftest/index.js';
import { KINDS } from '../locking/selftest/kinds.js';

/** What was played, suite by suite. */
export interface SelftestResult {
  readonly suites: readonly { readonly title: string; readonly outcomes: readonly Outcome[] }[];
  readonly cases: number;
  readonly failed: number;
}

const COLUMNS: readonly string[] = [...KINDS.map(({ name }) => name), 'rcu'];

/** Play everything. */
export async function runSelftest(): Promise<SelftestResult> {
  const results: { title: string; outcomes: Outcome[] }[] = [];
  for (const suite of suites()) results.push({ title: suite.title, outcomes: await runSuite(suite) });
  const all = results.flatMap(({ outcomes }) => outcomes);
  return { suites: results, cases: all.length, failed: all.filter(({ ok }) => !ok).length };
}

/** A suite as its table: a row a scenario, a column a kind of lock. */
function table(title: string, outcomes: readonly Outcome[]): string {
  const cells = new Map<string, Map<string, boolean>>();
  for (const { row, column, ok } of outcomes) {
    const line = cells.get(row) ?? new Map<string, boolean>();
    line.set(column, ok);
    cells.set(row, line);
  }
  const used = COLUMNS.filter((column) => outcomes.some((outcome) => outcome.column === column));
  const made = new Table({ head: [title, ...used], style: { head: [], border: [], compact: true } });
  for (const [row, line] of cells) {
    const marks = used.map((column) => {
      const ok = line.get(column);
      return ok === undefined ? '' : ok ? 'ok' : 'FAILED';
    });
    made.push([row, ...marks]);
  }
  return made.toString();
}

/**
 * Run the selftest and print it.
 * @returns the exit status: 0 where every case ends as it must
 */
export async function selftest(out: NodeJS.WritableStream, options: { readonly json: boolean }): Promise<number> {
  const result = await runSelftest();
  if (options.json) {
    out.write(`${JSON.stringify(result)}\n`);
    return result.failed === 0 ? 0 : 1;
  }
  for (const { title, outcomes } of result.suites) out.write(`${table(title, outcomes)}\n`);
  for (const { row, column, why } of result.suites.flatMap(({ outcomes }) => outcomes.filter(({ ok }) => !ok))) {
    out.write(`FAILED: ${row}, ${column}: ${why}\n`);
  }
  const good = result.cases - result.failed;
  out.write(
    result.failed === 0
      ? `Good, all ${result.cases} testcases passed!\n`
      : `BUG: ${result.failed} unexpected failures (out of ${result.cases}), ${good} passed.\n`,
  );
  return result.failed === 0 ? 0 : 1;
}
