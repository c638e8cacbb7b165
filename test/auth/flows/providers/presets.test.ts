import { createPublicKey, generateKeyPairSync, verify } from 'node:crypto'
import { expect } from 'chai'
import type { Fetch } from '../../../../src/auth/flows/providers/bounded-fetch.js'
import { apple, github, google, type Identity, type IdentityProvider, microsoft } from '../../../../src/index.js'
import { asSystem } from '../../../../src/policy/context.js'
import { createDatabase, type OwnDatabase } from '../../../helpers/databases.js'
import { FakeProvider } from './fake-provider.js'
import { Identity as Identities, openProviders, type ProviderWorld } from './set-up.js'

const appleKeys = generateKeyPairSync('ec', { namedCurve: 'P-256' })
const tenantA = 'aaaaaaaa-0000-4000-8000-000000000001'
const tenantB = 'bbbbbbbb-0000-4000-8000-000000000002'
const keys = { clientId: 'the client', clientSecret: 'the secret' }
const microsoftOf = (tenant: string) => `https://login.microsoftonline.com/${tenant}/v2.0`

const presets: Readonly<Record<string, IdentityProvider>> = {
  google: google(keys),
  github: github(keys),
  apple: apple({
    ...{ clientId: 'com.example.web', teamId: 'TEAM', keyId: 'KEY' },
    privateKey: appleKeys.privateKey.export({ type: 'pkcs8', format: 'pem' }) as string,
  }),
  // Trusted for addresses, so that each test sees whether the tenant lets the user in.
  common: microsoft({ ...keys, trustsEmail: true }),
  listed: microsoft({ ...keys, tenant: 'organizations', tenants: [tenantA], trustsEmail: true }),
  own: microsoft({ ...keys, tenant: tenantA, trustsEmail: true }),
  untrusted: microsoft({ ...keys, tenant: tenantA }),
}

