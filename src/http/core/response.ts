import { type BodyStream, bodyStream, discardBody, isBodyStream, reportingStream } from './body-stream.js'

export interface ResponseOptions {
  /** Default: 200, or 204 without a body. */
  status?: number | undefined
  headers?: Readonly<Record<string, string>> | undefined
}

/**
 * A response for any framework. Header names are in lower case.
 *
 * @example const response = HttpResponse.json({ total: 3 }, { status: 202 })
 */
export class HttpResponse {
  readonly status: number
  readonly headers: Readonly<Record<string, string>>
  /** The encoded body, a body that is produced while it is sent, or null for no body. */
  readonly body: string | Uint8Array | BodyStream | null
  /** The Set-Cookie headers, which cannot be joined into one. */
  readonly cookies: readonly string[]

  constructor(
    status: number,
    headers: Readonly<Record<string, string>>,
    body: string | Uint8Array | BodyStream | null,
    cookies: readonly string[] = [],
  ) {
    this.status = status
    this.headers = headers
    this.body = body
    this.cookies = cookies
  }

  /**
   * Creates a JSON response.
   *
   * @example const response = HttpResponse.json({ total: 3 }, { status: 202 })
   */
  static json(value: unknown, options: ResponseOptions = {}): HttpResponse {
    return HttpResponse.jsonText(JSON.stringify(value) ?? 'null', options)
  }

  /** Creates a JSON response from JSON text. */
  static jsonText(text: string, options: ResponseOptions = {}): HttpResponse {
    return new HttpResponse(options.status ?? 200, { ...jsonHeaders, ...options.headers }, text)
  }

  /** Creates a response without a body. Default status: 204. */
  static empty(options: ResponseOptions = {}): HttpResponse {
    return new HttpResponse(options.status ?? 204, { ...emptyHeaders, ...options.headers }, null)
  }

  /**
   * Creates a response whose body is produced while it is sent. The source runs in the async context of this call. It is asked for the next
   * chunk only when the client has taken the previous ones, and its return() is called when the client disconnects. If it throws, the
   * connection is closed, so that the client notices the missing rest.
   *
   * @param source chunks of text or bytes, for example from an async generator
   * @example
   * async function* lines() {
   *   for (let i = 0; i < 1000; i += 1) yield `${i}\n`
   * }
   * const response = HttpResponse.stream(lines(), { headers: { 'content-type': 'text/plain' } })
   */
  static stream(source: AsyncIterable<string | Uint8Array>, options: ResponseOptions = {}): HttpResponse {
    return new HttpResponse(options.status ?? 200, { ...emptyHeaders, ...options.headers }, bodyStream(source))
  }

  /** Returns a copy with additional headers. */
  with(headers: Readonly<Record<string, string>>): HttpResponse {
    return new HttpResponse(this.status, { ...this.headers, ...headers }, this.body, this.cookies)
  }

  /** Returns a copy with additional Set-Cookie headers. */
  withCookies(lines: readonly string[]): HttpResponse {
    return new HttpResponse(this.status, this.headers, this.body, [...this.cookies, ...lines])
  }

  /** Returns a copy that passes an error of its streamed body to `onError` before the connection is closed. */
  reportingErrors(onError: (error: unknown) => void): HttpResponse {
    if (!isBodyStream(this.body)) return this
    return new HttpResponse(this.status, this.headers, reportingStream(this.body, onError), this.cookies)
  }

  /** Returns the response to a HEAD request: a copy without the body. */
  withoutBody(): HttpResponse {
    if (this.body === null) return this
    if (isBodyStream(this.body)) {
      // A source that was never asked for a chunk holds nothing.
      discardBody(this.body).catch(() => undefined)
      return new HttpResponse(this.status, this.headers, null, this.cookies)
    }
    const length = typeof this.body === 'string' ? Buffer.byteLength(this.body) : this.body.byteLength
    return new HttpResponse(this.status, { ...this.headers, 'content-length': String(length) }, null, this.cookies)
  }
}

// Responses depend on the caller: shared caches must not store them, and private caches must revalidate.
const emptyHeaders = { 'cache-control': 'private, no-cache', 'x-content-type-options': 'nosniff' }
const jsonHeaders = { 'content-type': 'application/json; charset=utf-8', ...emptyHeaders }

/**
 * Returns the value of a header that a response adds to the headers set so far. `Vary` is added to the present one, such as that
 * of CORS middleware.
 */
export function headerValue(name: string, value: string, present: unknown): string {
  if (name !== 'vary' || present === undefined || present === '') return value
  const fields = String(present)
    .split(',')
    .map((field) => field.trim().toLowerCase())
  return fields.includes('*') || fields.includes(value.toLowerCase()) ? String(present) : `${String(present)}, ${value}`
}
