import { createServer, type RequestListener, type Server } from 'node:http'
import type { AddressInfo } from 'node:net'
import type Express from 'express'
import type KoaApplication from 'koa'
import { expressAdapter } from '../../src/adapters/express.js'
import { fastifyAdapter } from '../../src/adapters/fastify.js'
import { fetchAdapter } from '../../src/adapters/fetch.js'
import { honoAdapter } from '../../src/adapters/hono.js'
import { koaAdapter } from '../../src/adapters/koa.js'
import { nodeAdapter } from '../../src/adapters/node.js'
import { ValidationError } from '../../src/core/errors.js'
import type { PermsPort } from '../../src/http/core/ports.js'
import type { Api } from '../../src/http/serve/api.js'
import { currentUserId } from '../../src/policy/context.js'
import { Role } from '../../src/users/roles.js'

/** An application in one framework: the API, and own routes beside it. */
export interface App {
  readonly url: string
  close(): Promise<void>
}

export type Start = (perms: PermsPort, api: Api) => Promise<App>

const silent = { onError: () => undefined }

async function listen(listener: RequestListener): Promise<App> {
  const server = createServer(listener)
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  return appOf(server)
}

function appOf(server: Server): App {
  return {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    close: () =>
      new Promise((resolve) => {
        server.close(() => resolve())
        server.closeAllConnections()
      }),
  }
}

const who = () => JSON.stringify({ id: currentUserId() })
const reports = () => JSON.stringify({ reports: 'all' })
const invalid = () => {
  throw new ValidationError('No.', [{ field: 'x', message: 'is wrong' }])
}
/** Which API keys an own route takes. */
const readers = { abilities: ['documents:read'] }
const json = { 'content-type': 'application/json; charset=utf-8' }

// Named indirectly: the older versions are installed under names of their own, without types.
const load = async <T>(name: string): Promise<T> => (await import(name)) as T

/** With the application's own body parser in front, where `parse` says so. */
function express(parse: boolean, name = 'express'): Start {
  return async (perms, api) => {
    const { default: make } = await load<{ default: typeof Express }>(name)
    const { authenticate, router, requireUser, requireRole, errorHandler } = expressAdapter(perms, silent)
    const app = make()
    app.set('env', 'test')
    app.disable('etag')
    app.use(authenticate())
    if (parse) app.use(make.json(), make.urlencoded({ extended: false }))
    app.use(router(api))
    app.get('/who', async (_req, res) => {
      await new Promise(setImmediate)
      res.type('json').send(who())
    })
    app.get('/account', requireUser(), (_req, res) => void res.type('json').send(who()))
    app.get('/reports', requireRole(Role.ADMIN), async (_req, res) => void res.type('json').send(reports()))
    app.get('/shelf', requireUser(readers), (_req, res) => void res.type('json').send(who()))
    app.get('/archive', requireRole(Role.ADMIN, readers), (_req, res) => void res.type('json').send(reports()))
    app.get('/invalid', invalid)
    app.use(errorHandler())
    return await listen(app)
  }
}

function koa(parse: boolean, name = 'koa'): Start {
  return async (perms, api) => {
    const { default: Koa } = await load<{ default: typeof KoaApplication }>(name)
    const { bodyParser } = await import('@koa/bodyparser')
    const { authenticate, router, requireUser, requireRole, errorHandler } = koaAdapter(perms, silent)
    const app = new Koa()
    app.silent = true
    app.use(errorHandler())
    app.use(authenticate())
    if (parse) app.use(bodyParser())
    app.use(router(api))
    const guards: Record<string, ReturnType<typeof requireUser>> = {
      '/account': requireUser(),
      '/reports': requireRole(Role.ADMIN),
      '/shelf': requireUser(readers),
      '/archive': requireRole(Role.ADMIN, readers),
    }
    app.use(async (ctx, next) => {
      const guard = guards[ctx.path]
      await (guard ? guard(ctx, next) : next())
    })
    app.use(async (ctx) => {
      await new Promise(setImmediate)
      if (ctx.path === '/invalid') invalid()
      if (ctx.path !== '/who' && !guards[ctx.path]) return
      ctx.type = 'json'
      ctx.body = ['/reports', '/archive'].includes(ctx.path) ? reports() : who()
    })
    return await listen(app.callback())
  }
}

const node: Start = async (perms, api) => {
  const { authenticate, router, requireUser, requireRole, errorHandler } = nodeAdapter(perms, silent)
  const send = (text: () => string) => async (_req: unknown, res: import('node:http').ServerResponse) => {
    await new Promise(setImmediate)
    res.setHeader('content-type', json['content-type'])
    res.end(text())
  }
  const own: Record<string, Parameters<typeof authenticate>[0]> = {
    '/who': send(who),
    '/account': requireUser(send(who)),
    '/reports': requireRole(Role.ADMIN, send(reports)),
    '/shelf': requireUser(send(who), readers),
    '/archive': requireRole(Role.ADMIN, send(reports), readers),
    '/invalid': invalid,
  }
  const otherwise: Parameters<typeof authenticate>[0] = (req, res) => {
    const handler = own[(req.url ?? '').split('?')[0] as string]
    return handler ? handler(req, res) : res.writeHead(404).end()
  }
  return await listen(errorHandler(authenticate(router(api, otherwise))))
}

