import { expect } from 'chai'
import { seal } from '../../../src/auth/tokens/secret-box.js'
import { ConfigurationError } from '../../../src/core/errors.js'
import type { Endpoint, EndpointContext } from '../../../src/http/core/endpoint.js'
import type { HttpResponse } from '../../../src/http/core/response.js'
import { Api } from '../../../src/http/serve/api.js'
import { UserResource } from '../../../src/http/users/user-resource.js'
import { asSystem } from '../../../src/policy/context.js'
import { nobody, self } from '../../../src/policy/rules.js'
import { column } from '../../../src/schema/column.js'
import { createUser } from '../../../src/testing/index.js'
import { Domain } from '../../../src/users/domain.js'
import { User } from '../../../src/users/user.js'
import { UserRole } from '../../../src/users/user-role.js'
import { addFactor, challengeOf, codeOf } from '../../auth/flows/second-factor/factor.js'
import { openZoo, password, type Zoo } from '../../conformance/zoo.js'
import { type Client, clientOf } from '../client.js'

class PublicUser extends User {
  static override publicRegistration = true
}
class Employee extends User.withColumns({ department: column.string().nullable() }) {}

describe('UserResource', function () {
  this.timeout(30_000)
  let zoo: Zoo
  let ask: Client
  before(async () => {
    zoo = await openZoo()
    ask = clientOf(new Api({ resources: [new UserResource()] }), zoo.perms)
  })
  after(() => zoo.close())
  const signIn = (email: string, secret: string) => ask('POST', '/users/login', null, { body: { email, password: secret } })

  it('returns tokens with the names of RFC 6749, and forbids caching [promise 13]', async () => {
    const { status, body, headers } = await signIn(' ADA@example.com', password)
    expect(status).to.equal(200)
    expect(body).to.have.all.keys('access_token', 'refresh_token', 'token_type', 'expires_in')
    expect(body).to.include({ token_type: 'Bearer', expires_in: 900 })
    expect(headers['cache-control']).to.equal('no-store')
    expect((await ask('GET', '/users/me', body.access_token)).body.email).to.equal('ada@example.com')
  })

  it('gives 403 to users who may not change themselves before it reports input errors', async () => {
    class Fixed extends User {
      static override policy = { read: self(), update: nobody() }
    }
    const own = clientOf(new Api({ resources: [new UserResource({ model: Fixed })] }), zoo.perms)
    for (const body of [{ email: 'x@example.com', oldPassword: password }, { nope: 1 }, { email: 1 }, []])
      expect((await own('PATCH', '/users/me', zoo.tokens.ada, { body })).status, JSON.stringify(body)).to.equal(403)
  })

  it('returns a specific code if the key of a second factor is missing, and calls onError', async () => {
    const heard: unknown[] = []
    const own = clientOf(new Api({ resources: [new UserResource({ features: { totp: true } })] }), zoo.perms, heard)
    const user = await createUser({ password })
    const { secret, recoveryCodes } = await addFactor(zoo.perms, user, password)
    await zoo.perms
      .knex('second_factor')
      .where({ user_id: user.id })
      .update({ secret: seal([Buffer.alloc(32)], user.id, secret) })
    const use = async (code: string) =>
      await own('POST', '/users/second-factor', null, { body: { challenge: await challengeOf(zoo.perms, user.email, password), code } })
    const refused = await use(codeOf(secret))
    expect(refused.status).to.equal(503)
    expect(refused.body).to.include({ code: 'second_factor_unreadable' })
    expect(refused.headers['retry-after']).to.match(/^\d+$/)
    expect(JSON.stringify(refused.body)).not.to.contain(user.id).and.not.to.contain('jwt')
    expect(heard).to.have.length(1)
    expect(String((heard[0] as Error).cause)).to.contain('retired: true')
    expect((await use(recoveryCodes[0] as string)).status).to.equal(200)
  })

  it('gives the same response for a wrong password and an unknown address', async () => {
    const wrong = await signIn('ada@example.com', 'wrong')
    const unknown = await signIn('nobody@example.com', 'wrong')
    expect(wrong.status).to.equal(401)
    expect(unknown.body).to.deep.equal(wrong.body)
    expect(unknown.headers).to.deep.equal(wrong.headers)
  })

  it('accepts a refresh token for new tokens only, not for access [promise 17]', async () => {
    const { body } = await signIn('bob@example.com', password)
    const renewed = await ask('POST', '/users/refresh', 'bad bearer', { body: { refresh_token: body.refresh_token } })
    expect(renewed.status).to.equal(200)
    expect(renewed.headers['cache-control']).to.equal('no-store')
    expect((await ask('GET', '/users/me', renewed.body.access_token)).status).to.equal(200)
    expect((await ask('GET', '/users/me', renewed.body.refresh_token)).status).to.equal(401)
    expect((await ask('POST', '/users/refresh', null, { body: { refresh_token: renewed.body.access_token } })).status).to.equal(401)
  })

  it('ends both tokens of the session at sign-out [promise 22]', async () => {
    const { body } = await signIn('bob@example.com', password)
    expect((await ask('POST', '/users/logout', body.access_token)).status).to.equal(204)
    expect((await ask('GET', '/users/me', body.access_token)).status).to.equal(401)
    expect((await ask('POST', '/users/refresh', null, { body: { refresh_token: body.refresh_token } })).status).to.equal(401)
    expect((await ask('POST', '/users/logout')).status).to.equal(401)
  })

  it('lists only the sessions of the caller, with their devices', async () => {
    const here = (await signIn('bob@example.com', password)).body.access_token as string
    await ask('POST', '/users/login', null, {
      body: { email: 'bob@example.com', password },
      headers: { 'user-agent': `Phone/1 ${'x'.repeat(300)}` },
    })
    const { status, body, headers } = await ask('GET', '/users/sessions', here)
    expect(status).to.equal(200)
    expect(headers['cache-control']).to.equal('no-store')
    for (const one of body.data)
      expect(one).to.have.all.keys('id', 'description', 'address', 'createdAt', 'lastUsedAt', 'expiresAt', 'isCurrent')
    expect(body.data.map((one: { isCurrent: boolean }) => one.isCurrent).filter(Boolean)).to.have.length(1)
    const phone = body.data.find(({ description }: { description: string | null }) => description?.startsWith('Phone/1'))
    expect(phone).to.include({ address: '127.0.0.1', isCurrent: false })
    expect(phone.description).to.have.length(255)
    const others = (await ask('GET', '/users/sessions', zoo.tokens.ada)).body.data.map(({ id }: { id: string }) => id)
    expect(others).to.have.length.greaterThan(0)
    for (const { id } of body.data) expect(others).not.to.include(id)
    expect((await ask('GET', '/users/sessions')).status).to.equal(401)
  })

  it('ends a session of the caller, and gives 404 for a session of another user [promise 22]', async () => {
    const here = (await signIn('bob@example.com', password)).body.access_token as string
    const there = (await signIn('bob@example.com', password)).body
    const { data } = (await ask('GET', '/users/sessions', there.access_token)).body
    const { id } = data.find(({ isCurrent }: { isCurrent: boolean }) => isCurrent)
    const foreign = await ask('DELETE', `/users/sessions/${id}`, zoo.tokens.ada)
    const unknown = await ask('DELETE', '/users/sessions/not-an-id', zoo.tokens.ada)
    expect([foreign.status, foreign.body]).to.deep.equal([404, unknown.body])
    expect((await ask('GET', '/users/me', there.access_token)).status).to.equal(200)
    expect((await ask('DELETE', `/users/sessions/${id}`, here)).status).to.equal(204)
    expect((await ask('GET', '/users/me', there.access_token)).status).to.equal(401)
    expect((await ask('POST', '/users/refresh', null, { body: { refresh_token: there.refresh_token } })).status).to.equal(401)
    expect((await ask('DELETE', `/users/sessions/${id}`, here)).status).to.equal(404)
    expect((await ask('GET', '/users/me', here)).status).to.equal(200)
  })

  it('ends all other sessions of the caller [promise 22]', async () => {
    const bystander = (await signIn('ada@example.com', password)).body.access_token as string
    const here = zoo.tokens.bob
    const there = (await signIn('bob@example.com', password)).body
    expect((await ask('DELETE', '/users/sessions', here)).status).to.equal(204)
    expect((await ask('GET', '/users/me', there.access_token)).status).to.equal(401)
    expect((await ask('GET', '/users/me', bystander)).status).to.equal(200)
    expect((await ask('POST', '/users/refresh', null, { body: { refresh_token: there.refresh_token } })).status).to.equal(401)
    const { data } = (await ask('GET', '/users/sessions', here)).body
    expect(data.map(({ isCurrent }: { isCurrent: boolean }) => isCurrent)).to.deep.equal([true])
  })

  it('shows the roles with their domains', async () => {
    const press = await asSystem(() => Domain.create({ name: 'press', displayName: 'Press' } as never))
    await asSystem(() => UserRole.create({ userId: zoo.ids.bob, role: 'editor', domainId: press.id } as never))
    const { body } = await ask('GET', '/users/me', zoo.tokens.bob)
    expect(body.roles).to.deep.equal([{ role: 'editor', domain: press.id }])
    expect(JSON.stringify(body)).not.to.match(/password|hash/i)
  })

  it('requires the old password to change it, and ends the other sessions [promise 7]', async () => {
    const { email } = await createUser({ password })
    const [session, other] = [(await signIn(email, password)).body.access_token, (await signIn(email, password)).body.access_token]
    expect((await ask('GET', '/users/me', other)).status).to.equal(200)
    const wanted = 'another good battery'
    const none = await ask('PATCH', '/users/me', session, { body: { password: wanted } })
    expect(none.status, JSON.stringify(none.body)).to.equal(422)
    expect(none.body.errors[0].field).to.equal('oldPassword')
    expect((await ask('PATCH', '/users/me', session, { body: { password: wanted, oldPassword: 'wrong' } })).status).to.be.oneOf([401, 422])
    expect((await ask('PATCH', '/users/me', session, { body: { password: wanted, oldPassword: password } })).status).to.equal(200)
    expect((await ask('GET', '/users/me', session)).status).to.equal(200)
    expect((await ask('GET', '/users/me', other)).status).to.equal(401)
    expect((await signIn(email, wanted)).status).to.equal(200)
  })

  it('lets no user grant themselves more rights [promise 42]', async () => {
    for (const body of [
      { roles: [{ role: 'admin' }] },
      { passwordHash: 'x' },
      { id: zoo.ids.admin },
      { createdAt: '2020-01-01T00:00:00Z' },
    ]) {
      const answer = await ask('PATCH', '/users/me', zoo.tokens.bob, { body })
      expect(answer.status, JSON.stringify(body)).to.equal(422)
      expect(answer.body.errors[0].field).to.equal(Object.keys(body)[0])
    }
    expect((await ask('PATCH', '/users/me', zoo.tokens.bob, { body: { isEnabled: false } })).status).to.equal(403)
  })

  it('lets only admins create users', async () => {
    const body = { email: 'new@example.com', password }
    expect((await ask('POST', '/users', null, { body })).status).to.equal(401)
    expect((await ask('POST', '/users', zoo.tokens.bob, { body })).status).to.equal(403)
    expect((await ask('POST', '/users', zoo.tokens.admin, { body })).status).to.equal(201)
  })

  it('lists only the own row to a user, and all rows to an admin', async () => {
    expect((await ask('GET', '/users', zoo.tokens.bob)).body.data.map(({ id }: { id: string }) => id)).to.deep.equal([zoo.ids.bob])
    expect((await ask('GET', '/users', zoo.tokens.admin)).body.pagination.total).to.be.greaterThan(2)
    expect((await ask('GET', '/users?passwordHash__like=%25', zoo.tokens.admin)).status).to.equal(422)
  })

  describe('with publicRegistration', () => {
    let open: Client
    before(() => {
      open = clientOf(new Api({ resources: [new UserResource({ model: PublicUser })] }), zoo.perms)
    })

    it('creates a user for every caller, with any Authorization header [promise 19]', async () => {
      const { status, body } = await open('POST', '/users', 'a bad token', { body: { email: 'Carol@Example.com', password } })
      expect(status, JSON.stringify(body)).to.equal(201)
      expect(body).to.include({ email: 'carol@example.com', isEnabled: true })
      expect(body).not.to.have.any.keys('password', 'passwordHash')
    })

    it('accepts an address once, in any spelling and with concurrent requests [promise 11]', async () => {
      const tries = Array.from({ length: 12 }, (_, i) =>
        open('POST', '/users', null, { body: { email: i % 2 ? 'dora@example.com' : 'DORA@Example.com ', password } }),
      )
      const answers = await Promise.all(tries)
      expect(answers.map(({ status }) => status).sort()).to.deep.equal([201, ...Array(11).fill(409)])
      expect(answers.find(({ status }) => status === 409)?.body.errors[0].field).to.equal('email')
    })

    it('makes no other endpoint public', async () => {
      expect((await open('GET', '/users')).status).to.equal(401)
      expect((await open('POST', '/users', null, { body: { email: 'eve@example.com', password, isEnabled: false } })).status).to.equal(403)
      expect((await open('POST', '/users', null, { body: { email: 'eve@example.com', password, passwordHash: 'x' } })).status).to.equal(422)
    })

    it('can require an invitation with argSchema and a hook', async () => {
      const argSchema = { type: 'object', properties: { email: {}, password: {}, code: { const: 'sesame' } }, required: ['code'] }
      const invited = clientOf(
        new Api({ resources: [new UserResource({ model: PublicUser, methods: { create: { argSchema } } })] }),
        zoo.perms,
      )
      expect((await invited('POST', '/users', null, { body: { email: 'fay@example.com', password } })).status).to.equal(422)
      expect((await invited('POST', '/users', null, { body: { email: 'fay@example.com', password, code: 'sesame' } })).status).to.equal(201)
    })
  })

  it('disables endpoints by option, and lets a subclass change one', async () => {
    class Terse extends UserResource {
      override loginEndpoint(): Endpoint {
        const endpoint = super.loginEndpoint()
        return endpoint.with({
          handler: async (context: EndpointContext) =>
            ((await endpoint.options.handler(context)) as HttpResponse).with({ 'x-added': 'yes' }),
        })
      }
    }
    const api = new Api({ resources: [new Terse({ methods: [], features: { refresh: false, me: false, sessions: false } })] })
    expect(api.routes(zoo.perms).map(({ path, endpoint }) => `${endpoint.options.method} ${path}`)).to.deep.equal([
      'POST /users/login',
      'POST /users/logout',
    ])
    expect(
      (await clientOf(api, zoo.perms)('POST', '/users/login', null, { body: { email: 'bob@example.com', password } })).headers['x-added'],
    ).to.equal('yes')
  })

  it('refuses the name of a feature that does not exist, and suggests the nearest', () => {
    expect(() => new UserResource({ features: { passkey: true } as object })).to.throw(
      ConfigurationError,
      /features: \{ passkey \}.*there is no option 'passkey'.*Did you mean 'passkeys'/,
    )
  })

  it('rejects a user model that is not registered for sign-in', () => {
    expect(() => new Api({ resources: [new UserResource({ model: Employee })] }).routes(zoo.perms)).to.throw(
      ConfigurationError,
      /initPerms\(\{ user: Employee \}\)/,
    )
  })
})
