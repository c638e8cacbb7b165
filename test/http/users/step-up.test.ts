import { expect } from 'chai'
import {
  Api,
  AuditLog,
  allOf,
  asSystem,
  BasePermsModel,
  ConfigurationError,
  CrudResource,
  check,
  column,
  createTables,
  Endpoint,
  everyone,
  factor,
  HasUserMixin,
  owner,
  type Policy,
  Resource,
  Role,
  recent,
  role,
  Token,
  type User,
  UserResource,
  type UserResourceOptions,
} from '../../../src/index.js'
import { capturedMailer, type FakeClock, fakeClock, signInAs } from '../../../src/testing/index.js'
import { openFullZoo } from '../../conformance/full-zoo.js'
import { password, type Zoo } from '../../conformance/zoo.js'
import { thrown } from '../../helpers/errors.js'
import { type Client, clientOf, type Reply } from '../client.js'

class Treasure extends HasUserMixin(BasePermsModel).withColumns({
  title: column.string({ maxLength: 20 }),
  state: column.string().default('open'),
}) {
  static override policy: Policy<Treasure> = {
    read: owner(),
    create: allOf(owner(), recent(300)),
    update: allOf(owner(), recent(300)),
    delete: allOf(owner(), factor('any'), recent(60)),
  }
}
class Hoard extends HasUserMixin(BasePermsModel).withColumns({ title: column.string({ maxLength: 20 }) }) {
  static override policy: Policy<Hoard> = {
    read: everyone(),
    create: recent(300),
    update: allOf(
      recent(300),
      check(() => true),
    ),
    delete: role('editor'),
  }
}

const challengeOf = (reply: Reply) => reply.headers['www-authenticate']

