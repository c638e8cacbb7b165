import { expect } from 'chai'
import { providerSettings } from '../../../../src/auth/flows/providers/options.js'
import { challengeOf } from '../../../../src/auth/flows/providers/sign-in-store.js'
import { ConfigurationError, github, Identity, oidc, ProviderResponseError, transaction } from '../../../../src/index.js'
import { asSystem } from '../../../../src/policy/context.js'
import { createDatabase, type OwnDatabase } from '../../../helpers/databases.js'
import { rejection } from '../../../helpers/errors.js'
import { clientId, clientSecret, type Forgery, hmac, signed } from './fake-provider.js'
import { openProviders, type ProviderWorld, usersUrl } from './set-up.js'

describe('A provider’s response', () => {
  let own: OwnDatabase
  let world: ProviderWorld
  before(async () => {
    own = await createDatabase('sqlite3')
    world = await openProviders(own.knex)
  })
  after(async () => {
    await world.close()
    await own.destroy()
  })
  beforeEach(() => {
    world.events.length = 0
    world.company.forgery = {}
    world.company.intercept = null
    world.company.metadata = {}
  })
  const reasons = () => world.events.filter(({ name }) => name === 'providerSignInFailed').map(({ payload }) => payload.reason)
  const begin = async (name = 'company') => {
    const { url, binding } = await world.perms.auth.providers.start(name)
    return { url, binding: binding as string }
  }
  const finish = (parameters: URLSearchParams, binding: string | undefined, name = 'company') =>
    world.perms.auth.providers.finish(name, parameters, { binding, signsIn: true })

  it('signs a user in whose ID token is right', async () => {
    const result = await world.signIn()
    expect(result.status).to.equal('signedIn')
    expect(reasons()).to.deep.equal([])
  })

  const now = () => Math.floor(Date.now() / 1000)
  const forgeries: [title: string, reason: string, forgery: () => Forgery][] = [
    ['another nonce', 'nonce', () => ({ claims: (claims) => ({ ...claims, nonce: 'another' }) })],
    ['no nonce', 'response', () => ({ claims: ({ nonce: _, ...claims }) => claims })],
    ['the algorithm none', 'alg', () => ({ header: { alg: 'none' }, sign: () => '' })],
    ['HS256 with the public key', 'alg', () => ({ header: { alg: 'HS256' }, sign: hmac(world.company.publicPem) })],
    ['HS256 with the client secret', 'alg', () => ({ header: { alg: 'HS256' }, sign: hmac(clientSecret) })],
    ['the key of another', 'signature', () => ({ sign: signed(world.company.otherKeys.privateKey) })],
    ['an unknown key id', 'signature', () => ({ header: { kid: 'two' } })],
    ['another issuer', 'iss', () => ({ claims: (claims) => ({ ...claims, iss: world.rival.issuer }) })],
    ['another audience', 'aud', () => ({ claims: (claims) => ({ ...claims, aud: 'another client' }) })],
    ['a further audience without azp', 'aud', () => ({ claims: (claims) => ({ ...claims, aud: [clientId, 'another client'] }) })],
    ['another azp', 'azp', () => ({ claims: (claims) => ({ ...claims, azp: 'another client' }) })],
    ['an expiry in the past', 'exp', () => ({ claims: (claims) => ({ ...claims, exp: now() - 60 }) })],
    ['a start in the future', 'nbf', () => ({ claims: (claims) => ({ ...claims, nbf: now() + 300 }) })],
    ['an issue long ago', 'iat', () => ({ claims: (claims) => ({ ...claims, iat: now() - 3600 }) })],
    ['an issue in the future', 'iat', () => ({ claims: (claims) => ({ ...claims, iat: now() + 3600 }) })],
    ['a subject of 256 characters', 'sub', () => ({ claims: (claims) => ({ ...claims, sub: 'x'.repeat(256) }) })],
    ['no ID token', 'response', () => ({ response: { id_token: undefined } })],
  ]
  for (const [title, reason, forgery] of forgeries) {
    it(`fails for an ID token with ${title} by its own check [promises 122, 123]`, async () => {
      world.company.forgery = forgery()
      const result = await world.signIn({ sub: `victim of ${title}`.slice(0, 200), email: 'victim@example.com', email_verified: true })
      expect(result.status).to.equal('failed')
      expect(reasons()).to.deep.equal([reason])
      expect(await asSystem(() => Identity.query().where('subject', `victim of ${title}`))).to.deep.equal([])
    })
  }

  it('fails without a recent sign-in at the provider, where max_age is asked for, whatever the URL asked [promise 139]', async () => {
    const other = await createDatabase('sqlite3')
    const options = { clientId, clientSecret, trustsEmail: true, issuer: world.company.issuer, parameters: { max_age: '300' } }
    const strict = await openProviders(other.knex, {}, { providers: { company: oidc(options) } })
    try {
      const signIn = async (claims: object) => {
        const { url, binding } = await strict.perms.auth.providers.start('company')
        expect(new URL(url).searchParams.get('max_age')).to.equal('300')
        world.company.forgery = { claims: (given) => ({ ...given, ...claims }) }
        return (await strict.perms.auth.providers.finish('company', world.company.approve(url), { binding: binding as string })).status
      }
      expect(await signIn({ auth_time: now() - 240 })).to.equal('exchange')
      for (const claims of [{}, { auth_time: now() - 400 }, { auth_time: `${now()}` }, { auth_time: null }])
        expect(await signIn(claims), JSON.stringify(claims)).to.equal('failed')
      expect(strict.events.flatMap(({ payload }) => (payload.reason ? [payload.reason] : []))).to.deep.equal([
        ...['response', 'auth_time', 'response', 'response'],
      ])
      expect(() => oidc({ ...options, parameters: { max_age: '5m' } })).to.throw(ConfigurationError, 'seconds as digits')
      expect(() => github({ clientId, clientSecret, parameters: options.parameters })).to.throw(ConfigurationError, 'no OpenID Connect')
    } finally {
      await strict.close()
      await other.destroy()
    }
  })

  describe('starts a session that', () => {
    let other: OwnDatabase
    let asking: ProviderWorld
    beforeEach(() => {
      world.company.metadata = { userinfo_endpoint: `${world.company.issuer}/userinfo` }
    })
    before(async () => {
      other = await createDatabase('sqlite3')
      const options = { clientId, clientSecret, trustsEmail: true, issuer: world.company.issuer }
      const providers = {
        company: oidc(options),
        lax: oidc({ ...options, countsAsRecent: true }),
        github: github({ clientId, clientSecret }),
      }
      asking = await openProviders(other.knex, {}, { providers })
    })
    after(async () => {
      await asking.close()
      await other.destroy()
    })

    const verifier = 'v'.repeat(43)
    /** Signs in with an ID token of these claims. @returns the time of the session in seconds from now, or the code of the failure */
    const timeOf = async (
      claims: Record<string, unknown>,
      { name = 'company', way = 'signedIn', maxAge }: { name?: string; way?: 'signedIn' | 'exchange' | 'code'; maxAge?: number } = {},
    ) => {
      const { auth } = asking.perms
      world.company.forgery = { claims: ({ auth_time: _, ...given }) => ({ ...given, ...claims }) }
      const { url, binding } = await auth.providers.start(name, { maxAge, ...(way === 'code' ? { challenge: challengeOf(verifier) } : {}) })
      const parameters = world.company.approve(url)
      const result = await auth.providers.finish(name, parameters, { binding: binding ?? undefined, signsIn: way === 'signedIn' })
      expect(result.status).to.be.oneOf([way, 'failed'])
      if (result.status === 'failed') return result.redirect.replace(/.*error=/, '')
      const exchange = way === 'code' ? { code: result.redirect.replace(/.*code=/, ''), verifier } : { binding: binding ?? undefined }
      const tokens = result.status === 'signedIn' ? result.tokens : await auth.providers.exchange(exchange)
      const { authTime } = await asking.perms.authenticate((tokens as { accessToken: string }).accessToken)
      return authTime && Math.round((authTime.getTime() - Date.now()) / 1000)
    }

    for (const way of ['signedIn', 'exchange', 'code'] as const)
      it(`has the time of the sign-in at the provider, or no time (${way}) [promise 139]`, async () => {
        expect(await timeOf({ auth_time: now() - 200 }, { way })).to.be.within(-260, -198)
        expect(await timeOf({}, { way })).to.equal(null)
      })

    it('has no time where the provider names a time in the future, of another form, or outside of the ID token [promise 139]', async () => {
      for (const auth_time of [now() + 3600, Date.now(), 0, -1, 1e300])
        expect(await timeOf({ auth_time }), String(auth_time)).to.be.oneOf([null, 'invalid_token'])
      for (const auth_time of [`${now()}`, null, true, {}])
        expect(await timeOf({ auth_time }), String(auth_time)).to.be.oneOf([null, 'invalid_token'])
      world.company.person = { ...world.company.person, auth_time: now() }
      world.company.requests.length = 0
      expect(await timeOf({ email: undefined })).to.equal(null)
      expect(world.company.requests).to.include('GET /userinfo')
      // A clock that is a little ahead.
      expect(await timeOf({ auth_time: now() + 50 })).to.be.within(-60, 0)
    })

    it('counts as recent without a time only where the provider is trusted for that, and not with an old time [promise 139]', async () => {
      expect(await timeOf({}, { name: 'lax' })).to.be.within(-60, 0)
      expect(await timeOf({ auth_time: now() - 900 }, { name: 'lax' })).to.be.within(-960, -898)
      expect(await timeOf({ auth_time: Date.now() }, { name: 'lax' })).to.equal(null)
    })

    it('is refused without a sign-in within maxAge, whatever the URL asked [promise 139]', async () => {
      const { url } = await asking.perms.auth.providers.start('company', { maxAge: 60 })
      expect(new URL(url).searchParams.get('max_age')).to.equal('60')
      expect(await timeOf({ auth_time: now() - 30 }, { maxAge: 600 })).to.be.within(-90, -28)
      for (const claims of [{ auth_time: now() - 900 }, {}])
        expect(await timeOf(claims, { maxAge: 600 }), JSON.stringify(claims)).to.equal('invalid_token')
      expect(await timeOf({}, { name: 'lax', maxAge: 60 })).to.equal('invalid_token')
      for (const maxAge of [0, -1, 1.5, 86_401, '60', null, Number.NaN])
        expect((await rejection(asking.perms.auth.providers.start('company', { maxAge: maxAge as never }))).message).to.include('maxAge')
      expect((await rejection(asking.perms.auth.providers.start('github', { maxAge: 60 }))).message).to.include('does not say when')
    })
  })

  it('fails with another issuer or none, where the provider names itself [promise 124]', async () => {
    for (const change of [
      (parameters: URLSearchParams) => parameters.set('iss', world.rival.issuer),
      (parameters: URLSearchParams) => parameters.delete('iss'),
    ]) {
      const { url, binding } = await begin()
      const parameters = world.company.approve(url)
      change(parameters)
      expect((await finish(parameters, binding)).status).to.equal('failed')
    }
    expect(reasons()).to.deep.equal(['iss', 'iss'])
  })

  it('is refused at the callback of another provider: its state belongs to one [promise 124]', async () => {
    const { url, binding } = await begin()
    const parameters = world.company.approve(url)
    expect(await rejection(finish(parameters, binding, 'rival'))).to.be.instanceOf(ProviderResponseError)
    const other = await begin('rival')
    parameters.set('state', new URL(other.url).searchParams.get('state') as string)
    const mixed = await finish(parameters, other.binding, 'rival')
    expect(mixed.status).to.equal('failed')
    expect(reasons()).to.deep.equal(['state', 'iss'])
    expect(world.rival.requests.filter((one) => one.includes('/token'))).to.deep.equal([])
  })

  it('is refused in another browser, and stays usable in its own [promise 121]', async () => {
    const [mine, theirs] = [await begin(), await begin()]
    const parameters = world.company.approve(mine.url)
    for (const binding of [theirs.binding, undefined, '', `${mine.binding}x`, mine.binding.toUpperCase()])
      expect((await rejection(finish(parameters, binding))).message).to.include('start again')
    expect(reasons()).to.deep.equal(Array(5).fill('state'))
    expect((await finish(parameters, mine.binding)).status).to.equal('signedIn')
  })

  it('is used once [promise 121]', async () => {
    const { url, binding } = await begin()
    const parameters = world.company.approve(url)
    expect((await finish(parameters, binding)).status).to.equal('signedIn')
    const again = world.company.approve(url)
    expect(await rejection(finish(again, binding))).to.be.instanceOf(ProviderResponseError)
    expect(await rejection(finish(parameters, binding))).to.be.instanceOf(ProviderResponseError)
  })

  it('is used once also when it fails, and its code is not sent to the provider without PKCE [promise 121]', async () => {
    const [mine, other] = [await begin(), await begin()]
    const parameters = world.company.approve(mine.url)
    // The code of another sign-in: its challenge differs.
    const stolen = world.company.approve(other.url)
    stolen.set('state', parameters.get('state') as string)
    expect((await finish(stolen, mine.binding)).status).to.equal('failed')
    expect(await rejection(finish(parameters, mine.binding))).to.be.instanceOf(ProviderResponseError)
    expect(new URL(mine.url).searchParams.get('code_challenge_method')).to.equal('S256')
  })

  it('is refused after ten minutes [promise 121]', async () => {
    const { url, binding } = await begin()
    await own.knex('provider_sign_in').update({ expires_at: new Date(Date.now() - 1) })
    expect(await rejection(finish(world.company.approve(url), binding))).to.be.instanceOf(ProviderResponseError)
  })

  it('with an error returns the user with a code of the library, never with the provider’s text', async () => {
    const { url, binding } = await begin()
    const state = new URL(url).searchParams.get('state') as string
    const denied = new URLSearchParams({ error: 'access_denied', error_description: '<script>', state, iss: world.company.issuer })
    const result = await finish(denied, binding)
    expect(result).to.deep.include({ status: 'failed', redirect: '/?error=access_denied' })
  })

  it('with repeated parameters fails', async () => {
    const { url, binding } = await begin()
    const parameters = world.company.approve(url)
    parameters.append('code', 'another')
    expect((await finish(parameters, binding)).status).to.equal('failed')
  })

  it('stores neither state nor nonce, verifier, cookie or code in readable form [promise 125]', async () => {
    const { url, binding } = await begin()
    const { searchParams } = new URL(url)
    const native = await world.perms.auth.providers.start('company', { challenge: 'c'.repeat(43), redirect: 'com.example.app:/done' })
    const result = await finish(world.company.approve(native.url), undefined)
    const code = new URL(result.redirect).searchParams.get('code') as string
    const dump = JSON.stringify(await own.knex('provider_sign_in'))
    for (const secret of [searchParams.get('state'), searchParams.get('nonce'), binding, code])
      expect(dump).to.not.include(secret as string)
  })

  it('returns to no place that a browser could read as another one: the option is checked at start [promise 126]', () => {
    const start = (redirect: unknown) =>
      providerSettings({ company: oidc({ issuer: world.company.issuer, clientId }) }, { usersUrl, redirects: [redirect as string] })
    for (const redirect of ['/', '/welcome?from=1', 'https://app.example.com/done', 'http://localhost:3000/', 'com.example.app:/done'])
      expect(start(redirect)?.redirects, redirect).to.deep.equal([redirect])
    const invalid: unknown[] = [
      '//evil.example',
      '/\\evil.example',
      '/a\\b',
      '/#token',
      '/a b',
      '/\n',
      'welcome',
      '',
      null,
      1,
      `/${'x'.repeat(500)}`,
    ]
    for (const scheme of ['javascript', 'data', 'vbscript', 'blob', 'file', 'about', 'JavaScript']) invalid.push(`${scheme}:alert(1)`)
    for (const rest of ['#x', ' ', '\u0000']) invalid.push(`https://app.example.com/${rest}`)
    for (const userinfo of ['user', 'user:password', ':password']) invalid.push(`https://${userinfo}@app.example.com/`)
    invalid.push('http://app.example.com/', 'http://localhost.example.com/', 'https://')
    for (const redirect of invalid) expect(() => start(redirect), String(redirect)).to.throw(ConfigurationError, 'providerSignIn.redirects')
    expect(() => providerSettings({}, { usersUrl, redirects: [] })).to.throw(ConfigurationError, 'name at least one')
  })

  it("refuses to be used inside the application's transaction [promise 59]", async () => {
    const { providers } = world.perms.auth
    const calls: Record<string, () => Promise<unknown>> = {
      start: () => providers.start('company'),
      startLink: () => providers.startLink('company'),
      finish: () => providers.finish('company', new URLSearchParams()),
      exchange: () => providers.exchange({}),
      unlink: () => providers.unlink({ id: '01900000-0000-7000-8000-000000000000' } as never, '01900000-0000-7000-8000-000000000000'),
    }
    for (const [name, call] of Object.entries(calls))
      expect(await rejection(transaction(call, { knex: own.knex })), name).to.be.instanceOf(ConfigurationError)
  })

  it('returns to a place of the exact list only, which is checked when the sign-in begins [promise 126]', async () => {
    for (const redirect of ['//evil.example', 'https://evil.example/', '/welcome', '/?x', '/\\evil.example', 'com.example.app:/done/x', ''])
      expect((await rejection(world.perms.auth.providers.start('company', { redirect }))).message, redirect).to.include('redirect')
    const result = await world.signIn(undefined, { redirect: '/welcome?from=1' })
    expect(result.redirect).to.equal('/welcome?from=1')
    // The callback URL comes from the configuration.
    const { url } = await begin()
    expect(new URL(url).searchParams.get('redirect_uri')).to.equal(`${usersUrl}/providers/company/callback/`)
  })

  describe('of a provider that', () => {
    const later = async (intercept: NonNullable<ProviderWorld['company']['intercept']>, timeout = 5) => {
      const other = await createDatabase('sqlite3')
      const broken = await openProviders(other.knex, { timeout })
      try {
        const { url, binding } = await broken.perms.auth.providers.start('company')
        broken.company.intercept = intercept
        const result = await broken.perms.auth.providers.finish('company', broken.company.approve(url), { binding: binding as string })
        return { result, broken }
      } finally {
        await broken.close()
        await other.destroy()
      }
    }
    const answers: Record<string, [NonNullable<ProviderWorld['company']['intercept']>, string, number?]> = {
      'does not answer': [(path) => path === '/token', 'timeout', 0.2],
      'answers without an end': [
        (path, response) => {
          if (path !== '/token') return false
          response.writeHead(200, { 'content-type': 'application/json' }).write('{')
          return true
        },
        'timeout',
        0.2,
      ],
      'sends a huge answer': [
        (path, response) => {
          if (path !== '/token') return false
          response.writeHead(200, { 'content-type': 'application/json' }).end(`"${'x'.repeat(300_000)}"`)
          return true
        },
        'size',
      ],
      'redirects the token request': [
        (path, response) => {
          if (path !== '/token') return false
          response.writeHead(307, { location: 'http://127.0.0.1:1/token' }).end()
          return true
        },
        'redirect',
      ],
      fails: [
        (path, response) => {
          if (path !== '/token') return false
          response.writeHead(502).end()
          return true
        },
        'status',
      ],
      'ends the connection': [
        (path, response) => {
          if (path !== '/token') return false
          response.destroy()
          return true
        },
        'network',
      ],
      'has no keys': [
        (path, response) => {
          if (path !== '/jwks') return false
          response.writeHead(503).end()
          return true
        },
        'status',
      ],
    }
    for (const [title, [intercept, reason, timeout]] of Object.entries(answers))
      it(`${title} is 503 and no admission [promise 127]`, async () => {
        const { result, broken } = await later(intercept, timeout)
        if (result.status !== 'failed') throw new Error(result.status)
        expect(result.redirect).to.equal('/?error=unavailable')
        const { status, retryAfter, cause } = result.error as { status: number; retryAfter: number; cause: { reason: string } }
        expect({ status, retryAfter, reason: cause.reason }).to.deep.equal({ status: 503, retryAfter: 30, reason })
        expect(broken.events.map(({ payload }) => payload.reason)).to.deep.equal(['unavailable'])
      })

    it('is down or names another issuer is 503 at the start, and is asked again later [promise 127]', async () => {
      const other = await createDatabase('sqlite3')
      const fresh = await openProviders(other.knex)
      try {
        fresh.company.metadata = { issuer: 'https://evil.example' }
        const start = () => fresh.perms.auth.providers.start('company')
        expect(((await rejection(start())) as unknown as { status: number }).status).to.equal(503)
        fresh.company.intercept = (_path, response) => {
          response.destroy()
          return true
        }
        expect(((await rejection(start())) as unknown as { status: number }).status).to.equal(503)
        fresh.company.intercept = null
        fresh.company.metadata = {}
        expect((await start()).url).to.include(fresh.company.issuer)
        await start()
        // Found once, used by all later sign-ins.
        expect(fresh.company.requests.filter((one) => one.includes('openid-configuration'))).to.have.length(3)
      } finally {
        await fresh.close()
        await other.destroy()
      }
    })
  })
})
