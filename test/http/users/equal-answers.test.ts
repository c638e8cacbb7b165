import { expect } from 'chai'
import { Api } from '../../../src/http/serve/api.js'
import { UserResource } from '../../../src/http/users/user-resource.js'
import { github, initPerms, type Perms, TimestampMixin, User } from '../../../src/index.js'
import { capturedMailer, testHasher } from '../../../src/testing/index.js'
import { countQueries, eachDatabase } from '../../helpers/databases.js'
import { equalPairs, type MadeRequest, type Pair } from '../../helpers/equal-pairs.js'
import { migrateAtOnce } from '../../helpers/library-tables-at-once.js'
import { type Client, clientOf } from '../client.js'

class Member extends TimestampMixin(User).withColumns({}) {
  static override tableName = 'user'
}

/** GitHub, for users whose code is their address. */
async function gitHub(url: string, { body, headers }: { body?: unknown; headers?: Record<string, string> | undefined }): Promise<Response> {
  if (url.endsWith('/access_token'))
    return Response.json({ access_token: new URLSearchParams(String(body)).get('code'), token_type: 'bearer' })
  if (url.endsWith('/user')) return Response.json({ id: 1, login: 'ada' })
  return Response.json([{ email: (headers?.authorization ?? '').replace('Bearer ', ''), primary: true, verified: true }])
}

eachDatabase('Endpoints about something that exists and something that does not', (db) => {
  let perms: Perms
  let client: Client
  let pairs: Readonly<Record<string, Pair>>
  const hasher = testHasher()
  before(async function () {
    this.timeout(120_000)
    perms = initPerms({
      knex: db.knex,
      user: Member as never,
      jwt: { secret: 'a secret of this test, 32 bytes or more' },
      passwordHasher: hasher,
      throttle: false,
      outsideContext: 'allow',
      mail: { mailer: capturedMailer(), baseUrl: 'https://app.example.com' },
      passkeys: { rpId: 'example.com', rpName: 'Zoo', origins: ['https://app.example.com'] },
      secondFactor: { trustedDevices: { lifetime: 86_400 } },
      providers: { github: github({ clientId: 'the client', clientSecret: 'the secret' }) },
      providerSignIn: { usersUrl: 'https://app.example.com/api/users', signUp: 'open', fetch: gitHub },
    })
    await migrateAtOnce(perms)
    const features = { codes: true, totp: true, passkeys: true, trustedDevices: true, confirm: true, deleteAccount: true, providers: true }
    client = clientOf(new Api({ prefix: '/api', resources: [new UserResource({ features })] }), perms)
    pairs = await equalPairs(perms, (values) => Member.create(values as never) as never)
  })
  after(() => perms.close())

  /** Sends a request. @returns the answer and the statements behind it, without random values */
  async function workOf({ method = 'POST', path, body, token = null as never, cookie }: MadeRequest) {
    await perms.auth.settled()
    let answer = ''
    const { statements } = await countQueries(db.knex, async () => {
      const reply = await client(method, `/api/users/${path}`, token, { body, headers: cookie ? { cookie } : {} })
      await perms.auth.settled()
      answer = `${reply.status} ${reply.headers.location ?? ''} ${JSON.stringify(reply.body)}`
    })
    return { answer: answer.replace(/"challenge":"[^"]*"/, '"challenge":"..."'), statements }
  }

  it('give the same answers after the same statements [promises 10, 119, 129, 144]', async function () {
    this.timeout(120_000)
    for (const [title, [known, unknown]] of Object.entries(pairs)) {
      // The first use may look up which tables exist.
      await workOf(await known())
      const work = await workOf(await known())
      expect(await workOf(await unknown()), title).to.deep.equal(work)
      expect(work.statements, title).to.have.length.above(0)
    }
  })
})
