import { createServer, type RequestListener, type Server } from 'node:http'
import type { AddressInfo } from 'node:net'
import { expect } from 'chai'
import express from 'express'
import Koa from 'koa'
import { expressAdapter } from '../../src/adapters/express.js'
import { koaAdapter } from '../../src/adapters/koa.js'
import { Api } from '../../src/http/serve/api.js'
import { UserResource } from '../../src/http/users/user-resource.js'
import { openZoo, password, type Zoo } from '../conformance/zoo.js'

describe('Adapters keep the cookies that the application has set', function () {
  this.timeout(20_000)
  let zoo: Zoo
  before(async () => {
    zoo = await openZoo('better-sqlite3', { cookies: true })
  })
  after(() => zoo.close())

  async function namesSetBy(listener: RequestListener): Promise<(string | undefined)[]> {
    const server: Server = createServer(listener)
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
    try {
      const url = `http://127.0.0.1:${(server.address() as AddressInfo).port}`
      const answer = await fetch(`${url}/users/login`, {
        method: 'POST',
        headers: { 'content-type': 'application/json', origin: url, prefer: 'cookies' },
        body: JSON.stringify({ email: 'ada@example.com', password }),
      })
      return answer.headers.getSetCookie().map((line) => line.split('=')[0])
    } finally {
      server.closeAllConnections()
      server.close()
    }
  }

  const all = ['theme', '__Host-access', '__Host-refresh']
  const api = new Api({ resources: [new UserResource()] })

  it('in Express', async () => {
    const app = express()
    app.use((_req, res, next) => {
      res.cookie('theme', 'dark')
      next()
    })
    app.use(expressAdapter(zoo.perms).router(api))
    expect(await namesSetBy(app)).to.deep.equal(all)
  })

  it('in Koa', async () => {
    const app = new Koa()
    app.use(async (ctx, next) => {
      ctx.cookies.set('theme', 'dark')
      await next()
    })
    app.use(koaAdapter(zoo.perms).router(api))
    expect(await namesSetBy(app.callback())).to.deep.equal(all)
  })
})
