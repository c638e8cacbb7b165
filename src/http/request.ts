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

/** Splits a request target into path and query. */
export function splitTarget(target: string): { path: string; search: string } {
  const mark = target.indexOf('?')
  return mark === -1 ? { path: target, search: '' } : { path: target.slice(0, mark), search: target.slice(mark + 1) }
}
