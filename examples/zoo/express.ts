import type { Server } from 'node:http'
import express from 'express'
import { NotFoundError, type Perms, Role } from 'objection-perms'
import { expressAdapter } from 'objection-perms/express'
import { accounts } from './accounts.js'
import { zooApi } from './api.js'
import { readJson } from './json-body.js'
import { zooPages } from './pages.js'
import { zooReport } from './reports.js'

/** The zoo on Express 5. */
export function serveWithExpress(perms: Perms, port: number, host: string): Server {
  const { authenticate, router, requireUser, requireRole, errorHandler } = expressAdapter(perms)
  const { register, login, profile } = accounts(perms)
  const app = express()
  app.disable('x-powered-by')
  app.enable('case sensitive routing')

  app.get('/health', (_req, res) => {
    res.json({ status: 'ok' })
  })

  // Before authenticate(): whoever signs in may still send a token that has expired.
  app.post('/auth/register', async (req, res) => {
    res.status(201).json(await register(await json(req), { address: req.ip }))
  })
  app.post('/auth/login', async (req, res) => {
    res.set('cache-control', 'no-store').json(await login(await json(req), { address: req.ip }))
  })

  app.use(router(zooPages(perms)))
  app.use(authenticate())
  app.use(router(zooApi(perms)))
  app.get('/auth/profile', requireUser(), async (_req, res) => {
    res.json(await profile())
  })
  app.get('/reports', requireRole(Role.ADMIN), async (_req, res) => {
    res.json(await zooReport())
  })

  app.use(() => {
    throw new NotFoundError()
  })
  app.use(errorHandler())
  return app.listen(port, host)
}

const json = (req: express.Request) => readJson((name) => req.headers[name], req)
