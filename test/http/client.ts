import { isBodyStream } from '../../src/http/core/body-stream.js'
import type { PermsPort } from '../../src/http/core/ports.js'
import type { HttpRequest } from '../../src/http/core/request.js'
import { splitTarget } from '../../src/http/core/request.js'
import type { HttpResponse } from '../../src/http/core/response.js'
import { createAdapter } from '../../src/http/serve/adapter-core.js'
import type { Api } from '../../src/http/serve/api.js'
import { MountedApi } from '../../src/http/serve/api.js'

export interface Reply {
  readonly status: number
  readonly headers: Readonly<Record<string, string>>
  readonly body: any
  /** The lines of Set-Cookie. */
  readonly cookies: readonly string[]
}

export interface Sending {
  readonly body?: unknown
  readonly headers?: Readonly<Record<string, string>>
}

export type Client = (method: string, target: string, token?: string | null, more?: Sending) => Promise<Reply>

/** A neutral request, as an adapter would make it. */
export function neutralRequest(method: string, target: string, token?: string | null, { body, headers = {} }: Sending = {}): HttpRequest {
  const { path, search } = splitTarget(target)
  const bytes = body === undefined ? new Uint8Array(0) : Buffer.from(typeof body === 'string' ? body : JSON.stringify(body))
  const all: Record<string, string> = {
    ...(token && { authorization: `Bearer ${token}` }),
    ...(body !== undefined && { 'content-type': 'application/json', 'content-length': String(bytes.byteLength) }),
    ...headers,
  }
  // A stream has its bytes once.
  let left = bytes
  const read = async () => {
    const given = left
    left = new Uint8Array(0)
    return given
  }
  return {
    method,
    path,
    url: path,
    search,
    address: '127.0.0.1',
    raw: {},
    header: (name) => all[name],
    body: () => ({ parsed: undefined, read }),
  }
}

/** Asks an API without a socket. */
export function clientOf(api: Api, perms: PermsPort, errors: unknown[] = []): Client {
  createAdapter(perms)
  const mounted = new MountedApi(api, perms, { onError: (error) => errors.push(error) })
  return async (method, target, token, more) => {
    const response = await mounted.handle(neutralRequest(method, target, token, more))
    if (response === null) throw new Error(`${method} ${target} is none of the API's paths.`)
    const text = await textOf(response.body)
    return {
      status: response.status,
      headers: response.headers,
      cookies: response.cookies,
      body: text === '' ? undefined : isBodyStream(response.body) ? text : JSON.parse(text),
    }
  }
}

async function textOf(body: HttpResponse['body']): Promise<string> {
  if (!isBodyStream(body)) return body === null ? '' : Buffer.from(body as string).toString()
  const chunks: Uint8Array[] = []
  for await (const chunk of body) chunks.push(chunk)
  return Buffer.concat(chunks).toString()
}
