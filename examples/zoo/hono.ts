import type { Server } from 'node:http'
import { serve } from '@hono/node-server'
import { getConnInfo } from '@hono/node-server/conninfo'
import { type Context, Hono } from 'hono'
import { NotFoundError, type Perms, Role } from 'objection-perms'
import { honoAdapter } from 'objection-perms/hono'
import { accounts } from './accounts.js'
import { zooApi } from './api.js'
import { readJson } from './json-body.js'
import { zooPages } from './pages.js'
import { zooReport } from './reports.js'

/** The zoo on Hono 4. */
export function serveWithHono(perms: Perms, port: number, host: string): Server {
  const { authenticate, router, requireUser, requireRole, errorHandler } = honoAdapter(perms)
  const { register, login, profile } = accounts(perms)
  const app = new Hono({ strict: false })
  app.onError(errorHandler())
  app.notFound(() => {
    throw new NotFoundError()
  })

  app.get('/health', (c) => c.json({ status: 'ok' }))

  // Before authenticate(): whoever signs in may still send a token that has expired.
  app.post('/auth/register', async (c) => c.json(await register(await json(c), client(c)), 201))
  app.post('/auth/login', async (c) => c.json(await login(await json(c), client(c)), 200, { 'cache-control': 'no-store' }))

  app.use(router(zooPages(perms)))
  app.use(authenticate())
  app.use(router(zooApi(perms)))
  app.get('/auth/profile', requireUser(), async (c) => c.json(await profile()))
  app.get('/reports', requireRole(Role.ADMIN), async (c) => c.json(await zooReport()))

  return serve({ fetch: app.fetch, port, hostname: host }) as Server
}

const json = (c: Context) => readJson((name) => c.req.header(name), c.req.raw.body)
const client = (c: Context) => ({ address: getConnInfo(c).remote.address })