/** The fetch adapter behind a small bridge from node:http. */
const fetch: Start = async (perms, api) => {
  const { authenticate, router, requireUser, requireRole, errorHandler } = fetchAdapter(perms, silent)
  const send = (text: () => string) => async () =>
    new Response(text(), { headers: { ...json, 'content-length': String(Buffer.byteLength(text())) } })
  const own: Record<string, Parameters<typeof authenticate>[0]> = {
    '/who': send(who),
    '/account': requireUser(send(who)),
    '/reports': requireRole(Role.ADMIN, send(reports)),
    '/shelf': requireUser(send(who), readers),
    '/archive': requireRole(Role.ADMIN, send(reports), readers),
    '/invalid': invalid,
  }
  const handler = errorHandler(
    authenticate(
      router(api, (request, ...rest) => own[new URL(request.url).pathname]?.(request, ...rest) ?? new Response(null, { status: 404 })),
    ),
  )
  return await listen(async (req, res) => {
    const headers = new Headers()
    for (let i = 0; i < req.rawHeaders.length; i += 2) headers.append(req.rawHeaders[i] as string, req.rawHeaders[i + 1] as string)
    const { Readable } = await import('node:stream')
    const hasBody = req.method !== 'GET' && req.method !== 'HEAD'
    const init = { method: req.method ?? 'GET', headers, ...(hasBody && { body: Readable.toWeb(req), duplex: 'half' }) } as RequestInit
    const response = await handler(new Request(`http://127.0.0.1${req.url}`, init))
    const cookies = response.headers.getSetCookie()
    res.writeHead(response.status, { ...Object.fromEntries(response.headers), ...(cookies.length > 0 && { 'set-cookie': cookies }) })
    res.end(Buffer.from(await response.arrayBuffer()))
  })
}

interface HonoModule {
  Hono: new () => {
    use(...handlers: unknown[]): void
    get(path: string, ...handlers: unknown[]): void
    onError(handler: unknown): void
    fetch(request: Request): Promise<Response>
  }
}

const hono: Start = async (perms, api) => {
  const { Hono } = await load<HonoModule>('hono')
  const { serve } = await load<{ serve(options: object, listening: () => void): Server }>('@hono/node-server')
  const { authenticate, router, requireUser, requireRole, errorHandler } = honoAdapter(perms, silent)
  const app = new Hono()
  const send = (text: () => string) => async () => {
    await new Promise(setImmediate)
    return new Response(text(), { headers: json })
  }
  app.use(authenticate())
  app.use(router(api))
  app.get('/who', send(who))
  app.get('/account', requireUser(), send(who))
  app.get('/reports', requireRole(Role.ADMIN), send(reports))
  app.get('/shelf', requireUser(readers), send(who))
  app.get('/archive', requireRole(Role.ADMIN, readers), send(reports))
  app.get('/invalid', invalid)
  app.onError(errorHandler())
  const server = await new Promise<Server>((resolve) => {
    const made = serve({ fetch: app.fetch, port: 0, hostname: '127.0.0.1' }, () => resolve(made))
  })
  return appOf(server)
}

interface FastifyModule {
  default: (options: object) => {
    register(plugin: unknown, options?: object): void
    get(path: string, ...rest: unknown[]): void
    setErrorHandler(handler: unknown): void
    listen(options: object): Promise<string>
    close(): Promise<void>
  }
}

const fastify: Start = async (perms, api) => {
  const { default: make } = await load<FastifyModule>('fastify')
  const { authenticate, router, requireUser, requireRole, errorHandler } = fastifyAdapter(perms, silent)
  const app = make({ forceCloseConnections: true })
  app.setErrorHandler(errorHandler())
  app.register(authenticate())
  app.register(router(api))
  const send = (text: () => string) => async (_request: unknown, reply: { type(type: string): unknown }) => {
    await new Promise(setImmediate)
    reply.type(json['content-type'])
    return text()
  }
  app.register((own: ReturnType<FastifyModule['default']>, _options: object, done: () => void) => {
    own.get('/who', send(who))
    own.get('/account', { onRequest: requireUser() }, send(who))
    own.get('/reports', { onRequest: requireRole(Role.ADMIN) }, send(reports))
    own.get('/shelf', { onRequest: requireUser(readers) }, send(who))
    own.get('/archive', { onRequest: requireRole(Role.ADMIN, readers) }, send(reports))
    own.get('/invalid', async () => invalid())
    done()
  })
  const url = await app.listen({ port: 0, host: '127.0.0.1' })
  return { url, close: () => app.close() }
}

/** Every framework, some with a body parser before the library; one that is not installed fails. */
export const apps: Readonly<Record<string, Start>> = {
  express: express(false),
  'express with body parsers': express(true),
  'express 4': express(false, 'express-4'),
  'express 4 with body parsers': express(true, 'express-4'),
  koa: koa(false),
  'koa with a body parser': koa(true),
  'koa 2': koa(false, 'koa-2'),
  'koa 2 with a body parser': koa(true, 'koa-2'),
  node,
  fetch,
  fastify,
  hono,
}
