import { createServer, type RequestListener, type Server } from 'node:http'
import type { AddressInfo } from 'node:net'
import type { ReadableStream } from 'node:stream/web'
import type Express from 'express'
import type KoaApplication from 'koa'
import { expressAdapter } from '../../src/adapters/express.js'
import { fastifyAdapter } from '../../src/adapters/fastify.js'
import { type FetchHandler, fetchAdapter } from '../../src/adapters/fetch.js'
import { honoAdapter } from '../../src/adapters/hono.js'
import { type KoaContext, koaAdapter } from '../../src/adapters/koa.js'
import { type NodeHandler, nodeAdapter } from '../../src/adapters/node.js'
import type { CallerOptions } from '../../src/http/caller/request-authenticator.js'
import type { PermsPort } from '../../src/http/core/ports.js'
import type { Api } from '../../src/http/serve/api.js'
import { type ApplicationRoute, applicationRoutes } from '../../src/testing/conformance/routes.js'

/** An application in one framework: the API, and own routes beside it. */
export interface App {
  readonly url: string
  close(): Promise<void>
}

export type Start = (perms: PermsPort, api: Api, routes?: readonly ApplicationRoute[]) => Promise<App>

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

const textOf = async ({ handler }: ApplicationRoute) => JSON.stringify(await handler())
const json = { 'content-type': 'application/json; charset=utf-8' }

/** Returns the guard of a route, if it has one. */
function guardsOf<G>(
  { requires }: ApplicationRoute,
  requireUser: (options?: CallerOptions) => G,
  requireRole: (role: string, options?: CallerOptions) => G,
): G[] {
  if (requires === undefined) return []
  return [requires.role === undefined ? requireUser(requires.options) : requireRole(requires.role, requires.options)]
}

/** Returns the handler with the guard of its route around it. */
function wrapped<H>(
  { requires }: ApplicationRoute,
  handler: H,
  requireUser: (handler: H, options?: CallerOptions) => H,
  requireRole: (role: string, handler: H, options?: CallerOptions) => H,
): H {
  if (requires === undefined) return handler
  return requires.role === undefined ? requireUser(handler, requires.options) : requireRole(requires.role, handler, requires.options)
}

// Named indirectly: the older versions are installed under names of their own, without types.
const load = async <T>(name: string): Promise<T> => (await import(name)) as T

/** With the application's own body parser in front, where `parse` says so. */
function express(parse: boolean, name = 'express'): Start {
  return async (perms, api, routes = applicationRoutes) => {
    const { default: make } = await load<{ default: typeof Express }>(name)
    const { authenticate, router, requireUser, requireRole, errorHandler } = expressAdapter(perms, silent)
    const app = make()
    app.set('env', 'test')
    app.disable('etag')
    app.use(authenticate())
    if (parse) app.use(make.json(), make.urlencoded({ extended: false }))
    app.use(router(api))
    for (const route of routes) {
      const guards = guardsOf(route, requireUser, requireRole)
      app.get(route.path, ...guards, async (_req, res, next) => {
        // Express 4 does not catch rejections.
        await textOf(route).then((text) => res.type('json').send(text), next)
      })
    }
    app.use(errorHandler())
    return await listen(app)
  }
}

function koa(parse: boolean, name = 'koa'): Start {
  return async (perms, api, routes = applicationRoutes) => {
    const { default: Koa } = await load<{ default: typeof KoaApplication }>(name)
    const { bodyParser } = await import('@koa/bodyparser')
    const { authenticate, router, requireUser, requireRole, errorHandler } = koaAdapter(perms, silent)
    const app = new Koa()
    app.silent = true
    app.use(errorHandler())
    app.use(authenticate())
    if (parse) app.use(bodyParser())
    app.use(router(api))
    for (const route of routes) {
      const [guard] = guardsOf(route, requireUser, requireRole)
      const answer = async (ctx: KoaContext) => {
        ctx.set('content-type', json['content-type'])
        ctx.body = await textOf(route)
      }
      app.use(async (ctx, next) => {
        if (ctx.path !== route.path) return await next()
        return await (guard ? guard(ctx, () => answer(ctx)) : answer(ctx))
      })
    }
    return await listen(app.callback())
  }
}

