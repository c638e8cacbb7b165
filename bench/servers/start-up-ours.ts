/** An API of 60 models through this library. Serves on PORT over DATABASE_URL; with MIGRATE, makes the tables and a token for it, and ends. */
import express from 'express'
import Knex from 'knex'
import type { Model, ModelClass, RelationMappings } from 'objection'
import {
  Api,
  BasePermsModel,
  belongsTo,
  CrudResource,
  column,
  createTables,
  HasUserMixin,
  initPerms,
  User,
  UserOwnershipMixin,
  UserResource,
} from 'objection-perms'
import { expressAdapter } from 'objection-perms/express'

function modelOf(i: number) {
  return class Thing extends UserOwnershipMixin(HasUserMixin(BasePermsModel)).withColumns({
    title: column.string({ maxLength: 200 }),
    content: column.text(),
    status: column.enum(['draft', 'published']).default('draft'),
    price: column.decimal(10, 2).nullable(),
    views: column.integer().default(0),
    isPinned: column.boolean().default(false),
    publishedAt: column.datetime().nullable(),
    parentId: column.uuid().nullable().index(),
  }) {
    static override tableName = `thing_${i}`
    static override userBackref = null
    static override relationMappings: RelationMappings = { parent: belongsTo(() => next(i), 'parentId') }
  }
}

const models = Array.from({ length: 60 }, (_, i) => modelOf(i))
const next = (i: number): ModelClass<Model> => models[(i + 1) % models.length] as ModelClass<Model>
const { DATABASE_URL, JWT_SECRET, MIGRATE, PORT } = process.env
const knex = Knex({ client: 'pg', connection: String(DATABASE_URL) })
const perms = initPerms({ knex, models, jwt: { secret: String(JWT_SECRET), accessTokenExpires: 86_400 } })
if (MIGRATE) {
  await perms.migrate()
  await createTables(knex, models)
  const user = await User.create({ email: 'ada@example.com' })
  process.send?.({ id: user.id, token: await perms.auth.createAccessToken(user) })
  await perms.close()
  await knex.destroy()
  process.disconnect?.()
} else {
  const { authenticate, router, errorHandler } = expressAdapter(perms)
  const things = models.map((model, i) => new CrudResource({ model, path: `things-${i}`, name: `Thing${i}` }))
  const app = express()
  app.use(authenticate())
  app.use(router(new Api({ prefix: '/api', resources: [new UserResource(), ...things] })))
  app.use(errorHandler())
  app.listen(Number(PORT), '127.0.0.1')
}