describe('Step-up over HTTP', () => {
  let zoo: Zoo
  let ask: Client
  let clock: FakeClock
  let token: string
  let other: string
  let id: string
  before(async () => {
    zoo = await openFullZoo('better-sqlite3', { models: [Treasure, Hoard], auditLog: true })
    await createTables(zoo.perms.knex, [Treasure, Hoard])
    const status = new Resource({ path: 'status' })
    status.endpoint({ method: 'GET', path: '', stepUp: recent(60), handler: () => ({ ok: true }) })
    status.endpoint({ method: 'GET', path: 'strong', stepUp: allOf(recent(60), factor('totp')), handler: () => ({ ok: true }) })
    status.endpoint({ method: 'GET', path: 'admin', role: Role.ADMIN, stepUp: recent(60), handler: () => ({ ok: true }) })
    const hoards = new CrudResource({ model: Hoard, methods: { get: { stepUp: recent(60) }, delete: { stepUp: recent(60) } } })
    const api = new Api({
      resources: [new UserResource({ features: { confirm: true, totp: true } }), new CrudResource({ model: Treasure }), hoards, status],
    })
    ask = clientOf(api, zoo.perms)
  })
  after(() => zoo.close())
  beforeEach(async () => {
    clock = fakeClock()
    const { accessToken, user } = await signInAs({ email: 'ada@example.com' })
    token = accessToken
    other = (await signInAs({ email: 'bob@example.com' })).accessToken
    id = (await asSystem(() => Treasure.create({ title: 'Gold', userId: user.id }))).id
  })
  afterEach(() => clock.restore())

  const confirm = (body: unknown = { password }, as: string | null = token) => ask('POST', '/users/me/confirm/', as, { body })

  it('answers 401 with max_age and acr_values where only the session is missing, and the write works after a confirmation [promise 88]', async () => {
    expect((await ask('PATCH', `/treasures/${id}`, token, { body: { title: 'New' } })).status).to.equal(200)
    clock.advance(301)
    expect((await ask('GET', `/treasures/${id}`, token)).status).to.equal(200)
    for (const [method, target, body] of [
      ['PATCH', `/treasures/${id}`, { title: 'Newer' }],
      ['PATCH', `/treasures/${id}`, {}],
      ['PATCH', `/treasures/${id}`, { title: 1 }],
      ['POST', '/treasures', { title: 'Silver' }],
      ['POST', '/treasures', { nonsense: true }],
      ['POST', '/hoards', { title: 'Silver' }],
    ] as const) {
      const reply = await ask(method, target, token, { body })
      expect(reply.status, `${method} ${target} ${JSON.stringify(body)}`).to.be.oneOf('nonsense' in body ? [401, 422] : [401])
      if (reply.status !== 401) continue
      expect(challengeOf(reply)).to.equal(
        'Bearer error="insufficient_user_authentication", error_description="A more recent or stronger authentication is required", max_age="300"',
      )
      expect(reply.body).to.deep.include({ status: 401, code: 'insufficient_user_authentication', max_age: 300 })
      expect(reply.body).to.not.have.property('acr_values')
      expect(reply.headers['cache-control']).to.equal('no-store')
    }
    expect((await confirm()).status).to.equal(200)
    expect((await ask('PATCH', `/treasures/${id}`, token, { body: { title: 'Newer' } })).status).to.equal(200)
    const reply = await ask('DELETE', `/treasures/${id}`, token)
    expect(reply.status).to.equal(401)
    expect(challengeOf(reply)).to.match(/acr_values="passkey totp"$/)
    expect(reply.body).to.deep.include({ acr_values: 'passkey totp' })
    expect(reply.body).to.not.have.property('max_age')
    clock.advance(61)
    expect((await ask('DELETE', `/treasures/${id}`, token)).body).to.deep.include({ max_age: 60, acr_values: 'passkey totp' })
  })

  it('answers as before to a caller who may not read or write the row [promises 36, 88]', async () => {
    clock.advance(301)
    const missing = await ask('PATCH', '/treasures/0198c0de-0000-7000-8000-00000000000a', other, { body: { title: 'New' } })
    const foreign = await ask('PATCH', `/treasures/${id}`, other, { body: { title: 'New' } })
    expect([foreign.status, foreign.body]).to.deep.equal([404, missing.body])
    expect((await ask('DELETE', `/treasures/${id}`, other)).status).to.equal(404)
    expect((await ask('DELETE', `/treasures/${id}`, null)).body.code).to.equal('unauthorized')
    const hoard = await asSystem(() => Hoard.create({ title: 'x', userId: zoo.ids.bob }))
    // The policy refuses: a fresh session would not help.
    const refused = await ask('DELETE', `/hoards/${hoard.id}`, token)
    expect([refused.status, refused.body.code]).to.deep.equal([403, 'forbidden'])
  })

  it('applies to endpoints and methods: after the row was found, and not for API keys and impersonations [promises 86, 88]', async () => {
    expect((await ask('GET', '/status', token)).status).to.equal(200)
    expect((await ask('GET', '/status/strong', token)).body).to.deep.include({
      code: 'insufficient_user_authentication',
      acr_values: 'totp',
    })
    clock.advance(61)
    const stale = await ask('GET', '/status', token)
    expect([stale.status, stale.body.code, stale.body.max_age]).to.deep.equal([401, 'insufficient_user_authentication', 60])
    expect((await ask('GET', '/status', null)).body.code).to.equal('unauthorized')
    expect((await ask('GET', '/status/admin', token)).status).to.equal(403)
    const { accessToken, user: admin } = await signInAs({ email: 'admin@example.com' }, { authTime: new Date(Date.now() - 90_000) })
    expect((await ask('GET', '/status/admin', accessToken)).status).to.equal(401)
    const hoard = await asSystem(() => Hoard.create({ title: 'x', userId: zoo.ids.bob }))
    expect((await ask('GET', `/hoards/${hoard.id}`, token)).status).to.equal(401)
    expect((await ask('GET', '/hoards/0198c0de-0000-7000-8000-00000000000a', token)).status).to.equal(404)
    expect((await ask('GET', '/hoards', token)).status).to.equal(200)
    const { plain } = await asSystem(() => Token.issue(admin as User, { kind: 'api', abilities: ['*'] }))
    expect((await ask('GET', '/status', plain)).body.code).to.equal('insufficient_ability')
  })

  it('refuses rules that say more than what the session is, and public endpoints', () => {
    const handler = () => undefined
    for (const rule of [owner(), allOf(recent(60), role('editor')), allOf(), 'recent' as never])
      expect(thrown(() => new Endpoint({ method: 'GET', path: '', stepUp: rule, handler }))).to.be.instanceOf(ConfigurationError)
    expect(thrown(() => new Endpoint({ method: 'GET', path: '', public: true, stepUp: recent(60), handler }))).to.be.instanceOf(
      ConfigurationError,
    )
  })

  it('confirms with a password or a code, and refuses other bodies with one answer for wrong ones [promise 90]', async () => {
    const reply = await confirm()
    expect(reply.status).to.equal(200)
    expect(reply.headers['cache-control']).to.equal('no-store')
    expect(Object.keys(reply.body)).to.deep.equal(['authTime', 'amr'])
    expect(reply.body.amr).to.deep.equal(['pwd'])
    const [wrongPassword, wrongCode] = [await confirm({ password: 'wrong' }), await confirm({ code: '123456' })]
    expect([wrongPassword.status, wrongPassword.body.code]).to.deep.equal([401, 'invalid_credentials'])
    expect(wrongCode).to.deep.equal(wrongPassword)
    for (const body of [
      {},
      { password: '' },
      { password: null },
      { code: 5 },
      { password, remember: true },
      [],
      { email: 'ada@example.com' },
    ])
      expect((await confirm(body)).status, JSON.stringify(body)).to.equal(422)
    expect((await confirm({ password }, null)).body.code).to.equal('unauthorized')
    const { plain } = await asSystem(async () =>
      Token.issue((await signInAs({ email: 'ada@example.com' })).user, { kind: 'api', abilities: ['*'] }),
    )
    for (const body of [{ password }, {}]) expect((await confirm(body, plain)).status).to.equal(403)
  })

  it('writes confirmations and failed ones into the audit log', async () => {
    await confirm()
    await confirm({ password: 'wrong' })
    await zoo.perms.auth.settled()
    const rows = await asSystem(() =>
      AuditLog.query().whereIn('event', ['sessionConfirmed', 'signInFailed']).orderBy('createdAt', 'desc').orderBy('id', 'desc').limit(2),
    )
    const found = rows.map(({ event, actorId, subjectId, details }) => ({
      event,
      actorId,
      subjectId,
      reason: details?.['reason'],
      amr: details?.['amr'],
    }))
    const { ada } = zoo.ids
    expect(found).to.have.deep.members([
      { event: 'sessionConfirmed', actorId: ada, subjectId: ada, reason: undefined, amr: ['pwd'] },
      { event: 'signInFailed', actorId: ada, subjectId: ada, reason: 'confirm', amr: undefined },
    ])
  })

  it('has no me/confirm/ unless the feature is on', () => {
    const paths = (options: UserResourceOptions) =>
      new UserResource({ ...options, model: zoo.perms.models.user as never }).endpoints().map((one) => one.options.path)
    expect(paths({})).to.not.include('me/confirm')
    expect(paths({ features: { confirm: true } })).to.include('me/confirm')
  })
})

