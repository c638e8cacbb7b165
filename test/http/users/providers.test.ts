import { expect } from 'chai'
import { challengeOf } from '../../../src/auth/flows/providers/sign-in-store.js'
import { Api } from '../../../src/http/serve/api.js'
import { UserResource } from '../../../src/http/users/user-resource.js'
import { type Mail, oidc, type PermsOptions } from '../../../src/index.js'
import { capturedMailer, fakeClock } from '../../../src/testing/index.js'
import { createUser, signInAs } from '../../../src/testing/users.js'
import { passkeyOptions, softPasskey } from '../../auth/flows/passkeys/set-up.js'
import { clientId, clientSecret } from '../../auth/flows/providers/fake-provider.js'
import { openProviders, type ProviderWorld, password, usersUrl } from '../../auth/flows/providers/set-up.js'
import { createDatabase, type OwnDatabase } from '../../helpers/databases.js'
import { type RealProvider, startOidcProvider } from '../../helpers/oidc-provider.js'
import { type Client, clientOf, type Reply } from '../client.js'

const origin = { origin: 'https://app.example.com', host: 'app.example.com' }
const form = { 'content-type': 'application/x-www-form-urlencoded' }
const cookieOf = (reply: Reply, name = '__Host-provider') =>
  reply.cookies.find((line) => line.startsWith(`${name}=`))?.replace(/;.*/, '') ?? ''

