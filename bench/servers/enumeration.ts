/**
 * A server that mails, on an empty database of DRIVER at DATABASE_URL, with `MAILER=failing` for a mailer that does not work. It serves
 * on PORT until its standard input ends. GET /settled answers when the work behind the responses is done, GET /ping at once. There
 * are COUNT users, known-0@example.com and so on, whose addresses are not verified.
 */
import express from 'express'
import { expressAdapter } from '../../src/adapters/express.js'
import { Api, initPerms, TimestampMixin, User, UserResource } from '../../src/index.js'
import { type Driver, emptyDatabaseOf } from './empty-database.js'

class Member extends TimestampMixin(User) {
  static override publicRegistration = true
}

const { knex, drop } = await emptyDatabaseOf(process.env.DRIVER as Driver, process.env.DATABASE_URL)
process.stdin.on('end', () => void drop().finally(() => process.exit(0))).resume()
const send = async () => {
  await new Promise((resolve) => setTimeout(resolve, 1))
  if (process.env.MAILER === 'failing') throw new Error('The mail server is away.')
}
const perms = initPerms({
  knex,
  user: Member as never,
  jwt: { secret: 'a secret for the bench, 32 bytes long' },
  passwords: { cost: 10 },
  mail: { mailer: { send }, baseUrl: 'https://app.example.com' },
  throttle: false,
})
await perms.migrate()
for (let i = 0; i < Number(process.env.COUNT); i += 1) await Member.create({ email: `known-${i}@example.com` })
const app = express()
app.get('/ping', (_req, res) => {
  res.json({})
})
app.get('/settled', async (_req, res) => {
  await perms.auth.settled()
  res.json({})
})
const { router, errorHandler } = expressAdapter(perms)
const features = { verifyEmail: true, resetPassword: true, magicLink: true, privateRegistration: true }
app.use(router(new Api({ prefix: '/api', resources: [new UserResource({ features })] })))
app.use(errorHandler())
app.listen(Number(process.env.PORT), '127.0.0.1')