describe('Step-up with cookies', () => {
  const origin = 'https://zoo.example.com'
  const host = 'zoo.example.com'
  for (const authTimeClaims of [false, true])
    it(`confirms the session of a cookie from a page of the server only${authTimeClaims ? ', and replaces the access cookie' : ''} [promise 91]`, async () => {
      const jwt = { secret: 'a secret of the tests, 32 bytes long', authTimeClaims }
      const zoo = await openFullZoo('better-sqlite3', { cookies: true, jwt })
      try {
        const ask = clientOf(new Api({ resources: [new UserResource({ features: { confirm: true } })] }), zoo.perms)
        const body = { email: 'ada@example.com', password }
        const signedIn = await ask('POST', '/users/login', null, { body, headers: { prefer: 'cookies', origin, host } })
        const cookie = signedIn.cookies.map((line) => line.split(';')[0]).join('; ')
        const confirm = (headers: Record<string, string>) =>
          ask('POST', '/users/me/confirm', null, { body: { password }, headers: { cookie, host, ...headers } })
        expect((await confirm({ origin: 'https://evil.example.com' })).body.code).to.equal('foreign_origin')
        const reply = await confirm({ origin })
        expect([reply.status, reply.body.amr]).to.deep.equal([200, ['pwd']])
        expect(reply.body).to.not.have.any.keys('access_token', 'refresh_token')
        expect(reply.cookies.map((line) => line.split('=')[0])).to.deep.equal(authTimeClaims ? ['__Host-access'] : [])
        if (authTimeClaims) {
          const next = `${reply.cookies[0]?.split(';')[0]}; ${cookie.split('; ')[1]}`
          expect((await ask('GET', '/users/me', null, { headers: { cookie: next, host } })).status).to.equal(200)
          const token = (await ask('POST', '/users/login', null, { body, headers: { host } })).body.access_token
          const { access_token } = (await ask('POST', '/users/me/confirm', token, { body: { password }, headers: { host } })).body
          expect((await ask('GET', '/users/me', access_token, { headers: { host } })).status).to.equal(200)
        }
      } finally {
        await zoo.close()
      }
    })
})

