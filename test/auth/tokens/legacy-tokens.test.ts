import { generateKeyPairSync } from 'node:crypto'
import { expect } from 'chai'
import jsonwebtoken from 'jsonwebtoken'
import { lockRow } from '../../../src/database/lock-row.js'
import { outsideTransaction } from '../../../src/database/transaction.js'
import { createAdapter } from '../../../src/http/serve/adapter-core.js'
import {
  Api,
  asSystem,
  Invitation,
  initPerms,
  type LegacyTokenOptions,
  type Mail,
  Role,
  SecondFactor,
  Token,
  transaction,
  UserResource,
} from '../../../src/index.js'
import { createTables } from '../../../src/migrations.js'
import { runAsActor } from '../../../src/policy/context.js'
import { capturedMailer, fakeClock } from '../../../src/testing/index.js'
import { endLegacyTokens } from '../../../src/users/legacy-tokens.js'
import { countQueries, createDatabase, eachDatabase, type OwnDatabase } from '../../helpers/databases.js'
import { thrown } from '../../helpers/errors.js'
import { migrateAtOnce } from '../../helpers/library-tables-at-once.js'
import { untilSomeoneWaits } from '../../helpers/until.js'
import { clientOf, neutralRequest } from '../../http/client.js'
import { Member, member, outcome, password, type SetUp, secret, setUp } from '../set-up.js'

