import { ForeignOriginError } from '../core/errors.js'
import type { HttpRequest } from '../core/request.js'
import type { CookieSettings } from './cookies.js'

const safeMethods: readonly string[] = ['GET', 'HEAD', 'OPTIONS']

/**
 * Rejects a request that would change something and does not come from an allowed origin (OWASP: cross-site request forgery).
 *
 * @throws ForeignOriginError also if the request does not name its origin
 */
export function assertOwnOrigin(request: HttpRequest, settings: CookieSettings): void {
  if (safeMethods.includes(request.method)) return
  if (request.header('origin') !== undefined) {
    assertOwnOriginHeader(request, settings)
    return
  }
  const site = request.header('sec-fetch-site')
  if (site === 'same-origin') return
  const referer = request.header('referer')
  if (site === undefined && referer !== undefined && isAllowed(originOf(referer), request, settings)) return
  throw new ForeignOriginError(true)
}

/**
 * Rejects a request without the Origin header of an allowed page, whatever its method. Needed for sockets: they open with GET, and
 * the same-origin policy of browsers does not apply to them (RFC 6455, 10.2).
 *
 * @throws ForeignOriginError
 */
export function assertOwnOriginHeader(request: HttpRequest, settings: CookieSettings): void {
  const origin = request.header('origin')
  if (origin === undefined) throw new ForeignOriginError(true)
  if (isAllowed(origin, request, settings)) return
  throw new ForeignOriginError(false)
}

function isAllowed(origin: string | null, request: HttpRequest, { origins }: CookieSettings): boolean {
  return origin !== null && (origins.includes(origin) || ownOrigins(request).includes(origin))
}

// Browsers send Secure cookies only over HTTPS or to localhost, so the scheme of the page is known even behind a proxy.
function ownOrigins(request: HttpRequest): (string | null)[] {
  const host = request.header('host') ?? ''
  if (!/^[\w.:[\]-]+$/.test(host)) return []
  const isHere = /^(?:(?:[\w-]+\.)*localhost|127(?:\.\d{1,3}){3}|\[::1\])(?::\d+)?$/i.test(host)
  return [originOf(`https://${host}`), ...(isHere ? [originOf(`http://${host}`)] : [])]
}

/** Returns the origin of a URL as browsers write it, or null for an invalid URL. */
export function originOf(url: string): string | null {
  try {
    return new URL(url).origin
  } catch {
    return null
  }
}
