import { request } from 'node:http'

/** A request as it goes over the wire. */
export interface Sent {
  readonly method: string
  readonly path: string
  readonly token?: string | undefined
  readonly headers?: Readonly<Record<string, string | readonly string[]>> | undefined
  /** Text is sent as it is; other values are sent as JSON. */
  readonly body?: unknown
}

/** A response with its raw body. */
export interface Received {
  readonly status: number
  readonly headers: Readonly<Record<string, string | string[] | undefined>>
  readonly body: string
}

/** Sends a request to a server. Uses node:http, because fetch() would normalize the path. */
export function send(url: string, { method, path, token, headers, body }: Sent): Promise<Received> {
  const payload = body === undefined ? undefined : typeof body === 'string' ? body : JSON.stringify(body)
  const { hostname, port } = new URL(url)
  const own = {
    ...(token && { authorization: `Bearer ${token}` }),
    ...(payload !== undefined && { 'content-type': 'application/json', 'content-length': Buffer.byteLength(payload) }),
  }
  return new Promise((resolve, reject) => {
    const sent = request({ hostname, port, method, path, agent: false, headers: { ...own, ...headers } }, (response) => {
      const chunks: Buffer[] = []
      response.on('data', (chunk: Buffer) => chunks.push(chunk))
      response.on('end', () =>
        resolve({ status: response.statusCode ?? 0, headers: response.headers, body: Buffer.concat(chunks).toString() }),
      )
    })
    sent.on('error', reject)
    sent.end(payload)
  })
}

const comparedHeaders = [
  ...['content-type', 'content-length', 'cache-control', 'www-authenticate', 'allow', 'etag', 'location', 'link', 'retry-after'],
  ...['x-request-id', 'x-content-type-options'],
]

/** Returns a response as text, without the values that differ from run to run. */
export function transcript({ status, headers, body }: Received): string {
  const lines = comparedHeaders.filter((name) => headers[name] !== undefined).map((name) => `${name}: ${headers[name]}`)
  return (
    [status, ...lines, body]
      .join('\n')
      .replace(/[0-9a-f]{8}-(?:[0-9a-f]{4}-){3}[0-9a-f]{12}/g, '<id>')
      .replace(/\d{4}-\d\d-\d\dT[\d:.]+Z/g, '<time>')
      // Some servers say that a redirect has no body.
      .replace('content-length: 0\n', '')
      .replace(/(location: .*code=).*/g, '$1<code>')
      .replace(/(etag: ).*/g, '$1<etag>')
      .replace(/("(?:access_token|refresh_token|device_token|nextCursor|challenge|key|secret|uri|url)":")[^"]*/g, '$1<opaque>')
      // The random name of a user for authenticators.
      .replace(/("user":\{"id":")[\w-]{43}"/, '$1<opaque>"')
      .replace(/"[a-z2-9]{5}(?:-[a-z2-9]{1,5}){5}"/g, '"<code>"')
      .replace(/(content-length: ).*/g, /_token":"|nextCursor":"/.test(body) ? '$1<length>' : '$&')
  )
}
