export interface ResponseOptions {
  /** 200 when not said. */
  status?: number | undefined
  headers?: Readonly<Record<string, string>> | undefined
}

/** An answer, whatever framework sends it. Header names are in lower case. */
export class HttpResponse {
  readonly status: number
  readonly headers: Readonly<Record<string, string>>
  /** Ready to send; null for no body. */
  readonly body: string | Uint8Array | null
  /** The lines of Set-Cookie, which cannot be joined into one. */
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
   * An answer in JSON.
   *
   * @example return HttpResponse.json({ total: 3 }, { status: 202 })
   */
  static json(value: unknown, options: ResponseOptions = {}): HttpResponse {
    return HttpResponse.jsonText(JSON.stringify(value) ?? 'null', options)
  }

  /** The same for JSON that is text already. */
  static jsonText(text: string, options: ResponseOptions = {}): HttpResponse {
    return new HttpResponse(options.status ?? 200, { ...jsonHeaders, ...options.headers }, text)
  }

  /** An answer without a body: 204 when not said. */
  static empty(options: ResponseOptions = {}): HttpResponse {
    return new HttpResponse(options.status ?? 204, { ...emptyHeaders, ...options.headers }, null)
  }

  /** The same answer with further headers. */
  with(headers: Readonly<Record<string, string>>): HttpResponse {
    return new HttpResponse(this.status, { ...this.headers, ...headers }, this.body, this.cookies)
  }

  /** The same answer with further lines of Set-Cookie. */
  withCookies(lines: readonly string[]): HttpResponse {
    return new HttpResponse(this.status, this.headers, this.body, [...this.cookies, ...lines])
  }

  /** What HEAD answers: the same without the body. */
  withoutBody(): HttpResponse {
    if (this.body === null) return this
    const length = typeof this.body === 'string' ? Buffer.byteLength(this.body) : this.body.byteLength
    return new HttpResponse(this.status, { ...this.headers, 'content-length': String(length) }, null, this.cookies)
  }
}

// Rows depend on who asks: no shared cache may keep them, and a private one asks again.
const emptyHeaders = { 'cache-control': 'private, no-cache', 'x-content-type-options': 'nosniff' }
const jsonHeaders = { 'content-type': 'application/json; charset=utf-8', ...emptyHeaders }
