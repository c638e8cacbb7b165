import { AsyncResource } from 'node:async_hooks'
import type { IncomingMessage, ServerResponse } from 'node:http'
import { type Duplex, pipeline, Readable } from 'node:stream'
import { readStream } from '../http/core/body.js'
import { type BodyStream, discardBody, isBodyStream } from '../http/core/body-stream.js'
import { type BodySource, type HttpRequest, splitTarget } from '../http/core/request.js'
import { type HttpResponse, headerValue } from '../http/core/response.js'
import { statusText } from '../http/core/status-text.js'

/** A request of node:http, with the properties that frameworks and body parsers add. */
export type NodeRequest = IncomingMessage & { body?: unknown; originalUrl?: string | undefined; ip?: string | undefined }

/** Adapts a request of node:http to HttpRequest. */
export class NodeHttpRequest implements HttpRequest {
  readonly method: string
  readonly path: string
  readonly url: string
  readonly search: string
  readonly raw: NodeRequest
  readonly #address: () => string | undefined

  constructor(raw: NodeRequest, address: () => string | undefined = () => raw.socket.remoteAddress) {
    const { path, search } = splitTarget(raw.url ?? '/')
    this.method = raw.method ?? 'GET'
    this.path = path
    this.search = search
    this.url = raw.originalUrl === undefined ? path : splitTarget(raw.originalUrl).path
    this.raw = raw
    this.#address = address
  }

  get address(): string | undefined {
    return this.#address()
  }

  header(name: string): string | undefined {
    return nodeHeader(this.raw, name)
  }

  body(): BodySource {
    return nodeBody(this.raw, this.raw.body)
  }
}

/**
 * Adapts a request of node:http, for createAdapter().
 *
 * @param req the request. A body parser that ran before must leave its result in `req.body`.
 * @param options `address`: the client's address as the framework reports it. Default: the address of the socket.
 * @example const answer = mounted.handle(nodeRequest(req, { address: req.socket.remoteAddress }))
 */
export function nodeRequest(req: NodeRequest, { address }: { address?: string | undefined } = {}): HttpRequest {
  return new NodeHttpRequest(req, address === undefined ? undefined : () => address)
}

/** Returns a header of a Node request. HTTP/2 sends the host as `:authority`. */
export function nodeHeader({ headers, rawHeaders }: IncomingMessage, name: string): string | undefined {
  const value = headers[name] ?? (name === 'host' ? headers[':authority'] : undefined)
  if (typeof value === 'string' && (name === 'authorization' || name === 'content-type')) return everyLine(rawHeaders, name)
  return Array.isArray(value) ? value.join(', ') : value
}

// Node keeps only the first line of these headers. A proxy may have used another line, so repeated headers count as invalid.
function everyLine(rawHeaders: readonly string[], name: string): string {
  let all: string | undefined
  for (let i = 0; i < rawHeaders.length; i += 2) {
    const given = rawHeaders[i] as string
    if (given.length !== name.length || given.toLowerCase() !== name) continue
    all = all === undefined ? (rawHeaders[i + 1] as string) : `${all}, ${rawHeaders[i + 1]}`
  }
  return all ?? ''
}

/** Returns the body of a Node request, which a body parser may have read already. */
export function nodeBody(raw: IncomingMessage, parsed: unknown): BodySource {
  // Some parsers set `{}` without reading: use `body` only if the stream was read.
  const wasRead = raw.readableDidRead || (raw as { _body?: boolean })._body === true
  return { parsed: wasRead ? parsed : undefined, read: (limit) => (wasRead ? Promise.resolve(new Uint8Array(0)) : readStream(raw, limit)) }
}

const kept = new WeakSet<object>()

/**
 * Binds listeners of a request stream to the async context in which they are added. Node runs them in the context of the
 * connection, so callbacks of body parsers such as multer would lose the caller. Changes only this request.
 *
 * @example keepContext(req) // before authenticate()
 */