describe('initPerms({ stepUp })', () => {
  const features = { apiKeys: true, changeEmail: true, totp: true, passkeys: true, impersonation: true }
  let zoo: Zoo
  let ask: Client
  let clock: FakeClock
  const open = async (stepUp: boolean | { maxAge: number }) => {
    zoo = await openFullZoo('better-sqlite3', { stepUp })
    ask = clientOf(new Api({ resources: [new UserResource({ features })] }), zoo.perms)
    clock = fakeClock()
  }
  afterEach(async () => {
    clock.restore()
    await zoo.close()
  })

  const sensitive = (id: string): [string, string, unknown][] => [
    ['PATCH', '/users/me', { password: 'another battery', oldPassword: password }],
    ['PATCH', '/users/me', { email: 'new@example.com', oldPassword: password }],
    ['PATCH', `/users/${id}`, { password: 'another battery', oldPassword: password }],
    ['POST', '/users/me/email', { email: 'new@example.com', oldPassword: password }],
    ['POST', '/users/me/second-factor', { password }],
    ['POST', '/users/me/second-factor/confirm', { code: '123456' }],
    ['POST', '/users/me/second-factor/remove', { code: '123456' }],
    ['POST', '/users/me/second-factor/recovery-codes', { code: '123456' }],
    ['POST', '/users/api-keys', { description: 'CI', abilities: ['documents:read'] }],
    ['DELETE', '/users/sessions', undefined],
    ['DELETE', `/users/sessions/0198c0de-0000-7000-8000-00000000000a`, undefined],
  ]

  // They need a recent session whatever the option.
  const ofPasskeys: [string, string, unknown][] = [
    ['POST', '/users/me/passkeys/options', undefined],
    ['DELETE', '/users/me/passkeys/0198c0de-0000-7000-8000-00000000000a', undefined],
  ]

  it('asks for a recent session at each sensitive endpoint, and a confirmed session passes [promise 92]', async () => {
    await open(true)
    const { accessToken: token, user } = await signInAs({ email: 'ada@example.com' })
    clock.advance(301)
    for (const [method, target, body] of [...sensitive(user.id), ...ofPasskeys]) {
      const reply = await ask(method, target, token, { body })
      expect([reply.status, reply.body?.code, reply.body?.max_age], `${method} ${target}`).to.deep.equal([
        401,
        'insufficient_user_authentication',
        300,
      ])
    }
    expect((await ask('POST', '/users/me/confirm', token, { body: { password } })).status).to.equal(200)
    for (const [method, target, body] of sensitive(user.id).toReversed()) {
      const reply = await ask(method, target, token, { body })
      expect(reply.body?.code, `${method} ${target}`).to.not.equal('insufficient_user_authentication')
    }
  })

  it('asks superadmins and admins too, but not callers who may not do it anyway [promise 92]', async () => {
    await open({ maxAge: 60 })
    const [ada, root] = [
      await signInAs({ email: 'ada@example.com' }),
      await signInAs({ email: 'root@example.com', password }, { role: Role.SUPERADMIN }),
    ]
    clock.advance(61)
    const code = async (method: string, target: string, token: string, body?: object) =>
      (await ask(method, target, token, { body })).body?.code
    expect(await code('DELETE', `/users/${zoo.ids.bob}`, root.accessToken)).to.equal('insufficient_user_authentication')
    expect(await code('DELETE', `/users/${zoo.ids.bob}`, ada.accessToken)).to.equal('not_found')
    expect(await code('DELETE', `/users/${zoo.ids.ada}`, ada.accessToken)).to.equal('forbidden')
    expect(await code('PATCH', `/users/${zoo.ids.bob}`, root.accessToken, { password: 'another battery' })).to.equal(
      'insufficient_user_authentication',
    )
    expect(await code('PATCH', `/users/${zoo.ids.bob}`, ada.accessToken, { password: 'another battery' })).to.equal('not_found')
    expect(await code('POST', '/users/impersonation', root.accessToken, { userId: zoo.ids.bob })).to.equal(
      'insufficient_user_authentication',
    )
    expect(await code('POST', '/users/impersonation', ada.accessToken, { userId: zoo.ids.bob })).to.equal('forbidden')
  })

  it('leaves other requests and signing out as they are [promise 92]', async () => {
    await open(true)
    const { accessToken: token, user } = await signInAs({ email: 'ada@example.com' })
    clock.advance(301)
    const { body } = await ask('GET', '/users/sessions', token)
    const current = body.data.find(({ isCurrent }: { isCurrent: boolean }) => isCurrent).id
    expect((await ask('GET', '/users/me', token)).status).to.equal(200)
    expect((await ask('GET', '/users/api-keys', token)).status).to.equal(200)
    // A form may send the address that it shows.
    expect((await ask('PATCH', '/users/me', token, { body: { email: user.email } })).body?.code).to.not.equal(
      'insufficient_user_authentication',
    )
    expect((await ask('DELETE', `/users/sessions/${current}`, token)).status).to.equal(204)
  })

  it('is off by default: oldPassword is sufficient proof, whatever the age of the session [promise 92]', async () => {
    await open(false)
    const { accessToken: token, user } = await signInAs({ email: 'ada@example.com' })
    clock.advance(600)
    for (const [method, target, body] of sensitive(user.id).toReversed())
      expect((await ask(method, target, token, { body })).body?.code, `${method} ${target}`).to.not.equal(
        'insufficient_user_authentication',
      )
  })
})

