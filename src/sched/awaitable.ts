/**
 * A value now or a promise of it: what every operation that may block returns, so that a path on which
 * nothing has to wait stays synchronous and allocates no promise.
 */
export type Awaitable<T> = T | Promise<T>;

/** True where the operation has to wait. */
export function isPromise<T>(value: Awaitable<T>): value is Promise<T> {
  return value instanceof Promise;
}

/**
 * What a continuation is called with beside the value. Given along, and not caught by a closure, it costs nothing where nobody waits; and a function that is made for each
 * call loses its compiled code in every full collection, because nobody has it at that moment.
 */
export type Given = [a?: unknown, b?: unknown, c?: unknown, d?: unknown, e?: unknown, f?: unknown];

/** A continuation, whatever it is given. */
export type Next<T, U> = (value: T, a?: unknown, b?: unknown, c?: unknown, d?: unknown, e?: unknown, f?: unknown) => U;
type Body<T> = (a?: unknown, b?: unknown, c?: unknown, d?: unknown, e?: unknown, f?: unknown) => Awaitable<T>;

/** Continue with `next`, and what it is given beside the value, at once when the value is there already, and after it otherwise. */
export function andThen<T, U, G extends Given>(
  value: Awaitable<T>,
  next: (value: T, ...given: G) => Awaitable<U>,
  ...given: G
): Awaitable<U>;
export function andThen<T, U>(
  value: Awaitable<T>,
  next: Next<T, Awaitable<U>>,
  a?: unknown,
  b?: unknown,
  c?: unknown,
  d?: unknown,
  e?: unknown,
  f?: unknown,
): Awaitable<U> {
  return value instanceof Promise ? afterwards(value, next, a, b, c, d, e, f) : next(value, a, b, c, d, e, f);
}

/** For andThen: what came before is of no interest. */
export function nothing(): undefined {
  return undefined;
}

/** For andThen: this counts, and not what came before. */
export function instead<T>(_before: unknown, value: T): T {
  return value;
}

/** Apart, because its closure would cost every call of andThen a context. */
function afterwards<T, U>(
  value: Promise<T>,
  next: Next<T, Awaitable<U>>,
  a: unknown,
  b: unknown,
  c: unknown,
  d: unknown,
  e: unknown,
  f: unknown,
): Promise<U> {
  return value.then((now) => next(now, a, b, c, d, e, f));
}

/**
 * Run `cleanup` once `body` has returned, thrown, resolved or rejected: try/finally for both worlds. It may have to wait, too.
 * @param given what both are called with
 */
export function withCleanup<T, G extends Given>(
  body: (...given: G) => Awaitable<T>,
  cleanup: (...given: G) => Awaitable<void>,
  ...given: G
): Awaitable<T>;
export function withCleanup<T>(
  body: Body<T>,
  cleanup: Body<void>,
  a?: unknown,
  b?: unknown,
  c?: unknown,
  d?: unknown,
  e?: unknown,
  f?: unknown,
): Awaitable<T> {
  let result: Awaitable<T>;
  try {
    result = body(a, b, c, d, e, f);
  } catch (error) {
    const cleaned = cleanup(a, b, c, d, e, f);
    if (cleaned instanceof Promise) return rejectAfter(cleaned, error);
    throw error;
  }
  if (result instanceof Promise) return finallyDo(result, cleanup, a, b, c, d, e, f);
  const cleaned = cleanup(a, b, c, d, e, f);
  return cleaned instanceof Promise ? resolveAfter(cleaned, result) : result;
}

function finallyDo<T>(
  result: Promise<T>,
  cleanup: Body<void>,
  a: unknown,
  b: unknown,
  c: unknown,
  d: unknown,
  e: unknown,
  f: unknown,
): Promise<T> {
  return result.finally(() => cleanup(a, b, c, d, e, f));
}

async function rejectAfter(cleaned: Promise<void>, error: unknown): Promise<never> {
  await cleaned;
  throw error;
}

async function resolveAfter<T>(cleaned: Promise<void>, result: T): Promise<T> {
  await cleaned;
  return result;
}

/** Run `body`; where it throws or rejects, what `failed` returns counts: try/catch for both worlds. @param given what both are called with, `failed` behind the error */
export function orElse<T, G extends Given>(
  body: (...given: G) => Awaitable<T>,
  failed: (error: unknown, ...given: G) => Awaitable<T>,
  ...given: G
): Awaitable<T>;
export function orElse<T>(
  body: Body<T>,
  failed: Next<unknown, Awaitable<T>>,
  a?: unknown,
  b?: unknown,
  c?: unknown,
  d?: unknown,
  e?: unknown,
  f?: unknown,
): Awaitable<T> {
  let result: Awaitable<T>;
  try {
    result = body(a, b, c, d, e, f);
  } catch (error) {
    return failed(error, a, b, c, d, e, f);
  }
  return result instanceof Promise ? caught(result, failed, a, b, c, d, e, f) : result;
}

function caught<T>(
  result: Promise<T>,
  failed: Next<unknown, Awaitable<T>>,
  a: unknown,
  b: unknown,
  c: unknown,
  d: unknown,
  e: unknown,
  f: unknown,
): Promise<T> {
  return result.catch((error: unknown) => failed(error, a, b, c, d, e, f));
}

/** Take steps one after the other, each when the one before has ended. */
export function inTurn(...steps: readonly (() => Awaitable<unknown>)[]): Awaitable<void> {
  return stepsFrom(steps, 0);
}

function stepsFrom(steps: readonly (() => Awaitable<unknown>)[], from: number): Awaitable<void> {
  for (let i = from; i < steps.length; i++) {
    const step = steps[i]?.();
    if (step instanceof Promise) return restAfter(step, steps, i + 1);
  }
  return undefined;
}

function restAfter(step: Promise<unknown>, steps: readonly (() => Awaitable<unknown>)[], from: number): Promise<void> {
  return step.then(() => stepsFrom(steps, from));
}

/** Take all steps one after the other, also those after one that fails. @throws the first failure, when all are done */
export async function allInTurn(steps: Iterable<() => Awaitable<unknown>>): Promise<void> {
  let failure: { readonly error: unknown } | undefined;
  for (const step of steps) {
    try {
      await step();
    } catch (error) {
      failure ??= { error };
    }
  }
  if (failure !== undefined) throw failure.error;
}
