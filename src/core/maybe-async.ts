/** Returns whether a value is a promise or another thenable. */
export function isPromise(value: unknown): value is Promise<unknown> {
  return typeof value === 'object' && value !== null && typeof (value as { then?: unknown }).then === 'function'
}

/** Calls `then` after `value` has resolved; immediately if `value` is not a promise. */
export function thenMaybe<T>(value: unknown, then: () => T): T | Promise<Awaited<T>> {
  return isPromise(value) ? (value.then(then) as Promise<Awaited<T>>) : then()
}

/** A generator that yields the promises it waits for: `yield* awaitMaybe(value)` is its `await`. */
export type MaybeAsyncSteps<T> = Generator<Promise<unknown>, T, unknown>

/** Returns a value, or the result of a promise. Yields only for a promise. */
export function* awaitMaybe<T>(value: T | PromiseLike<T>): MaybeAsyncSteps<T> {
  return (isPromise(value) ? yield value : value) as T
}

/**
 * Runs a generator synchronously until it yields a promise, and the rest asynchronously. Most policies send no statement, and
 * promises would cost more than the policy itself. Declare the generator at module level: V8 allocates more for a nested one.
 *
 * @returns the generator's result; a promise of it only if the generator yielded a promise
 * @throws what the generator throws before its first promise
 * @example
 * function* countOf(rows: Critter[] | Promise<Critter[]>): MaybeAsyncSteps<number> {
 *   return (yield* awaitMaybe(rows)).length
 * }
 * const count = runMaybeAsync(countOf(rows))
 */
export function runMaybeAsync<T>(steps: MaybeAsyncSteps<T>): T | Promise<T> {
  const first = steps.next()
  return first.done ? first.value : continueAsync(steps, first.value)
}

async function continueAsync<T>(steps: MaybeAsyncSteps<T>, first: Promise<unknown>): Promise<T> {
  for (let waiting = first; ; ) {
    const next = await waiting.then(
      (value) => () => steps.next(value),
      (error: unknown) => () => steps.throw(error),
    )
    const step = next()
    if (step.done) return step.value
    waiting = step.value
  }
}