const node: Start = async (perms, api, routes = applicationRoutes) => {
  const { authenticate, router, requireUser, requireRole, errorHandler } = nodeAdapter(perms, silent)
  const own = new Map(
    routes.map((route) => {
      const send: NodeHandler = async (_req, res) => {
        const text = await textOf(route)
        res.setHeader('content-type', json['content-type'])
        res.end(text)
      }
      return [route.path, wrapped(route, send, requireUser, requireRole)]
    }),
  )
  const otherwise: NodeHandler = (req, res) => {
    const handler = own.get((req.url ?? '').split('?')[0] as string)
    return handler ? handler(req, res) : res.writeHead(404).end()
  }
  return await listen(errorHandler(authenticate(router(api, otherwise))))
}

/** The fetch adapter behind a small bridge from node:http. */
const fetch: Start = async (perms, api, routes = applicationRoutes) => {
  const { authenticate, router, requireUser, requireRole, errorHandler } = fetchAdapter(perms, silent)
  const own = new Map(
    routes.map((route) => {
      const send: FetchHandler = async () => {
        const text = await textOf(route)
        return new Response(text, { headers: { ...json, 'content-length': String(Buffer.byteLength(text)) } })
      }
      return [route.path, wrapped(route, send, requireUser, requireRole)]
    }),
  )
  const handler = errorHandler(
    authenticate(
      router(api, (request, ...rest) => own.get(new URL(request.url).pathname)?.(request, ...rest) ?? new Response(null, { status: 404 })),
    ),
  )
  return await listen(async (req, res) => {
    const headers = new Headers()
    for (let i = 0; i < req.rawHeaders.length; i += 2) headers.append(req.rawHeaders[i] as string, req.rawHeaders[i + 1] as string)
    const { pipeline, Readable } = await import('node:stream')
    const hasBody = req.method !== 'GET' && req.method !== 'HEAD'
    const init = { method: req.method ?? 'GET', headers, ...(hasBody && { body: Readable.toWeb(req), duplex: 'half' }) } as RequestInit
    const response = await handler(new Request(`http://127.0.0.1${req.url}`, init))
    const cookies = response.headers.getSetCookie()
    res.writeHead(response.status, { ...Object.fromEntries(response.headers), ...(cookies.length > 0 && { 'set-cookie': cookies }) })
    if (response.body) pipeline(Readable.fromWeb(response.body as ReadableStream), res, () => undefined)
    else res.end()
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

const hono: Start = async (perms, api, routes = applicationRoutes) => {
  const { Hono } = await load<HonoModule>('hono')
  const { serve } = await load<{ serve(options: object, listening: () => void): Server }>('@hono/node-server')
  const { authenticate, router, requireUser, requireRole, errorHandler } = honoAdapter(perms, silent)
  const app = new Hono()
  app.use(authenticate())
  app.use(router(api))
  for (const route of routes)
    app.get(route.path, ...guardsOf(route, requireUser, requireRole), async () => new Response(await textOf(route), { headers: json }))
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

const fastify: Start = async (perms, api, routes = applicationRoutes) => {
  const { default: make } = await load<FastifyModule>('fastify')
  const { authenticate, router, requireUser, requireRole, errorHandler } = fastifyAdapter(perms, silent)
  const app = make({ forceCloseConnections: true })
  app.setErrorHandler(errorHandler())
  app.register(authenticate())
  app.register(router(api))
  app.register((own: ReturnType<FastifyModule['default']>, _options: object, done: () => void) => {
    for (const route of routes) {
      const [onRequest] = guardsOf(route, requireUser, requireRole)
      own.get(route.path, onRequest ? { onRequest } : {}, async (_request: unknown, reply: { type(type: string): unknown }) => {
        reply.type(json['content-type'])
        return await textOf(route)
      })
    }
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
