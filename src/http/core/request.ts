/** Where a request's body comes from. */
export interface BodySource {
  /** What a body parser of the application's made of it; undefined where none has read it. */
  readonly parsed: unknown
  /** The bytes, where nobody has read them yet. @throws PayloadTooLargeError past `limit` bytes */
  read(limit: number): Promise<Uint8Array>
}

/** A request, whatever framework it came through. */
export interface HttpRequest {
  readonly method: string
  /** The path below the place where the router is mounted, as it came: not decoded, without the query. */
  readonly path: string
  /** The whole path, as the client knows it, without the query. */
  readonly url: string
  /** The raw query, without the question mark. */
  readonly search: string
  /** The client's address, as far as the framework trusts its proxies. */
  readonly address: string | undefined
  /** The framework's own request. */
  readonly raw: object
  /** A header by its lower-case name. */
  header(name: string): string | undefined
  body(): BodySource
}

/** Returns the path that the router is mounted at, such as `/v1`, or '' for the root. */
export function mountPathOf({ url, path }: Pick<HttpRequest, 'url' | 'path'>): string {
  if (!url.endsWith(path)) return ''
  // Two slashes at the start would name another host.
  return url.slice(0, -path.length).replace(/^\/{2,}/, '/')
}

const absolute = /^https?:\/\/[^/?#]*/i

/**
 * Splits a request target into path and query. A target may name the whole URL (RFC 9112, 3.2.2): whom it names plays no part.
 * A fragment, which no client should send, is none of either.
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
