import { createServer, type RequestListener, type Server } from 'node:http'
import type { AddressInfo } from 'node:net'
import { serve } from '@hono/node-server'
import { expect } from 'chai'
import type Express from 'express'
import { fastify } from 'fastify'
import { Hono } from 'hono'
import Koa from 'koa'
import { expressAdapter } from '../../src/adapters/express.js'
import { fastifyAdapter } from '../../src/adapters/fastify.js'
import { fetchAdapter } from '../../src/adapters/fetch.js'
import { honoAdapter } from '../../src/adapters/hono.js'
import { koaAdapter } from '../../src/adapters/koa.js'
import { nodeAdapter } from '../../src/adapters/node.js'
import { Api, CrudResource, currentUserId, type Perms, User, UserResource } from '../../src/index.js'
import { openZoo, UserDocument, type Zoo } from '../conformance/zoo.js'

interface Running {
  readonly url: string
  close(): Promise<void>
}

/** The calls of the application's own routes, with their callers. */
type Seen = (string | null)[]

/** Where a router is mounted: at the root, below a path, or in an application inside another. */
type Place = '' | '/v1'

class OpenUser extends User {
  static override tableName = 'user'
  static override publicRegistration = true
}

const api = () =>
  new Api({
    prefix: '/api',
    resources: [new UserResource({ model: OpenUser as never }), new CrudResource({ model: UserDocument, path: 'documents' })],
  })

async function listen(listener: RequestListener): Promise<Running> {
  const server = createServer(listener)
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  return running(server)
}

async function running(server: Server): Promise<Running> {
  if (!server.listening) await new Promise<void>((resolve) => server.once('listening', resolve))
  return {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    close: () =>
      new Promise((resolve) => {
        server.close(() => resolve())
        server.closeAllConnections()
      }),
  }
}

const load = async <T>(name: string): Promise<T> => (await import(name)) as T
/** Whether the application's own routes ask who is calling. */
let isAsking = true
const whoCalls = () => (isAsking ? currentUserId() : 'nobody asked')

const silent = { onError: () => undefined }
const ownPath = /^\/(?:teams\/7|own|before)\/|^\/v2\//

type Start = (perms: Perms, place: Place, seen: Seen) => Promise<Running>

function express(name: string, isNested: boolean): Start {
  return async (perms, place, seen) => {
    const { default: make } = await load<{ default: typeof Express }>(name)
    const { authenticate, router, errorHandler } = expressAdapter(perms, silent)
    const app = make().set('env', 'test')
    app.use(authenticate())
    const own: Express.RequestHandler = (_req, res) => {
      seen.push(whoCalls())
      res.json({})
    }
    app.use('/before', own)
    if (place === '') app.use(router(api()))
    else if (isNested) {
      const inner = make()
      inner.use(router(api()))
      app.use(place, make.Router().use(inner))
    } else app.use(place, router(api()))
    app.use((req, res, next) => (ownPath.test(req.originalUrl) ? own(req, res, next) : next()))
    app.use(errorHandler())
    return await listen(app)
  }
}

const frameworks: Readonly<Record<string, Start>> = {
  'express 5': express('express', false),
  'express 5, in an application inside another': express('express', true),
  'express 4': express('express-4', false),
  'express 4, in an application inside another': express('express-4', true),
  koa: async (perms, place, seen) => {
    const { authenticate, router, errorHandler } = koaAdapter(perms, silent)
    const app = new Koa()
    app.silent = true
    app.use(errorHandler())
    app.use(authenticate())
    app.use(async (ctx, next) => {
      if (!ctx.path.startsWith('/before/')) return await next()
      seen.push(whoCalls())
      ctx.body = {}
    })
    const below = router(api())
    // As koa-mount does.
    app.use(async (ctx, next) => {
      const { path } = ctx
      if (!path.startsWith(`${place}/`)) return await next()
      ctx.path = path.slice(place.length)
      try {
        return await below(ctx, async () => {
          ctx.path = path
          await next()
          ctx.path = path.slice(place.length)
        })
      } finally {
        ctx.path = path
      }
    })
    app.use(async (ctx) => {
      if (!ownPath.test(ctx.path)) return
      seen.push(whoCalls())
      ctx.body = {}
    })
    return await listen(app.callback())
  },
  fastify: async (perms, place, seen) => {
    const { authenticate, router, errorHandler } = fastifyAdapter(perms, silent)
    const app = fastify({ forceCloseConnections: true })
    app.setErrorHandler(errorHandler())
    app.register(authenticate())
    app.register(router(api()), { prefix: place })
    for (const prefix of ['/teams/7', '/own', '/before', '/v2'])
      app.all(`${prefix}/*`, async () => {
        seen.push(whoCalls())
        return {}
      })
    return { url: await app.listen({ port: 0, host: '127.0.0.1' }), close: () => app.close() }
  },
  hono: async (perms, place, seen) => {
    const { authenticate, router, errorHandler } = honoAdapter(perms, silent)
    const app = new Hono()
    app.onError(errorHandler())
    app.use(authenticate())
    if (place === '') app.use(router(api()))
    else app.route(place, new Hono().use(router(api(), { base: place })))
    app.all('*', (c) => {
      if (!ownPath.test(c.req.path)) return c.notFound()
      seen.push(whoCalls())
      return c.json({})
    })
    return await running(serve({ fetch: app.fetch, port: 0, hostname: '127.0.0.1' }) as Server)
  },
  'hono, in an application that is mounted': async (perms, place, seen) => {
    const { authenticate, router, errorHandler } = honoAdapter(perms, silent)
    const app = new Hono()
    app.onError(errorHandler())
    app.use(authenticate())
    const inner = new Hono().use(router(api()))
    if (place === '') app.use(router(api()))
    else app.mount(place, inner.fetch)
    app.all('*', (c) => {
      if (!ownPath.test(c.req.path)) return c.notFound()
      seen.push(whoCalls())
      return c.json({})
    })
    return await running(serve({ fetch: app.fetch, port: 0, hostname: '127.0.0.1' }) as Server)
  },
  fetch: async (perms, place, seen) => {
    const { authenticate, router, errorHandler } = fetchAdapter(perms, silent)
    const below = router(api())
    const handler = errorHandler(
      authenticate((request) => {
        const url = new URL(request.url)
        if (ownPath.test(url.pathname)) {
          seen.push(whoCalls())
          return new Response('{}')
        }
        if (!url.pathname.startsWith(`${place}/`)) return new Response('', { status: 404 })
        url.pathname = url.pathname.slice(place.length)
        return below(place === '' ? request : new Request(url, request))
      }),
    )
    return await running(serve({ fetch: handler as never, port: 0, hostname: '127.0.0.1' }) as Server)
  },
  node: async (perms, place, seen) => {
    const { authenticate, router, errorHandler } = nodeAdapter(perms, silent)
    const below = router(api())
    return await listen(
      errorHandler(
        authenticate((req, res) => {
          const { url = '/' } = req
          if (ownPath.test(url)) {
            seen.push(whoCalls())
            return res.end('{}')
          }
          if (!url.startsWith(`${place}/`)) return res.writeHead(404).end()
          return below(place === '' ? req : Object.assign(req, { originalUrl: url, url: url.slice(place.length) }), res)
        }),
      ),
    )
  },
}

