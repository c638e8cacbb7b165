/** A server with sign-in at bcrypt cost 12 and /health, on embedded SQLite. Serves on PORT; one user, ada@example.com. */
import express from 'express'
import Knex from 'knex'
import { expressAdapter } from '../../src/adapters/express.js'
import { Api, initPerms, User, UserResource } from '../../src/index.js'

const knex = Knex({ client: 'better-sqlite3', connection: { filename: ':memory:' }, useNullAsDefault: true })
const perms = initPerms({ knex, jwt: { secret: 'a secret for the bench, 32 bytes long' }, throttle: false })
await perms.migrate()
await User.create({ email: 'ada@example.com', password: 'correct horse battery' })
const app = express()
app.get('/health', (_req, res) => {
  res.json({ ok: true })
})
const { router, errorHandler } = expressAdapter(perms)
app.use(router(new Api({ title: 'Bench', version: '1.0.0', prefix: '/api', resources: [new UserResource({})] })))
app.use(errorHandler())
app.listen(Number(process.env.PORT), '127.0.0.1')
