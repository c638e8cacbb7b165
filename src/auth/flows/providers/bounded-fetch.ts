/** Requests to identity providers: with a time limit, a size limit, and without redirects. */

/** A fetch function with the parts that are used here. */
export type Fetch = (url: string, init: FetchInit) => Promise<Response>

export interface FetchInit {
  readonly method?: string | undefined
  readonly headers?: Record<string, string> | undefined
  readonly body?: RequestInit['body'] | undefined
  readonly redirect?: 'manual' | undefined
  readonly signal?: AbortSignal | undefined
}

export interface FetchLimits {
  /** In seconds. */
  readonly timeout: number
  /** In bytes. */
  readonly maxBytes: number
}

/** The provider gave no usable answer. It says nothing about the user. */
export class ProviderDownError extends Error {
  readonly reason: 'timeout' | 'network' | 'size' | 'redirect' | 'status' | 'metadata'

  constructor(reason: ProviderDownError['reason'], cause?: unknown) {
    super(`The identity provider gave no usable answer: ${reason}.`, { cause })
    this.name = 'ProviderDownError'
    this.reason = reason
  }
}

/** Returns the ProviderDownError among the causes of an error. */
export function providerDownIn(error: unknown): ProviderDownError | null {
  for (let one = error, depth = 0; one instanceof Error && depth < 8; one = one.cause, depth += 1)
    if (one instanceof ProviderDownError) return one
  return null
}

/**
 * Returns a fetch function that throws ProviderDownError for a slow, huge, redirecting or failing answer.
 *
 * @param fetch the application's own, for proxies and tests
 */
export function boundedFetch(fetch: Fetch, { timeout, maxBytes }: FetchLimits): Fetch {
  return async (url, init) => {
    // Covers the body too.
    const signal = AbortSignal.timeout(Math.ceil(timeout * 1000))
    try {
      const response = await settledOr(signal, fetch(url, { ...init, redirect: 'manual', signal }))
      if (response.type === 'opaqueredirect' || (response.status >= 300 && response.status < 400)) throw await refused(response, 'redirect')
      if (response.status >= 500 || response.status === 429) throw await refused(response, 'status')
      const body = await readBody(response, signal, maxBytes)
      return new Response(body, { status: response.status, headers: response.headers })
    } catch (error) {
      if (error instanceof ProviderDownError) throw error
      throw new ProviderDownError(signal.aborted ? 'timeout' : 'network', error)
    }
  }
}

async function refused(response: Response, reason: ProviderDownError['reason']): Promise<ProviderDownError> {
  // Not awaited: a server that does not end the body would delay the answer.
  response.body?.cancel().catch(() => undefined)
  return new ProviderDownError(reason)
}

async function readBody(response: Response, signal: AbortSignal, maxBytes: number): Promise<Uint8Array | null> {
  if (response.body === null || response.status === 204) return null
  const reader = response.body.getReader()
  const chunks: Uint8Array[] = []
  let size = 0
  for (;;) {
    const { done, value } = await settledOr(signal, reader.read())
    if (done) return Buffer.concat(chunks)
    size += value.byteLength
    if (size > maxBytes) {
      reader.cancel().catch(() => undefined)
      throw new ProviderDownError('size')
    }
    chunks.push(value)
  }
}

/** Waits for a promise until the time is up, also if it ignores the signal. */
async function settledOr<T>(signal: AbortSignal, work: Promise<T>): Promise<T> {
  let onAbort = (): void => {}
  const timeUp = new Promise<never>((_, reject) => {
    onAbort = () => reject(new ProviderDownError('timeout'))
    if (signal.aborted) onAbort()
    else signal.addEventListener('abort', onAbort, { once: true })
  })
  try {
    return await Promise.race([work, timeUp])
  } finally {
    signal.removeEventListener('abort', onAbort)
    timeUp.catch(() => {})
    work.catch(() => {})
  }
}
