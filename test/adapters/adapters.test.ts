import { createServer, type RequestListener, type Server } from 'node:http'
import { type AddressInfo, connect } from 'node:net'
import { expect } from 'chai'
import express from 'express'
import Koa from 'koa'
import { expressAdapter } from '../../src/adapters/express.js'
import { fetchAdapter } from '../../src/adapters/fetch.js'
import { koaAdapter } from '../../src/adapters/koa.js'
import { Resource } from '../../src/http/core/resource.js'
import { CrudResource } from '../../src/http/crud/crud-resource.js'
import { Api } from '../../src/http/serve/api.js'
import { UserResource } from '../../src/http/users/user-resource.js'
import { asSystem, currentAddress, currentUserId } from '../../src/policy/context.js'
import { signInAs } from '../../src/testing/index.js'
import { Domain } from '../../src/users/domain.js'
import { Role } from '../../src/users/roles/roles.js'
import { openZoo, UserDocument, type Zoo } from '../conformance/zoo.js'

describe('Adapters', function () {
  this.timeout(20_000)
  let zoo: Zoo
  let looks = 0
  const servers: Server[] = []
  before(async () => {
    zoo = await openZoo()
    const { authenticate } = zoo.perms
    Object.assign(zoo.perms, {
      authenticate: (token: string) => {
        looks += 1
        return authenticate(token)
      },
    })
  })
  after(async () => {
    for (const server of servers) {
      server.closeAllConnections()
      server.close()
    }
    await zoo.close()
  })
  beforeEach(() => {
    looks = 0
  })

  const apiOf = () => {
    const who = new Resource({ path: 'who' })
    who.endpoint({ method: 'GET', path: '', public: true, handler: () => ({ id: currentUserId(), address: currentAddress() }) })
    return new Api({ prefix: '/api', resources: [who, new UserResource(), new CrudResource({ model: UserDocument, path: 'documents' })] })
  }
  async function listen(listener: RequestListener): Promise<string> {
    const server = createServer(listener)
    servers.push(server)
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
    return `http://127.0.0.1:${(server.address() as AddressInfo).port}`
  }
  const asAda = () => ({ headers: { authorization: `Bearer ${zoo.tokens.ada}` } })

  it('load the caller once per request, for any number of handlers', async () => {
    const { authenticate, router, requireUser } = expressAdapter(zoo.perms)
    const app = express()
    app.use(authenticate(), requireUser(), authenticate(), router(apiOf()))
    expect((await fetch(`${await listen(app)}/api/documents`, asAda())).status).to.equal(200)
    expect(looks).to.equal(1)
  })

  it('load the caller in the router if authenticate() did not run before', async () => {
    const app = express()
    app.use(expressAdapter(zoo.perms).router(apiOf()))
    const url = await listen(app)
    expect(await (await fetch(`${url}/api/who`, asAda())).json()).to.include({ id: zoo.ids.ada })
    expect((await fetch(`${url}/api/who`, { headers: { authorization: 'Bearer bad' } })).status).to.equal(401)
    expect((await fetch(`${url}/api/documents`)).status).to.equal(401)
  })

  it('serve an API below a mount path, and include it in Location and Link', async () => {
    const { authenticate, router } = expressAdapter(zoo.perms)
    const app = express()
    app.use(authenticate())
    app.use('/v1', router(apiOf()))
    const url = await listen(app)
    const made = await fetch(`${url}/v1/api/documents/`, {
      method: 'POST',
      body: JSON.stringify({ title: 't', content: 'c' }),
      headers: { ...asAda().headers, 'content-type': 'application/json' },
    })
    expect(made.status).to.equal(201)
    expect(made.headers.get('location')).to.match(/^\/v1\/api\/documents\/[0-9a-f-]{36}$/)
    const list = await fetch(`${url}/v1/api/documents?pageSize=1`, asAda())
    expect(list.headers.get('link')).to.equal('</v1/api/documents?pageSize=1&page=2>; rel="next"')
    expect((await fetch(`${url}/v1/api/users/login`, { method: 'POST', headers: { authorization: 'Bearer bad' } })).status).to.equal(422)
  })

  it('do not confuse the id of a domain with the name of another [promise 38]', async () => {
    const [own, other] = await asSystem(async () => [await Domain.create({ name: 'own' }), await Domain.create({ name: 'other' })] as const)
    // As it may stand in a database of before names were checked.
    await zoo.perms.knex('domain').where({ id: own.id }).update({ name: other.id })
    const { accessToken } = await signInAs({ email: 'boss@example.com' }, { role: Role.ADMIN, domain: own })
    const { requireRole } = expressAdapter(zoo.perms)
    const app = express()
    app.get(
      '/:domain',
      (req, res, next) => requireRole(Role.ADMIN, { domain: req.params.domain })(req, res, next),
      (_req, res) => void res.json({}),
    )
    const url = await listen(app)
    for (const [domain, status] of [
      [own.id, 200],
      [other.id, 403],
      [own.id.toUpperCase(), 200],
      ['other', 403],
    ] as const)
      expect((await fetch(`${url}/${domain}`, { headers: { authorization: `Bearer ${accessToken}` } })).status, domain).to.equal(status)
  })

  it('check credentials for a path that only ends like the sign-in [promises 19, 70]', async () => {
    const { authenticate, router, requireUser } = expressAdapter(zoo.perms)
    const app = express()
    app.use(authenticate(), router(apiOf()))
    app.post('/own/api/users/login', (_req, res) => void res.json({ id: currentUserId() }))
    app.post('/mine/api/users/login', requireUser(), (_req, res) => void res.json({ id: currentUserId() }))
    const url = await listen(app)
    expect(await (await fetch(`${url}/own/api/users/login`, { method: 'POST', ...asAda() })).json()).to.deep.equal({ id: zoo.ids.ada })
    expect((await fetch(`${url}/own/api/users/login`, { method: 'POST', headers: { authorization: 'Bearer bad' } })).status).to.equal(401)
    expect(await (await fetch(`${url}/mine/api/users/login`, { method: 'POST', ...asAda() })).json()).to.deep.equal({ id: zoo.ids.ada })
    expect((await fetch(`${url}/mine/api/users/login`, { method: 'POST', headers: { authorization: 'Bearer bad' } })).status).to.equal(401)
  })

  it('use X-Forwarded-For only if the framework trusts the proxy [promise 12]', async () => {
    const addressOf = async (url: string) => {
      const answer = await fetch(`${url}/api/who`, { headers: { 'x-forwarded-for': '203.0.113.9' } })
      return ((await answer.json()) as { address: string }).address
    }
    for (const trust of [false, true]) {
      const expected = trust ? '203.0.113.9' : '127.0.0.1'
      const one = express()
      one.set('trust proxy', trust)
      one.use(expressAdapter(zoo.perms).authenticate(), expressAdapter(zoo.perms).router(apiOf()))
      expect(await addressOf(await listen(one))).to.equal(expected)
      const other = new Koa({ proxy: trust })
      other.use(koaAdapter(zoo.perms).authenticate())
      other.use(koaAdapter(zoo.perms).router(apiOf()))
      expect(await addressOf(await listen(other.callback()))).to.equal(expected)
    }
  })

  it("leave errors that are not the library's to the framework", async () => {
    const { errorHandler } = expressAdapter(zoo.perms)
    const app = express()
    app.get('/', () => {
      throw new Error('mine')
    })
    app.use(errorHandler())
    app.use(((error, _req, res, _next) => void res.status(418).send(String(error))) as express.ErrorRequestHandler)
    const answer = await fetch(await listen(app))
    expect([answer.status, await answer.text()]).to.deep.equal([418, 'Error: mine'])
  })

  it('keep two concurrent callers apart [promise 40]', async () => {
    const { authenticate } = expressAdapter(zoo.perms)
    const app = express()
    app.use(authenticate())
    app.get('/', async (_req, res) => {
      const before = currentUserId()
      await new Promise((resolve) => setTimeout(resolve, Math.random() * 20))
      res.json([before, currentUserId()])
    })
    const url = await listen(app)
    const names = ['ada', 'bob', 'admin'] as const
    const answers = await Promise.all(
      Array.from({ length: 30 }, async (_, i) => {
        const name = names[i % 3] as (typeof names)[number]
        const answer = await fetch(url, { headers: { authorization: `Bearer ${zoo.tokens[name]}` } })
        return [name, await answer.json()] as const
      }),
    )
    for (const [name, ids] of answers) expect(ids).to.deep.equal([zoo.ids[name], zoo.ids[name]])
  })

  it('keep serving after a client disconnects while sending its body', async () => {
    const errors: unknown[] = []
    const { authenticate, router } = expressAdapter(zoo.perms, { onError: (error) => errors.push(error) })
    const app = express()
    app.use(authenticate(), router(apiOf()))
    const url = await listen(app)
    await new Promise<void>((resolve) => {
      const socket = connect(Number(new URL(url).port), '127.0.0.1', () => {
        socket.write(
          `POST /api/documents HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer ${zoo.tokens.ada}\r\nContent-Type: application/json\r\nContent-Length: 100\r\n\r\n{"title":`,
        )
        setTimeout(() => socket.destroy(), 50)
      })
      socket.on('close', () => resolve())
    })
    expect((await fetch(`${url}/api/documents`, asAda())).status).to.equal(200)
    expect(errors).to.deep.equal([])
  })

  it('answer a Request with a Response without a server', async () => {
    const { authenticate, router } = fetchAdapter(zoo.perms)
    const handler = authenticate(router(apiOf()))
    const answer = await handler(new Request('https://example.com/api/users/me/', asAda()))
    expect(((await answer.json()) as { email: string }).email).to.equal('ada@example.com')
    expect((await handler(new Request('https://example.com/other'))).status).to.equal(404)
  })
})
