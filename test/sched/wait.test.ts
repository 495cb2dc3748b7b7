/** Wait queues, timers and clocks of the scheduler that runs for real. */
import t from 'tap';
import { Lockdep } from '../../src/locking/lockdep.js';
import { isErrno } from '../../src/sched/errno.js';
import { RealScheduler } from '../../src/sched/real.js';
import { Task } from '../../src/sched/task.js';
import { timespecCompare } from '../../src/sched/time.js';
import { schedule_timeout, sleep_on_timeout, WaitQueue, wait_event } from '../../src/sched/wait.js';

const sched = new RealScheduler();
const validator = new Lockdep('error', () => undefined);
const task = (): Task => new Task(sched, validator);
const sleep = (ms: number): Promise<void> => new Promise((resolve) => setTimeout(resolve, ms));

/** What ended a wait: 'woken' or an errno. */
async function ended(wait: Promise<void>): Promise<string> {
  try {
    await wait;
    return 'woken';
  } catch (error) {
    return isErrno(error, 'EINTR') ? 'EINTR' : isErrno(error, 'ETIMEDOUT') ? 'ETIMEDOUT' : String(error);
  }
}

t.test('the longest waiting is woken first, whoever has given up in between', async (t) => {
  const queue = new WaitQueue();
  const [a, b, c] = [task(), task(), task()];
  const order: string[] = [];
  const waits = [a, b, c].map(async (who, i) => {
    const why = await ended(queue.wait(who, { interruptible: true }));
    order.push(`${i} ${why}`);
  });
  t.equal(queue.tasks().length, 3);
  b.interrupt();
  t.same(queue.tasks(), [a, c]);
  t.equal(queue.wake_one(), a);
  t.equal(queue.wake_one(), c);
  t.equal(queue.wake_one(), undefined);
  t.ok(queue.empty);
  await Promise.all(waits);
  t.same(order, ['1 EINTR', '0 woken', '2 woken']);
  t.same([a.waitingFor, b.waitingFor, c.waitingFor], [undefined, undefined, undefined]);
});

t.test('one wait has one end: woken, interrupted or timed out, whatever follows', async (t) => {
  const queue = new WaitQueue();
  const woken = task();
  const first = ended(queue.wait(woken, { interruptible: true, timeout: 5 }));
  queue.wake_all();
  woken.interrupt();
  t.equal(await first, 'woken');
  await sleep(20);
  t.equal(await ended(queue.wait(woken, { interruptible: true })), 'EINTR', 'the signal is still there');
  t.ok(queue.empty);
  const late = task();
  t.equal(await ended(queue.wait(late, { interruptible: true, timeout: 5 })), 'ETIMEDOUT');
  late.interrupt();
  queue.wake_all();
  const deaf = task();
  const second = ended(queue.wait(deaf));
  deaf.interrupt();
  t.equal(queue.tasks().length, 1, 'a wait that is not interruptible goes on');
  queue.wake_one();
  t.equal(await second, 'woken');
  const killable = task();
  const third = ended(queue.wait(killable, { killable: true }));
  killable.interrupt(false);
  t.equal(queue.tasks().length, 1, 'one that is killable goes on with a signal that is not fatal');
  killable.interrupt();
  t.equal(await third, 'EINTR');
  t.equal(await ended(queue.wait(killable, { killable: true })), 'EINTR', 'and does not begin afterwards');
});

t.test('who waits does not count as running', async (t) => {
  const queue = new WaitQueue();
  const counted: number[] = [];
  const before = sched.runnable;
  const running = sched.run(async () => {
    counted.push(sched.runnable - before);
    await queue.wait(task(), { interruptible: true });
    counted.push(sched.runnable - before);
  });
  counted.push(sched.runnable - before);
  queue.wake_one();
  counted.push(sched.runnable - before);
  await running;
  t.same(counted, [1, 0, 1, 1]);
  t.equal(sched.runnable, before);
});

t.test('a condition is looked at again after each wake', async (t) => {
  const queue = new WaitQueue();
  let ready = false;
  let looks = 0;
  const waiting = wait_event(task(), queue, () => {
    looks++;
    return ready;
  });
  for (let i = 0; i < 3; i++) {
    queue.wake_all();
    await sleep(0);
  }
  ready = true;
  queue.wake_all();
  await waiting;
  t.equal(looks, 5);
});

t.test('timers: the order of their times, cancelled ones never, and those of a far future not now', async (t) => {
  const fired: string[] = [];
  sched.timer(20, () => fired.push('second'));
  sched.timer(5, () => fired.push('first'));
  const cancelled = sched.timer(5, () => fired.push('cancelled'));
  cancelled.cancel();
  const far = sched.timer(2 ** 31 + 1000, () => fired.push('in 24 days'));
  const background = sched.timer(2 ** 40, () => fired.push('in 34 years'), { background: true });
  await sleep(60);
  far.cancel();
  background.cancel();
  t.same(fired, ['first', 'second']);
});

t.test('clocks go forward', async (t) => {
  let [real, mono] = [sched.realtime(), sched.monotonic()];
  for (let i = 0; i < 1000; i++) {
    const [nextReal, nextMono] = [sched.realtime(), sched.monotonic()];
    if (timespecCompare(nextReal, real) < 0 || nextMono < mono) t.fail('a clock has gone back');
    [real, mono] = [nextReal, nextMono];
  }
  t.ok(Math.abs(real.sec * 1000 + real.nsec / 1e6 - Date.now()) < 1000, 'it is the time of day');
  t.ok(real.nsec >= 0 && real.nsec < 1e9 && Number.isInteger(real.nsec));
});

t.test('a timed sleep says whether it was woken, and only its own end is not an error', async (t) => {
  const queue = new WaitQueue();
  const [a, b, c] = [task(), task(), task()];
  const [woken, slept] = [sleep_on_timeout(a, queue, 1000), sleep_on_timeout(b, new WaitQueue(), 5)];
  queue.wake_all();
  t.same([await woken, await slept], [true, false]);
  const interrupted = sleep_on_timeout(c, queue, 1000, { interruptible: true });
  c.interrupt();
  t.ok(isErrno(await interrupted.catch((error: unknown) => error), 'EINTR'));
  const d = task();
  const pause = schedule_timeout(d, 5, 'a while');
  t.equal(d.waitingFor?.what, 'a while', 'it shows what it waits for');
  await pause;
  t.equal(d.waitingFor, undefined);
});
