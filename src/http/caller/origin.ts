import { ForeignOriginError } from '../core/errors.js'
import type { HttpRequest } from '../core/request.js'
import type { CookieSettings } from './cookies.js'

const safeMethods: readonly string[] = ['GET', 'HEAD', 'OPTIONS']

/**
 * Refuses a request that would change something and was not sent by a page of our own (OWASP: cross-site request forgery).
 *
 * @throws ForeignOriginError also where the request does not say whose page sent it
 */
export function assertOwnOrigin(request: HttpRequest, { origins }: CookieSettings): void {
  if (safeMethods.includes(request.method)) return
  const isOurs = (origin: string | null) => origin !== null && (origins.includes(origin) || ownOrigins(request).includes(origin))
  const origin = request.header('origin')
  if (origin !== undefined) {
    if (isOurs(origin)) return
    throw new ForeignOriginError(`Its Origin is neither this server's own nor one of initPerms({ cookies: { origins } }).`)
  }
  const site = request.header('sec-fetch-site')
  if (site === 'same-origin') return
  const referer = request.header('referer')
  if (site === undefined && referer !== undefined && isOurs(originOf(referer))) return
  throw new ForeignOriginError('It says no Origin: browsers do; other clients send one, or use a Bearer token.')
}

// Cookies marked Secure travel by HTTPS, or on the machine itself: whatever scheme a proxy speaks to us, the page's is known.
function ownOrigins(request: HttpRequest): (string | null)[] {
  const host = request.header('host') ?? ''
  if (!/^[\w.:[\]-]+$/.test(host)) return []
  const isHere = /^(?:(?:[\w-]+\.)*localhost|127(?:\.\d{1,3}){3}|\[::1\])(?::\d+)?$/i.test(host)
  return [originOf(`https://${host}`), ...(isHere ? [originOf(`http://${host}`)] : [])]
}

/** The origin of a URL as browsers write it, or null. */
export function originOf(url: string): string | null {
  try {
    return new URL(url).origin
  } catch {
    return null
  }
}
