/**
 * A server that mails, on the PostgreSQL of POSTGRES_URL or on embedded SQLite, with `MAILER=failing` for one whose mailer does
 * not work. Serves on PORT until its standard input ends; GET /settled answers when what no answer waits for is done. There are
 * COUNT users, known-0@example.com and so on, whose addresses are not verified.
 */
import express from 'express'
import { expressAdapter } from '../../src/adapters/express.js'
import { Api, initPerms, TimestampMixin, User, UserResource } from '../../src/index.js'
import { emptyDatabase } from './empty-database.js'

class Member extends TimestampMixin(User) {
  static override publicRegistration = true
}

const { knex, drop } = await emptyDatabase()
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
app.get('/settled', async (_req, res) => {
  await perms.auth.settled()
  res.json({})
})
const { router, errorHandler } = expressAdapter(perms)
const features = { verifyEmail: true, resetPassword: true, magicLink: true, privateRegistration: true }
app.use(router(new Api({ prefix: '/api', resources: [new UserResource({ features })] })))
app.use(errorHandler())
app.listen(Number(process.env.PORT), '127.0.0.1')