for (const cookies of [true, false])
  describe(`The endpoints of providers ${cookies ? 'with' : 'without'} cookies for tokens`, () => {
    let own: OwnDatabase
    let world: ProviderWorld
    let client: Client
    let count = 0
    const person = () => {
      count += 1
      return { sub: `person ${count}`, email: `person${count}@example.com`, email_verified: true }
    }
    const open = async (more: Partial<PermsOptions> = {}, features = {}) => {
      world = await openProviders(own.knex, {}, { cookies: cookies && { origins: [origin.origin] }, ...more })
      const users = new UserResource({ features: { providers: true, totp: true, ...features }, path: 'api/users' })
      client = clientOf(new Api({ resources: [users] }), world.perms)
    }
    before(async () => {
      own = await createDatabase('sqlite3')
      await open()
    })
    after(async () => {
      await world.close()
      await own.destroy()
    })

    const start = async (body?: object) => {
      const reply = await client('POST', '/api/users/providers/company/start/', null, { body, headers: origin })
      expect(reply.status, JSON.stringify(reply.body)).to.equal(200)
      return { url: reply.body.url as string, cookie: cookieOf(reply), line: reply.cookies.join() }
    }
    const callback = (parameters: URLSearchParams, cookie: string) =>
      client('GET', `/api/users/providers/company/callback/?${parameters}`, null, { headers: { ...origin, cookie } })

    it('lists the providers', async () => {
      expect((await client('GET', '/api/users/providers/')).body.data.map(({ name }: { name: string }) => name)).to.deep.equal([
        ...['company', 'rival'],
      ])
    })

    it('ties a browser to its sign-in with a __Host- cookie, and signs it in [promise 137]', async () => {
      const { url, cookie, line } = await start({ redirect: '/welcome?from=1' })
      expect(line).to.match(/^__Host-provider=pb_[\w-]{43}; Path=\/; Max-Age=600; HttpOnly; Secure; SameSite=Lax$/)
      const reply = await callback(world.company.approve(url, person()), cookie)
      expect(reply.status).to.equal(303)
      expect(reply.headers).to.include({ 'cache-control': 'no-store', 'referrer-policy': 'no-referrer' })
      if (cookies) {
        expect(reply.headers.location).to.equal('/welcome?from=1')
        expect(reply.cookies.join()).to.match(/__Host-access=[^;]+;.*__Host-refresh=[^;]+;/)
        expect(cookieOf(reply)).to.equal('__Host-provider=')
      } else {
        expect(reply.headers.location).to.equal('/welcome?from=1&sign_in=exchange')
        expect(reply.cookies).to.deep.equal([])
        const foreign = await client('POST', '/api/users/providers/exchange/', null, {
          headers: { host: 'app.example.com', origin: 'https://evil.example', cookie },
        })
        expect(foreign.status).to.equal(403)
        const exchanged = await client('POST', '/api/users/providers/exchange/', null, { headers: { ...origin, cookie } })
        expect(exchanged.status, JSON.stringify(exchanged.body)).to.equal(200)
        expect((await client('GET', '/api/users/me/', exchanged.body.access_token)).status).to.equal(200)
        const again = await client('POST', '/api/users/providers/exchange/', null, { headers: { ...origin, cookie } })
        expect(again.status).to.equal(401)
      }
    })

    it('answers 401 without the cookie, and returns failures to the page [promise 121]', async () => {
      const { url, cookie } = await start()
      const parameters = world.company.approve(url, person())
      expect((await callback(parameters, '')).status).to.equal(401)
      expect((await callback(parameters, '__Host-provider=pb_x')).status).to.equal(401)
      parameters.set('iss', 'https://evil.example')
      const failed = await callback(parameters, cookie)
      expect([failed.status, failed.headers.location]).to.deep.equal([303, '/?error=invalid_token'])
      expect((await client('POST', '/api/users/providers/nobody/start/', null, { headers: origin })).status).to.equal(404)
      expect(
        (await client('POST', '/api/users/providers/company/start/', null, { body: { redirect: 'x' }, headers: origin })).status,
      ).to.equal(422)
    })

    it('takes a posted response with a cookie of SameSite=None, from the provider’s page', async () => {
      const first = world
      await first.perms.close()
      const options = { clientId, clientSecret, trustsEmail: true, responseMode: 'form_post', issuer: world.company.issuer } as const
      const { company } = first
      await open({ providers: { company: oidc(options), rival: oidc(options) } })
      const { url, cookie, line } = await start()
      expect(line).to.include('SameSite=None')
      expect(new URL(url).searchParams.get('response_mode')).to.equal('form_post')
      const body = company.approve(url, person()).toString()
      const headers = { ...form, host: 'app.example.com', origin: company.issuer, cookie }
      const post = (more: object) =>
        client('POST', '/api/users/providers/company/callback/', null, { body, headers: { ...headers, ...more } })
      expect((await post({ 'content-type': 'application/json' })).status).to.equal(415)
      const reply = await post({})
      expect(reply.status, JSON.stringify(reply.body)).to.equal(303)
      expect(reply.headers.location).to.equal(cookies ? '/' : '/?sign_in=exchange')
      await world.close()
      await first.close()
      await open()
    })

    it('gives a native app a code, and exchanges it for tokens or a challenge', async () => {
      const verifier = 'v'.repeat(64)
      const ada = person()
      const codeOf = async () => {
        const { url, line } = await start({ redirect: 'com.example.app:/done', challenge: challengeOf(verifier) })
        expect(line).to.equal('')
        const { headers } = await callback(world.company.approve(url, ada), '')
        return new URL(headers.location as string).searchParams.get('code')
      }
      const exchange = (body: object) => client('POST', '/api/users/providers/exchange/', null, { body })
      expect((await exchange({ code: await codeOf(), verifier: 'w'.repeat(64) })).status).to.equal(401)
      expect((await exchange({ code: '' })).status).to.equal(422)
      const tokens = await exchange({ code: await codeOf(), verifier })
      expect(tokens.body).to.include({ token_type: 'Bearer' })
      const { id } = (await client('GET', '/api/users/me/', tokens.body.access_token)).body
      const times = { created_at: new Date(), updated_at: new Date(), confirmed_at: new Date() }
      await own.knex('second_factor').insert({ id, user_id: id, secret: 'sealed', ...times })
      expect((await exchange({ code: await codeOf(), verifier })).body).to.include({ status: 'second_factor' })
    })

    it('links, lists and unlinks accounts of the caller [promises 133, 134]', async () => {
      const user = await createUser({ password } as never)
      const { accessToken } = await signInAs(user)
      const old = (await signInAs(user, { authTime: new Date(Date.now() - 600_000) })).accessToken
      const asked = await client('POST', '/api/users/me/identities/', old, { body: { provider: 'company' } })
      expect([asked.status, asked.body.code, asked.body.max_age]).to.deep.equal([401, 'insufficient_user_authentication', 300])
      const begun = await client('POST', '/api/users/me/identities/', accessToken, { body: { provider: 'company' } })
      expect(begun.status, JSON.stringify(begun.body)).to.equal(200)
      const linked = await callback(world.company.approve(begun.body.url, person()), cookieOf(begun))
      expect([linked.status, linked.headers.location]).to.deep.equal([303, '/'])
      expect(cookieOf(linked, '__Host-access')).to.equal('')
      const list = await client('GET', '/api/users/me/identities/', accessToken)
      expect(list.body.data).to.have.length(1)
      expect(Object.keys(list.body.data[0])).to.have.members(['id', 'provider', 'issuer', 'label', 'createdAt', 'lastUsedAt'])
      const path = `/api/users/me/identities/${list.body.data[0].id}`
      const other = await signInAs(await createUser({ password } as never))
      expect((await client('DELETE', path, other.accessToken)).status).to.equal(404)
      expect((await client('DELETE', path, accessToken)).status).to.equal(204)
      const key = (await world.perms.auth.apiKeys.issue(user, { abilities: ['*'] })).plain
      expect((await client('GET', '/api/users/me/identities/', key)).status).to.equal(403)
    })

    it('closes sign-up where the resource creates no users [promises 64, 136]', async () => {
      const users = new UserResource({ features: { providers: true }, path: 'api/users', skipMethods: ['create'] })
      const closed = clientOf(new Api({ resources: [users] }), world.perms)
      const begun = await closed('POST', '/api/users/providers/company/start/', null, { headers: origin })
      const parameters = world.company.approve(begun.body.url, person())
      const reply = await closed('GET', `/api/users/providers/company/callback/?${parameters}`, null, {
        headers: { cookie: cookieOf(begun) },
      })
      expect(reply.headers.location).to.equal('/?error=sign_up_closed')
    })

    it('runs the hooks of create for a new user, whose error refuses the sign-up [promise 64]', async () => {
      const seen: unknown[] = []
      const users = new UserResource({
        features: { providers: true },
        path: 'api/users',
        hooks: { beforeCreate: ({ input }: { input: unknown }) => void seen.push(input) },
      } as never)
      const hooked = clientOf(new Api({ resources: [users] }), world.perms)
      const begun = await hooked('POST', '/api/users/providers/company/start/', null, { headers: origin })
      const parameters = world.company.approve(begun.body.url, person())
      await hooked('GET', `/api/users/providers/company/callback/?${parameters}`, null, { headers: { cookie: cookieOf(begun) } })
      expect(seen).to.have.length(1)
    })
  })

