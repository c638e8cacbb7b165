import { ForeignOriginError } from '../core/errors.js'
import type { HttpRequest } from '../core/request.js'
import type { CookieSettings } from './cookies.js'

const safeMethods: readonly string[] = ['GET', 'HEAD', 'OPTIONS']

/**
 * Rejects a request that would change something and does not come from an allowed origin (OWASP: cross-site request forgery).
 *
 * @throws ForeignOriginError also if the request does not name its origin
 */
export function assertOwnOrigin(request: HttpRequest, { origins }: CookieSettings): void {
  if (safeMethods.includes(request.method)) return
  const isOurs = (origin: string | null) => origin !== null && (origins.includes(origin) || ownOrigins(request).includes(origin))
  const origin = request.header('origin')
  if (origin !== undefined) {
    if (isOurs(origin)) return
    throw new ForeignOriginError(`Its Origin is not this server's own origin. Add it to initPerms({ cookies: { origins } }) to allow it.`)
  }
  const site = request.header('sec-fetch-site')
  if (site === 'same-origin') return
  const referer = request.header('referer')
  if (site === undefined && referer !== undefined && isOurs(originOf(referer))) return
  throw new ForeignOriginError('It has no Origin header. Send one, or use a Bearer token instead of cookies.')
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
