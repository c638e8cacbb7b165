import { randomBytes } from 'node:crypto'
import { expect } from 'chai'
import { Api } from '../../../src/http/serve/api.js'
import { UserResource } from '../../../src/http/users/user-resource.js'
import { asSystem } from '../../../src/policy/context.js'
import { createUser, signInAs } from '../../../src/testing/index.js'
import { runAs } from '../../../src/users/caller/actor.js'
import { Domain } from '../../../src/users/domain.js'
import { Role } from '../../../src/users/roles/roles.js'
import { hashToken, Token } from '../../../src/users/token.js'
import type { User } from '../../../src/users/user.js'
import { addFactor, challengeOf, codeOf, type Factor } from '../../auth/flows/second-factor/factor.js'
import { allFeatures, type FullZoo, openFullZoo } from '../../conformance/full-zoo.js'
import { password } from '../../conformance/zoo.js'
import { availableDrivers } from '../../helpers/databases.js'
import { type Client, clientOf } from '../client.js'

const origin = { host: 'zoo.example', origin: 'https://zoo.example' }
const newPassword = 'a wholly new password'

/** A user with something of each kind, and another who is setting a second factor up. */
interface Subject {
  readonly user: User
  readonly email: string
  readonly factor: Factor
  readonly accessToken: string
  readonly refreshToken: string
  readonly pending: { readonly secret: string; readonly accessToken: string }
}

