import { readWebStream } from '../http/core/body.js'
import { type BodyStream, isBodyStream } from '../http/core/body-stream.js'
import type { BodySource, HttpRequest } from '../http/core/request.js'
import type { HttpResponse } from '../http/core/response.js'

/** Adapts a web standard Request to HttpRequest. */
export class FetchHttpRequest implements HttpRequest {
  readonly method: string
  readonly path: string
  readonly url: string
  readonly search: string
  readonly raw: Request
  readonly address: string | undefined
  readonly #cached: (() => Promise<ArrayBuffer>) | undefined

  /**
   * @param raw the request
   * @param options `base`: the part of the path before the router. `cached`: returns the body if the framework has already read it.
   */
  constructor(
    raw: Request,
    options: { base?: string | undefined; address?: string | undefined; cached?: (() => Promise<ArrayBuffer>) | undefined } = {},
  ) {
    // The URL of a Request is absolute and normalized: the path begins at the third slash.
    const start = raw.url.indexOf('/', raw.url.indexOf('//') + 2)
    const hash = raw.url.indexOf('#')
    const target = start === -1 ? '/' : raw.url.slice(start, hash === -1 ? undefined : hash)
    const mark = target.indexOf('?')
    const { base = '' } = options
    this.method = raw.method
    this.url = mark === -1 ? target : target.slice(0, mark)
    this.search = mark === -1 ? '' : target.slice(mark + 1)
    this.path = base === '' || !this.url.startsWith(`${base}/`) ? this.url : this.url.slice(base.length)
    this.raw = raw
    this.address = options.address
    this.#cached = options.cached
  }

  header(name: string): string | undefined {
    return this.raw.headers.get(name) ?? (name === 'host' ? hostOf(this.raw.url) : undefined)
  }

  body(): BodySource {
    const { raw } = this
    const cached = this.#cached
    return {
      parsed: undefined,
      read: async (limit) =>
        raw.bodyUsed && cached ? new Uint8Array(await cached()) : await readWebStream(raw.bodyUsed ? null : raw.body, limit),
    }
  }
}

/**
 * Adapts a web standard Request, for createAdapter().
 *
 * @param options `base`: the part of the path before the router, such as '/v1'. `address`: the client's address.
 * @example const response = await mounted.handle(fetchRequest(request))
 */
export function fetchRequest(request: Request, options: { base?: string | undefined; address?: string | undefined } = {}): HttpRequest {
  return new FetchHttpRequest(request, options)
}

/**
 * Converts a response to a web standard Response.
 *
 * @example
 * async function handler(request: Request): Promise<Response> {
 *   const response = await mounted.handle(fetchRequest(request))
 *   return response === null ? new Response(null, { status: 404 }) : toResponse(response)
 * }
 */
export function toResponse({ status, headers, body, cookies }: HttpResponse): Response {
  const isStream = isBodyStream(body)
  const length =
    body === null || isStream ? {} : { 'content-length': String(typeof body === 'string' ? Buffer.byteLength(body) : body.byteLength) }
  const content = isStream ? webStreamOf(body) : body
  const response = new Response(content as string | null, { status, headers: { ...headers, ...length } })
  for (const line of cookies) response.headers.append('set-cookie', line)
  return response
}

// Reads the next chunk only when the client has taken the previous one.
function webStreamOf(body: BodyStream): ReadableStream<Uint8Array> {
  const chunks = body[Symbol.asyncIterator]()
  return new ReadableStream<Uint8Array>(
    {
      async pull(controller) {
        const { done, value } = await chunks.next()
        if (done) controller.close()
        else controller.enqueue(value)
      },
      async cancel() {
        await chunks.return?.()
      },
    },
    { highWaterMark: 0 },
  )
}

// Some runtimes provide the host only in the URL.
function hostOf(url: string): string {
  return new URL(url).host
}
