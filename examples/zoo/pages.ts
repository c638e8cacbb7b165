import { readFileSync } from 'node:fs'
import { Api, HttpResponse, type Perms, Resource } from 'objection-perms'

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

const types = { html: 'text/html; charset=utf-8', js: 'text/javascript; charset=utf-8' }

/** Where links in mails lead. */
const linked = ['verify-email', 'reset-password', 'change-email', 'magic-link', 'invitation']

const cookiePages = ['cookies.html', 'cookies.js', 'code.html', 'code.js']

/**
 * The pages that links in mails lead to, and, where cookies are on, those that sign in with them, by password (`/cookies.html`) and by
 * a mailed code (`/code.html`). An API of its own: pages are not described as JSON.
 */
export function zooPages(perms: Perms): Api {
  const pages = new Resource({ path: '/' })
  const add = (file: string, path = file) => {
    const type = types[file.endsWith('.html') ? 'html' : 'js']
    const body = readFileSync(new URL(`pages/${file}`, import.meta.url))
    pages.endpoint({
      method: 'GET',
      path,
      public: true,
      ignoresCredentials: true,
      anyFormat: true,
      handler: () => new HttpResponse(200, { ...headers, 'content-type': type }, body),
    })
  }
  for (const path of linked) add('link.html', path)
  for (const file of ['link.js', 'users.js', 'passkeys.html', 'passkeys.js', ...(perms.options.cookies ? cookiePages : [])]) add(file)
  return new Api({ openapi: false, jwks: false, resources: [pages] })
}
