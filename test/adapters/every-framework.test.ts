import { createServer, type RequestListener, type Server } from 'node:http'
import { type AddressInfo, connect } from 'node:net'
import { serve } from '@hono/node-server'
import { expect } from 'chai'
import express from 'express'
import { fastify } from 'fastify'
import { Hono } from 'hono'
import { HTTPException } from 'hono/http-exception'
import Koa from 'koa'
import { expressAdapter } from '../../src/adapters/express.js'
import { fastifyAdapter } from '../../src/adapters/fastify.js'
import { fetchAdapter } from '../../src/adapters/fetch.js'
import { honoAdapter } from '../../src/adapters/hono.js'
import { koaAdapter } from '../../src/adapters/koa.js'
import { nodeAdapter } from '../../src/adapters/node.js'
import { CrudResource } from '../../src/http/crud/crud-resource.js'
import { Api } from '../../src/http/serve/api.js'
import { openZoo, UserDocument, type Zoo } from '../conformance/zoo.js'

interface Running {
  readonly url: string
  close(): Promise<void>
}

interface Options {
  readonly onError: (error: unknown) => void
}

const api = () => new Api({ prefix: '/api', resources: [new CrudResource({ model: UserDocument, path: 'documents' })] })

// The application's own handler at /mine throws this, as handlers of the framework do.
const mine = () => Object.assign(new Error('mine'), { status: 418, statusCode: 418, expose: true })

