import { boundIterable } from '../../core/bound-iterable.js'

/** A response body that is produced while it is sent. An adapter reads it once, chunk by chunk, and calls return() if the client disconnects. */
export type BodyStream = AsyncIterable<Uint8Array>

/** Returns whether a body is produced while it is sent. */
export function isBodyStream(body: unknown): body is BodyStream {
  return typeof body === 'object' && body !== null && Symbol.asyncIterator in body
}

/** Returns a body whose source runs in the async context of this call, whatever code reads the body. Text is encoded as UTF-8. */
export function bodyStream(source: AsyncIterable<string | Uint8Array>): BodyStream {
  const chunks = boundIterable(source)
  return mapped(chunks, async () => {
    const { done, value } = await chunks.next()
    if (done) return { done, value: undefined }
    return { done: false, value: typeof value === 'string' ? Buffer.from(value) : value }
  })
}

/** Returns a body that reports an error of its source. The reader gets it too, and must break off the response. */
export function reportingStream(body: BodyStream, onError: (error: unknown) => void): BodyStream {
  const chunks = body[Symbol.asyncIterator]()
  return mapped(chunks, async () => {
    try {
      return await chunks.next()
    } catch (error) {
      onError(error)
      throw error
    }
  })
}

function mapped(chunks: AsyncIterator<unknown>, next: () => Promise<IteratorResult<Uint8Array>>): BodyStream {
  const end = async () => {
    await chunks.return?.()
    return { done: true as const, value: undefined }
  }
  return { [Symbol.asyncIterator]: () => ({ next, return: end }) }
}

/** Ends a body that is not sent, such as that of a response to HEAD. */
export async function discardBody(body: unknown): Promise<void> {
  if (isBodyStream(body)) await body[Symbol.asyncIterator]().return?.()
}
