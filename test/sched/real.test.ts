/** The clocks of the real scheduler, which are the kernel's, and how its tasks share the event loop. */
import { chmodSync, statSync, utimesSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import t from 'tap';
import { RealScheduler } from '../../src/sched/real.js';
import { type Timespec, timespecCompare } from '../../src/sched/time.js';

const MSEC = 1_000_000;

/** Nanoseconds from a wall clock's milliseconds to a time. */
function since(time: Timespec, wall: number): number {
  return (time.sec - Math.floor(wall / 1000)) * 1000 * MSEC + time.nsec - (wall % 1000) * MSEC;
}

t.test('it tells the time of the wall clock', (t) => {
  const sched = new RealScheduler();
  let last = sched.realtime();
  t.ok(Math.abs(since(last, Date.now())) < 1000 * MSEC, 'it is the time of day');
  let digits = false;
  for (let i = 0; i < 100_000; i++) {
    const now = sched.realtime();
    const whole = Number.isInteger(now.sec) && Number.isInteger(now.nsec) && now.nsec >= 0 && now.nsec < 1000 * MSEC;
    if (!whole) t.fail(`${now.sec} s and ${now.nsec} ns is no time`);
    if (timespecCompare(now, last) < 0) t.fail('it went back');
    digits ||= now.nsec % MSEC !== 0;
    last = now;
  }
  t.ok(digits, 'it has digits below the millisecond');
  t.end();
});

t.test('its coarse clock is the one that the kernel stamps files with', (t) => {
  const sched = new RealScheduler();
  const file = join(t.testdir(), 'file');
  writeFileSync(file, '');
  let ticks = 0;
  let last = sched.coarse();
  while (ticks < 20) {
    const before = sched.coarse();
    utimesSync(file, 1, 1);
    const { ctimeNs } = statSync(file, { bigint: true });
    const stamp = { sec: Number(ctimeNs / 1_000_000_000n), nsec: Number(ctimeNs % 1_000_000_000n) };
    if (timespecCompare(stamp, before) < 0) t.fail('a file that was touched later is older');
    if (timespecCompare(before, sched.realtime()) > 0) t.fail('it is ahead of the exact one');
    if (before !== last) ticks++;
    else if (timespecCompare(before, last) !== 0) t.fail('the same object is another time');
    last = before;
  }
  t.equal(ticks, 20, 'it ticks');
  const [first, second] = [sched.coarse(), sched.coarse()];
  t.ok(first === second || timespecCompare(first, second) < 0, 'a tick is one object');
  t.end();
});

t.test('it knows what the kernel stamps files with, also where somebody has needed a finer time', (t) => {
  const sched = new RealScheduler();
  const file = join(t.testdir(), 'file');
  writeFileSync(file, '');
  let late = 0;
  let finer = 0;
  for (let i = 0; i < 500; i++) {
    // What is changed after somebody has seen when it was changed last.
    statSync(file);
    chmodSync(file, 0o600 + (i & 1));
    const { ctimeNs } = statSync(file, { bigint: true });
    const stamp = { sec: Number(ctimeNs / 1_000_000_000n), nsec: Number(ctimeNs % 1_000_000_000n) };
    const [now, end] = sched.run(() => [sched.stamp(), sched.realtime()] as const) as readonly [Timespec, Timespec];
    if (timespecCompare(now, stamp) < 0) late++;
    if (timespecCompare(now, end) > 0) t.fail('it is ahead of the exact clock');
    if (timespecCompare(stamp, sched.coarse()) > 0) finer++;
  }
  t.equal(late, 0, `of ${finer} that were finer`);
  t.end();
});

t.test('tasks that yield leave the event loop its turns, if they have a slice', async (t) => {
  const sched = new RealScheduler({ slice: 2 });
  let fired = false;
  let wanted = false;
  sched.timer(1, () => {
    fired = true;
    wanted = sched.wantsTurn;
  });
  const until = performance.now() + 10_000;
  await sched.run(async () => {
    while (!fired && performance.now() < until) await sched.yield();
  });
  t.ok(fired, 'a timer fires, though a task could run all the time');
  t.ok(wanted, 'and who serves them knows that a task waits for that');
  t.notOk(sched.wantsTurn);
  t.equal(sched.runnable, 0);
  const without = new RealScheduler();
  let turned = false;
  setImmediate(() => {
    turned = true;
  });
  await without.run(async () => {
    for (let i = 0; i < 1000; i++) await without.yield();
  });
  t.notOk(turned, 'without one they go on until all of them wait');
});
