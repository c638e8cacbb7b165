import { BadRequestError, ConfigurationError, InvalidTokenError } from '../../core/errors.js'
import { message } from '../../core/messages/message.js'
import { AmbiguousCredentialsError } from '../core/errors.js'
import type { IssuedTokens } from '../core/ports.js'
import type { HttpRequest } from '../core/request.js'
import { originOf } from './origin.js'

export interface CookieOptions {
  /**
   * Additional origins whose pages may send requests that change something, such as 'https://app.example.com'. The server's
   * own origin is https:// and the Host header. List it here if a proxy changes that header.
   *
   * @defaultValue only the server's own origin
   */
  origins?: readonly string[] | undefined
}

/** The validated `cookies` option of initPerms. */
export interface CookieSettings {
  readonly origins: readonly string[]
  /** The lifetime of the refresh cookie in seconds. */
  readonly refreshMaxAge: number
}

/** The names of the cookies. `__Host-` binds them to this host, HTTPS and the path `/` (RFC 6265bis, 4.1.3.2). */
export const ACCESS_COOKIE = '__Host-access'
export const REFRESH_COOKIE = '__Host-refresh'
export const PROVIDER_COOKIE = '__Host-provider'
export const DEVICE_COOKIE = '__Host-device'

/** The maximum length of name and value that browsers store. */
const MAX_BYTES = 4096

