import type { Entry } from '../../policy/context.js'

/** Provides the body of a request. */
export interface BodySource {
  /** The value that a body parser of the application parsed. Undefined if none has read the body. */
  readonly parsed: unknown
  /** Reads the bytes, if no body parser has read them. @throws PayloadTooLargeError if there are more than `limit` bytes */
  read(limit: number): Promise<Uint8Array>
}

/** A request of any framework. Adapters implement it. */
export interface HttpRequest {
  readonly method: string
  /** The path below the mount path of the router: not decoded, without the query. */
  readonly path: string
  /** The complete path that the client requested, without the query. */
  readonly url: string
  /** The raw query, without the question mark. */
  readonly search: string
  /** The client's address as the framework reports it, with its proxy settings. */
  readonly address: string | undefined
  /** The request object of the framework. */
  readonly raw: object
  /** Returns a header by its lower-case name. */
  header(name: string): string | undefined
  body(): BodySource
}

/** A request whose body can be read again after the first attempt to answer it. */
export class RereadableRequest implements HttpRequest {
  readonly #request: HttpRequest
  #bytes: Promise<Uint8Array> | undefined

  constructor(request: HttpRequest) {
    this.#request = request
  }

  get method(): string {
    return this.#request.method
  }

  get path(): string {
    return this.#request.path
  }

  get url(): string {
    return this.#request.url
  }

  get search(): string {
    return this.#request.search
  }

  get address(): string | undefined {
    return this.#request.address
  }

  get raw(): object {
    return this.#request.raw
  }

  header(name: string): string | undefined {
    return this.#request.header(name)
  }

  body(): BodySource {
    const bytes = this.#bytes
    // A body parser of the application does not see what was read here, and may have nothing left to read.
    if (bytes) return { parsed: undefined, read: () => bytes }
    const source = this.#request.body()
    return {
      parsed: source.parsed,
      read: (limit) => {
        this.#bytes = source.read(limit)
        return this.#bytes
      },
    }
  }
}

/** Returns the data of a request that its context keeps. */
export function entryOf(request: Pick<HttpRequest, 'address' | 'raw' | 'header'>): Entry {
  const { address, raw } = request
  return { address, acceptLanguage: request.header('accept-language'), userAgent: request.header('user-agent'), origin: raw }
}

/** Returns the path that the router is mounted at, such as `/v1`, or '' for the root. */
export function mountPathOf({ url, path }: Pick<HttpRequest, 'url' | 'path'>): string {
  if (!url.endsWith(path)) return ''
  // In a URL, two leading slashes would name another host.
  return url.slice(0, -path.length).replace(/^\/{2,}/, '/')
}

const absolute = /^https?:\/\/[^/?#]*/i

/**
 * Splits a request target into path and query. The scheme and host of an absolute target (RFC 9112, 3.2.2) and a fragment are
 * ignored.
 */
export function splitTarget(target: string): { path: string; search: string } {
  let own = target
  if (target.charCodeAt(0) !== 47) {
    own = target.replace(absolute, '')
    if (own !== target && own.charCodeAt(0) !== 47) own = `/${own}`
  }
  const hash = own.indexOf('#')
  if (hash !== -1) own = own.slice(0, hash)
  const mark = own.indexOf('?')
  return mark === -1 ? { path: own, search: '' } : { path: own.slice(0, mark), search: own.slice(mark + 1) }
}
