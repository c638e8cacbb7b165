import { AsyncResource } from 'node:async_hooks'

/** A response body that is produced while it is sent. An adapter reads it once, chunk by chunk, and calls return() if the client disconnects. */
export type BodyStream = AsyncIterable<Uint8Array>

/** Returns whether a body is produced while it is sent. */
export function isBodyStream(body: unknown): body is BodyStream {
  return typeof body === 'object' && body !== null && Symbol.asyncIterator in body
}

/**
 * Returns a body whose source runs in the async context of this call, whatever code reads the body. Text is encoded as UTF-8.
 *
 * @param onError receives an error of the source. The reader gets it too, and must break off the response.
 */
export function bodyStream(source: AsyncIterable<string | Uint8Array>, onError?: (error: unknown) => void): BodyStream {
  const context = new AsyncResource('objection-perms.body')
  const chunks = source[Symbol.asyncIterator]()
  const step = async (next: () => Promise<IteratorResult<string | Uint8Array>>): Promise<IteratorResult<Uint8Array>> => {
    try {
      const { done, value } = await context.runInAsyncScope(next)
      if (done) return { done, value: undefined }
      return { done: false, value: typeof value === 'string' ? Buffer.from(value) : value }
    } catch (error) {
      onError?.(error)
      throw error
    }
  }
  return {
    [Symbol.asyncIterator]: () => ({
      next: () => step(() => chunks.next()),
      return: () => step(async () => (await chunks.return?.()) ?? { done: true, value: undefined }),
    }),
  }
}

/** Ends a body that is not sent, such as that of a response to HEAD. */
export async function discardBody(body: unknown): Promise<void> {
  if (isBodyStream(body)) await body[Symbol.asyncIterator]().return?.()
}