describe('A user who signs in with a provider only, with stepUp', () => {
  let own: OwnDatabase
  let world: ProviderWorld
  let client: Client
  const mailer = capturedMailer<Mail>()
  before(async () => {
    own = await createDatabase('sqlite3')
    const mail = { mailer, baseUrl: origin.origin }
    world = await openProviders(own.knex, {}, { stepUp: true, passkeys: passkeyOptions, mail })
    const features = { providers: true, passkeys: true, confirm: true, resetPassword: true }
    client = clientOf(new Api({ resources: [new UserResource({ features, path: 'api/users' })] }), world.perms)
  })
  after(async () => {
    await world.close()
    await own.destroy()
  })
  const signIn = async (person: (typeof world.company)['person']) => {
    const begun = await client('POST', '/api/users/providers/company/start/', null, { headers: origin })
    const parameters = world.company.approve(begun.body.url, { ...person, auth_time: Math.floor(Date.now() / 1000) })
    const headers = { ...origin, cookie: cookieOf(begun) }
    await client('GET', `/api/users/providers/company/callback/?${parameters}`, null, { headers })
    const { status, body } = await client('POST', '/api/users/providers/exchange/', null, { headers })
    expect(status, JSON.stringify(body)).to.equal(200)
    return body.access_token as string
  }

  it('signs in again for a recent session, and then adds a passkey', async () => {
    const clock = fakeClock()
    try {
      const ada = { sub: 'ada', email: 'ada@example.com', email_verified: true }
      const token = await signIn(ada)
      clock.advance(301)
      const options = (bearer: string) => client('POST', '/api/users/me/passkeys/options/', bearer)
      const refused = await options(token)
      expect([refused.status, refused.body.code]).to.deep.equal([401, 'insufficient_user_authentication'])
      // There is no password to confirm with.
      expect((await client('POST', '/api/users/me/confirm/', token, { body: { password } })).status).to.equal(401)
      const again = Date.now()
      const fresh = await signIn(ada)
      const { authTime, amr } = await world.perms.authenticate(fresh)
      expect(authTime?.getTime()).to.be.within(again - 1000, Date.now())
      expect(amr).to.deep.equal(['fed'])
      const asked = await options(fresh)
      expect(asked.status, JSON.stringify(asked.body)).to.equal(200)
      const passkey = softPasskey()
      const added = await client('POST', '/api/users/me/passkeys/', fresh, { body: { passkey: passkey.create(asked.body), name: 'Key' } })
      expect(added.status, JSON.stringify(added.body)).to.equal(201)
      // Only the new session is recent.
      expect((await options(token)).status).to.equal(401)
    } finally {
      clock.restore()
    }
  })

  it('sets a first password with a mailed link, and keeps the linked account', async () => {
    const eve = { sub: 'eve', email: 'eve@example.com', email_verified: true }
    const token = await signIn(eve)
    const direct = await client('PATCH', '/api/users/me/', token, { body: { password, oldPassword: '' } })
    expect(direct.status).to.equal(422)
    await client('POST', '/api/users/reset-password/request/', null, { body: { email: eve.email } })
    await world.perms.auth.settled()
    const reset = { token: mailer.tokenFrom(mailer.last('resetPassword')), password }
    expect((await client('POST', '/api/users/reset-password/', null, { body: reset })).status).to.equal(204)
    const login = await client('POST', '/api/users/login/', null, { body: { email: eve.email, password } })
    expect(login.status, JSON.stringify(login.body)).to.equal(200)
    const again = await signIn(eve)
    expect((await client('GET', '/api/users/me/identities/', again)).body.data).to.have.length(1)
    expect((await client('POST', '/api/users/me/confirm/', again, { body: { password } })).status).to.equal(200)
  })
})

