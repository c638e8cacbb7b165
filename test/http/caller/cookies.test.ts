import { expect } from 'chai'
import { ConfigurationError, PermsError } from '../../../src/core/errors.js'
import { cookieSettings, readTokenCookies, tokenCookies } from '../../../src/http/caller/cookies.js'
import { assertOwnOrigin } from '../../../src/http/caller/origin.js'
import { HttpResponse } from '../../../src/http/core/response.js'
import { CrudResource } from '../../../src/http/crud/crud-resource.js'
import { openApiDocument } from '../../../src/http/openapi/document.js'
import { createAdapter } from '../../../src/http/serve/adapter-core.js'
import { Api } from '../../../src/http/serve/api.js'
import { UserResource } from '../../../src/http/users/user-resource.js'
import { asSystem, currentUserId } from '../../../src/policy/context.js'
import { capturedMailer } from '../../../src/testing/index.js'
import { Token } from '../../../src/users/token.js'
import { User } from '../../../src/users/user.js'
import { Critter, openZoo, password, UserDocument, type Zoo } from '../../conformance/zoo.js'
import { countQueries } from '../../helpers/databases.js'
import { type Client, clientOf, neutralRequest, type Reply, type Sending } from '../client.js'

const host = 'zoo.example'
const home = { host, origin: `https://${host}` }
const wants = { ...home, prefer: 'cookies' }

/** Returns the cookies that a browser keeps of a response and sends back. */
function jar(...replies: Reply[]): string {
  const kept = new Map<string, string>()
  for (const line of replies.flatMap(({ cookies }) => cookies)) {
    const [, name = '', value = '', rest = ''] = /^([^=]+)=([^;]*)(.*)$/.exec(line) ?? []
    if (rest.includes('Max-Age=0')) kept.delete(name)
    else kept.set(name, value)
  }
  return [...kept].map(([name, value]) => `${name}=${value}`).join('; ')
}

const only = (name: 'access' | 'refresh', cookie: string): string =>
  cookie.split('; ').find((pair) => pair.startsWith(`__Host-${name}=`)) as string