function listen(listener: RequestListener): Promise<Running> {
  return running(createServer(listener).listen(0, '127.0.0.1'))
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

/** An application of each framework with the API below /v1, and what its own error at /mine becomes. */
const frameworks: Readonly<Record<string, { start(zoo: Zoo, options: Options): Promise<Running>; own: [number, RegExp] }>> = {
  express: {
    start: async ({ perms }, options) => {
      const { authenticate, router, errorHandler } = expressAdapter(perms, options)
      const app = express().set('env', 'test')
      app.use(authenticate())
      app.use('/v1', router(api()))
      app.get('/mine', () => {
        throw mine()
      })
      app.use(errorHandler())
      return await listen(app)
    },
    own: [418, /mine/],
  },
  koa: {
    start: async ({ perms }, options) => {
      const { authenticate, router, errorHandler } = koaAdapter(perms, options)
      const app = new Koa()
      app.silent = true
      app.use(errorHandler())
      app.use(authenticate())
      const below = router(api())
      // As koa-mount does.
      app.use(async (ctx, next) => {
        const { path } = ctx
        if (!path.startsWith('/v1/')) return await next()
        ctx.path = path.slice(3)
        try {
          return await below(ctx, next)
        } finally {
          ctx.path = path
        }
      })
      app.use(async (ctx) => {
        if (ctx.path === '/mine') throw mine()
      })
      return await listen(app.callback())
    },
    own: [418, /^mine$/],
  },
  fastify: {
    start: async ({ perms }, options) => {
      const { authenticate, router, errorHandler } = fastifyAdapter(perms, options)
      const app = fastify({ forceCloseConnections: true })
      app.setErrorHandler(errorHandler())
      app.register(authenticate())
      app.register(router(api()), { prefix: '/v1' })
      app.get('/mine', async () => {
        throw mine()
      })
      const url = await app.listen({ port: 0, host: '127.0.0.1' })
      return { url, close: () => app.close() }
    },
    own: [418, /"message":"mine"/],
  },
  hono: {
    start: async ({ perms }, options) => {
      const { authenticate, router, errorHandler } = honoAdapter(perms, options)
      const below = new Hono()
      below.use(router(api(), { base: '/v1' }))
      const app = new Hono()
      app.onError(errorHandler())
      app.use(authenticate())
      app.route('/v1', below)
      app.get('/mine', () => {
        throw new HTTPException(418, { message: 'mine' })
      })
      return await running(serve({ fetch: app.fetch, port: 0, hostname: '127.0.0.1' }) as Server)
    },
    own: [418, /^mine$/],
  },
  node: {
    start: async ({ perms }, options) => {
      const { authenticate, router, errorHandler } = nodeAdapter(perms, options)
      const below = router(api())
      return await listen(
        errorHandler(
          authenticate((req, res) => {
            const { url = '/' } = req
            if (url === '/mine') throw mine()
            if (!url.startsWith('/v1/')) return res.writeHead(404).end()
            return below(Object.assign(req, { originalUrl: url, url: url.slice(3) }), res)
          }),
        ),
      )
    },
    // The application has no other error handler.
    own: [500, /"code":"internal"/],
  },
}

describe('In every framework', function () {
  this.timeout(20_000)
  let zoo: Zoo
  before(async () => {
    zoo = await openZoo('better-sqlite3', { jwt: { secret: 'a secret of the tests, 32 bytes long', schemes: ['Token'] } })
  })
  after(() => zoo.close())
  const asAda = () => ({ authorization: `Bearer ${zoo.tokens.ada}` })

  for (const [name, { start, own }] of Object.entries(frameworks)) {
    describe(name, () => {
      let app: Running
      const errors: unknown[] = []
      before(async () => {
        app = await start(zoo, { onError: (error) => errors.push(error) })
      })
      after(() => app.close())

      it('the router can be mounted below a path, which Location and Link contain', async () => {
        const made = await fetch(`${app.url}/v1/api/documents/`, {
          method: 'POST',
          body: JSON.stringify({ title: 't', content: 'c' }),
          headers: { ...asAda(), 'content-type': 'application/json' },
        })
        expect(made.status, await made.clone().text()).to.equal(201)
        const location = made.headers.get('location') as string
        expect(location).to.match(/^\/v1\/api\/documents\/[0-9a-f-]{36}$/)
        expect((await fetch(app.url + location, { headers: asAda() })).status).to.equal(200)
        const list = await fetch(`${app.url}/v1/api/documents?pageSize=1`, { headers: asAda() })
        expect(list.headers.get('link')).to.equal('</v1/api/documents?pageSize=1&page=2>; rel="next"')
        expect((await fetch(`${app.url}/v1/api/documents`)).status).to.equal(401)
        expect((await fetch(`${app.url}/api/documents`, { headers: asAda() })).status).to.equal(404)
        expect((await fetch(`${app.url}/v1/api/nowhere`, { headers: asAda() })).status).to.equal(404)
      })

      it('a token in a scheme of jwt.schemes signs in, and a bad one gives 401 [promise 19]', async () => {
        const status = async (authorization: string) => (await fetch(`${app.url}/v1/api/documents`, { headers: { authorization } })).status
        expect(await status(`Token ${zoo.tokens.ada}`)).to.equal(200)
        expect(await status(`token ${zoo.tokens.ada}`)).to.equal(200)
        expect((await fetch(`${app.url}/mine`, { headers: { authorization: 'Token bad' } })).status).to.equal(401)
      })

      it("errors that are not the library's are answered in the framework's own manner", async () => {
        errors.length = 0
        const answer = await fetch(`${app.url}/mine`)
        expect(answer.status).to.equal(own[0])
        expect(await answer.text()).to.match(own[1])
        // Where the framework has its own way to tell of them, the library does not.
        expect(errors).to.have.length(name === 'node' ? 1 : 0)
      })

      it('a client that disconnects while sending its body causes no server error, and the next request is served', async () => {
        errors.length = 0
        const count = async () => {
          const answer = await fetch(`${app.url}/v1/api/documents`, { headers: asAda() })
          return ((await answer.json()) as { pagination: { total: number } }).pagination.total
        }
        const before = await count()
        for (const ending of ['destroy', 'end'] as const) {
          await new Promise<void>((resolve) => {
            const socket = connect(Number(new URL(app.url).port), '127.0.0.1', () => {
              socket.write(
                `POST /v1/api/documents HTTP/1.1\r\nHost: x\r\nAuthorization: ${asAda().authorization}\r\nContent-Type: application/json\r\nContent-Length: 100\r\n\r\n{"title":`,
              )
              setTimeout(() => socket[ending](), 30)
            })
            socket.on('error', () => undefined)
            socket.resume()
            socket.on('close', () => resolve())
          })
        }
        expect(await count()).to.equal(before)
        expect(errors).to.deep.equal([])
      })
    })
  }

  describe('hono, after a middleware has read the body', () => {
    for (const how of ['text', 'json', 'arrayBuffer'] as const) {
      it(`with c.req.${how}(), still provides the body`, async () => {
        const { authenticate, router } = honoAdapter(zoo.perms)
        const app = new Hono()
        app.use(async (c, next) => {
          await c.req[how]()
          await next()
        })
        app.use(authenticate(), router(api()))
        const post = (body: string) =>
          app.request('/api/documents', { method: 'POST', body, headers: { ...asAda(), 'content-type': 'application/json' } })
        expect((await post('{"title":"read","content":"before"}')).status).to.equal(201)
        expect((await post('{"title":"read"}')).status).to.equal(422)
        expect((await post(`{"title":"${'x'.repeat(1024 * 1024)}"}`)).status).to.equal(413)
      })
    }
  })

  describe('the fetch adapter', () => {
    const request = (path: string, init: RequestInit = {}) => new Request(`https://example.com${path}`, { ...init, headers: asAda() })

    it('passes on the other arguments of Next.js, SvelteKit, Bun and Deno', async () => {
      const seen: unknown[] = []
      const { authenticate, router, requireUser } = fetchAdapter(zoo.perms, {
        address: (_request, ...rest) => {
          seen.push(rest)
          return '203.0.113.9'
        },
      })
      const context = { params: Promise.resolve({ path: ['own'] }) }
      const handler = authenticate(
        router(
          api(),
          requireUser((_request, given) => Response.json({ isSame: given === context })),
        ),
      )
      expect(await (await handler(request('/own'), context)).json()).to.deep.equal({ isSame: true })
      expect((await handler(request('/api/documents'), context)).status).to.equal(200)
      expect((await handler(new Request('https://example.com/own'), context)).status).to.equal(401)
      for (const rest of seen) expect(rest).to.deep.equal([context])
    })

    it("answers the library's errors and rethrows others", async () => {
      const { errorHandler, requireRole } = fetchAdapter(zoo.perms)
      const broken = errorHandler(() => {
        throw mine()
      })
      const thrown = await Promise.resolve(broken(request('/'))).catch((error: unknown) => error)
      expect(thrown).to.be.an('error').with.property('message', 'mine')
      expect((await errorHandler(requireRole('admin', () => new Response('in')))(request('/'))).status).to.equal(403)
    })
  })
})
