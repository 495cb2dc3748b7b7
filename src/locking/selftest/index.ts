/**
 * The validator's own test, counterpart of lib/locking-selftest.c: scenarios that are wrong and must be reported, and scenarios that look wrong and must
 * not, over every kind of lock, each played on a validator that knows nothing yet.
 */
import { contextCases } from './cases-context.js';
import { nestingCases } from './cases-nesting.js';
import { orderCases } from './cases-order.js';
import { readerCases } from './cases-readers.js';
import { reportCases } from './cases-reports.js';
import { waitCases } from './cases-waits.js';
import { type Case, type Outcome, runCase } from './scenario.js';

export type { Outcome } from './scenario.js';

/** Some rows that belong together. */
export interface Suite {
  readonly title: string;
  readonly cases: readonly Case[];
}

/** All of them. */
export function suites(): Suite[] {
  return [
    { title: 'order of locks', cases: orderCases() },
    { title: 'readers', cases: readerCases() },
    { title: 'contexts and completions', cases: contextCases() },
    { title: 'nesting and reclaim', cases: nestingCases() },
    { title: 'tasks that wait', cases: waitCases() },
    { title: 'reports, and locks that change hands', cases: reportCases() },
  ];
}

/** Play every case of a suite, one after the other. */
export async function runSuite(suite: Suite): Promise<Outcome[]> {
  const outcomes: Outcome[] = [];
  for (const one of suite.cases) outcomes.push(await runCase(one));
  return outcomes;
}
