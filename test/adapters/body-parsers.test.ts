import { AsyncResource } from 'node:async_hooks'
import { createServer, type IncomingMessage, type RequestListener, type Server, type ServerResponse } from 'node:http'
import type { AddressInfo } from 'node:net'
import { expect } from 'chai'
import type Express from 'express'
import { type FastifyRequest, fastify } from 'fastify'
import Koa from 'koa'
import type Multer from 'multer'
import { expressAdapter } from '../../src/adapters/express.js'
import { fastifyAdapter } from '../../src/adapters/fastify.js'
import { koaAdapter } from '../../src/adapters/koa.js'
import { nodeAdapter } from '../../src/adapters/node.js'
import { Api, asAnonymous, CrudResource, currentUserId, runAs } from '../../src/index.js'
import { openZoo, UserDocument, type Zoo } from '../conformance/zoo.js'

type Next = (error?: unknown) => void
type Middleware = (req: IncomingMessage, res: ServerResponse, next: Next) => void

const load = async <T>(name: string): Promise<T> => (await import(name)) as T

/** Gathers a body in callbacks, which Node runs in the context of the connection. */
const rawBody: Middleware = (req, _res, next) => {
  const chunks: Buffer[] = []
  req.on('data', (chunk: Buffer) => chunks.push(chunk))
  req.once('end', () => {
    Object.assign(req, { body: Buffer.concat(chunks).toString() })
    next()
  })
}

const busboy: Middleware = (req, _res, next) => {
  void load<{ default: (options: object) => NodeJS.WritableStream }>('busboy').then(({ default: make }) => {
    const parser = make({ headers: req.headers })
    parser.on('file', ((_name: string, file: NodeJS.ReadableStream) => file.resume()) as never)
    parser.on('close', () => next())
    req.pipe(parser)
  })
}

/** As express-fileupload does: a parser for multipart bodies only, which waits for each file. */
const byReadable: Middleware = (req, _res, next) => {
  req.on('readable', () => {
    while (req.read() !== null);
  })
  req.addListener('end', () => setImmediate(next))
}

const parsers: Readonly<Record<string, () => Promise<Middleware>>> = {
  'multer 1.4.5': async () => (await load<{ default: typeof Multer }>('multer-1')).default().any() as never,
  'multer 2.0.2': async () => (await load<{ default: typeof Multer }>('multer-2.0')).default().any() as never,
  multer: async () => (await load<{ default: typeof Multer }>('multer')).default().any() as never,
  busboy: async () => busboy,
  'callbacks on data and end': async () => rawBody,
  'callbacks on readable': async () => byReadable,
  'no parser': async () => (_req, _res, next) => next(),
}

function upload(): FormData {
  const form = new FormData()
  form.append('title', 'a title')
  form.append('file', new Blob(['x'.repeat(200_000)]), 'x.txt')
  return form
}

