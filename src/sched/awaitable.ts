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

/** Run `cleanup` once `body` has returned, thrown, resolved or rejected: try/finally for both worlds. */
export function withCleanup<T>(body: () => Awaitable<T>, cleanup: () => void): Awaitable<T> {
  let result: Awaitable<T>;
  try {
    result = body();
  } catch (error) {
    cleanup();
    throw error;
  }
  if (result instanceof Promise) return result.finally(cleanup);
  cleanup();
  return result;
}
