export interface Answer {
  readonly status: number
  readonly headers: Headers
  // Whatever JSON came, looked at by assertions only.
  readonly body: any
}

export interface RequestOptions {
  token?: string | undefined
  /** Sent as JSON. */
  json?: unknown
  /** Sent as it is. */
  raw?: string | Uint8Array
  headers?: Record<string, string>
}

export async function request(url: string, method: string, path: string, options: RequestOptions = {}): Promise<Answer> {
  const { token, json, raw, headers } = options
  const body = json === undefined ? raw : JSON.stringify(json)
  const response = await fetch(url + path, {
    method,
    headers: {
      ...(token === undefined ? {} : { authorization: `Bearer ${token}` }),
      ...(body === undefined ? {} : { 'content-type': 'application/json' }),
      ...headers,
    },
    ...(body === undefined ? {} : { body: body as NonNullable<RequestInit['body']> }),
  })
  const text = await response.text()
  const isJson = /json/.test(response.headers.get('content-type') ?? '')
  return { status: response.status, headers: response.headers, body: isJson ? JSON.parse(text) : text }
}
