/**
 * A server with sign-in and /health, on the PostgreSQL of POSTGRES_URL or, without it, on embedded SQLite. Serves on PORT until its
 * standard input ends; the work of a hash is COST, and HASHER says who does it: `threads` (the library as it is), `native`, or `main`,
 * which is bcryptjs on the main thread. Users: ada, who has a password; bea, who has none; cyn, who is disabled; dot, whose hash is
 * of cost 4.
 */
import bcrypt from 'bcryptjs'
import express from 'express'
import { expressAdapter } from '../../src/adapters/express.js'
import { Api, bcryptHasher, initPerms, type PasswordHasher, User, UserResource } from '../../src/index.js'
import { emptyDatabase } from './empty-database.js'

const { PORT, COST, HASHER } = process.env
const cost = Number(COST ?? 12)
const far = 1_000_000
const password = 'correct horse battery'

const onMainThread: PasswordHasher = {
  hash: (text) => bcrypt.hash(text, cost),
  verify: (text, stored) => bcrypt.compare(text, stored ?? ''),
  needsRehash: () => false,
}

const { knex, drop } = await emptyDatabase()
process.stdin.on('end', () => void drop().finally(() => process.exit(0))).resume()
const perms = initPerms({
  knex,
  jwt: { secret: 'a secret for the bench, 32 bytes long' },
  passwordHasher: HASHER === 'main' ? onMainThread : bcryptHasher({ cost, native: HASHER === 'native' }),
  throttle: { signIn: { pair: far, address: far, account: far } },
})
await perms.migrate()
await User.create({ email: 'ada@example.com', password })
await User.create({ email: 'bea@example.com' })
await User.create({ email: 'cyn@example.com', password, isEnabled: false })
const dot = await User.create({ email: 'dot@example.com' })
await knex('user')
  .where({ id: dot.id })
  .update({ password_hash: bcrypt.hashSync(password, 4) })
const app = express()
app.get('/health', (_req, res) => {
  res.json({ ok: true })
})
const { router, errorHandler } = expressAdapter(perms)
app.use(router(new Api({ title: 'Bench', version: '1.0.0', prefix: '/api', resources: [new UserResource({})] })))
app.use(errorHandler())
app.listen(Number(PORT), '127.0.0.1')
