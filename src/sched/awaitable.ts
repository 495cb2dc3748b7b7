/**
 * A value now or a promise of it: what every operation that may block returns, so that a path on which
 * nothing has to wait stays synchronous and allocates no promise.
 */
export type Awaitable<T> = T | Promise<T>;

/** True where the operation has to wait. */
export function isPromise<T>(value: Awaitable<T>): value is Promise<T> {
  return value instanceof Promise;
}

/** Continue with `next` at once when `value` is there already, and after it otherwise. */
export function andThen<T, U>(value: Awaitable<T>, next: (value: T) => Awaitable<U>): Awaitable<U> {
  return value instanceof Promise ? value.then(next) : next(value);
}

/** Run `cleanup` once `body` has returned, thrown, resolved or rejected: try/finally for both worlds. It may have to wait, too. */
export function withCleanup<T>(body: () => Awaitable<T>, cleanup: () => Awaitable<void>): Awaitable<T> {
  let result: Awaitable<T>;
  try {
    result = body();
  } catch (error) {
    const cleaned = cleanup();
    if (cleaned instanceof Promise) return rejectAfter(cleaned, error);
    throw error;
  }
  if (result instanceof Promise) return result.finally(cleanup);
  const cleaned = cleanup();
  return cleaned instanceof Promise ? resolveAfter(cleaned, result) : result;
}

async function rejectAfter(cleaned: Promise<void>, error: unknown): Promise<never> {
  await cleaned;
  throw error;
}

async function resolveAfter<T>(cleaned: Promise<void>, result: T): Promise<T> {
  await cleaned;
  return result;
}

/** Run `body`; where it throws or rejects, what `failed` returns counts: try/catch for both worlds. */
export function orElse<T>(body: () => Awaitable<T>, failed: (error: unknown) => Awaitable<T>): Awaitable<T> {
  let result: Awaitable<T>;
  try {
    result = body();
  } catch (error) {
    return failed(error);
  }
  return result instanceof Promise ? result.catch(failed) : result;
}

/** Take steps one after the other, each when the one before has ended. */
export function inTurn(...steps: readonly (() => Awaitable<unknown>)[]): Awaitable<void> {
  return stepsFrom(steps, 0);
}

function stepsFrom(steps: readonly (() => Awaitable<unknown>)[], from: number): Awaitable<void> {
  for (let i = from; i < steps.length; i++) {
    const step = steps[i]?.();
    if (step instanceof Promise) return step.then(() => stepsFrom(steps, i + 1));
  }
  return undefined;
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