describe('Cookies', function () {
  this.timeout(30_000)
  let zoo: Zoo
  let ask: Client
  const api = new Api({
    resources: [
      new UserResource(),
      new CrudResource({ model: UserDocument, path: 'documents' }),
      new CrudResource({ model: Critter, methods: { list: { public: true } } }),
    ],
  })
  before(async () => {
    zoo = await openZoo('better-sqlite3', { cookies: { origins: ['https://app.example'] } })
    ask = clientOf(api, zoo.perms)
  })
  after(() => zoo.close())

  const credentials = { email: 'ada@example.com', password }
  const login = (headers: Record<string, string> = wants) => ask('POST', '/users/login', null, { body: credentials, headers })
  /** From a page of the zoo's own, with these cookies. */
  const withCookie = (cookie: string, more: Sending = {}): Sending => ({ ...more, headers: { ...home, cookie, ...more.headers } })
  const me = (cookie: string) => ask('GET', '/users/me', null, { headers: { cookie } })
  const sessions = () => asSystem(() => Token.query().where({ userId: zoo.ids.ada, revoked: false, kind: 'refresh' }).resultSize())

  describe('signing in', () => {
    it('sets cookies with __Host-, HttpOnly, Secure and SameSite that expire with the tokens', async () => {
      const { status, cookies, body, headers } = await login()
      expect(status).to.equal(200)
      expect(cookies).to.have.length(2)
      expect(cookies[0]).to.match(/^__Host-access=[\w-]+\.[\w-]+\.[\w-]+; Path=\/; Max-Age=900; HttpOnly; Secure; SameSite=Lax$/)
      expect(cookies[1]).to.match(/^__Host-refresh=rt_[\w-]+; Path=\/; Max-Age=2592000; HttpOnly; Secure; SameSite=Strict$/)
      expect(body).to.deep.equal({ token_type: 'Cookie', expires_in: 900 })
      expect(headers['preference-applied']).to.equal('cookies')
    })

    it('forbids caching [promise 13]', async () => {
      const signedIn = await login()
      const refreshed = await ask('POST', '/users/refresh', null, withCookie(jar(signedIn)))
      const signedOut = await ask('POST', '/users/logout', null, withCookie(jar(refreshed)))
      for (const { headers, cookies } of [signedIn, refreshed, signedOut]) {
        expect(cookies).to.have.length(2)
        expect(headers['cache-control']).to.equal('no-store')
      }
    })

    it('gives Bearer tokens to clients that do not ask for cookies', async () => {
      for (const headers of [{}, { prefer: 'respond-async, no-cookies' }]) {
        const { body, cookies } = await ask('POST', '/users/login', null, { body: credentials, headers })
        expect(body).to.have.all.keys('access_token', 'refresh_token', 'token_type', 'expires_in')
        expect(cookies).to.deep.equal([])
        const refreshed = await ask('POST', '/users/refresh', null, { body: { refresh_token: body.refresh_token } })
        expect(refreshed.body.token_type).to.equal('Bearer')
        expect(refreshed.cookies).to.deep.equal([])
        expect((await ask('POST', '/users/logout', refreshed.body.access_token)).cookies).to.deep.equal([])
      }
    })

    it('accepts Prefer with other preferences, in any case', async () => {
      for (const prefer of ['respond-async, Cookies', 'cookies; q=1', 'COOKIES,wait=1'])
        expect((await login({ ...home, prefer })).cookies).to.have.length(2)
    })

    it('ends the earlier session of the browser', async () => {
      const first = jar(await login())
      const before = await sessions()
      const again = await ask('POST', '/users/login', null, withCookie(first, { body: credentials }))
      expect(again.status).to.equal(200)
      expect(again.body).to.deep.equal({ token_type: 'Cookie', expires_in: 900 })
      expect(await sessions()).to.equal(before)
      expect((await me(first)).status).to.equal(401)
      expect((await me(jar(again))).status).to.equal(200)
      const afterExpiry = await ask('POST', '/users/login', null, withCookie(only('refresh', jar(again)), { body: credentials }))
      expect(await sessions()).to.equal(before)
      expect((await me(jar(afterExpiry))).status).to.equal(200)
    })

    it('ignores the content of old cookies [promise 19]', async () => {
      for (const cookie of ['__Host-access=nonsense', '__Host-refresh=nonsense; __Host-access=', '__Host-refresh=rt_AAAA'])
        expect((await ask('POST', '/users/login', null, withCookie(cookie, { body: credentials }))).status, cookie).to.equal(200)
    })

    it('sets no cookies for a wrong password', async () => {
      const { status, cookies } = await ask('POST', '/users/login', null, { body: { ...credentials, password: 'wrong' }, headers: wants })
      expect(status).to.equal(401)
      expect(cookies).to.deep.equal([])
    })

    it('refuses to set a cookie that is too large for browsers', () => {
      const tokens = { accessToken: 'x'.repeat(4090), refreshToken: 'y', expiresIn: 900 }
      expect(() => tokenCookies(tokens, { origins: [], refreshMaxAge: 1 })).to.throw(ConfigurationError, 'jwt.claims')
    })
  })

  describe('the access cookie', () => {
    it('identifies the caller like a Bearer token, on routes of the API and of the application', async () => {
      const cookie = jar(await login())
      expect((await me(cookie)).body.email).to.equal('ada@example.com')
      const made = await ask('POST', '/documents', null, withCookie(cookie, { body: { title: 'By cookie', content: 'x' } }))
      expect(made.body.userId).to.equal(zoo.ids.ada)
      expect(await onOwnRoute('GET', { cookie })).to.equal(zoo.ids.ada)
      expect(await onOwnRoute('POST', { ...home, cookie })).to.equal(zoo.ids.ada)
    })

    /** The id of whom an own route behind authenticate() runs as, or the status of the refusal. */
    async function onOwnRoute(method: string, headers: Record<string, string>): Promise<string | number | null> {
      return await createAdapter(zoo.perms).authenticate<string | number | null | Promise<never>>(
        neutralRequest(method, '/own', null, { headers }),
        {
          next: () => currentUserId(),
          refuse: ({ status }) => status,
          fail: (error) => Promise.reject(error),
          unlessRefused: (next) => next(),
        },
      )
    }

    it('gives 400 together with a Bearer token', async () => {
      const cookie = jar(await login())
      for (const one of [cookie, only('access', cookie), only('refresh', cookie), '__Host-access=']) {
        for (const method of ['GET', 'PATCH']) {
          const { status, body } = await ask(method, '/users/me', zoo.tokens.bob, { headers: { cookie: one } })
          expect(status, `${method} ${one}`).to.equal(400)
          expect(body.code).to.equal('ambiguous_credentials')
        }
      }
      expect(await onOwnRoute('GET', { cookie, authorization: `Bearer ${zoo.tokens.bob}` })).to.equal(400)
    })

    it('needs as many statements as a Bearer token', async () => {
      const { body } = await ask('POST', '/users/login', null, { body: credentials })
      const cookie = jar(await login())
      const count = async (fn: () => Promise<unknown>) => (await countQueries(zoo.perms.knex, fn)).statements.length
      expect(await count(() => ask('GET', '/users/me', body.access_token))).to.equal(1)
      expect(await count(() => me(cookie))).to.equal(1)
      const byBody = await count(() => ask('POST', '/users/refresh', null, { body: { refresh_token: body.refresh_token } }))
      expect(await count(() => ask('POST', '/users/refresh', null, withCookie(cookie)))).to.equal(byBody)
    })

    it('can be combined with other authentication schemes', async () => {
      const cookie = jar(await login())
      expect((await ask('GET', '/users/me', null, { headers: { cookie, authorization: 'Basic YTpi' } })).status).to.equal(200)
    })

    it('gives 401 if it is malformed or expired, also on public routes, and deletes no cookie [promise 19]', async () => {
      const cookie = jar(await login())
      const [head, payload] = only('access', cookie).split('.')
      const bad = [
        '__Host-access=',
        '__Host-access=nonsense',
        '__Host-access="quoted"',
        `${head}.${payload}.AAAA`,
        `${only('access', cookie).replace('.', '%2E')}`,
        `"${only('access', cookie)}"`.replace('"__Host-access=', '__Host-access="'),
        '__Host-access=a\u0000b',
        `__Host-access=${'a'.repeat(100_000)}`,
        `__Host-access=${'a.'.repeat(50_000)}`,
        '__Host-access=\u{1f512}',
        '__Host-access==.=.=',
        '__Host-access=a.b.c',
      ]
      for (const one of bad) {
        for (const path of ['/users/me', '/critters']) {
          const { status, headers, cookies, body } = await ask('GET', path, null, { headers: { cookie: one } })
          expect(status, one.slice(0, 50)).to.equal(401)
          expect(body.code).to.equal('invalid_token')
          expect(headers['www-authenticate']).to.equal('Bearer error="invalid_token"')
          expect(cookies).to.deep.equal([])
        }
        expect(await onOwnRoute('GET', { cookie: one }), one.slice(0, 50)).to.equal(401)
      }
    })

    it('gives 401 if the browser has deleted it and the refresh cookie is left [promise 19]', async () => {
      const cookie = only('refresh', jar(await login()))
      const { status, body } = await ask('GET', '/critters', null, { headers: { cookie } })
      expect(status).to.equal(401)
      expect(body).to.include({ code: 'invalid_token' })
      expect(body.detail).to.contain('POST refresh/')
      expect((await ask('GET', '/critters')).status).to.equal(200)
    })

    it('gives 400 if it is sent twice', async () => {
      const cookie = only('access', jar(await login()))
      for (const one of [`${cookie}; ${cookie}`, `${cookie}; a=b; __Host-access=other`]) {
        const { status, body } = await ask('GET', '/users/me', null, { headers: { cookie: one } })
        expect(status).to.equal(400)
        expect(body.detail).to.contain('__Host-access')
      }
    })

    it('has exactly one name, and similar names are ignored', () => {
      const of = (cookie: string) => readTokenCookies(neutralRequest('GET', '/', null, { headers: { cookie } }))
      expect(of('a=b; \t__Host-access \t=\tx\t; __Host-refresh=y')).to.deep.equal({ access: 'x', refresh: 'y' })
      for (const name of [
        '__host-access',
        '__HOST-ACCESS',
        '\u00a0__Host-access',
        '\u2000__Host-access',
        '__Host-access\u0085',
        'access',
        '__Host%2Daccess',
        '"__Host-access"',
      ])
        expect(of(`${name}=x`).access, name).to.equal(undefined)
      for (const cookie of [
        '__Host-access',
        '=__Host-access=x',
        ';;;',
        '=',
        'a=__Host-access=x',
        '$Version=1; $__Host-access=x',
        'a="b; __Host-refresh"',
      ])
        expect(of(cookie), cookie).to.deep.equal({ access: undefined, refresh: undefined })
    })

    it('accepts only access tokens, and the refresh cookie only refresh tokens [promise 17]', async () => {
      const cookie = jar(await login())
      const [access, refresh] = [only('access', cookie).split('=')[1], only('refresh', cookie).split('=')[1]]
      const ada = (await asSystem(() => User.get(zoo.ids.ada))) as User
      const { plain } = await asSystem(() => Token.issue(ada, { kind: 'api', abilities: ['*'] }))
      expect((await ask('GET', '/users/me', plain)).status).to.equal(200)
      for (const value of [refresh, plain]) expect((await me(`__Host-access=${value}`)).status, value).to.equal(401)
      for (const value of [access, plain, 'rt_AAAA', '', 'x'.repeat(5000)])
        expect((await ask('POST', '/users/refresh', null, withCookie(`__Host-refresh=${value}`))).status, value).to.equal(401)
    })
  })

  describe('refreshing', () => {
    it('uses the cookie if there is no body, and sets both cookies again', async () => {
      const cookie = jar(await login())
      const { status, body, cookies } = await ask('POST', '/users/refresh', null, withCookie(only('refresh', cookie)))
      expect(status).to.equal(200)
      expect(body).to.deep.equal({ token_type: 'Cookie', expires_in: 900 })
      expect(cookies.map((line) => line.split('=')[0])).to.deep.equal(['__Host-access', '__Host-refresh'])
      const next = jar({ cookies } as Reply)
      expect(only('refresh', next)).not.to.equal(only('refresh', cookie))
      expect((await me(next)).status).to.equal(200)
    })

    it('ignores the access cookie', async () => {
      const cookie = only('refresh', jar(await login()))
      expect((await ask('POST', '/users/refresh', 'bad bearer', withCookie(`__Host-access=bad; ${cookie}`))).status).to.equal(200)
    })

    it('gives 400 for a token in the body and one in the cookie', async () => {
      const cookie = only('refresh', jar(await login()))
      for (const body of [{ refresh_token: 'rt_AAAA' }, {}]) {
        const answer = await ask('POST', '/users/refresh', null, withCookie(cookie, { body }))
        expect(answer.status).to.equal(400)
        expect(answer.body.code).to.equal('ambiguous_credentials')
      }
      expect((await ask('POST', '/users/refresh', null, withCookie(cookie))).status).to.equal(200)
    })

    it('deletes cookies that are no longer valid', async () => {
      const cookie = jar(await login())
      expect((await ask('POST', '/users/logout', null, withCookie(cookie))).status).to.equal(204)
      const { status, cookies, body } = await ask('POST', '/users/refresh', null, withCookie(cookie))
      expect(status).to.equal(401)
      expect(body.code).to.equal('invalid_token')
      expect(cookies).to.deep.equal([
        '__Host-access=; Path=/; Max-Age=0; HttpOnly; Secure; SameSite=Lax',
        '__Host-refresh=; Path=/; Max-Age=0; HttpOnly; Secure; SameSite=Strict',
      ])
    })

    it('requires a token if there is neither a cookie nor a body', async () => {
      expect((await ask('POST', '/users/refresh', null, { headers: wants })).status).to.equal(422)
    })
  })

  describe('signing out', () => {
    const cleared = ({ cookies }: Reply) => cookies.map((line) => line.split(';')[0])
    const both = ['__Host-access=', '__Host-refresh=']

    it('ends the session and deletes both cookies [promise 22]', async () => {
      const cookie = jar(await login())
      const before = await sessions()
      const answer = await ask('POST', '/users/logout', null, withCookie(cookie))
      expect(answer.status).to.equal(204)
      expect(cleared(answer)).to.deep.equal(both)
      expect(await sessions()).to.equal(before - 1)
      expect((await me(cookie)).status).to.equal(401)
    })

    it('ends the session through the refresh token if the access token has expired', async () => {
      const cookie = jar(await login())
      const before = await sessions()
      const answer = await ask('POST', '/users/logout', null, withCookie(`__Host-access=expired; ${only('refresh', cookie)}`))
      expect(answer.status).to.equal(204)
      expect(cleared(answer)).to.deep.equal(both)
      expect(await sessions()).to.equal(before - 1)
    })

    it('deletes the cookies of an ended session', async () => {
      const cookie = jar(await login())
      await ask('POST', '/users/logout', null, withCookie(cookie))
      for (const one of [cookie, only('access', cookie), only('refresh', cookie), '__Host-access=nonsense']) {
        const answer = await ask('POST', '/users/logout', null, withCookie(one))
        expect(answer.status, one).to.equal(204)
        expect(cleared(answer)).to.deep.equal(both)
      }
    })

    it('gives 401 without a cookie and without a valid Bearer token', async () => {
      expect((await ask('POST', '/users/logout')).status).to.equal(401)
      expect((await ask('POST', '/users/logout', 'bad')).status).to.equal(401)
    })
  })

  describe('the origin of a request that changes something', () => {
    /** Headers, and whether they are those of a page of our own. */
    const senders: readonly (readonly [string, Record<string, string>, boolean])[] = [
      ['own origin', { host, origin: 'https://zoo.example' }, true],
      ['own origin, with its port said', { host: 'zoo.example:443', origin: 'https://zoo.example' }, true],
      ['own origin on another port', { host: 'zoo.example:8443', origin: 'https://zoo.example:8443' }, true],
      ['own origin, whose host is written in capitals', { host: 'ZOO.example', origin: 'https://zoo.example' }, true],
      ['an origin that is configured', { host, origin: 'https://app.example' }, true],
      ['this machine over HTTP', { host: '127.0.0.1:3000', origin: 'http://127.0.0.1:3000' }, true],
      ['localhost over HTTP', { host: 'localhost:3000', origin: 'http://localhost:3000' }, true],
      ['this machine by IPv6', { host: '[::1]:3000', origin: 'http://[::1]:3000' }, true],
      ['no Origin, but Sec-Fetch-Site', { host, 'sec-fetch-site': 'same-origin' }, true],
      ['no Origin, but Referer', { host, referer: 'https://zoo.example/page?x=1' }, true],
      ['nothing said', { host }, false],
      ['no host either', { origin: 'https://zoo.example' }, false],
      ['another site', { host, origin: 'https://evil.example' }, false],
      ['another site that says it is the same', { host, origin: 'https://evil.example', 'sec-fetch-site': 'same-origin' }, false],
      ['another site with our Referer', { host, origin: 'https://evil.example', referer: 'https://zoo.example/' }, false],
      ['a subdomain', { host, origin: 'https://www.zoo.example' }, false],
      ['a domain that begins like ours', { host, origin: 'https://zoo.example.evil.example' }, false],
      ['a domain that ends like ours', { host, origin: 'https://evilzoo.example' }, false],
      ['ours over HTTP', { host, origin: 'http://zoo.example' }, false],
      ['another port of this machine', { host: '127.0.0.1:3000', origin: 'http://127.0.0.1:4000' }, false],
      ['another name of this machine', { host: '127.0.0.1:3000', origin: 'http://localhost:3000' }, false],
      ['a name that begins like localhost', { host: 'localhost.evil.example', origin: 'http://localhost.evil.example' }, false],
      ['a sandboxed page', { host, origin: 'null' }, false],
      ['an empty origin', { host, origin: '' }, false],
      ['two origins', { host, origin: 'https://zoo.example, https://evil.example' }, false],
      ['an origin with a path', { host, origin: 'https://zoo.example/' }, false],
      ['no Origin, same site', { host, 'sec-fetch-site': 'same-site', referer: 'https://zoo.example/' }, false],
      ['no Origin, cross site', { host, 'sec-fetch-site': 'cross-site' }, false],
      ['no Origin, the address bar', { host, 'sec-fetch-site': 'none' }, false],
      ['no Origin, a foreign Referer', { host, referer: 'https://evil.example/?https://zoo.example/' }, false],
      ['no Origin, a Referer that is none', { host, referer: 'zoo.example' }, false],
      ['a host that is none', { host: 'user@zoo.example', origin: 'https://zoo.example' }, false],
    ]

    for (const [title, headers, isOurs] of senders) {
      it(`${isOurs ? 'is accepted' : 'is refused'}: ${title}`, () => {
        const settings = zoo.perms.options.cookies!
        for (const method of ['POST', 'PUT', 'PATCH', 'DELETE', 'LOCK']) {
          const check = () => assertOwnOrigin(neutralRequest(method, '/', null, { headers }), settings)
          if (isOurs) check()
          else expect(check).to.throw(PermsError).with.property('code', 'foreign_origin')
        }
        for (const method of ['GET', 'HEAD', 'OPTIONS']) assertOwnOrigin(neutralRequest(method, '/', null, { headers }), settings)
      })
    }

    it('is checked by every endpoint that accepts cookies, before anything changes', async () => {
      const signedIn = await login()
      const cookie = jar(signedIn)
      const from = (more: Sending = {}): Sending => ({
        ...more,
        headers: { host, origin: 'https://evil.example', cookie, ...more.headers },
      })
      const before = await sessions()
      const documents = await asSystem(() => UserDocument.query().resultSize())
      const answers = [
        await ask('POST', '/documents', null, from({ body: { title: 'Forged', content: 'x' } })),
        await ask('PATCH', '/users/me', null, from({ body: {} })),
        await ask('DELETE', `/documents/${zoo.ids.document}`, null, from()),
        await ask('DELETE', '/users/sessions', null, from()),
        await ask('POST', '/users/logout', null, from()),
        await ask('POST', '/users/refresh', null, from()),
        await ask('POST', '/users/login', null, from({ body: credentials })),
        await ask('POST', '/users/login', null, {
          body: credentials,
          headers: { host, prefer: 'cookies', origin: 'https://evil.example' },
        }),
        await ask('POST', '/users/login', null, { body: credentials, headers: { host, prefer: 'cookies' } }),
      ]
      for (const { status, body, cookies } of answers) {
        expect(status).to.equal(403)
        expect(body.code).to.equal('foreign_origin')
        expect(cookies).to.deep.equal([])
      }
      expect(answers[0]!.body.detail).to.contain('initPerms({ cookies: { origins } })')
      expect(await sessions()).to.equal(before)
      expect(await asSystem(() => UserDocument.query().resultSize())).to.equal(documents)
      expect((await me(cookie)).status).to.equal(200)
    })

    it('is not checked for Bearer tokens', async () => {
      const headers = { host, origin: 'https://evil.example' }
      expect((await ask('PATCH', '/users/me', zoo.tokens.ada, { body: {}, headers })).status).to.equal(200)
      expect((await ask('POST', '/users/login', null, { body: credentials, headers })).status).to.equal(200)
    })
  })

  it('do not block pages that are the same for all callers', async () => {
    for (const cookie of ['__Host-access=expired', '__Host-refresh=x']) {
      expect((await ask('GET', '/openapi.json', null, { headers: { cookie } })).status).to.equal(200)
      expect((await ask('HEAD', '/openapi.json', null, { headers: { cookie } })).status).to.equal(200)
    }
    expect((await ask('GET', '/openapi.json', 'bad')).status).to.equal(401)
  })

  it('are part of the OpenAPI document', () => {
    const document = openApiDocument(api, zoo.perms)
    expect(document.components.securitySchemes['cookieAuth']).to.include({ type: 'apiKey', in: 'cookie', name: '__Host-access' })
    expect(document.paths['/users/me']?.['get']?.security).to.deep.equal([{ bearer: [] }, { cookieAuth: [] }])
    expect(document.paths['/critters']?.['get']?.security).to.deep.equal([{}, { bearer: [] }, { cookieAuth: [] }])
    expect(document.paths['/users/login']?.['post']?.security).to.deep.equal([{}])
    expect(document.paths['/users/login']?.['post']?.parameters.map((one) => (one as { name: string }).name)).to.deep.equal(['Prefer'])
    expect(document.paths['/users/refresh']?.['post']?.requestBody).to.include({ required: false })
  })

  it('cannot be turned on with invalid origins', () => {
    expect(() => cookieSettings({ origins: ['https://zoo.example/'] }, 1)).to.throw(
      ConfigurationError,
      "'https://zoo.example/' is not an origin",
    )
    for (const origin of ['zoo.example', '*', 'null', 'ftp://zoo.example', 'https://Zoo.example', 'https://zoo.example:443', 7 as never])
      expect(() => cookieSettings({ origins: [origin] }, 1), String(origin)).to.throw(ConfigurationError)
    expect(cookieSettings(true, 1)).to.deep.equal({ origins: [], refreshMaxAge: 1 })
    expect([cookieSettings(false, 1), cookieSettings(undefined, 1)]).to.deep.equal([undefined, undefined])
  })

  it('are kept by with(), withCookies() and HEAD', () => {
    const answer = HttpResponse.json({}).withCookies(['a=1']).withCookies(['b=2'])
    expect(answer.with({ x: 'y' }).withoutBody()).to.deep.include({ cookies: ['a=1', 'b=2'], body: null })
  })
})