describe('Body parsers that lose the context', function () {
  this.timeout(30_000)
  let zoo: Zoo
  const servers: Server[] = []
  before(async () => {
    zoo = await openZoo()
  })
  after(async () => {
    for (const server of servers) {
      server.closeAllConnections()
      server.close()
    }
    await zoo.close()
  })

  async function listen(listener: RequestListener): Promise<string> {
    const server = createServer(listener)
    servers.push(server)
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
    return `http://127.0.0.1:${(server.address() as AddressInfo).port}`
  }
  const send = async (url: string, token: string | undefined) => {
    const answer = await fetch(url, {
      method: 'POST',
      body: upload(),
      headers: token === undefined ? {} : { authorization: `Bearer ${token}` },
    })
    return { status: answer.status, body: await answer.json().catch(() => null) }
  }
  const api = () => new Api({ prefix: '/api', resources: [new CrudResource({ model: UserDocument, path: 'documents' })] })
  /** Returns the caller that an application's handler sees, and the number of documents that the caller may read. */
  const found = async () => ({ id: currentUserId(), documents: await UserDocument.query().resultSize() })

  const { ada, bob } = { ada: 'ada', bob: 'bob' } as const
  async function expectCallers(url: string): Promise<void> {
    const answers = await Promise.all(
      Array.from({ length: 6 }, (_, i) => send(url, zoo.tokens[i % 2 === 0 ? ada : bob])).concat(send(url, undefined)),
    )
    expect(answers.map(({ status }) => status)).to.deep.equal(answers.map(() => 200))
    const ids = answers.map(({ body }) => (body as { id: string | null }).id)
    expect(ids).to.deep.equal([zoo.ids.ada, zoo.ids.bob, zoo.ids.ada, zoo.ids.bob, zoo.ids.ada, zoo.ids.bob, null])
  }

  for (const [name, make] of Object.entries(parsers)) {
    for (const version of ['express', 'express-4']) {
      it(`keep the caller for every handler after them: ${name} in ${version} [promise 41]`, async () => {
        const { default: createApp } = await load<{ default: typeof Express }>(version)
        const { authenticate, requireUser, router, errorHandler } = expressAdapter(zoo.perms, { onError: () => undefined })
        const parse = (await make()) as Express.RequestHandler
        const answer: Express.RequestHandler = (_req, res, next) => void found().then((body) => res.json(body), next)
        const app = createApp().set('env', 'test')
        app.post('/before', parse, authenticate() as Express.RequestHandler, answer)
        app.use(authenticate())
        app.post('/own', parse, answer)
        app.post('/required', requireUser(), parse, answer)
        app.post('/parsed', parse, requireUser(), answer)
        app.post('/api/documents', parse)
        app.use(router(api()))
        app.use(errorHandler())
        const url = await listen(app)
        await expectCallers(`${url}/own`)
        await expectCallers(`${url}/before`)
        for (const path of ['/required', '/parsed']) {
          expect((await send(url + path, undefined)).status, path).to.equal(401)
          expect((await send(url + path, zoo.tokens.ada)).body, path).to.include({ id: zoo.ids.ada })
        }
      })
    }

    it(`keep the caller for every handler after them: ${name} in koa, fastify and node:http [promise 41]`, async () => {
      const parse = await make()
      const options = { onError: () => undefined }
      const koa = koaAdapter(zoo.perms, options)
      const app = new Koa()
      app.use(koa.errorHandler())
      app.use(koa.authenticate())
      app.use(async (ctx, next) => {
        await new Promise<void>((resolve, reject) => parse(ctx.req, ctx.res, (error) => (error ? reject(error) : resolve())))
        await next()
      })
      app.use(async (ctx) => {
        ctx.body = await found()
      })
      await expectCallers(await listen(app.callback()))

      const { authenticate, errorHandler } = nodeAdapter(zoo.perms, options)
      const node = authenticate((req, res) => parse(req, res, () => void found().then((body) => res.end(JSON.stringify(body)))))
      await expectCallers(await listen(errorHandler(node) as RequestListener))

      const adapter = fastifyAdapter(zoo.perms, options)
      const server = fastify({ forceCloseConnections: true })
      server.addContentTypeParser('*', (_request: FastifyRequest, _payload: unknown, done: (error: null) => void) => done(null))
      server.setErrorHandler(adapter.errorHandler())
      server.register(adapter.authenticate())
      // As fastify-multer does.
      server.post('/', { preHandler: (request, reply, done) => parse(request.raw, reply.raw, done as Next) }, () => found())
      try {
        await expectCallers(await server.listen({ port: 0, host: '127.0.0.1' }))
      } finally {
        await server.close()
      }
    })
  }

  it('keep the context in which a listener was added, such as that of runAs() [promise 58]', async () => {
    const { authenticate, errorHandler } = nodeAdapter(zoo.perms, { onError: () => undefined })
    const ended = (req: IncomingMessage) =>
      new Promise<string | null>((resolve) => req.once('end', () => resolve(currentUserId())).resume())
    const url = await listen(
      errorHandler(
        authenticate(async (req, res) => {
          const inside = await (req.url === '/runAs' ? runAs(zoo.ids.bob, () => ended(req)) : asAnonymous(() => ended(req)))
          res.end(JSON.stringify({ inside, outside: currentUserId() }))
        }),
      ) as RequestListener,
    )
    expect((await send(`${url}/runAs`, zoo.tokens.ada)).body).to.deep.equal({ inside: zoo.ids.bob, outside: zoo.ids.ada })
    expect((await send(`${url}/asAnonymous`, zoo.tokens.ada)).body).to.deep.equal({ inside: null, outside: zoo.ids.ada })
  })

  it('remove listeners like streams and once()', async () => {
    const { authenticate } = nodeAdapter(zoo.perms, { onError: () => undefined })
    const url = await listen(
      authenticate((req, res) => {
        const calls: string[] = []
        const listener = () => calls.push('data')
        req.on('data', listener)
        req.off('data', listener)
        req.once('data', listener)
        req.removeListener('data', listener)
        req.prependOnceListener('end', () => calls.push('once'))
        const before = req.listenerCount('end')
        req.on('end', () => res.end(JSON.stringify({ calls, left: before - req.listenerCount('end') })))
        req.resume()
      }) as RequestListener,
    )
    expect((await send(url, zoo.tokens.ada)).body).to.deep.equal({ calls: ['once'], left: 0 })
  })

  it('that run a request in the context of another one do not give it the rights of the other [promise 40]', async () => {
    const { authenticate, requireUser, router, errorHandler } = expressAdapter(zoo.perms, { onError: () => undefined })
    const { default: createApp } = await load<{ default: typeof Express }>('express')
    let of: AsyncResource | undefined
    const app = createApp().set('env', 'test')
    app.use(authenticate())
    // A pool that calls back in the context of the first request.
    app.use((_req, _res, next) => {
      of ??= new AsyncResource('pool')
      of.runInAsyncScope(next)
    })
    app.post('/required', requireUser(), (_req, res) => void res.json({ id: currentUserId() }))
    app.use(router(api()))
    app.use(errorHandler())
    const url = await listen(app)
    expect((await send(`${url}/required`, zoo.tokens.ada)).body).to.deep.equal({ id: zoo.ids.ada })
    expect((await send(`${url}/required`, zoo.tokens.bob)).body).to.deep.equal({ id: zoo.ids.bob })
    expect((await send(`${url}/required`, undefined)).status).to.equal(401)
    expect((await fetch(`${url}/api/documents`)).status).to.equal(401)
    const list = await fetch(`${url}/api/documents`, { headers: { authorization: `Bearer ${zoo.tokens.bob}` } })
    const { data } = (await list.json()) as { data: { userId: string }[] }
    expect([...new Set(data.map(({ userId }) => userId))]).not.to.include(zoo.ids.ada)
  })

  it('that lose it unnoticed by the adapter cause an error, and no handler runs as another caller [promise 41]', async () => {
    const { authenticate, errorHandler } = expressAdapter(zoo.perms, { onError: () => undefined })
    const { default: createApp } = await load<{ default: typeof Express }>('express')
    const outside = new AsyncResource('outside')
    const app = createApp().set('env', 'test')
    app.use(authenticate())
    app.use((_req, _res, next) => outside.runInAsyncScope(next))
    app.post('/own', (_req, res, next) => void found().then((body) => res.json(body), next))
    app.use(errorHandler())
    const answer = await send(`${await listen(app)}/own`, zoo.tokens.ada)
    expect(answer.status).to.equal(500)
    expect(answer.body).to.include({ code: 'internal' })
  })
})