/** Validates the `cookies` option. @throws ConfigurationError for an invalid origin */
export function cookieSettings(option: boolean | CookieOptions | undefined, refreshMaxAge: number): CookieSettings | undefined {
  if (!option) return undefined
  const origins = option === true ? [] : (option.origins ?? [])
  for (const origin of origins) {
    if (typeof origin === 'string' && /^https?:\/\//.test(origin) && originOf(origin) === origin) continue
    throw new ConfigurationError(
      `initPerms({ cookies: { origins } }): '${origin}' is not an origin. Write only scheme, host and port, such as 'https://app.example.com'.`,
    )
  }
  return { origins: [...origins], refreshMaxAge }
}

/** The tokens in the cookies of a request. */
export interface TokenCookies {
  readonly access: string | undefined
  readonly refresh: string | undefined
}

const noCookies: TokenCookies = { access: undefined, refresh: undefined }

/**
 * Reads the library's cookies from a request (RFC 6265, 5.4). Matches names exactly, does not decode values, and ignores other
 * cookies.
 *
 * @throws BadRequestError if a cookie is repeated, which browsers never send
 */
export function readTokenCookies(request: HttpRequest): TokenCookies {
  const found = readCookies(request, [ACCESS_COOKIE, REFRESH_COOKIE])
  return found === null ? noCookies : { access: found.get(ACCESS_COOKIE), refresh: found.get(REFRESH_COOKIE) }
}

/** Returns the value that ties a sign-in with a provider to the browser. @throws BadRequestError if the cookie is repeated */
export function readProviderCookie(request: HttpRequest): string | undefined {
  return readCookies(request, [PROVIDER_COOKIE])?.get(PROVIDER_COOKIE)
}

/**
 * Returns the token of a trusted device. It is no credential: without the password it opens nothing.
 *
 * @throws BadRequestError if the cookie is repeated
 */
export function readDeviceCookie(request: HttpRequest): string | undefined {
  return readCookies(request, [DEVICE_COOKIE])?.get(DEVICE_COOKIE)
}

function readCookies(request: HttpRequest, names: readonly string[]): ReadonlyMap<string, string> | null {
  const header = request.header('cookie')
  if (header === undefined || !header.includes('__Host-')) return null
  const found = new Map<string, string>()
  for (const pair of header.split(';')) {
    const at = pair.indexOf('=')
    const name = at === -1 ? '' : trimmed(pair.slice(0, at))
    if (!names.includes(name)) continue
    if (found.has(name)) throw new BadRequestError(message('request.cookieTwice', { name }))
    found.set(name, trimmed(pair.slice(at + 1)))
  }
  return found
}

// Removes only blanks and tabs. trim() removes other spaces too, so a subdomain could set a cookie that is read as `__Host-...`.
function trimmed(text: string): string {
  let [start, end] = [0, text.length]
  while (start < end && isBlank(text.charCodeAt(start))) start += 1
  while (end > start && isBlank(text.charCodeAt(end - 1))) end -= 1
  return text.slice(start, end)
}

const isBlank = (code: number) => code === 32 || code === 9

/**
 * Returns whether the client asks for cookies with `Prefer: cookies` (RFC 7240). A form of another site cannot send this header.
 */
export function asksForCookies(request: HttpRequest): boolean {
  return /(?:^|,)\s*cookies\s*(?:[,;]|$)/i.test(request.header('prefer') ?? '')
}

/** Returns whether the request sends cookies or asks for them. */
export function usesCookies(request: HttpRequest): boolean {
  const { access, refresh } = readTokenCookies(request)
  return access !== undefined || refresh !== undefined || asksForCookies(request)
}

const jwtForm = /^[\w-]+\.[\w-]+\.[\w-]+$/

/** Returns whether a value has the form of a JWT. API keys are not accepted in cookies. */
export function isAccessToken(value: string | undefined): value is string {
  return value !== undefined && jwtForm.test(value)
}

/** Checks a request with a Bearer token. @throws AmbiguousCredentialsError if it has a token cookie as well */
export function assertSingleCredential(request: HttpRequest): void {
  const { access, refresh } = readTokenCookies(request)
  if (access !== undefined || refresh !== undefined) throw new AmbiguousCredentialsError()
}

/**
 * Returns the access token from the cookie, or null without cookies.
 *
 * @throws InvalidTokenError if there is only a refresh cookie
 */
export function accessCookie(request: HttpRequest): string | null {
  const { access, refresh } = readTokenCookies(request)
  if (access === undefined && refresh === undefined) return null
  // The browser deletes an expired access cookie. A signed-in user must not become an anonymous caller by that.
  if (access === undefined) throw new InvalidTokenError(message('request.accessCookieExpired'))
  if (!isAccessToken(access)) throw new InvalidTokenError()
  return access
}

/**
 * Returns the Set-Cookie headers for tokens. Browsers send the refresh token only with requests of the same site.
 *
 * @throws ConfigurationError if the access token is too large for a cookie
 */
export function tokenCookies(tokens: IssuedTokens, settings: CookieSettings): string[] {
  const lines = [cookie(ACCESS_COOKIE, tokens.accessToken, tokens.expiresIn, 'Lax')]
  if (tokens.refreshToken) lines.push(cookie(REFRESH_COOKIE, tokens.refreshToken, settings.refreshMaxAge, 'Strict'))
  // Signing out keeps this cookie: the next sign-in needs it.
  if (tokens.deviceToken) lines.push(cookie(DEVICE_COOKIE, tokens.deviceToken, tokens.deviceExpiresIn ?? 0, 'Strict'))
  return lines
}

/** The Set-Cookie headers that delete both cookies. */
export const clearedCookies: readonly string[] = [cookie(ACCESS_COOKIE, '', 0, 'Lax'), cookie(REFRESH_COOKIE, '', 0, 'Strict')]

/** Seconds in which a user signs in at a provider. */
const PROVIDER_MAX_AGE = 600

/**
 * Returns the Set-Cookie header that ties a sign-in with a provider to the browser.
 *
 * @param isFormPost whether the provider returns with a POST from its own page: browsers send only SameSite=None cookies with it
 */
export function providerCookie(binding: string, isFormPost: boolean): string {
  return cookie(PROVIDER_COOKIE, binding, PROVIDER_MAX_AGE, isFormPost ? 'None' : 'Lax')
}

/** The Set-Cookie header that deletes the cookie of a sign-in with a provider. */
export const clearedProviderCookie: string = cookie(PROVIDER_COOKIE, '', 0, 'Lax')

function cookie(name: string, value: string, maxAge: number, sameSite: 'Lax' | 'Strict' | 'None'): string {
  if (name.length + value.length > MAX_BYTES) {
    throw new ConfigurationError(
      `The cookie ${name} is larger than ${MAX_BYTES} bytes, the limit of browsers. Return fewer or shorter claims from jwt.claims.`,
    )
  }
  return `${name}=${value}; Path=/; Max-Age=${maxAge}; HttpOnly; Secure; SameSite=${sameSite}`
}
