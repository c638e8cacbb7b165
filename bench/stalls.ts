/**
 * How long one request keeps the event loop busy. For each place of a request that takes a string, prints the milliseconds of the worst of
 * many strings made to stall it, beside those of a harmless string of the same size. Aim: 20 ms, or three times the harmless one.
 *
 *     npm run build && npx tsx bench/stalls.ts
 */
import Knex from 'knex'
import {
  Api,
  authenticated,
  BasePermsModel,
  CrudResource,
  column,
  consoleMailer,
  createTables,
  initPerms,
  nobody,
  TimestampMixin,
  User,
  UserResource,
} from 'objection-perms'
import { fetchAdapter } from 'objection-perms/fetch'
import { createUser, signInAs, testHasher } from 'objection-perms/testing'
import { plainBody, type StallRequest, shapedBodies, stallCases } from '../test/helpers/stall-cases.js'

const aim = 20
const rounds = 3

class Thing extends BasePermsModel.withColumns({
  title: column.string({ maxLength: 200 }),
  text: column.text().nullable(),
  price: column.decimal(10, 2).nullable(),
  count: column.bigint().nullable(),
  day: column.date().nullable(),
  moment: column.datetime().nullable(),
  ref: column.uuid().nullable(),
  kind: column.enum(['a', 'b']).nullable(),
  ratio: column.float().nullable(),
  data: column.json().nullable(),
  link: column.string({ maxLength: 2000, format: 'uri' }).nullable(),
  email: column.string({ maxLength: 254, format: 'email' }).nullable(),
}) {
  static override policy = { read: authenticated(), create: authenticated() }
}

class Closed extends BasePermsModel.withColumns({ price: column.decimal(10, 2) }) {
  static override policy = { read: authenticated(), create: nobody() }
}

class Member extends TimestampMixin(User) {
  static override tableName = 'user'
}

const knex = Knex({ client: 'better-sqlite3', connection: ':memory:', useNullAsDefault: true, pool: { min: 1, max: 1 } })
const perms = initPerms({
  knex,
  user: Member as never,
  models: [Thing, Closed],
  jwt: { secret: 'a secret of the bench, 32 bytes long' },
  passwordHasher: testHasher(),
  cookies: true,
  throttle: false,
  secondFactor: { issuer: 'Bench' },
  mail: { mailer: consoleMailer(() => undefined), baseUrl: 'https://app.example.com' },
})
await perms.migrate()
await createTables(knex, [Thing, Closed])
const { accessToken } = await signInAs(await createUser({ email: 'ada@example.com', password: 'correct horse battery' }))
const word = { type: 'string', maxLength: 100, pattern: '^\\w+$' }
const features = {
  apiKeys: true,
  verifyEmail: true,
  resetPassword: true,
  changeEmail: true,
  magicLink: true,
  totp: true,
  invitations: true,
}
const handler = fetchAdapter(perms, { onError: () => undefined }).router(
  new Api({
    prefix: '/api',
    resources: [
      new UserResource({ features }),
      new CrudResource({ model: Thing, path: 'things' }),
      new CrudResource({ model: Closed, path: 'closed' }),
      new CrudResource({
        model: Thing,
        path: 'narrow',
        name: 'Narrow',
        methods: { create: { argSchema: { type: 'object', properties: { word } } } },
      }),
    ],
  }),
)

/** Milliseconds of CPU, the least of some rounds. */
async function cost({ method, target, headers, body, isSignedIn }: StallRequest): Promise<number> {
  let least = Number.POSITIVE_INFINITY
  for (let i = 0; i < rounds; i += 1) {
    const request = new Request(`http://bench.test${target}`, {
      method,
      headers: { ...headers, ...(isSignedIn && { authorization: `Bearer ${accessToken}` }) },
      ...(body !== undefined && { body }),
    })
    const before = process.cpuUsage()
    await (await handler(request)).text()
    const { user, system } = process.cpuUsage(before)
    least = Math.min(least, (user + system) / 1000)
    await knex('thing').delete()
  }
  return least
}

let isMissed = false
function report(name: string, worst: number, harmless: number, what = ''): void {
  const isFine = worst <= Math.max(aim, 3 * harmless)
  isMissed ||= !isFine
  console.log(
    `${name.padEnd(40)} ${worst.toFixed(1).padStart(8)} ms ${harmless.toFixed(1).padStart(8)} ms${isFine ? '' : `  too long: ${what}`}`,
  )
}

console.log(`${''.padEnd(40)} ${'worst'.padStart(11)} ${'harmless'.padStart(11)}`)
for (const { name, make, texts, harmless } of stallCases) {
  const plain = await cost(make(harmless))
  let worst = { ms: 0, text: '' }
  for (const text of texts) {
    const ms = await cost(make(text))
    if (ms > worst.ms) worst = { ms, text }
  }
  report(name, worst.ms, plain, JSON.stringify(worst.text.slice(0, 20)))
}
const post = (body: string): StallRequest => ({
  method: 'POST',
  target: '/api/things',
  headers: { 'content-type': 'application/json' },
  body,
  isSignedIn: true,
})
const plain = await cost(post(plainBody))
for (const [name, body] of Object.entries(shapedBodies)) report(`body of ${name}`, await cost(post(body)), plain, name)

await perms.close()
await knex.destroy()
if (isMissed) process.exitCode = 1
