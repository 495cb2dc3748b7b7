/** Continuations that are given what they need, for values that are there and for those that come later. */
import t from 'tap';
import { type Awaitable, andThen, inTurn, orElse, withCleanup } from '../../src/sched/awaitable.js';

/** A value now, and the same value later. */
function bothWays<T>(value: T): readonly Awaitable<T>[] {
  return [value, Promise.resolve(value)];
}

/** Something that fails now, and later. */
const failures: readonly (() => Awaitable<string>)[] = [
  () => {
    throw new Error('no');
  },
  () => Promise.reject(new Error('no')),
];

t.test('andThen goes on with the value and with what is given along', async (t) => {
  const join = (value: number, a: string, b: string): string => `${value}${a}${b}`;
  for (const value of bothWays(1)) {
    const done = andThen(value, join, 'a', 'b');
    t.equal(done instanceof Promise, value instanceof Promise, 'it is there as soon as the value is');
    t.equal(await done, '1ab');
  }
});

t.test('withCleanup cleans up once, and gives both the same', async (t) => {
  for (const value of bothWays('body')) {
    const seen: string[] = [];
    const body = (a: string): Awaitable<string> => {
      seen.push(`body ${a}`);
      return value;
    };
    t.equal(await withCleanup(body, (a: string) => void seen.push(`cleanup ${a}`), 'x'), 'body');
    t.strictSame(seen, ['body x', 'cleanup x']);
  }
  for (const fails of failures) {
    const seen: string[] = [];
    const cleanup = async (a: string): Promise<void> => {
      seen.push(a);
    };
    await t.rejects(async () => withCleanup(fails, cleanup, 'x'), { message: 'no' });
    t.strictSame(seen, ['x']);
  }
});

t.test('orElse tells what is to count of what went wrong, and of what', async (t) => {
  const failed = (error: unknown, a: string): string => `${String(error)} ${a}`;
  for (const fails of failures) t.equal(await orElse(fails, failed, 'x'), 'Error: no x');
  for (const value of bothWays('right')) t.equal(await orElse((_a: string) => value, failed, 'x'), 'right');
});

t.test('inTurn waits for each step before the next', async (t) => {
  const seen: number[] = [];
  const late = async (n: number): Promise<void> => {
    await Promise.resolve();
    seen.push(n);
  };
  await inTurn(
    () => void seen.push(1),
    () => late(2),
    () => void seen.push(3),
    () => late(4),
  );
  t.strictSame(seen, [1, 2, 3, 4]);
});
