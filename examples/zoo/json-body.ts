import { BadRequestError, PayloadTooLargeError, UnsupportedMediaTypeError } from 'objection-perms'

const limit = 100 * 1024
const jsonType = /^application\/json\s*(?:;|$)/i
const otherCharset = /;\s*charset\s*=\s*"?(?!utf-?8\b)/i
const utf8 = new TextDecoder('utf-8', { fatal: true })

/**
 * The body of a request as JSON, for the routes written by hand: the same rules on every framework.
 *
 * @param header a header of the request by its name
 * @param body a request's web stream, or a request of node:http
 * @returns undefined where there is none
 * @throws BadRequestError (400), PayloadTooLargeError (413), UnsupportedMediaTypeError (415)
 */
export async function readJson(
  header: (name: 'content-type' | 'content-encoding') => string | null | undefined,
  body: AsyncIterable<Uint8Array> | null,
): Promise<unknown> {
  const chunks: Uint8Array[] = []
  let size = 0
  try {
    // Bytes past the limit are read and discarded: a client that is still sending would not see the response.
    for await (const chunk of body ?? []) {
      size += chunk.byteLength
      if (size <= limit) chunks.push(chunk)
    }
  } catch {
    throw new BadRequestError('The request ended before its body did.')
  }
  if (size === 0) return undefined
  const type = header('content-type') ?? ''
  if (!jsonType.test(type) || otherCharset.test(type)) {
    throw new UnsupportedMediaTypeError('Send the body as JSON in UTF-8, with "Content-Type: application/json".')
  }
  if (!/^(?:identity)?$/i.test(header('content-encoding') ?? ''))
    throw new UnsupportedMediaTypeError('Send the body without Content-Encoding.')
  if (size > limit) throw new PayloadTooLargeError('The body is too large.')
  try {
    return JSON.parse(utf8.decode(Buffer.concat(chunks)))
  } catch {
    throw new BadRequestError('The body is not valid JSON in UTF-8.')
  }
}