describe('A real provider of OpenID Connect', function () {
  this.timeout(20_000)
  let own: OwnDatabase
  let real: RealProvider
  let world: ProviderWorld
  let client: Client
  before(async () => {
    own = await createDatabase('sqlite3')
    real = await startOidcProvider({
      id: 'zoo',
      secret: 'a secret of the client',
      redirectUri: `${usersUrl}/providers/real/callback/`,
    })
    const providers = { real: oidc({ issuer: real.issuer, clientId: 'zoo', clientSecret: 'a secret of the client', trustsEmail: true }) }
    world = await openProviders(own.knex, {}, { cookies: true, providers })
    client = clientOf(new Api({ resources: [new UserResource({ features: { providers: true }, path: 'api/users' })] }), world.perms)
  })
  after(async () => {
    await world.close()
    await real.close()
    await own.destroy()
  })

  const begin = (body: object = {}) => client('POST', '/api/users/providers/real/start/', null, { headers: origin, body })
  const finish = (returned: URL, begun: Reply) =>
    client('GET', `/api/users/providers/real/callback/${returned.search}`, null, { headers: { cookie: cookieOf(begun) } })

  it('signs a user in from its discovery to the session', async () => {
    const begun = await begin()
    const returned = await real.approve(begun.body.url)
    expect(`${returned.origin}${returned.pathname}`).to.equal(`${usersUrl}/providers/real/callback/`)
    const reply = await finish(returned, begun)
    expect([reply.status, reply.headers.location]).to.deep.equal([303, '/'])
    const access = cookieOf(reply, '__Host-access')
    const me = await client('GET', '/api/users/me/', null, { headers: { cookie: access } })
    expect(me.body.email).to.equal('ada@example.com')
  })

  it('proves presence only with a sign-in there: a silent one is not recent, and maxAge asks for a new one [promise 139]', async () => {
    const clock = fakeClock()
    try {
      const cookies = new Map<string, string>()
      /** Signs in. @param change of the URL, by the browser. @returns whether the session is recent */
      const signIn = async (body = {}, change = (_url: URL) => {}) => {
        const begun = await begin(body)
        const url = new URL(begun.body.url)
        change(url)
        const reply = await finish(await real.approve(url.href, cookies), begun)
        if (reply.headers.location !== '/') return reply.headers.location
        const headers = { ...origin, cookie: cookieOf(reply, '__Host-access') }
        return (await client('POST', '/api/users/me/identities/', null, { headers, body: { provider: 'real' } })).status
      }
      const silent = (url: URL) => {
        url.searchParams.set('prompt', 'none')
        url.searchParams.delete('max_age')
      }
      const before = real.signIns
      expect(await signIn()).to.equal(200)
      clock.advance(301)
      expect([await signIn(), await signIn({}, silent)]).to.deep.equal([401, 401])
      expect(await signIn({ maxAge: 300 }, silent)).to.equal('/?error=invalid_token')
      expect(real.signIns).to.equal(before + 1)
      expect(await signIn({ maxAge: 300 })).to.equal(200)
      expect(real.signIns).to.equal(before + 2)
    } finally {
      clock.restore()
    }
  })
})
