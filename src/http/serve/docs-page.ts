import { existsSync, readFileSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { loadPackage } from '../../core/current-file.js'
import { Endpoint } from '../core/endpoint.js'
import { mountPathOf } from '../core/request.js'
import { HttpResponse } from '../core/response.js'

const assets: Readonly<Record<string, string>> = {
  'swagger-ui.css': 'text/css; charset=utf-8',
  'swagger-ui-bundle.js': 'text/javascript; charset=utf-8',
}

// The page loads files only from this server, has no inline scripts, and sends requests only to this server.
const contentSecurityPolicy = [
  "default-src 'none'",
  "script-src 'self'",
  "style-src 'self'",
  "img-src 'self' data:",
  "connect-src 'self'",
  "base-uri 'none'",
  "form-action 'none'",
  "frame-ancestors 'none'",
].join('; ')

const common = { 'x-content-type-options': 'nosniff', 'referrer-policy': 'no-referrer', 'content-security-policy': contentSecurityPolicy }

/** Returns the folder of swagger-ui-dist, or null if it is not installed. */
function swaggerUi(): string | null {
  try {
    const folder = dirname(loadPackage((require) => require.resolve('swagger-ui-dist/package.json')))
    return Object.keys(assets).every((name) => existsSync(join(folder, name))) ? folder : null
  } catch {
    return null
  }
}

/**
 * Returns the paths and endpoints of the page that shows the OpenAPI document. Returns none if the package swagger-ui-dist is not
 * installed.
 *
 * @param path the path of the page, such as `/docs`
 * @param document the path of the OpenAPI document, such as `/openapi.json`
 */
export function docsEndpoints(path: string, document: string, title: string): { readonly path: string; readonly endpoint: Endpoint }[] {
  const folder = swaggerUi()
  if (folder === null) return []
  const get = (below: string, answer: (base: string) => { type: string; body: string }) => ({
    path: below === '' ? path : `${path}/${below}`,
    endpoint: new Endpoint({
      method: 'GET',
      path: '',
      public: true,
      forgivesCookies: true,
      anyFormat: true,
      queryKeys: [],
      handler: ({ request }) => {
        const { type, body } = answer(mountPathOf(request))
        return new HttpResponse(200, { ...common, 'content-type': type, 'cache-control': 'no-cache' }, body)
      },
    }),
  })
  const read = new Map<string, string>()
  const asset = (name: string): string => {
    let text = read.get(name)
    if (text === undefined) {
      text = readFileSync(join(folder, name), 'utf8')
      read.set(name, text)
    }
    return text
  }
  return [
    get('', (base) => ({ type: 'text/html; charset=utf-8', body: page(base + path, base + document, title) })),
    get('start.js', () => ({ type: 'text/javascript; charset=utf-8', body: startScript })),
    ...Object.entries(assets).map(([name, type]) => get(name, () => ({ type, body: asset(name) }))),
  ]
}

const escapes: Readonly<Record<string, string>> = { '&': '&amp;', '<': '&lt;', '>': '&gt;', '"': '&quot;' }
const escaped = (text: string): string => text.replace(/[&<>"]/g, (character) => escapes[character] as string)

function page(base: string, document: string, title: string): string {
  return `<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>${escaped(title)}</title>
<link rel="icon" href="data:,">
<link rel="stylesheet" href="${escaped(base)}/swagger-ui.css">
</head>
<body>
<div id="docs" data-document="${escaped(document)}"></div>
<script src="${escaped(base)}/swagger-ui-bundle.js"></script>
<script src="${escaped(base)}/start.js"></script>
</body>
</html>
`
}

const startScript = `SwaggerUIBundle({
  url: document.getElementById('docs').dataset.document,
  dom_id: '#docs',
  deepLinking: true,
  validatorUrl: null,
  persistAuthorization: false,
})
`
