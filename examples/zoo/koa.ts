import type { Server } from 'node:http'
import Router from '@koa/router'
import Koa from 'koa'
import { NotFoundError, type Perms, Role } from 'objection-perms'
import { koaAdapter } from 'objection-perms/koa'
import { accounts } from './accounts.js'
import { zooApi } from './api.js'
import { readJson } from './json-body.js'
import { zooPages } from './pages.js'
import { zooReport } from './reports.js'

/** The zoo on Koa 3. */
export function serveWithKoa(perms: Perms, port: number, host: string): Server {
  const { authenticate, router, requireUser, requireRole, errorHandler } = koaAdapter(perms)
  const { register, login, profile } = accounts(perms)
  const app = new Koa()
  app.use(errorHandler())

  // Before authenticate(): whoever signs in may still send a token that has expired.
  const open = new Router({ sensitive: true })
  open.get('/health', (ctx) => {
    ctx.body = { status: 'ok' }
  })
  open.post('/auth/register', async (ctx) => {
    ctx.body = await register(await json(ctx), { address: ctx.ip })
    ctx.status = 201
  })
  open.post('/auth/login', async (ctx) => {
    ctx.body = await login(await json(ctx), { address: ctx.ip })
    ctx.set('cache-control', 'no-store')
  })
  app.use(open.routes())

  app.use(router(zooPages(perms)))
  app.use(authenticate())
  app.use(router(zooApi(perms)))

  const own = new Router({ sensitive: true })
  own.get('/auth/profile', requireUser(), async (ctx) => {
    ctx.body = await profile()
  })
  own.get('/reports', requireRole(Role.ADMIN), async (ctx) => {
    ctx.body = await zooReport()
  })
  app.use(own.routes())

  app.use(() => {
    throw new NotFoundError()
  })
  return app.listen(port, host)
}

const json = (ctx: Koa.Context) => readJson((name) => ctx.req.headers[name], ctx.req)
