import { BadRequestError } from '../../core/errors.js'
import { message } from '../../core/messages/message.js'
import { AmbiguousCredentialsError } from '../core/errors.js'
import type { HttpRequest } from '../core/request.js'
import type { TokenReader } from './authorization.js'
import { accessCookie, assertSingleCredential, type CookieSettings, usesCookies } from './cookies.js'
import { assertOwnOriginHeader } from './origin.js'

/** The WebSocket subprotocol whose next entry is a token: `new WebSocket(url, ['objection-perms', accessToken])`. */
export const TOKEN_SUBPROTOCOL = 'objection-perms'

/**
 * Returns the token of a request that opens a socket, or null without credentials. Reads the Authorization header, the subprotocol
 * and, if cookies are on, the access cookie. Never reads the query, because servers and proxies log it.
 *
 * @throws AmbiguousCredentialsError for credentials in two places
 * @throws ForeignOriginError for cookies without the Origin of an allowed page: browsers send cookies with sockets of every page
 * @throws InvalidTokenError for an access cookie that is missing beside a refresh cookie
 */
export function upgradeToken(request: HttpRequest, tokenOf: TokenReader, cookies: CookieSettings | undefined): string | null {
  const header = tokenOf(request)
  const subprotocol = subprotocolToken(request)
  if (header !== null && subprotocol !== null) throw new AmbiguousCredentialsError(message('request.twoTokens'))
  const token = header ?? subprotocol
  if (cookies === undefined) return token
  if (token !== null) {
    assertSingleCredential(request)
    return token
  }
  if (!usesCookies(request)) return null
  assertOwnOriginHeader(request, cookies)
  return accessCookie(request)
}

function subprotocolToken(request: HttpRequest): string | null {
  const entries = (request.header('sec-websocket-protocol') ?? '').split(',').map((entry) => entry.trim())
  const at = entries.indexOf(TOKEN_SUBPROTOCOL)
  if (at === -1) return null
  if (entries.indexOf(TOKEN_SUBPROTOCOL, at + 1) !== -1)
    throw new BadRequestError(message('request.subprotocolTwice', { name: TOKEN_SUBPROTOCOL }))
  return entries[at + 1] ?? ''
}
