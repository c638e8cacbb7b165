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
  /** The encoded body, or null for no body. */
  readonly body: string | Uint8Array | null
  /** The Set-Cookie headers, which cannot be joined into one. */
  readonly cookies: readonly string[]

  constructor(
    status: number,
    headers: Readonly<Record<string, string>>,
    body: string | Uint8Array | null,
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

  /** Returns a copy with additional headers. */
  with(headers: Readonly<Record<string, string>>): HttpResponse {
    return new HttpResponse(this.status, { ...this.headers, ...headers }, this.body, this.cookies)
  }

  /** Returns a copy with additional Set-Cookie headers. */
  withCookies(lines: readonly string[]): HttpResponse {
    return new HttpResponse(this.status, this.headers, this.body, [...this.cookies, ...lines])
  }

  /** Returns the response to a HEAD request: a copy without the body. */
  withoutBody(): HttpResponse {
    if (this.body === null) return this
    const length = typeof this.body === 'string' ? Buffer.byteLength(this.body) : this.body.byteLength
    return new HttpResponse(this.status, { ...this.headers, 'content-length': String(length) }, null, this.cookies)
  }
}

// Responses depend on the caller: shared caches must not store them, and private caches must revalidate.
const emptyHeaders = { 'cache-control': 'private, no-cache', 'x-content-type-options': 'nosniff' }
const jsonHeaders = { 'content-type': 'application/json; charset=utf-8', ...emptyHeaders }
