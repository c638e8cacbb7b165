import { readFileSync } from 'node:fs'
import { Api, HttpResponse, type Perms, Resource } from 'objection-perms'

const types = { 'cookies.html': 'text/html; charset=utf-8', 'cookies.js': 'text/javascript; charset=utf-8' }

// Nothing inline, nothing from elsewhere, in nobody's frame.
const contentSecurityPolicy = [
  "default-src 'none'",
  "script-src 'self'",
  "connect-src 'self'",
  'img-src data:',
  "base-uri 'none'",
  "form-action 'none'",
  "frame-ancestors 'none'",
].join('; ')

const headers = {
  'content-security-policy': contentSecurityPolicy,
  'x-content-type-options': 'nosniff',
  'referrer-policy': 'no-referrer',
  'cache-control': 'no-cache',
}

/** The page that signs in with cookies, `/cookies.html`, where they are on. An API of its own: pages are not described as JSON. */
export function zooPages(perms: Perms): Api {
  const pages = new Resource({ path: '/' })
  for (const [name, type] of Object.entries(types)) {
    const body = readFileSync(new URL(`pages/${name}`, import.meta.url))
    pages.endpoint({
      method: 'GET',
      path: name,
      public: true,
      ignoresCredentials: true,
      anyFormat: true,
      handler: () => new HttpResponse(200, { ...headers, 'content-type': type }, body),
    })
  }
  return new Api({ openapi: false, jwks: false, resources: perms.options.cookies ? [pages] : [] })
}
