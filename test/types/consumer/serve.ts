// Serving: the adapters fit the frameworks' own types, and hooks know the model.
import express from 'express'
import knexModule from 'knex'
import Koa from 'koa'
import { Api, CrudResource, currentUser, currentUserId, initPerms, Role, UserResource } from 'objection-perms'
import { expressAdapter } from 'objection-perms/express'
import { koaAdapter } from 'objection-perms/koa'
import { Critter, Employee, UserDocument } from './models.js'

const knex = knexModule({ client: 'better-sqlite3', connection: { filename: ':memory:' }, useNullAsDefault: true })
const perms = initPerms({ knex, user: Employee, jwt: { secret: process.env['JWT_SECRET'] } })

const api = new Api({
  title: 'Zoo',
  version: '1.0.0',
  prefix: '/api',
  resources: [
    new UserResource({ skipMethods: ['delete'] }),
    new CrudResource({ model: UserDocument, path: 'documents' }),
    new CrudResource({ model: Critter, methods: { delete: { adminOnly: true }, list: { public: true }, get: { public: true } } }),
  ],
})

export function expressApp(): express.Express {
  const app = express()
  const { authenticate, router, requireUser, requireRole, errorHandler } = expressAdapter(perms)
  app.use(authenticate())
  app.use(router(api))
  app.get('/reports', requireRole(Role.ADMIN), async (_req, res) => {
    res.json(await UserDocument.query())
  })
  app.get('/summary', requireUser({ abilities: ['reports:read'] }), requireRole(Role.ADMIN, { domain: 'any', abilities: 'none' }))
  // @ts-expect-error abilities are a list
  requireUser({ abilities: 'reports:read' })
  app.get('/mine', requireUser(), (_req, res) => {
    const id: string | null = currentUserId()
    const email: string | undefined = currentUser()?.email
    res.json({ id, email })
  })
  app.use(errorHandler())
  return app
}

export function koaApp(): Koa {
  const app = new Koa()
  const { authenticate, router, errorHandler } = koaAdapter(perms)
  app.use(errorHandler())
  app.use(authenticate())
  app.use(router(api))
  return app
}

export function refused(): void {
  // @ts-expect-error no such method
  new CrudResource({ model: UserDocument, skipMethods: ['destroy'] })
  // @ts-expect-error a resource has a model
  new CrudResource({ path: 'documents' })
  // @ts-expect-error no such option
  initPerms({ knex, jwt: { secret: 'x' }, secrets: 'x' })
}
