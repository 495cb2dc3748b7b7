/** The clock of the real scheduler: the wall clock's time, with digits that it does not have, and never back within a step of it. */
import t, { type Test } from 'tap';
import { RealScheduler } from '../../src/sched/real.js';
import type { Timespec } from '../../src/sched/time.js';

const MSEC = 1_000_000;

/** Nanoseconds from a wall clock's milliseconds to a time. */
function since(time: Timespec, wall: number): number {
  return (time.sec - Math.floor(wall / 1000)) * 1000 * MSEC + time.nsec - (wall % 1000) * MSEC;
}

/** Puts what `mono` (seconds, nanoseconds) and `wall` (milliseconds) answer in place of the process's clocks until the test ends. */
function replaceClocks(t: Test, mono: () => [number, number], wall: () => number): void {
  const { hrtime } = process;
  const { now } = Date;
  t.teardown(() => {
    process.hrtime = hrtime;
    Date.now = now;
  });
  const bigint = (): bigint => {
    const [sec, nsec] = mono();
    return BigInt(sec) * 1_000_000_000n + BigInt(nsec);
  };
  process.hrtime = Object.assign(() => mono(), { bigint });
  Date.now = wall;
}

t.test('it tells the time of the wall clock, and goes on from there', (t) => {
  const sched = new RealScheduler();
  let last = sched.realtime();
  t.ok(Math.abs(since(last, Date.now())) < 1000 * MSEC, 'it is the time of day');
  let digits = false;
  for (let i = 0; i < 100_000; i++) {
    const now = sched.realtime();
    const whole = Number.isInteger(now.sec) && Number.isInteger(now.nsec) && now.nsec >= 0 && now.nsec < 1000 * MSEC;
    if (!whole) t.fail(`${now.sec} s and ${now.nsec} ns is no time`);
    if (now.sec < last.sec || (now.sec === last.sec && now.nsec < last.nsec)) t.fail('it went back');
    digits ||= now.nsec % MSEC !== 0;
    last = now;
  }
  t.ok(digits, 'it has digits below the millisecond');
  t.end();
});

t.test('where a second begins between the clocks, it is counted once', (t) => {
  let mono: [number, number] = [5, 0];
  let wall = 0;
  replaceClocks(
    t,
    () => mono,
    () => wall,
  );
  for (const [monoNsec, wallMsec] of [
    [999_999_999, 1],
    [1, 999],
    [500_000_000, 500],
    [0, 0],
  ] as const) {
    mono = [5, monoNsec];
    wall = 1_700_000_000_000 + wallMsec;
    const sched = new RealScheduler();
    t.same(sched.realtime(), { sec: 1_700_000_000, nsec: wallMsec * MSEC }, `${wallMsec} ms at ${monoNsec} ns`);
    mono = [6, monoNsec];
    wall += 1000;
    t.same(sched.realtime(), { sec: 1_700_000_001, nsec: wallMsec * MSEC }, 'and a second later');
  }
  t.end();
});

t.test('it follows a clock that is set, and not one that trembles', (t) => {
  let mono: [number, number] = [5, 0];
  let wall = 1_700_000_000_000;
  replaceClocks(
    t,
    () => mono,
    () => wall,
  );
  const sched = new RealScheduler();
  sched.realtime();
  mono = [7, 0];
  wall += 2001;
  t.same(sched.realtime(), { sec: 1_700_000_002, nsec: 0 }, 'a millisecond is not believed');
  mono = [9, 0];
  wall += 2000 - 3_600_000;
  t.same(sched.realtime(), { sec: 1_699_996_404, nsec: MSEC }, 'an hour is');
  wall += 86_400_000;
  t.same(sched.realtime(), { sec: 1_700_082_804, nsec: MSEC }, 'and a day at once');
  t.end();
});

t.test('it believes no difference that comes of losing the processor between the clocks', (t) => {
  const begin = 1_700_000_000_000;
  let mono: [number, number] = [5, 0];
  let lost = 0;
  const wall = (): number => {
    mono = [mono[0], mono[1] + lost * MSEC];
    lost = 0;
    return begin + (mono[0] - 5) * 1000 + Math.floor(mono[1] / MSEC);
  };
  replaceClocks(t, () => mono, wall);
  const sched = new RealScheduler();
  sched.realtime();
  lost = 40;
  t.same(sched.realtime(), { sec: 1_700_000_000, nsec: 0 }, 'the time when it was asked');
  t.same(sched.realtime(), { sec: 1_700_000_000, nsec: 40 * MSEC }, 'and 40 ms later');
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
