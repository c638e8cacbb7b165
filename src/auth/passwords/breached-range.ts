/** Looks passwords up in a list of leaked ones by k-anonymity: the service sees only the first five digits of the SHA-1 hash. */
import { createHash } from 'node:crypto'
import { ConfigurationError, ServiceUnavailableError } from '../../core/errors.js'
import { type Runtime, runtimeSlot } from '../../runtime.js'
import { boundedFetch, type Fetch, providerDownIn } from '../flows/providers/bounded-fetch.js'

/** A list of leaked passwords that answers by range, such as that of Have I Been Pwned. */
export interface BreachedRange {
  /**
   * The https URL before the five hexadecimal digits, or a function that returns the lines `SUFFIX:COUNT` for them. Suffixes have 35
   * hexadecimal digits in upper or lower case. A count of 0 is padding.
   */
  readonly range: string | ((prefix: string, signal: AbortSignal) => Promise<string>)
  /** Whether new passwords are accepted or refused (503) while the list gives no valid answer. Either way, `breachCheckFailed` is emitted. */
  readonly onOutage: 'accept' | 'refuse'
  /** Seconds to wait for an answer. @defaultValue 3 */
  readonly timeout?: number | undefined
  /** For requests through a proxy, and for tests. @defaultValue the global fetch */
  readonly fetch?: Fetch | undefined
}

/** Why a range gave no valid answer. */
export type BreachCheckFailure = 'timeout' | 'error' | 'response'

type OnFailure = (reason: BreachCheckFailure, isAccepted: boolean) => void
const onFailure = runtimeSlot<OnFailure | null>(() => null)

/** Sets the listener of failed look-ups. It must not throw. */
export function registerBreachFailures(runtime: Runtime, listener: OnFailure): void {
  onFailure.set(runtime, listener)
}

const DEFAULT_TIMEOUT = 3
const MAX_TIMEOUT = 30
/** In characters. A range has about 1,000 lines of 40 characters, with padding. */
const MAX_ANSWER = 1_000_000

/** Throws unless a range can be asked. @throws ConfigurationError */
export function assertBreachedRange({ range, onOutage, timeout = DEFAULT_TIMEOUT }: BreachedRange): void {
  if (onOutage !== 'accept' && onOutage !== 'refuse')
    throw new ConfigurationError(
      "passwords.breached.onOutage: write 'refuse' to refuse new passwords (503) while the list cannot be read, or 'accept' to accept them.",
    )
  if (!(timeout > 0 && timeout <= MAX_TIMEOUT))
    throw new ConfigurationError(`passwords.breached.timeout: ${timeout}: must be a number of seconds up to ${MAX_TIMEOUT}.`)
  if (typeof range === 'function') return
  const isSafe = typeof range === 'string' && /^https:\/\/[^/]|^http:\/\/(?:localhost|127\.0\.0\.1|\[::1\])[:/]/.test(range)
  if (!isSafe)
    throw new ConfigurationError('passwords.breached.range: pass a function, or the https URL that the five digits are appended to.')
}

/**
 * Returns whether a password is in the list.
 *
 * @throws ServiceUnavailableError when the list gives no valid answer, with `onOutage: 'refuse'`
 */
export async function isInRange(password: string, list: BreachedRange): Promise<boolean> {
  const hash = createHash('sha1').update(password).digest('hex').toUpperCase()
  const lines = await answerOf(list, hash.slice(0, 5))
  const found = typeof lines === 'string' ? findSuffix(lines, hash.slice(5)) : null
  if (found !== null) return found
  const reason = typeof lines === 'string' ? 'response' : lines.failed
  const isAccepted = list.onOutage === 'accept'
  onFailure.get()?.(reason, isAccepted)
  if (isAccepted) return false
  throw new ServiceUnavailableError()
}

// The error may contain the prefix of the hash, so that it is not passed on.
async function answerOf(list: BreachedRange, prefix: string): Promise<string | { readonly failed: BreachCheckFailure }> {
  const timeout = list.timeout ?? DEFAULT_TIMEOUT
  const signal = AbortSignal.timeout(Math.ceil(timeout * 1000))
  try {
    const answer: unknown = await Promise.race([aborted(signal), ask(list, prefix, { timeout, signal })])
    return typeof answer === 'string' ? answer : { failed: 'response' }
  } catch (error) {
    return { failed: signal.aborted || providerDownIn(error)?.reason === 'timeout' ? 'timeout' : 'error' }
  }
}

function ask({ range, fetch }: BreachedRange, prefix: string, limits: { timeout: number; signal: AbortSignal }): Promise<string> {
  if (typeof range === 'function') return range(prefix, limits.signal)
  const own: Fetch = fetch ?? ((url, init) => globalThis.fetch(url, init as RequestInit))
  return readRange(`${range}${prefix}`, boundedFetch(own, { timeout: limits.timeout, maxBytes: MAX_ANSWER }))
}

async function readRange(url: string, fetch: Fetch): Promise<string> {
  // Padding hides the number of lines, which would narrow the prefix down to those who watch the connection.
  const response = await fetch(url, { headers: { 'Add-Padding': 'true', accept: 'text/plain' } })
  if (response.status !== 200) throw new Error(`The list of leaked passwords answered ${response.status}.`)
  return await response.text()
}

function aborted(signal: AbortSignal): Promise<never> {
  return new Promise((_, reject) => signal.addEventListener('abort', () => reject(signal.reason), { once: true }))
}

const line = /^([0-9A-Fa-f]{35}):(\d{1,15})$/

/** Returns whether the suffix is in the lines with a count above 0; null for text that is not an answer. */
function findSuffix(text: string, suffix: string): boolean | null {
  if (text.length > MAX_ANSWER) return null
  let isFound = false
  let count = 0
  for (const given of text.split('\n')) {
    const entry = given.endsWith('\r') ? given.slice(0, -1) : given
    if (entry === '') continue
    const match = line.exec(entry)
    if (!match) return null
    count += 1
    if (match[1]?.toUpperCase() === suffix && Number(match[2]) > 0) isFound = true
  }
  return count === 0 ? null : isFound
}