it('a magic link sets cookies only for its own origin', async function () {
  this.timeout(30_000)
  const mailer = capturedMailer()
  const zoo = await openZoo('better-sqlite3', { cookies: true, mail: { mailer, baseUrl: 'https://app.example' } })
  try {
    const ask = clientOf(new Api({ resources: [new UserResource({ features: { magicLink: true } })] }), zoo.perms)
    expect((await ask('POST', '/users/magic-link/request', null, { body: { email: 'ada@example.com' } })).status).to.equal(202)
    await zoo.perms.auth.settled()
    const body = { token: mailer.tokenFrom(mailer.last('magicLink')) }
    const foreign = await ask('POST', '/users/magic-link', null, { body, headers: { ...wants, origin: 'https://evil.example' } })
    expect(foreign.status).to.equal(403)
    const { status, cookies, body: answer } = await ask('POST', '/users/magic-link', null, { body, headers: wants })
    expect(status).to.equal(200)
    expect(answer).to.deep.equal({ token_type: 'Cookie', expires_in: 900 })
    expect((await ask('GET', '/users/me', null, { headers: { cookie: jar({ cookies } as Reply) } })).body.email).to.equal('ada@example.com')
  } finally {
    await zoo.close()
  }
})

it('cookies expire with the token lifetimes of initPerms', async function () {
  this.timeout(30_000)
  const jwt = { secret: 'a secret of this test, 32 bytes or more', accessTokenExpires: 30, refreshTokenExpires: 60 }
  const zoo = await openZoo('better-sqlite3', { cookies: true, jwt })
  try {
    const ask = clientOf(new Api({ resources: [new UserResource()] }), zoo.perms)
    const { cookies } = await ask('POST', '/users/login', null, { body: { email: 'ada@example.com', password }, headers: wants })
    expect(cookies.map((line) => /Max-Age=(\d+)/.exec(line)?.[1])).to.deep.equal(['30', '60'])
  } finally {
    await zoo.close()
  }
})

