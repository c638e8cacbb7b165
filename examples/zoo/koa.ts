import type { Server } from 'node:http'
import { bodyParser } from '@koa/bodyparser'
import Router from '@koa/router'
import Koa from 'koa'
import { BadRequestError, NotFoundError, PayloadTooLargeError, type Perms, Role, UnsupportedMediaTypeError } from 'objection-perms'
import { koaAdapter } from 'objection-perms/koa'
import { accounts } from './accounts.js'
import { zooApi } from './api.js'
import { zooPages } from './pages.js'
import { zooReport } from './reports.js'

/** The zoo on Koa 3. */
export function serveWithKoa(perms: Perms, port: number, host: string): Server {
  const { authenticate, router, requireUser, requireRole, errorHandler } = koaAdapter(perms)
  const { register, login, profile } = accounts(perms)
  const app = new Koa()
  app.use(errorHandler())

  // Before authenticate(): whoever signs in may still send a token that has expired.
  const open = new Router()
  open.get('/health', (ctx) => {
    ctx.body = { status: 'ok' }
  })
  open.post('/auth/register', requireJson, json, async (ctx) => {
    ctx.body = await register(ctx.request.body, { address: ctx.ip })
    ctx.status = 201
  })
  open.post('/auth/login', requireJson, json, async (ctx) => {
    ctx.body = await login(ctx.request.body, { address: ctx.ip })
    ctx.set('cache-control', 'no-store')
  })
  app.use(open.routes())

  app.use(router(zooPages(perms)))
  app.use(authenticate())
  app.use(router(zooApi()))

  const own = new Router()
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

const requireJson: Koa.Middleware = async (ctx, next) => {
  if (ctx.get('content-length') !== '0' && ctx.is('application/json') === false) {
    throw new UnsupportedMediaTypeError('Send the body as JSON, with "Content-Type: application/json".')
  }
  await next()
}

/** The body as JSON; what is wrong with it, as the library's errors. */
const json = bodyParser({
  enableTypes: ['json'],
  jsonStrict: false,
  onError(error) {
    const { status } = error as { status?: number }
    if (status === 413) throw new PayloadTooLargeError('The body is too large.')
    if (status === 415) throw new UnsupportedMediaTypeError('The body must be JSON in UTF-8.')
    throw new BadRequestError('The body is not valid JSON in UTF-8.')
  },
})