describe('Routes that ignore credentials', function () {
  this.timeout(30_000)
  let zoo: Zoo
  before(async () => {
    zoo = await openZoo()
  })
  after(() => zoo.close())

  for (const [name, start] of Object.entries(frameworks)) {
    for (const place of ['', '/v1'] as const) {
      describe(`${name}, mounted at ${place || 'the root'}`, () => {
        let app: Running
        const seen: Seen = []
        before(async () => {
          app = await start(zoo.perms as unknown as Perms, place, seen)
        })
        after(() => app.close())
        beforeEach(() => {
          seen.length = 0
        })
        const send = async (method: string, path: string, authorization?: string) => {
          const answer = await fetch(app.url + path, {
            method,
            headers: { ...(authorization && { authorization }), ...(method === 'POST' && { 'content-type': 'application/json' }) },
            ...(method === 'POST' && { body: '{}' }),
          })
          return answer.status
        }
        const bad = 'Bearer bad'

        it('are those of the mounted API, from the first request on [promise 70]', async () => {
          for (const path of ['/api/users/login', '/api/users/login/', '/api/users/refresh', '/api/users', '/api/users/'])
            for (const given of [bad, 'Bearer', `Bearer ${zoo.tokens.ada}`, undefined])
              expect(await send('POST', place + path, given), `${path} ${given}`).to.equal(422)
        })

        it('are no other routes of the API, with any method and spelling [promise 70]', async () => {
          for (const [method, path] of [
            ['GET', '/api/users'],
            ['HEAD', '/api/users'],
            ['GET', '/api/users/login'],
            ['PUT', '/api/users/login'],
            ['POST', '/api/documents'],
            ['POST', '/api/users/logout'],
            ['POST', '/api/users/LOGIN'],
            ['POST', '/api/users/log%69n'],
            ['POST', '/api//users/login'],
            ['POST', '/api/users/login//'],
            ['POST', '/api/x/../users/log%69n'],
            ['GET', '/openapi.json'],
            ['GET', '/docs'],
          ] as const)
            expect(await send(method, place + path, bad), `${method} ${path}`).to.be.oneOf([401])
        })

        it('are not routes of the application without authenticate(): an invalid token gives 401 there too [promise 70]', async () => {
          isAsking = false
          try {
            for (const base of ['/teams/7', '/before']) {
              expect(await send('POST', `${base}/api/users`, bad)).to.equal(401)
              expect(await send('POST', `${base}/api/users`)).to.equal(200)
            }
          } finally {
            isAsking = true
          }
        })

        it('are no routes of the application with the same ending: an invalid token gives 401, and a valid one identifies the caller [promise 70]', async () => {
          for (const base of ['/teams/7', '/own', '/before', '/v2'])
            for (const path of ['/api/users', '/api/users/', '/api/users/login', '/api/users/login/', '/x/api/users/refresh']) {
              seen.length = 0
              expect(await send('POST', base + path, bad), base + path).to.equal(401)
              expect(seen).to.deep.equal([])
              expect(await send('POST', base + path, `Bearer ${zoo.tokens.ada}`), base + path).to.equal(200)
              expect(await send('POST', base + path), base + path).to.equal(200)
              expect(seen).to.deep.equal([zoo.ids.ada, null])
            }
        })
      })
    }
  }
})
