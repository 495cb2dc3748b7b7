/** latchfs selftest: every case ends as it must, there are enough of them, none twice, and they notice a validator that does not look. */
import { PassThrough } from 'node:stream';
import { text } from 'node:stream/consumers';
import t from 'tap';
import { runSelftest, selftest } from '../../src/cli/selftest.js';
import { Held } from '../../src/locking/held.js';
import { Tracker } from '../../src/locking/lockdep/tracker.js';
import { Lockdep } from '../../src/locking/lockdep.js';

/** The newest count seen in a kernel's boot log. */
const KERNEL_CASES = 358;

t.test('all cases pass', async (t) => {
  const { suites, cases, failed } = await runSelftest();
  const all = suites.flatMap(({ outcomes }) => outcomes);
  t.same(
    all.filter(({ ok }) => !ok).map(({ row, column, why }) => `${row}, ${column}: ${why}`),
    [],
  );
  t.equal(failed, 0);
  t.ok(cases >= KERNEL_CASES, `${cases} cases`);
  t.equal(new Set(all.map(({ row, column }) => `${row} ${column}`)).size, cases, 'each case once');
  t.ok(all.filter(({ expected }) => expected === 'nothing').length > 150, 'many must be silent');
  t.ok(all.filter(({ expected }) => expected !== 'nothing').length > 150, 'many must be reported');
});

async function printed(json: boolean): Promise<[status: number, output: string]> {
  const out = new PassThrough();
  const output = text(out);
  const status = await selftest(out, { json });
  out.end();
  return [status, await output];
}

t.test('the table, and JSON', async (t) => {
  const [status, table] = await printed(false);
  t.equal(status, 0);
  t.match(table, /│ A-B-B-A deadlock +│ ok +│ ok/);
  t.match(table, /Good, all \d+ testcases passed!/);
  t.notMatch(table, /FAILED/);
  const [, json] = await printed(true);
  t.match(JSON.parse(json), { failed: 0, suites: [{ title: 'order of locks', outcomes: [{ ok: true }] }] });
});

t.test('a validator that does not look at the order fails it', async (t) => {
  const { acquire, acquired } = Tracker.prototype;
  Tracker.prototype.acquire = () => undefined;
  Tracker.prototype.acquired = () => undefined;
  try {
    const [status, table] = await printed(false);
    t.equal(status, 1);
    t.match(table, /FAILED: A-B-B-A deadlock, mutex: reported nothing, and not lock-order/);
    t.match(table, /BUG: \d{3} unexpected failures/);
  } finally {
    Tracker.prototype.acquire = acquire;
    Tracker.prototype.acquired = acquired;
  }
});

t.test('so does one that complains about everything', async (t) => {
  const { acquired } = Lockdep.prototype;
  Lockdep.prototype.acquired = function (task, held, trying) {
    acquired.call(this, task, held, trying);
    this.violation(task, 'lock-order', { message: 'planted', rule: 'planted#none' });
  };
  try {
    const [status, table] = await printed(false);
    t.equal(status, 1);
    t.match(table, /FAILED: A-B-C in one order, mutex: reported lock-order/);
  } finally {
    Lockdep.prototype.acquired = acquired;
  }
});

t.test('so does one that takes the same fault for another each time', async (t) => {
  const { violation } = Lockdep.prototype;
  let told = 0;
  Lockdep.prototype.violation = function (task, kind, detail) {
    violation.call(this, task, kind, { ...detail, message: `${detail.message} (${++told})` });
  };
  try {
    const [status, table] = await printed(false);
    t.equal(status, 1);
    t.match(table, /FAILED: A-B-B-A again and again, mutex: told when seen so often: 0, 0/);
  } finally {
    Lockdep.prototype.violation = violation;
  }
});

t.test('so does one that loses sight of a lock that is given to another', async (t) => {
  const { transfer } = Held.prototype;
  Held.prototype.transfer = function (task) {
    const { acquired } = task.validator;
    task.validator.acquired = () => undefined;
    transfer.call(this, task);
    task.validator.acquired = acquired;
  };
  try {
    const [status, table] = await printed(false);
    t.equal(status, 1);
    t.match(table, /FAILED: A given to another, who takes B; then B-A, mutex: reported nothing/);
  } finally {
    Held.prototype.transfer = transfer;
  }
});