describe('The provider', () => {
  let own: OwnDatabase
  let world: ProviderWorld
  const signer = new FakeProvider()
  /** The answers of GitHub's API by path. Metadata, keys and tokens of the others are made below. */
  let gitHubApi: Record<string, { status?: number; body: unknown }> = {}
  let claims: Record<string, unknown> = {}
  let nonce: string | null = null
  const tokenRequests: URLSearchParams[] = []
  const apiRequests: { url: string; headers: unknown }[] = []

  const json = (body: unknown, status = 200) =>
    new Response(JSON.stringify(body), { status, headers: { 'content-type': 'application/json' } })
  const fetch: Fetch = async (url, { body, headers }) => {
    const { origin, pathname } = new URL(url)
    if (origin === 'https://api.github.com') {
      apiRequests.push({ url, headers })
      const answer = gitHubApi[pathname]
      return json(answer?.body ?? {}, answer ? answer.status : 404)
    }
    if (pathname.endsWith('/.well-known/openid-configuration')) {
      const issuer = url.replace('/.well-known/openid-configuration', '')
      return json({
        issuer: issuer.replace(/\/(?:common|organizations)\//, '/{tenantid}/'),
        authorization_endpoint: `${origin}/authorize`,
        token_endpoint: `${origin}/token`,
        jwks_uri: `${origin}/jwks`,
        response_types_supported: ['code'],
        id_token_signing_alg_values_supported: ['ES256'],
      })
    }
    if (pathname === '/jwks') return json({ keys: [{ ...signer.keys.publicKey.export({ format: 'jwk' }), kid: 'one', use: 'sig' }] })
    const asked = new URLSearchParams(String(body))
    tokenRequests.push(asked)
    const tokens = { access_token: 'the access token', token_type: 'bearer' }
    if (origin === 'https://github.com') return json({ ...tokens, scope: 'read:user,user:email' })
    signer.forgery = { claims: (given) => ({ ...given, ...claims }) }
    return json({ ...tokens, id_token: signer.idToken({ nonce, clientId: asked.get('client_id') ?? '' }) })
  }

  before(async () => {
    own = await createDatabase('sqlite3')
    world = await openProviders(own.knex, { fetch }, { providers: presets })
  })
  after(async () => {
    await world.close()
    await own.destroy()
  })
  let count = 0
  beforeEach(() => {
    world.events.length = 0
    tokenRequests.length = 0
    apiRequests.length = 0
    count += 1
  })
  const address = () => `person${count}@example.com`
  const reasons = () => world.events.filter(({ name }) => name === 'providerSignInFailed').map(({ payload }) => payload.reason)
  /** Signs in with further claims. @returns the status, or the code of the failure */
  const signIn = async (name: string, given: Record<string, unknown> = {}): Promise<string> => {
    claims = { iss: presets[name]?.issuer, sub: `person ${count}`, email: address(), email_verified: true, ...given }
    const { url, binding } = await world.perms.auth.providers.start(name)
    const asked = new URL(url).searchParams
    nonce = asked.get('nonce')
    const parameters = new URLSearchParams({ code: 'the code', state: asked.get('state') as string })
    const result = await world.perms.auth.providers.finish(name, parameters, { binding: binding as string, signsIn: true })
    return result.status === 'failed' ? result.redirect.replace(/.*error=/, '') : result.status
  }
  const identity = () => asSystem(() => Identities.query().orderBy('createdAt', 'desc').orderBy('id', 'desc').first()) as Promise<Identity>

  describe('Google', () => {
    for (const email of ['ada@gmail.com', 'ada@googlemail.com', 'Eve@GMAIL.com'])
      it(`is trusted for ${email}, which it hosts [promise 129]`, async () => {
        expect(await signIn('google', { email: `${count}${email}` })).to.equal('signedIn')
      })
    it('is trusted for the addresses of a Workspace, and for no other address [promise 129]', async () => {
      expect(await signIn('google', { sub: 'hosted', hd: 'example.com' })).to.equal('signedIn')
      for (const [sub, more] of Object.entries({
        'without hd': {},
        'an empty hd': { hd: '' },
        'an hd of another type': { hd: true },
        'gmail in front': { email: 'ada@gmail.com.example.com' },
        'gmail at the end': { email: 'ada@notgmail.com' },
      }))
        expect(await signIn('google', { sub, email: `${sub.replaceAll(' ', '')}@example.com`, ...more }), sub).to.equal(
          'email_not_verified',
        )
    })
    it('is not trusted for an address that it did not verify [promise 129]', async () => {
      for (const email_verified of [false, 'true', 1, undefined])
        expect(await signIn('google', { hd: 'example.com', email_verified }), String(email_verified)).to.equal('email_not_verified')
    })
  })

  describe('Microsoft', () => {
    it('lets users of each tenant in, whose issuer names their tenant [promise 138]', async () => {
      for (const tid of [tenantA, tenantB])
        expect(await signIn('common', { sub: `of ${tid}`, tid, iss: microsoftOf(tid), email: `${tid}@example.com` }), tid).to.equal(
          'signedIn',
        )
    })
    it('refuses an issuer of another tenant than tid, and a tid of another form [promise 138]', async () => {
      // openid-client compares the issuer with tid itself: the rule of the preset is asked directly.
      expect(await signIn('common', { tid: tenantB, iss: microsoftOf(tenantA) })).to.equal('invalid_token')
      const isOwn = (given: object) => presets.common?.isOwnIssuer?.(given as never)
      expect(isOwn({ tid: tenantA, iss: microsoftOf(tenantA) })).to.equal(true)
      for (const given of [
        { tid: tenantB, iss: microsoftOf(tenantA) },
        { iss: microsoftOf(tenantA) },
        { tid: 'common', iss: microsoftOf('common') },
        { tid: `${tenantA}/x`, iss: microsoftOf(`${tenantA}/x`) },
        { tid: [tenantA], iss: microsoftOf(tenantA) },
        { tid: tenantA, iss: `${microsoftOf(tenantA)}/` },
      ])
        expect(isOwn(given), JSON.stringify(given)).to.equal(false)
    })
    it('refuses a tenant that is not in the list [promise 138]', async () => {
      expect(await signIn('listed', { tid: tenantB, iss: microsoftOf(tenantB) })).to.equal('invalid_token')
      expect(reasons()).to.deep.equal(['tenant'])
      expect(await signIn('listed', { tid: tenantA, iss: microsoftOf(tenantA) })).to.equal('signedIn')
    })
    it('with a tenant of its own refuses each other tenant [promise 138]', async () => {
      expect(await signIn('own', { tid: tenantB, iss: microsoftOf(tenantB) })).to.equal('invalid_token')
      expect(reasons()).to.deep.equal(['iss'])
      expect(presets.own?.isOwnIssuer?.({ tid: tenantB, iss: microsoftOf(tenantB) })).to.equal(false)
      expect(await signIn('own', { tid: tenantA, iss: microsoftOf(tenantA) })).to.equal('signedIn')
    })
    it('is not trusted for addresses by default [promise 129]', async () => {
      expect(await signIn('untrusted', { tid: tenantA, iss: microsoftOf(tenantA) })).to.equal('email_not_verified')
    })
  })

  describe('Apple', () => {
    it('gets a client secret that is signed with ES256 for this request, and expires in five minutes', async () => {
      expect(await signIn('apple')).to.equal('signedIn')
      expect(await signIn('apple')).to.equal('signedIn')
      const now = Math.floor(Date.now() / 1000)
      for (const asked of tokenRequests) {
        expect(asked.get('client_id')).to.equal('com.example.web')
        const [header = '', payload = '', signature = ''] = (asked.get('client_secret') ?? '').split('.')
        const read = (part: string) => JSON.parse(Buffer.from(part, 'base64url').toString())
        expect(read(header)).to.deep.equal({ alg: 'ES256', kid: 'KEY' })
        const { iat, exp, ...rest } = read(payload)
        expect(rest).to.deep.equal({ iss: 'TEAM', aud: 'https://appleid.apple.com', sub: 'com.example.web' })
        expect(iat).to.be.within(now - 60, now)
        expect(exp).to.equal(iat + 300)
        const key = {
          key: createPublicKey(appleKeys.publicKey.export({ type: 'spki', format: 'pem' })),
          dsaEncoding: 'ieee-p1363' as const,
        }
        expect(verify('sha256', Buffer.from(`${header}.${payload}`), key, Buffer.from(signature, 'base64url'))).to.equal(true)
      }
      expect(new Set(tokenRequests.map((asked) => asked.get('client_secret'))).size).to.equal(2)
    })
    it('may name an address verified by a text, but no other value [promise 129]', async () => {
      expect(await signIn('apple', { sub: 'text', email_verified: 'true' })).to.equal('signedIn')
      for (const email_verified of ['false', 'TRUE', '1', 1, false, undefined])
        expect(await signIn('apple', { sub: `${email_verified}`, email: 'new@example.com', email_verified })).to.equal('email_not_verified')
    })
  })

  describe('GitHub', () => {
    const account = (emails: unknown, user: unknown = { id: 1000 + count, login: 'ada', name: null }) => {
      gitHubApi = { '/user': { body: user }, '/user/emails': { body: emails } }
    }
    const primary = (more: object = {}) => ({ email: address(), primary: true, verified: true, visibility: null, ...more })

    it('proves the verified primary address among several, and is known by its number [promises 128, 129]', async () => {
      account([{ email: 'old@example.com', primary: false, verified: true }, primary()])
      expect(await signIn('github')).to.equal('signedIn')
      const { subject, label, issuer } = await identity()
      expect({ subject, label, issuer }).to.deep.equal({
        ...{ subject: String(1000 + count), label: address(), issuer: 'https://github.com/login/oauth' },
      })
      expect(apiRequests.map(({ url }) => url)).to.deep.equal(['https://api.github.com/user', 'https://api.github.com/user/emails'])
      expect(apiRequests[0]?.headers).to.deep.include({ authorization: 'Bearer the access token' })
      expect(tokenRequests[0]?.get('code_verifier')).to.match(/^[\w-]{43}$/)
    })

    for (const [title, emails] of Object.entries<() => unknown>({
      'an unverified primary address': () => [primary({ verified: false })],
      'a primary address verified by a text': () => [primary({ verified: 'true' })],
      'a verified address that is not primary': () => [primary({ primary: false })],
      'an unverified primary address beside a verified one': () => [primary({ verified: false }), primary({ primary: false })],
      'an address of its own that receives no mail': () => [primary({ email: '1+ada@users.noreply.github.com' })],
      'no addresses': () => [],
      'an object instead of a list': () => ({ 0: primary(), length: 1 }),
      'entries of another form': () => [null, 'ada@example.com', primary({ email: [address()] })],
    }))
      it(`proves no address with ${title} [promise 129]`, async () => {
        account(emails())
        expect(await signIn('github')).to.equal('email_not_verified')
      })

    it('does not take an address of the public profile, which anyone may set [promise 129]', async () => {
      account([], { id: 1000 + count, login: 'ada', email: address(), email_verified: true })
      expect(await signIn('github')).to.equal('email_not_verified')
    })

    for (const id of [undefined, null, 0, -1, 1.5, 2 ** 53, '12', 'ada'])
      it(`is refused with the number ${id} for its user [promise 128]`, async () => {
        account([primary()], { id, login: 'ada' })
        expect(await signIn('github')).to.equal('invalid_token')
        expect(reasons()).to.deep.equal(['response'])
      })

    it('is 503 while its API fails or sends a huge answer, and admits nobody [promise 127]', async () => {
      for (const [path, answer] of [
        ['/user', { status: 401, body: {} }],
        ['/user/emails', { status: 403, body: { message: 'rate limit' } }],
        ['/user/emails', { status: 500, body: [] }],
        ['/user/emails', { body: [primary(), { email: 'x'.repeat(300_000) }] }],
      ] as const) {
        account([primary()])
        gitHubApi = { ...gitHubApi, [path]: answer }
        expect(await signIn('github'), JSON.stringify(answer).slice(0, 60)).to.equal('unavailable')
      }
    })
  })
})