for (const database of availableDrivers.filter((name) => name !== 'sqlite3')) {
  describe(`Tokens of every kind at every endpoint (${database})`, function () {
    this.timeout(60_000)
    let zoo: FullZoo
    let ask: Client
    let superadmin: { user: User; accessToken: string }
    const errors: unknown[] = []
    const api = new Api({ resources: [new UserResource({ features: allFeatures })] })
    before(async () => {
      zoo = await openFullZoo(database, { cookies: true })
      ask = clientOf(api, zoo.perms, errors)
      superadmin = await signInAs({}, { role: Role.SUPERADMIN })
      await asSystem(() => Domain.create({ name: 'press' }))
    })
    after(() => zoo.close())

    async function subject(): Promise<Subject> {
      const user = await createUser({ password })
      const factor = await addFactor(zoo.perms, user, password)
      const { accessToken, refreshToken } = await signInAs(user)
      const other = await signInAs<User>({})
      const { secret } = await asSystem(() => zoo.perms.auth.secondFactors.begin(other.user))
      return { user, email: user.email, factor, accessToken, refreshToken, pending: { secret, accessToken: other.accessToken } }
    }

    const post = (path: string, body: object, token?: string) => ask('POST', `/users/${path}`, token, { body })

    async function mailed(kind: string, request: () => Promise<unknown>): Promise<string> {
      await request()
      await zoo.perms.auth.settled()
      return zoo.mailer.tokenFrom(zoo.mailer.last(kind))
    }
    const invited = (email: string) =>
      mailed('invitation', () =>
        runAs(superadmin.user, () => zoo.perms.auth.invitations.invite({ email, role: 'editor', domain: 'press' })),
      )
    const custom = async (user: User, options: object) => (await asSystem(() => Token.issue(user, options))).plain
    const secret = () => randomBytes(32).toString('base64url')
    let count = 0
    function newAddress(): string {
      count += 1
      return `new-${count}@example.com`
    }

    /** How each kind comes into a client's hands. */
    const kinds: Readonly<Record<string, (who: Subject) => string | Promise<string>>> = {
      'access token': ({ accessToken }) => accessToken,
      'refresh token': ({ refreshToken }) => refreshToken,
      'access token in another’s place': async ({ user }) =>
        (await post('impersonation', { userId: user.id }, superadmin.accessToken)).body.access_token,
      'API key': ({ user }) => custom(user, { kind: 'api', abilities: ['*'] }),
      'mail to verify': ({ email }) => mailed('verifyEmail', () => post('verify-email/request', { email })),
      'mail to reset': ({ email }) => mailed('resetPassword', () => post('reset-password/request', { email })),
      'mail to change the address': ({ accessToken }) =>
        mailed('changeEmail', () => post('me/email', { email: newAddress(), oldPassword: password }, accessToken)),
      'magic link': ({ email }) => mailed('magicLink', () => post('magic-link/request', { email })),
      challenge: ({ email }) => challengeOf(zoo.perms, email, password),
      'code of the app': ({ factor }) => codeOf(factor.secret),
      'code of an app being set up': ({ pending }) => codeOf(pending.secret),
      'recovery code': ({ factor }) => factor.recoveryCodes[0] as string,
      invitation: ({ email }) => invited(email),
      'invitation of a new address': () => invited(newAddress()),
      'custom token': ({ user }) => custom(user, {}),
      // An application may choose any kind for its own tokens.
      ...Object.fromEntries(
        [
          ['verify-email', 'mt_'],
          ['reset-password', 'mt_'],
          ['change-email', 'mt_'],
          ['magic-link', 'mt_'],
          ['second-factor', 'sf_'],
          ['recovery', ''],
          ['invitation', 'in_'],
          ['refresh', 'rt_'],
          ['access', ''],
        ].map(([kind, prefix]) => [
          `custom token that calls itself ${kind}`,
          ({ user }: Subject) => custom(user, { kind, token: prefix + secret() }),
        ]),
      ),
    }

    /** Each use of a token, with everything else that it needs. Returns the status, or 200 or 401 of a call. */
    const uses: Readonly<Record<string, (token: string, who: Subject) => Promise<number>>> = {
      Authorization: async (token) => (await ask('GET', '/users/me', token)).status,
      'the access cookie': async (token) => (await ask('GET', '/users/me', null, { headers: { cookie: `__Host-access=${token}` } })).status,
      'the refresh cookie': async (token) =>
        (await ask('POST', '/users/refresh', null, { headers: { ...origin, cookie: `__Host-refresh=${token}` } })).status,
      'refresh/': async (token) => (await post('refresh', { refresh_token: token })).status,
      'verify-email/': async (token) => (await post('verify-email', { token })).status,
      'reset-password/': async (token) => (await post('reset-password', { token, password: newPassword })).status,
      'change-email/': async (token) => (await post('change-email', { token })).status,
      'magic-link/': async (token) => (await post('magic-link', { token })).status,
      'second-factor/ as the challenge': async (token, { factor }) =>
        (await post('second-factor', { challenge: token, code: factor.recoveryCodes[1] as string })).status,
      'second-factor/ as the code': async (token, { email }) =>
        (await post('second-factor', { challenge: await challengeOf(zoo.perms, email, password), code: token })).status,
      'me/second-factor/confirm/': async (token, { pending }) =>
        (await post('me/second-factor/confirm', { code: token }, pending.accessToken)).status,
      'me/second-factor/remove/': async (token, { accessToken }) =>
        (await post('me/second-factor/remove', { code: token }, accessToken)).status,
      'me/second-factor/recovery-codes/': async (token, { accessToken }) =>
        (await post('me/second-factor/recovery-codes', { code: token }, accessToken)).status,
      'second-factor/options/': async (token) => (await post('second-factor/options', { challenge: token })).status,
      'codes/': async (token, { email }) => (await post('codes', { email, code: token })).status,
      'providers/exchange/ as the code': async (token) =>
        (await post('providers/exchange', { code: token, verifier: 'v'.repeat(43) })).status,
      'me/confirm/ as the password': async (token, { accessToken }) => (await post('me/confirm', { password: token }, accessToken)).status,
      'me/confirm/ as the code': async (token, { accessToken }) => (await post('me/confirm', { code: token }, accessToken)).status,
      'invitations/accept/': async (token, { accessToken }) => (await post('invitations/accept', { token }, accessToken)).status,
      'invitations/register/': async (token) => (await post('invitations/register', { token, password })).status,
      'Token.verify()': async (token) => ((await Token.verify(token)) === null ? 401 : 200),
      'perms.authenticate()': (token) =>
        zoo.perms.authenticate(token).then(
          () => 200,
          (error: { status: number }) => error.status,
        ),
    }

    /** The uses that accept each kind. No use accepts a kind that is missing here. */
    const acceptedBy: Readonly<Record<string, readonly string[]>> = {
      'access token': ['Authorization', 'the access cookie', 'perms.authenticate()'],
      'access token in another’s place': ['Authorization', 'the access cookie', 'perms.authenticate()'],
      'API key': ['Authorization', 'perms.authenticate()', 'Token.verify()'],
      'refresh token': ['refresh/', 'the refresh cookie'],
      'mail to verify': ['verify-email/'],
      'mail to reset': ['reset-password/'],
      'mail to change the address': ['change-email/'],
      'magic link': ['magic-link/'],
      challenge: ['second-factor/ as the challenge'],
      'code of the app': [
        ...['second-factor/ as the code', 'me/second-factor/remove/', 'me/second-factor/recovery-codes/'],
        'me/confirm/ as the code',
      ],
      'code of an app being set up': ['me/second-factor/confirm/'],
      'recovery code': [
        ...['second-factor/ as the code', 'me/second-factor/remove/', 'me/second-factor/recovery-codes/'],
        'me/confirm/ as the code',
      ],
      invitation: ['invitations/accept/'],
      'invitation of a new address': ['invitations/register/'],
      'custom token': ['Token.verify()'],
      ...Object.fromEntries(
        Object.keys(kinds)
          .filter((kind) => kind.startsWith('custom token that'))
          .map((kind) => [kind, ['Token.verify()']]),
      ),
    }
    /** Uses that recognise a token of another user, and refuse it with another status. */
    const near: Readonly<Record<string, Readonly<Record<string, number>>>> = {
      // Asking for the options does not use the challenge up.
      challenge: { 'second-factor/options/': 200 },
      invitation: { 'invitations/register/': 409 },
      'invitation of a new address': { 'invitations/accept/': 403 },
    }

    /** The rows that a wrong token must not change. */
    async function stateOf({ user }: Subject): Promise<object> {
      const { knex } = zoo.perms
      const [row] = await knex('user').where('id', user.id).select('email', 'password_hash', 'email_verified_at')
      return {
        row,
        factor: await knex('second_factor').where('user_id', user.id).select(),
        tokens: await knex('token').where('user_id', user.id).whereNot('kind', 'second-factor').select().orderBy('id'),
        invitations: await knex('invitation').select('id', 'accepted_at').orderBy('id'),
        roles: await knex('user_role').select('id').orderBy('id'),
        users: await knex('user').select('id').orderBy('id'),
      }
    }

    for (const [kind, issue] of Object.entries(kinds)) {
      const right = acceptedBy[kind] ?? []
      it(`${kind} is accepted only by ${right.join(', ')}, and other endpoints do not use it up [promise 17]`, async () => {
        for (const [index, own] of right.entries()) {
          const who = await subject()
          const token = await issue(who)
          if (index === 0) {
            const before = await stateOf(who)
            const refused: Record<string, number> = {}
            for (const [use, ask] of Object.entries(uses)) if (!right.includes(use)) refused[use] = await ask(token, who)
            for (const [use, status] of Object.entries(refused)) {
              const said = near[kind]?.[use]
              expect(status, `${kind} at ${use}`).to.be.oneOf(said === undefined ? [401, 422] : [said])
            }
            expect(Object.keys(refused)).to.have.length(Object.keys(uses).length - right.length)
            expect(await stateOf(who)).to.deep.equal(before)
          }
          expect(await uses[own]?.(token, who), `${kind} at ${own}`).to.be.within(200, 204)
        }
        expect(errors).to.deep.equal([])
      })
    }

    it('are tested at all endpoints that accept tokens [promise 17]', () => {
      const fields = ['token', 'refresh_token', 'challenge', 'code']
      const taking = api
        .routes(zoo.perms)
        .filter(({ endpoint }) => {
          const input = (endpoint.options.description?.input ?? {}) as { properties?: object }
          return fields.some((field) => field in (input.properties ?? {}))
        })
        // Its challenge is the hash that a native app chose (RFC 7636).
        .filter(({ path }) => path !== '/users/providers/:provider/start')
        .map(({ path }) => `${path.replace('/users/', '')}/`)
      expect(taking).to.have.length(15)
      for (const path of taking)
        expect(
          Object.keys(uses).filter((use) => use.startsWith(path)),
          path,
        ).not.to.deep.equal([])
    })

    it('cannot be derived from the content of the database [promises 20, 43]', async () => {
      const who = await subject()
      const issued: Record<string, string> = { 'secret of the app': who.factor.secret, 'secret being set up': who.pending.secret }
      for (const [kind, issue] of Object.entries(kinds)) if (!kind.startsWith('code of')) issued[kind] = await issue(who)
      for (const [i, code] of who.factor.recoveryCodes.entries()) issued[`recovery code ${i}`] = code
      const tables = ['user', 'token', 'invitation', 'second_factor', 'user_role', 'user_setting', 'domain']
      const rows = await Promise.all(tables.map((table) => zoo.perms.knex(table).select()))
      const dump = JSON.stringify(rows)
      expect(dump)
        .to.contain(who.email)
        .and.to.contain(hashToken(issued['mail to reset'] as string))
      for (const [kind, plain] of Object.entries(issued)) {
        expect(dump, kind).not.to.contain(plain)
        expect(dump, kind).not.to.contain(plain.replaceAll('-', ''))
        expect(dump, kind).not.to.contain(plain.replace(/^(?:mt|sf|in|rt|opk)_/, ''))
      }
      // No use accepts the stored values.
      const stored = rows.flat().flatMap((row: { token?: string; secret?: string }) => [row.token, row.secret])
      for (const text of stored.filter((one) => one !== undefined)) {
        expect(await Token.verify(text)).to.equal(null)
        expect(await uses.Authorization?.(text, who)).to.equal(401)
      }
    })

    it('of a second factor are valid only for their own user [promise 17]', async () => {
      const [ada, bob] = [await subject(), await subject()]
      const before = await stateOf(bob)
      for (const use of acceptedBy['recovery code'] ?? [])
        for (const code of [bob.factor.recoveryCodes[0] as string, codeOf(bob.factor.secret)])
          expect(await uses[use]?.(code, ada), use).to.equal(401)
      const challenge = await challengeOf(zoo.perms, ada.email, password)
      expect((await post('second-factor', { challenge, code: bob.factor.recoveryCodes[0] as string })).status).to.equal(401)
      expect(await stateOf(bob)).to.deep.equal(before)
      expect((await post('second-factor', { challenge, code: ada.factor.recoveryCodes[0] as string })).status).to.equal(200)
    })
  })
}