describe('Cookies that are off', function () {
  this.timeout(30_000)
  let zoo: Zoo
  let ask: Client
  before(async () => {
    zoo = await openZoo()
    ask = clientOf(new Api({ resources: [new UserResource()] }), zoo.perms)
  })
  after(() => zoo.close())

  it('are neither read nor set', async () => {
    const cookie = `__Host-access=${zoo.tokens.ada}`
    expect((await ask('GET', '/users/me', null, { headers: { cookie } })).status).to.equal(401)
    expect((await ask('GET', '/users/me', zoo.tokens.bob, { headers: { cookie } })).body.email).to.equal('bob@example.com')
    const { body, cookies } = await ask('POST', '/users/login', null, { body: { email: 'ada@example.com', password }, headers: wants })
    expect(body).to.have.all.keys('access_token', 'refresh_token', 'token_type', 'expires_in')
    expect(cookies).to.deep.equal([])
    expect(
      (await ask('POST', '/users/refresh', null, { headers: { ...wants, cookie: `__Host-refresh=${body.refresh_token}` } })).status,
    ).to.equal(422)
    expect((await ask('POST', '/users/logout', null, { headers: { cookie } })).status).to.equal(401)
    const document = (await ask('GET', '/openapi.json')).body
    expect(document.components.securitySchemes).to.have.all.keys('bearer')
    expect(document.paths['/users/logout'].post.security).to.deep.equal([{ bearer: [] }])
  })
})
