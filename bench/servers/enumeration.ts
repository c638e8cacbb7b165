/**
 * A server that mails, on an empty database of DRIVER at DATABASE_URL, with `MAILER=failing` for a mailer that does not work. It serves
 * on PORT until its standard input ends. GET /settled answers when the work behind the responses is done, with the number of statements
 * since the last time, and GET /ping at once. GET /make makes a request of a pair of test/helpers/equal-pairs.ts. There are COUNT users, known-0@example.com and so on, whose addresses are not verified. One in five has no password, the others a hash of
 * bcrypt or of a legacy scheme.
 */
import express from 'express'
import { expressAdapter } from '../../src/adapters/express.js'
import { Api, github, initPerms, pbkdf2, phpass, saltedDigest, TimestampMixin, User, UserResource } from '../../src/index.js'
import { equalPairs } from '../../test/helpers/equal-pairs.js'
import { type Driver, emptyDatabaseOf } from './empty-database.js'

class Member extends TimestampMixin(User) {
  static override publicRegistration = true
}

/** GitHub, for users whose code is their address. GitHub has not verified it. */
function gitHub(url: string, { body, headers }: { body?: unknown; headers?: Record<string, string> | undefined }): Response {
  if (url.endsWith('/access_token'))
    return Response.json({ access_token: new URLSearchParams(String(body)).get('code'), token_type: 'bearer' })
  if (url.endsWith('/user')) return Response.json({ id: 1, login: 'ada' })
  // The address that GitHub has verified, for the cases that need an account.
  const email = (headers?.authorization ?? '').replace('Bearer ', '')
  return Response.json([{ email, primary: true, verified: email === 'user@example.com' }])
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
  passwords: {
    cost: 10,
    legacy: [pbkdf2({ iterations: 100_000 }), phpass(), saltedDigest({ algorithm: 'md5', template: '{hash}' })],
  },
  mail: { mailer: { send }, baseUrl: 'https://app.example.com' },
  throttle: false,
  passkeys: { rpId: 'example.com', rpName: 'Bench', origins: ['https://app.example.com'] },
  secondFactor: { trustedDevices: { lifetime: 86_400 } },
  outsideContext: 'allow',
  providers: { github: github({ clientId: 'the client', clientSecret: 'the secret' }) },
  providerSignIn: {
    usersUrl: `http://127.0.0.1:${process.env.PORT}/api/users`,
    signUp: 'open',
    fetch: async (url, init) => gitHub(url, init),
  },
})
await perms.migrate()
const hashes = [
  null,
  '$2b$10$abcdefghijklmnopqrstuuHMMUTqHkSSkQvVPhvFbUzcQqWnVwLGu',
  'pbkdf2_sha256$30000$seasalt$Toj2II2rBvFiGQcPmUml1Nlni2UtvyRWwz/jz4q6q/4=',
  '$P$9IQRaTwmfeRo7ud9Fh4E2PdI0S3r.L0',
  '88a434c88cca4e900f7874cd98123f43',
]
await perms.auth.importUsers(
  Array.from({ length: Number(process.env.COUNT) }, (_, i) => ({
    email: `known-${i}@example.com`,
    passwordHash: hashes[i % hashes.length] ?? null,
  })),
)
const cases = await equalPairs(perms, (values) => Member.create(values as never) as never)
let statements = 0
knex.on('query', () => {
  statements += 1
})
const app = express()
app.get('/cases', (_req, res) => {
  res.json(Object.keys(cases))
})
app.get('/make', async (req, res) => {
  const pair = cases[String(req.query.title)]
  res.json(await perms.run(async () => await pair?.[req.query.kind === 'known' ? 0 : 1]()))
  await perms.auth.settled()
  statements = 0
})
app.get('/ping', (_req, res) => {
  res.json({})
})
app.get('/settled', async (_req, res) => {
  await perms.auth.settled()
  res.json({ statements })
  statements = 0
})
const { router, errorHandler } = expressAdapter(perms)
const further = { totp: true, passkeys: true, trustedDevices: true, confirm: true, deleteAccount: true }
const features = {
  verifyEmail: true,
  resetPassword: true,
  magicLink: true,
  codes: true,
  privateRegistration: true,
  providers: true,
  ...further,
}
app.use(router(new Api({ prefix: '/api', resources: [new UserResource({ features })] })))
app.use(errorHandler())
app.listen(Number(process.env.PORT), '127.0.0.1')
