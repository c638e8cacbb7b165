import { BadRequestError, ConfigurationError, InvalidTokenError } from '../../core/errors.js'
import { AmbiguousCredentialsError } from '../core/errors.js'
import type { IssuedTokens } from '../core/ports.js'
import type { HttpRequest } from '../core/request.js'
import { originOf } from './origin.js'

export interface CookieOptions {
  /**
   * Origins beside the server's own, such as 'https://app.example.com', whose pages may send requests that change something.
   * The server's own is https:// and the Host header; name it here where a proxy changes that header.
   */
  origins?: readonly string[] | undefined
}

/** What `initPerms({ cookies })` comes to. */
export interface CookieSettings {
  readonly origins: readonly string[]
  /** Seconds for which a browser keeps the refresh token. */
  readonly refreshMaxAge: number
}

/** The names of the cookies: of this host alone, over HTTPS, for every path (RFC 6265bis, 4.1.3.2). */
export const ACCESS_COOKIE = '__Host-access'
export const REFRESH_COOKIE = '__Host-refresh'

/** Name and value together: what browsers keep. */
const MAX_BYTES = 4096

/** @throws ConfigurationError for what is no origin */
export function cookieSettings(option: boolean | CookieOptions | undefined, refreshMaxAge: number): CookieSettings | undefined {
  if (!option) return undefined
  const origins = option === true ? [] : (option.origins ?? [])
  for (const origin of origins) {
    if (typeof origin === 'string' && /^https?:\/\//.test(origin) && originOf(origin) === origin) continue
    throw new ConfigurationError(
      `initPerms({ cookies: { origins } }): '${origin}' is no origin; write scheme, host and port alone, such as 'https://app.example.com'.`,
    )
  }
  return { origins: [...origins], refreshMaxAge }
}

/** The tokens that came in cookies. */
export interface TokenCookies {
  readonly access: string | undefined
  readonly refresh: string | undefined
}

const noCookies: TokenCookies = { access: undefined, refresh: undefined }

/**
 * The library's own cookies of a request (RFC 6265, 5.4). Names are exact, values are not decoded, and what is not ours is not
 * looked at.
 *
 * @throws BadRequestError where one came twice: a browser has but one
 */
export function readTokenCookies(request: HttpRequest): TokenCookies {
  const header = request.header('cookie')
  if (header === undefined || !header.includes('__Host-')) return noCookies
  const found = new Map<string, string>()
  for (const pair of header.split(';')) {
    const at = pair.indexOf('=')
    const name = at === -1 ? '' : trimmed(pair.slice(0, at))
    if (name !== ACCESS_COOKIE && name !== REFRESH_COOKIE) continue
    if (found.has(name)) throw new BadRequestError(`The cookie ${name} came twice.`)
    found.set(name, trimmed(pair.slice(at + 1)))
  }
  return { access: found.get(ACCESS_COOKIE), refresh: found.get(REFRESH_COOKIE) }
}

// Blanks and tabs alone: trim() would also make our name of one that begins with some other space, which any subdomain may set.
function trimmed(text: string): string {
  let [start, end] = [0, text.length]
  while (start < end && isBlank(text.charCodeAt(start))) start += 1
  while (end > start && isBlank(text.charCodeAt(end - 1))) end -= 1
  return text.slice(start, end)
}

const isBlank = (code: number) => code === 32 || code === 9

/** Whether the client wants its tokens in cookies: `Prefer: cookies` (RFC 7240), which no form of another site can send. */
export function asksForCookies(request: HttpRequest): boolean {
  return /(?:^|,)\s*cookies\s*(?:[,;]|$)/i.test(request.header('prefer') ?? '')
}

/** Whether cookies play a part in the request, sent or asked for. */
export function speaksCookies(request: HttpRequest): boolean {
  const { access, refresh } = readTokenCookies(request)
  return access !== undefined || refresh !== undefined || asksForCookies(request)
}

const jwtForm = /^[\w-]+\.[\w-]+\.[\w-]+$/

/** By its form: API keys and the like are for the Authorization header alone. */
export function isAccessToken(value: string | undefined): value is string {
  return value !== undefined && jwtForm.test(value)
}

/** Of a request with a Bearer token. @throws AmbiguousCredentialsError where a cookie came with it */
export function refuseTwoCredentials(request: HttpRequest): void {
  const { access, refresh } = readTokenCookies(request)
  if (access !== undefined || refresh !== undefined) throw new AmbiguousCredentialsError()
}

/** The access token of a request's cookie, or null. @throws InvalidTokenError where there is nothing but a refresh token */
export function accessCookie(request: HttpRequest): string | null {
  const { access, refresh } = readTokenCookies(request)
  if (access === undefined && refresh === undefined) return null
  // The browser drops the access token when it expires: that must not make an anonymous caller of a signed-in one.
  if (access === undefined) throw new InvalidTokenError('The access cookie has expired: send POST refresh/ without a body, then try again.')
  if (!isAccessToken(access)) throw new InvalidTokenError()
  return access
}

/**
 * The Set-Cookie lines for tokens. The refresh token goes with requests of the same site only.
 *
 * @throws ConfigurationError where the access token has grown too large for a cookie
 */
export function tokenCookies(tokens: IssuedTokens, settings: CookieSettings): string[] {
  const lines = [cookie(ACCESS_COOKIE, tokens.accessToken, tokens.expiresIn, 'Lax')]
  if (tokens.refreshToken) lines.push(cookie(REFRESH_COOKIE, tokens.refreshToken, settings.refreshMaxAge, 'Strict'))
  return lines
}

/** The Set-Cookie lines that take both away. */
export const clearedCookies: readonly string[] = [cookie(ACCESS_COOKIE, '', 0, 'Lax'), cookie(REFRESH_COOKIE, '', 0, 'Strict')]

function cookie(name: string, value: string, maxAge: number, sameSite: 'Lax' | 'Strict'): string {
  if (name.length + value.length > MAX_BYTES) {
    throw new ConfigurationError(`${name} is larger than the ${MAX_BYTES} bytes that browsers keep: put less into jwt.claims.`)
  }
  return `${name}=${value}; Path=/; Max-Age=${maxAge}; HttpOnly; Secure; SameSite=${sameSite}`
}
