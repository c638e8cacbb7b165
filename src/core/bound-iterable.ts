import { AsyncResource } from 'node:async_hooks'

/**
 * Returns the values of an iterable, whose code runs in the async context of this call. A generator would run in the context of whatever code
 * asks for the next value, such as a stream.
 */
export function boundIterable<T>(source: AsyncIterable<T>): AsyncIterableIterator<T> {
  const context = new AsyncResource('objection-perms.iterable')
  const values = source[Symbol.asyncIterator]()
  const bound: AsyncIterableIterator<T> = {
    [Symbol.asyncIterator]: () => bound,
    next: () => context.runInAsyncScope(() => values.next()),
    return: () => context.runInAsyncScope(async () => (await values.return?.()) ?? { done: true as const, value: undefined }),
  }
  return bound
}
