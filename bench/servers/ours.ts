/** The same routes through this library. Serves on PORT over DATABASE_URL; CACHE_CALLERS, in seconds, is the option cacheCallers. */
import express from 'express'
import Knex from 'knex'
import { Api, BasePermsModel, CrudResource, column, HasUserMixin, initPerms, UserOwnershipMixin, UserResource } from 'objection-perms'
import { expressAdapter } from 'objection-perms/express'

class UserDocument extends UserOwnershipMixin(HasUserMixin(BasePermsModel)).withColumns({
  title: column.string({ maxLength: 200 }),
  content: column.text(),
}) {}

const knex = Knex({ client: 'pg', connection: process.env.DATABASE_URL as string, pool: { min: 2, max: 10 } })
const { CACHE_CALLERS } = process.env
const perms = initPerms({ knex, jwt: { secret: process.env.JWT_SECRET }, ...(CACHE_CALLERS && { cacheCallers: Number(CACHE_CALLERS) }) })
const app = express()
app.disable('x-powered-by')
app.disable('etag')
app.get('/health', (_req, res) => {
  res.json({ ok: true })
})
const api = new Api({
  title: 'Bench',
  version: '1.0.0',
  prefix: '/api',
  resources: [new UserResource({}), new CrudResource({ model: UserDocument, path: 'documents' })],
})
const { authenticate, router, errorHandler } = expressAdapter(perms)
app.use(authenticate())
app.use(router(api))
app.use(errorHandler())
app.listen(Number(process.env.PORT), '127.0.0.1')
