/** Whether a value is one to wait for. */
export function isPromise(value: unknown): value is Promise<unknown> {
  return typeof value === 'object' && value !== null && typeof (value as { then?: unknown }).then === 'function'
}

/** Calls `then` once `value` is there: at once where it is no promise. */
export function thenMaybe<T>(value: unknown, then: () => T): T | Promise<Awaited<T>> {
  return isPromise(value) ? (value.then(then) as Promise<Awaited<T>>) : then()
}

/** Steps that may have to wait: `yield* wait(...)` is their `await`. */
export type MaybeAsyncSteps<T> = Generator<Promise<unknown>, T, unknown>

/** Waits for what is a promise, and only for that. */
export function* awaitMaybe<T>(value: T | PromiseLike<T>): MaybeAsyncSteps<T> {
  return (isPromise(value) ? yield value : value) as T
}

/**
 * Runs steps at once, as far as nothing has to be waited for: most judging takes no statement, and a handful of promises for each
 * write costs more than the judging. Give it a generator function of the module: each `function*` inside of another is a class anew
 * to V8, which costs more than the promises.
 *
 * @returns what the steps return, as a promise only where they had to wait
 * @throws what they throw before they had to wait
 * @example const isThere = soon(judge(row))
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