describe('The lifetime of a session', () => {
  const mailer = capturedMailer()
  const secret = 'a secret of the tests, 32 bytes long'
  const [min, max] = [3600, 86_400]
  let zoo: Zoo
  let ask: Client
  const open = async (jwt: object) => {
    zoo = await openFullZoo('better-sqlite3', { jwt: { secret, ...jwt }, mail: { mailer, baseUrl: 'https://app.example.com' } })
    ask = clientOf(new Api({ resources: [new UserResource({ features: { totp: true } })] }), zoo.perms)
  }
  afterEach(() => zoo.close())

  const login = (more: object = {}) => ask('POST', '/users/login', null, { body: { email: 'ada@example.com', password, ...more } })
  /** Returns the seconds after which the session of a sign-in ends. */
  const lifeOf = async ({ body }: Reply) => {
    const { sessionId } = await zoo.perms.authenticate(body.access_token)
    const { endsAt } = await asSystem(() => Token.getOr404(sessionId ?? ''))
    return Math.round(((endsAt?.getTime() ?? 0) - Date.now()) / 60_000) * 60
  }

  it('is chosen at sign-in within the bounds of the application [promise 93]', async () => {
    await open({ rememberMe: { min, max } })
    expect(await lifeOf(await login())).to.equal(min)
    expect(await lifeOf(await login({ remember: false }))).to.equal(min)
    expect(await lifeOf(await login({ remember: true }))).to.equal(max)
    expect(await lifeOf(await login({ sessionExpires: 7200 }))).to.equal(7200)
    const invalid = [{ sessionExpires: min - 1 }, { sessionExpires: max + 1 }, { sessionExpires: 7200.5 }, { sessionExpires: '7200' }]
    for (const more of [
      ...invalid,
      { sessionExpires: null },
      { remember: 'true' },
      { remember: 1 },
      { remember: null },
      { remember: true, sessionExpires: 7200 },
    ])
      expect((await login(more)).status, JSON.stringify(more)).to.equal(422)
  })

  it('ends the session however often it is refreshed [promise 93]', async () => {
    await open({ rememberMe: { min, max } })
    const clock = fakeClock()
    try {
      let { refresh_token } = (await login({ remember: false })).body
      const refresh = () => ask('POST', '/users/refresh', null, { body: { refresh_token } })
      for (let i = 0; i < 3; i += 1) {
        clock.advance(1000)
        refresh_token = (await refresh()).body.refresh_token
      }
      clock.advance(601)
      expect((await refresh()).status).to.equal(401)
    } finally {
      clock.restore()
    }
  })

  it('is kept by the challenge of a second factor [promise 93]', async () => {
    await open({ rememberMe: { min, max } })
    const { user } = await signInAs({ email: 'ada@example.com' })
    const { addFactor } = await import('../../auth/flows/second-factor/factor.js')
    const { recoveryCodes } = await addFactor(zoo.perms, user as User, password)
    const { challenge } = (await login({ remember: true })).body
    const reply = await ask('POST', '/users/second-factor', null, { body: { challenge, code: recoveryCodes[0] } })
    expect(await lifeOf(reply)).to.equal(max)
  })

  it('cannot be chosen unless the application sets bounds [promise 93]', async () => {
    await open({})
    for (const more of [{ remember: true }, { sessionExpires: 7200 }]) expect((await login(more)).status).to.equal(422)
    expect(await lifeOf(await login())).to.equal(7_776_000)
  })
})
