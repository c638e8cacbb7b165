import { type Choices, type Framework, importExtension, typesOf } from '../choices.js'

type TypeText = (text: string) => string

/** Returns the module with the API and the function that serves it. */
export function appModule(choices: Choices, title: string): string {
  const ts = typesOf(choices)
  const extension = importExtension(choices)
  const { imports, body } = servers[choices.framework](ts)
  const packages = [...imports, "import { Api, CrudResource, UserResource } from 'objection-perms'", adapterImport(choices.framework)]
  return `${choices.framework === 'fastify' ? '' : "import { once } from 'node:events'\n"}${ts("import type { Server } from 'node:http'\n")}${packages.sort(byModule).join('\n')}
import { Note } from './models.${extension}'
import { perms } from './perms.${extension}'

export const api = new Api({
  title: ${quoted(title)},
  version: '1.0.0',
  prefix: '/api',
  resources: [
    new UserResource(), // /api/users/, with login/, refresh/, logout/ and me/. Only admins create users
    new CrudResource({ model: Note, path: 'notes' }), // /api/notes/, for signed-in users
  ],
})

/** Serves the API. Returns the server when it listens. */
export async function start(port${ts(': number')}, host${ts(': string')})${ts(': Promise<Server>')} {
${body}
}
`
}

const adapterImport = (framework: Framework) => `import { ${framework}Adapter } from 'objection-perms/${framework}'`

const moduleOf = (line: string) => /from '(.+)'$/.exec(line)?.[1] ?? ''
const byModule = (a: string, b: string) => (moduleOf(a) < moduleOf(b) ? -1 : 1)

/** A string literal in single quotes, for a text that the application's package.json determines. */
const quoted = (text: string) => `'${JSON.stringify(text).slice(1, -1).replaceAll('\\"', '"').replaceAll("'", "\\'")}'`

const servers: Readonly<Record<Framework, (ts: TypeText) => { imports: string[]; body: string }>> = {
  express: () => ({
    imports: ["import express from 'express'"],
    body: `  const { authenticate, router, errorHandler } = expressAdapter(perms)
  const app = express()
  app.disable('x-powered-by')
  app.use(authenticate()) // every handler below runs as the caller
  app.use(router(api))
  // Your own routes come here.
  app.use(errorHandler())
  const server = app.listen(port, host)
  await once(server, 'listening')
  return server`,
  }),
  koa: () => ({
    imports: ["import Koa from 'koa'"],
    body: `  const { authenticate, router, errorHandler } = koaAdapter(perms)
  const app = new Koa()
  app.use(errorHandler())
  app.use(authenticate()) // every handler below runs as the caller
  app.use(router(api))
  // Your own routes come here.
  const server = app.listen(port, host)
  await once(server, 'listening')
  return server`,
  }),
  fastify: () => ({
    imports: ["import { fastify } from 'fastify'"],
    body: `  const { authenticate, router, errorHandler } = fastifyAdapter(perms)
  const app = fastify()
  app.setErrorHandler(errorHandler())
  app.register(authenticate()) // every route below runs as the caller
  app.register(router(api))
  // Your own routes come here.
  await app.listen({ port, host })
  return app.server`,
  }),
  hono: (ts) => ({
    imports: ["import { serve } from '@hono/node-server'", "import { Hono } from 'hono'"],
    body: `  const { authenticate, router, errorHandler } = honoAdapter(perms)
  const app = new Hono()
  app.onError(errorHandler())
  app.use(authenticate()) // every handler below runs as the caller
  app.use(router(api))
  // Your own routes come here.
  const server = serve({ fetch: app.fetch, port, hostname: host })${ts(' as Server')}
  await once(server, 'listening')
  return server`,
  }),
}
