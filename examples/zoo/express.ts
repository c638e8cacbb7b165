import type { Server } from 'node:http'
import express, { type ErrorRequestHandler } from 'express'
import { BadRequestError, NotFoundError, PayloadTooLargeError, type Perms, Role, UnsupportedMediaTypeError } from 'objection-perms'
import { expressAdapter } from 'objection-perms/express'
import { accounts } from './accounts.js'
import { zooApi } from './api.js'
import { zooPages } from './pages.js'
import { zooReport } from './reports.js'

/** The zoo on Express 5. */
export function serveWithExpress(perms: Perms, port: number, host: string): Server {
  const { authenticate, router, requireUser, requireRole, errorHandler } = expressAdapter(perms)
  const { register, login, profile } = accounts(perms)
  const app = express()
  app.disable('x-powered-by')

  app.get('/health', (_req, res) => {
    res.json({ status: 'ok' })
  })

  // Before authenticate(): whoever signs in may still send a token that has expired.
  const json = [requireJson, express.json({ strict: false })]
  app.post('/auth/register', json, async (req: express.Request, res: express.Response) => {
    res.status(201).json(await register(req.body, { address: req.ip }))
  })
  app.post('/auth/login', json, async (req: express.Request, res: express.Response) => {
    res.set('cache-control', 'no-store').json(await login(req.body, { address: req.ip }))
  })

  app.use(router(zooPages(perms)))
  app.use(authenticate())
  app.use(router(zooApi()))
  app.get('/auth/profile', requireUser(), async (_req, res) => {
    res.json(await profile())
  })
  app.get('/reports', requireRole(Role.ADMIN), async (_req, res) => {
    res.json(await zooReport())
  })

  app.use(() => {
    throw new NotFoundError()
  })
  app.use(bodyErrors)
  app.use(errorHandler())
  return app.listen(port, host)
}

const requireJson: express.RequestHandler = (req, _res, next) => {
  if (req.get('content-length') !== '0' && req.is('application/json') === false)
    throw new UnsupportedMediaTypeError('Send the body as JSON, with "Content-Type: application/json".')
  next()
}

/** What express.json() finds wrong with a body, as the library's errors. */
const bodyErrors: ErrorRequestHandler = (error, _req, _res, next) => {
  const { type, status } = error as { type?: string; status?: number }
  if (type === undefined || status === undefined || status >= 500) next(error)
  else if (status === 413) next(new PayloadTooLargeError('The body is too large.'))
  else if (status === 415) next(new UnsupportedMediaTypeError('The body must be JSON in UTF-8.'))
  else next(new BadRequestError('The body is not valid JSON in UTF-8.'))
}