export function keepContext(req: IncomingMessage): void {
  if (kept.has(req) || !mayHaveBody(req)) return
  kept.add(req)
  // once() registers a wrapper function, which it removes later.
  const bound = new WeakMap<Listener, Listener>()
  for (const name of ['on', 'addListener', 'prependListener'] as const) {
    const add = req[name]
    const addBound: Change = function (event, listener) {
      if (typeof listener !== 'function') return add.call(this, event, listener)
      const wrapper = inContext(listener)
      wrapper.listener = listener.listener ?? listener
      bound.set(listener, wrapper)
      return add.call(this, event, wrapper)
    }
    Object.assign(req, { [name]: addBound })
  }
  for (const name of ['off', 'removeListener'] as const) {
    const remove = req[name]
    const removeBound: Change = function (event, listener) {
      const isOnce = typeof listener === 'function' && listener.listener !== undefined
      return remove.call(this, event, (isOnce ? bound.get(listener) : undefined) ?? listener)
    }
    Object.assign(req, { [name]: removeBound })
  }
}

// AsyncResource.bind() defines deprecated properties on each function that it makes, which costs more than the listener itself.
function inContext(listener: Listener): Listener {
  const context = new AsyncResource('objection-perms.listener')
  return function (this: unknown, ...args) {
    return context.runInAsyncScope(listener, this, ...args)
  }
}

function mayHaveBody({ headers, httpVersionMajor, method }: IncomingMessage): boolean {
  // HTTP/2 requests may have a body without these headers.
  if (httpVersionMajor > 1) return method !== 'GET' && method !== 'HEAD'
  return headers['transfer-encoding'] !== undefined || (headers['content-length'] ?? '0') !== '0'
}

type Listener = ((...args: unknown[]) => void) & { listener?: Listener }
type Change = (this: IncomingMessage, event: string, listener: Listener) => unknown

/**
 * Intercepts a response: when a handler starts to send it, sends the result of `refusal` instead, unless that is null. Changes only this response.
 *
 * @example
 * const continuation: Pick<Continuation<unknown>, 'unlessRefused'> = {
 *   unlessRefused(next, refusal) {
 *     interceptResponse(res, refusal)
 *     return next()
 *   },
 * }
 */
export function interceptResponse(res: ServerResponse, refusal: () => HttpResponse | null): void {
  let state: 'open' | 'passing' | 'refused' = 'open'
  const decide = (): void => {
    state = 'passing'
    const response = refusal()
    if (response === null) return
    for (const header of res.getHeaderNames()) res.removeHeader(header)
    sendNode(response, res)
    // Further writes of the handler are discarded.
    state = 'refused'
  }
  for (const name of ['writeHead', 'flushHeaders', 'write', 'end'] as const) {
    const before = res[name] as (...args: unknown[]) => unknown
    const intercepted = (...args: unknown[]): unknown => {
      if (state === 'open') decide()
      if (state === 'passing') return before.apply(res, args)
      return name === 'write' ? true : res
    }
    Object.assign(res, { [name]: intercepted })
  }
}

/**
 * Sends a response, unless the client has disconnected or a response was sent already.
 *
 * @example const answer = mounted.handle(nodeRequest(req)); if (answer !== null) sendNode(await answer, res)
 */
export function sendNode(response: HttpResponse, res: ServerResponse): void {
  if (res.headersSent || res.destroyed) {
    discardBody(response.body).catch(() => undefined)
    return
  }
  res.statusCode = response.status
  for (const [name, value] of Object.entries(response.headers)) res.setHeader(name, headerValue(name, value, res.getHeader(name)))
  for (const line of response.cookies) res.appendHeader('set-cookie', line)
  const { body } = response
  if (body === null) res.end()
  else if (isBodyStream(body)) sendStream(body, res)
  else res.end(body)
}

// pipeline() waits for the client, ends the source when the client disconnects, and closes the connection when the source fails.
function sendStream(body: BodyStream, res: ServerResponse): void {
  pipeline(readableOf(body), res, () => undefined)
}

/** Returns a streamed body as a Node stream. */
export function readableOf(body: BodyStream): Readable {
  return Readable.from(body, { objectMode: false })
}

/** Rejects a request that opens a WebSocket: sends the response on the raw socket and closes it. */
export function rejectUpgrade({ status, headers, body }: HttpResponse, socket: Duplex): void {
  const content = typeof body === 'string' || body instanceof Uint8Array ? body : ''
  const lines = Object.entries({ ...headers, 'content-length': String(Buffer.byteLength(content)), connection: 'close' })
  const head = [`HTTP/1.1 ${status} ${statusText(status) ?? ''}`, ...lines.map(([name, value]) => `${name}: ${value}`), '', '']
  socket.once('finish', () => socket.destroy())
  socket.write(head.join('\r\n'))
  socket.end(content)
}