const oldSecret = 'the secret of the old scheme, 32 bytes or more'
const day = 86_400_000
const until = new Date(Date.now() + 30 * day)
const { privateKey, publicKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' })
const userId: LegacyTokenOptions['userId'] = ({ id }) => id as string
const legacyTokens: LegacyTokenOptions = { secret: oldSecret, until, userId }
const now = () => Math.floor(Date.now() / 1000)
const newPassword = 'another horse, another battery'

/** A token as the application signed it before it used the library. */
function oldToken(user: { id: unknown }, claims: object = {}, options: jsonwebtoken.SignOptions = {}, key: string = oldSecret): string {
  const time = options.noTimestamp ? {} : { iat: now() - 3600 }
  return jsonwebtoken.sign({ id: user.id, admin: true, ...time, ...claims }, key, options)
}

const encoded = (value: object) => Buffer.from(JSON.stringify(value)).toString('base64url')

eachDatabase('Legacy tokens', (db) => {
  const mailer = capturedMailer<Mail>()
  let all: SetUp
  before(async () => {
    const mail = { mailer, baseUrl: 'https://app.example.com' }
    all = await setUp(db.knex, { jwt: { secret, legacyTokens }, mail })
    await createTables(db.knex, [SecondFactor, Invitation] as never)
  })
  after(() => all.perms.close())

  const { authenticate, signOut, signOutEverywhere } = {
    authenticate: (token: string) => all.perms.authenticate(token),
    signOut: async (token: string) => runAsActor(await all.perms.authenticate(token), () => all.perms.auth.signOut()),
    signOutEverywhere: (user: Member) => all.perms.auth.signOutEverywhere(user as never),
  }
  const isIn = async (token: string) => (await outcome(authenticate(token))) === 'fine'

  it('authenticate their user with the roles of the database, whatever their claims say [promise 80]', async () => {
    const user = await member()
    const token = oldToken(user)
    const actor = await authenticate(token)
    expect([actor.id, actor.grants, actor.abilities]).to.deep.equal([user.id, [], null])
    await user.grantRole('editor')
    expect((await authenticate(token)).grants.map(({ role }) => role)).to.deep.equal(['editor'])
    await user.revokeRole('editor')
    expect((await authenticate(token)).grants).to.deep.equal([])
  })

  it('cost one statement after their first use, and native tokens no further statement', async () => {
    const user = await member()
    const token = oldToken(user)
    await authenticate(token)
    expect((await countQueries(db.knex, () => authenticate(token))).statements).to.have.length(1)
    const { accessToken } = await all.auth.signIn({ email: user.email, password })
    expect((await countQueries(db.knex, () => authenticate(accessToken))).statements).to.have.length(1)
  })

  it('end with sign-out, alone [promise 80]', async () => {
    const user = await member()
    const [one, two] = [oldToken(user), oldToken(user, { device: 2 })]
    const { accessToken } = await all.auth.signIn({ email: user.email, password })
    await signOut(one)
    expect([await isIn(one), await isIn(two), await isIn(accessToken)]).to.deep.equal([false, true, true])
  })

  it('end with sign-out everywhere, used or not, and later ones are accepted [promise 80]', async () => {
    const [user, other] = [await member(), await member()]
    const [used, unused, noTime] = [oldToken(user), oldToken(user, { device: 2 }), oldToken(user, { device: 3 }, { noTimestamp: true })]
    await authenticate(used)
    expect(await signOutEverywhere(user)).to.equal(1)
    expect([await isIn(used), await isIn(unused), await isIn(noTime), await isIn(oldToken(other))]).to.deep.equal([
      false,
      false,
      false,
      true,
    ])
    const clock = fakeClock()
    try {
      clock.advance(120)
      expect([await isIn(unused), await isIn(oldToken(user, { iat: now() }))]).to.deep.equal([false, true])
      // A second sign-out moves the end.
      await signOutEverywhere(user)
      expect(await isIn(oldToken(user, { iat: now(), device: 4 }))).to.equal(false)
    } finally {
      clock.restore()
    }
  })

  it('end with a changed password or address, except the one that changed it [promise 80]', async () => {
    for (const change of [{ password: newPassword }, { email: `renamed${Math.random()}@example.com` }]) {
      const user = await member()
      const [mine, used, unused] = [1, 2, 3].map((device) => oldToken(user, { device })) as [string, string, string]
      await authenticate(used)
      const actor = await authenticate(mine)
      await runAsActor(actor, async () => (await Member.getByOr404({ id: user.id })).updateFrom({ ...change, oldPassword: password }))
      expect([await isIn(mine), await isIn(used), await isIn(unused)]).to.deep.equal([true, false, false])
    }
  })

  it('end with a reset of the password and with the first proof of an address [promise 80]', async () => {
    for (const flow of ['resetPassword', 'magicLink'] as const) {
      const user = await member()
      const [used, unused] = [oldToken(user), oldToken(user, { device: 2 })]
      await authenticate(used)
      const { mail } = all.perms.auth
      await (flow === 'magicLink' ? mail.requestMagicLink(user.email) : mail.requestPasswordReset(user.email))
      await all.perms.auth.settled()
      const token = mailer.tokenFrom(mailer.last(flow))
      await (flow === 'magicLink' ? mail.signInWithMagicLink(token) : mail.resetPassword({ token, password: newPassword }))
      expect([await isIn(used), await isIn(unused)], flow).to.deep.equal([false, false])
    }
  })

  it('are refused while their user is disabled or deleted [promise 80]', async () => {
    const [disabled, deleted, gone] = [await member(), await member(), await member()]
    const tokens = [disabled, deleted, gone].map((user) => oldToken(user))
    for (const token of tokens) expect(await isIn(token)).to.equal(true)
    await disabled.update({ isEnabled: false } as Partial<Member>)
    await deleted.delete()
    await gone.hardDelete()
    const unused = [disabled, deleted, gone].map((user) => oldToken(user, { device: 2 }))
    for (const token of [...tokens, ...unused]) expect(await outcome(authenticate(token))).to.equal('InvalidTokenError')
    expect(await asSystem(() => Token.query().whereIn('userId', [disabled.id, deleted.id]))).to.have.length(2)
  })

  it('end at their expiry, and all of them at the fixed end [promise 80]', async () => {
    const user = await member()
    const [short, long, endless] = [
      oldToken(user, { exp: now() + 60 }),
      oldToken(user, { exp: now() + 3600 * 24 * 365 }),
      oldToken(user, { device: 2 }),
    ]
    const expected = async (...are: boolean[]) => expect([await isIn(short), await isIn(long), await isIn(endless)]).to.deep.equal(are)
    await expected(true, true, true)
    const clock = fakeClock()
    try {
      clock.advance(61)
      await expected(false, true, true)
      clock.advance((until.getTime() - Date.now()) / 1000 - 60)
      await expected(false, true, true)
      clock.advance(120)
      await expected(false, false, false)
    } finally {
      clock.restore()
    }
  })

  it('stay signed out after expired tokens were deleted [promise 80]', async () => {
    const user = await member()
    const [endless, long] = [oldToken(user), oldToken(user, { exp: now() + 3600 * 24 * 365 })]
    for (const token of [endless, long]) await signOut(token)
    const clock = fakeClock()
    try {
      clock.advance(29 * 86_400)
      await asSystem(() => Token.deleteExpired())
      expect([await isIn(endless), await isIn(long)]).to.deep.equal([false, false])
    } finally {
      clock.restore()
    }
  })

  it('end when their rows are deleted: without a row, a signed-out token would count as unused [promise 80]', async () => {
    const user = await member()
    const [signedOut, used, other] = [1, 2, 3].map((device) => oldToken(user, { device })) as [string, string, string]
    await authenticate(used)
    await signOut(signedOut)
    const rowsOf = (some: object = {}) => Token.query().where({ userId: user.id, ...some })
    const actor = await authenticate(other)
    expect(await runAsActor(actor, () => rowsOf({ revoked: true }).delete())).to.equal(1)
    for (const token of [signedOut, used, other]) expect(await isIn(token)).to.equal(false)
    // The row of the cut-off comes back when it is deleted itself, also in a transaction.
    await transaction(() => asSystem(() => rowsOf().delete()))
    for (const token of [signedOut, used, other]) expect(await isIn(token)).to.equal(false)
    expect(await isIn(oldToken(user, { iat: now() + 30 }))).to.equal(false)
    // The tokens of others stay, also if a caller tries to delete them.
    const [one, two] = [await member(), await member()]
    const theirs = oldToken(two)
    await authenticate(theirs)
    expect(await runAsActor(await authenticate(oldToken(one)), () => Token.query().delete().where('userId', two.id))).to.equal(0)
    expect(await isIn(theirs)).to.equal(true)
  })

  it('end with the expiry that a query sets, also after expired tokens were deleted [promise 80]', async () => {
    const user = await member()
    const token = oldToken(user)
    await authenticate(token)
    await asSystem(() =>
      Token.query()
        .patch({ expiresAt: new Date(Date.now() - 1000) })
        .where('userId', user.id),
    )
    expect(await isIn(token)).to.equal(false)
    await asSystem(() => Token.deleteExpired())
    expect(await isIn(token)).to.equal(false)
  })

  it('appear in the list of sessions, with the earlier of their two ends', async () => {
    const user = await member()
    const expires = now() + 3600
    const tokens = [oldToken(user), oldToken(user, { exp: expires })]
    for (const token of tokens) await authenticate(token)
    const listed = await runAsActor(await authenticate(tokens[0] as string), () => all.perms.auth.sessions(user as never))
    expect(listed.map(({ expiresAt }) => expiresAt?.getTime())).to.have.members([until.getTime(), expires * 1000])
    expect(listed.filter(({ isCurrent }) => isCurrent)).to.have.length(1)
    const [one] = listed.filter(({ isCurrent }) => !isCurrent)
    expect(await all.perms.auth.endSession(user as never, one?.id ?? '')).to.equal(true)
    expect(await isIn(tokens[1] as string)).to.equal(false)
  })

  it('are refused when they are forged, of another kind or for another user [promises 14, 16, 17, 80]', async () => {
    const user = await member()
    const [header, payload] = oldToken(user).split('.') as [string, string]
    const claims = { id: user.id, iat: now() }
    const { accessToken, refreshToken } = await all.auth.signIn({ email: user.email, password })
    const [nativeHeader, nativePayload] = accessToken.split('.') as [string, string]
    const bad: Record<string, string> = {
      none: `${encoded({ alg: 'none', typ: 'JWT' })}.${payload}.`,
      unsigned: `${header}.${payload}.`,
      'another secret': oldToken(user, {}, {}, 'some other secret, 32 bytes or more than that'),
      'the native secret': oldToken(user, {}, {}, secret),
      'a native token signed with the old secret': jsonwebtoken.sign(
        JSON.parse(Buffer.from(nativePayload, 'base64url').toString()),
        oldSecret,
        { header: JSON.parse(Buffer.from(nativeHeader, 'base64url').toString()) },
      ),
      'another algorithm': oldToken(user, {}, { algorithm: 'HS512' }),
      crit: jsonwebtoken.sign(claims, oldSecret, { header: { alg: 'HS256', crit: ['x'], x: 1 } as never }),
      jwk: jsonwebtoken.sign(claims, oldSecret, { header: { alg: 'HS256', jwk: { kty: 'oct', k: 'AA' } } as never }),
      'an unknown kid': oldToken(user, {}, { keyid: 'other' }),
      'another typ': jsonwebtoken.sign(claims, oldSecret, { header: { alg: 'HS256', typ: 'refresh+jwt' } }),
      'an audience': oldToken(user, { aud: 'another application' }),
      'not yet': oldToken(user, { nbf: now() + 600 }),
      'from the future': oldToken(user, { iat: now() + 600 }),
      'no user': oldToken({ id: undefined }),
      'an object as user': oldToken({ id: { id: user.id } }),
      'an unknown user': oldToken({ id: '019ac1f0-7d3c-7b1e-9c55-0f6f6a1d2b3c' }),
      'another spelling of the id': oldToken({ id: ` ${user.id}` }),
      'a list': jsonwebtoken.sign('[]', oldSecret),
      'a refresh token': refreshToken,
    }
    for (const [name, token] of Object.entries(bad)) expect(await outcome(authenticate(token)), name).to.equal('InvalidTokenError')
    // The same claims are accepted where nothing is wrong.
    expect(await isIn(jsonwebtoken.sign(claims, oldSecret))).to.equal(true)
  })

  it('are neither access tokens of the library nor opaque tokens or API keys [promises 17, 80]', async () => {
    const user = await member()
    const token = oldToken(user)
    await authenticate(token)
    expect(thrown(() => all.perms.auth.verifyAccessToken(token)).constructor.name).to.equal('InvalidTokenError')
    expect(await outcome(all.perms.auth.refresh(token))).to.equal('InvalidTokenError')
    expect(await outcome(all.perms.auth.createAccessToken(user as never, { refreshToken: token }))).to.equal('InvalidTokenError')
    const signed = token.slice(0, token.lastIndexOf('.'))
    for (const text of [token, signed]) expect(await Token.verify(text)).to.equal(null)
    const rows = (await asSystem(() => Token.query().where('userId', user.id))) as unknown as Token[]
    const [session] = rows.filter(({ kind }) => kind === 'legacy')
    // Not even a native token with a valid signature may name the session of a legacy token.
    const claims = { sub: String(user.id), sid: session?.id, usr: 'member' }
    const native = jsonwebtoken.sign(claims, secret, { expiresIn: 60, header: { alg: 'HS256', typ: 'at+jwt' } })
    expect(await outcome(authenticate(native))).to.equal('InvalidTokenError')
  })

  it('are accepted by two first uses at once, and refused by a first use that waits for a sign-out everywhere [promise 80]', async () => {
    const user = await member()
    const token = oldToken(user)
    expect(await Promise.all([1, 2, 3].map(() => outcome(authenticate(token))))).to.deep.equal(['fine', 'fine', 'fine'])
    if (db.dialect === 'sqlite') return
    let waiting: Promise<string> | undefined
    await transaction(async (trx) => {
      await lockRow(trx, Member, user.id)
      waiting = outsideTransaction(() => outcome(authenticate(oldToken(user, { device: 2 }))))
      await untilSomeoneWaits(db.connect())
      await endLegacyTokens(user.id, trx)
    })
    expect(await waiting).to.equal('InvalidTokenError')
  })

  it('never survive a sign-out everywhere at the same moment as their first use [promise 80]', async () => {
    const user = await member()
    for (let i = 0; i < 10; i += 1) {
      const token = oldToken(user, { device: i })
      await Promise.all([outcome(authenticate(token)), signOutEverywhere(user)])
      expect(await isIn(token)).to.equal(false)
    }
  })

  it('are counted out by a process that does not sign users in, once old tokens are in use [promise 80]', async () => {
    const user = await member()
    const [used, unused] = [oldToken(user), oldToken(user, { device: 2 })]
    await authenticate(used)
    await all.perms.close()
    const script = initPerms({ knex: db.knex, user: Member as never, passwordHasher: all.hasher })
    await asSystem(async () => (await Member.getByOr404({ id: user.id })).update({ password: newPassword } as Partial<Member>))
    await script.close()
    all = { ...all, perms: initPerms({ knex: db.knex, jwt: { secret, legacyTokens }, user: Member as never, passwordHasher: all.hasher }) }
    expect([await isIn(used), await isIn(unused)]).to.deep.equal([false, false])
  })

  it('let a superadmin impersonate until they end [promise 80]', async () => {
    const [root, user] = [await member(), await member()]
    await asSystem(() => root.grantRole(Role.SUPERADMIN))
    const token = oldToken(root)
    const { accessToken } = await runAsActor(await authenticate(token), () => all.perms.auth.impersonation.start(user as never))
    expect((await authenticate(accessToken)).impersonatorId).to.equal(root.id)
    await signOut(token)
    expect(await isIn(accessToken)).to.equal(false)
  })

  it('pass the id of the session to loadUser() instead of their claims', async () => {
    const user = await member()
    const seen: object[] = []
    const loadUser = async (claims: Record<string, unknown>) => {
      seen.push(claims)
      return user as never
    }
    const auth = all.another({ jwt: { secret, legacyTokens }, loadUser })
    const actor = await auth.authenticate(oldToken(user))
    expect(seen).to.deep.equal([{ sub: user.id, usr: 'member', legacy: actor.sessionId }])
  })

  it('may have other algorithms, a kid, an issuer and an audience, and the claim sub [promises 14, 80]', async () => {
    const user = await member()
    const keys = [{ kid: 'old', algorithm: 'ES256' as const, publicKey }]
    const auth = all.another({ jwt: { secret, legacyTokens: { keys, until, issuer: 'tracker', audience: 'app' } } })
    const sign = (claims: object, options: jsonwebtoken.SignOptions = {}) =>
      jsonwebtoken.sign({ sub: user.id, iss: 'tracker', aud: 'app', ...claims }, privateKey, {
        algorithm: 'ES256',
        keyid: 'old',
        ...options,
      })
    const token = sign({})
    const actor = await auth.authenticate(token)
    expect(actor.id).to.equal(user.id)
    const noId = [[user.id], { id: user.id }, [[user.id]], null, true, 7, ''].map((sub) => ({ sub }))
    for (const wrong of [{ iss: 'other' }, { aud: 'other' }, { iss: undefined }, ...noId])
      expect(await outcome(auth.authenticate(sign(wrong))), JSON.stringify(wrong)).to.equal('InvalidTokenError')
    // HMAC with the public key as the secret.
    const pem = publicKey.export({ type: 'spki', format: 'pem' }) as string
    const [, payload] = token.split('.')
    const { createHmac } = await import('node:crypto')
    const signing = `${encoded({ alg: 'HS256', typ: 'JWT', kid: 'old' })}.${payload}`
    const confused = `${signing}.${createHmac('sha256', pem).update(signing).digest('base64url')}`
    expect(await outcome(auth.authenticate(confused))).to.equal('InvalidTokenError')
    // Any holder of a token can make another valid signature of it: s and n - s are both valid.
    await runAsActor(actor, () => auth.signOut())
    for (const text of [token, otherSignature(token)]) expect(await outcome(auth.authenticate(text))).to.equal('InvalidTokenError')
    const twice = sign({ device: 2 })
    const [one, two] = [await auth.authenticate(twice), await auth.authenticate(otherSignature(twice))]
    expect(two.sessionId).to.equal(one.sessionId)
  })
})

/** The other valid ECDSA signature of a token. */
function otherSignature(token: string): string {
  const order = 0xffffffff00000000ffffffffffffffffbce6faada7179e84f3b9cac2fc632551n
  const dot = token.lastIndexOf('.')
  const bytes = Buffer.from(token.slice(dot + 1), 'base64url')
  const s = order - BigInt(`0x${bytes.subarray(32).toString('hex')}`)
  const changed = Buffer.concat([bytes.subarray(0, 32), Buffer.from(s.toString(16).padStart(64, '0'), 'hex')])
  return `${token.slice(0, dot)}.${changed.toString('base64url')}`
}

describe('initPerms({ jwt: { legacyTokens } })', () => {
  const opened: OwnDatabase[] = []
  const database = async () => {
    const own = await createDatabase('better-sqlite3')
    opened.push(own)
    return own.knex
  }
  afterEach(async () => {
    for (const own of opened.splice(0)) await own.destroy()
  })

  it('refuses weak keys, missing or distant ends, and keys that it shares with native tokens [promises 15, 80]', async () => {
    const knex = await database()
    const wrong: [Partial<LegacyTokenOptions>, RegExp][] = [
      [{ secret: 'short' }, /jwt\.legacyTokens\.secret has 5 bytes/],
      [{ secret: undefined }, /jwt\.legacyTokens\.secret is missing/],
      [{ keys: [{ algorithm: 'HS256', secret: oldSecret }] }, /either secret or keys/],
      [{ secret: undefined, keys: [{ algorithm: 'none' as never, secret: oldSecret }] }, /algorithm must be one of/],
      [{ secret }, /has a key that jwt has too/],
      [{ until: undefined as never }, /until: name the end/],
      [{ until: '90 days' }, /until: name the end/],
      [{ until: '2027-03-01T12:00' }, /until: name the end/],
      [{ until: 1_800_000_000_000 as never }, /until: name the end/],
      [{ until: new Date(Number.NaN) }, /until: name the end/],
      [{ until: new Date(Date.now() + 401 * day) }, /more than 400 days ahead/],
      [{ userId: 'id' as never }, /userId must be a function/],
      [{ issuer: '' }, /jwt\.legacyTokens\.issuer: must be a non-empty string/],
    ]
    for (const [options, message] of wrong) {
      const error = thrown(() => initPerms({ knex, jwt: { secret, legacyTokens: { ...legacyTokens, ...options } } }))
      expect([error.constructor.name, message.test(error.message)], error.message).to.deep.equal(['ConfigurationError', true])
    }
    const ends = ['2020-01-01', new Date(Date.now() + 30 * day).toISOString(), new Date(Date.now() + 399 * day)]
    for (const end of ends) await initPerms({ knex, jwt: { secret, legacyTokens: { ...legacyTokens, until: end } } }).close()
  })

  it('refuses two databases that accept the same tokens in one process [promises 74, 80]', async () => {
    const [one, two] = [await database(), await database()]
    const first = initPerms({ knex: one, name: 'one', jwt: { secret, legacyTokens } })
    const open = (more: Partial<LegacyTokenOptions>) =>
      initPerms({ knex: two, name: 'two', jwt: { secret, legacyTokens: { ...legacyTokens, ...more } } })
    expect(thrown(() => open({})).message).to.match(/another database of this process accepts the same tokens/)
    await open({ issuer: 'two' }).close()
    await open({ secret: `${oldSecret} of two` }).close()
    await first.close()
  })

  it('accepts old tokens as a Bearer and at the upgrade of sockets, and closes these at sign-out [promise 80]', async () => {
    const knex = await database()
    const perms = initPerms({ knex, jwt: { secret, legacyTokens }, user: Member as never })
    await migrateAtOnce(perms)
    const user = await member()
    const token = oldToken(user)
    const ask = clientOf(new Api({ resources: [new UserResource()] }), perms)
    expect((await ask('GET', '/users/me', token)).body).to.include({ id: user.id })
    const connection = await createAdapter(perms).upgrade(neutralRequest('GET', '/', token))
    const hasEnded = new Promise((resolve) => connection.onEnd(resolve))
    expect(await connection.run(() => 'ran')).to.equal('ran')
    expect((await ask('POST', '/users/logout', token)).status).to.equal(204)
    await hasEnded
    expect((await ask('GET', '/users/me', token)).status).to.equal(401)
    await perms.close()
  })
})
