import assert from 'node:assert/strict'
import { asSystem } from '../../policy/context.js'
import { password } from './case.js'
import { type Received, type Sent, send } from './send.js'
import { approved } from './test-provider.js'
import type { FullWorld } from './world.js'

/** A test of the server with tokens in cookies. */
export interface CookieCheck {
  readonly title: string
  run(server: CookieClient): Promise<void>
}

/** Sends requests as a browser would. */
export class CookieClient {
  readonly url: string
  readonly world: FullWorld

  constructor(url: string, world: FullWorld) {
    this.url = url
    this.world = world
  }

  /** The header of a page of this server. */
  get home(): { readonly origin: string } {
    return { origin: this.url }
  }

  send(method: string, path: string, headers: NonNullable<Sent['headers']> = {}, body?: object): Promise<Received> {
    return send(this.url, { method, path, headers, body })
  }

  signIn(): Promise<Received> {
    return this.send('POST', '/api/users/login/', { ...this.home, prefer: 'cookies' }, { email: 'ada@example.com', password })
  }

  async cookie(): Promise<string> {
    return cookieOf(await this.signIn())
  }
}

const linesOf = ({ headers }: Received) => (headers['set-cookie'] ?? []) as readonly string[]
/** Returns the Cookie header that a browser sends back. */
const cookieOf = (answer: Received) =>
  linesOf(answer)
    .map((line) => line.split(';')[0])
    .join('; ')
const jsonOf = ({ body }: Received) => JSON.parse(body) as Record<string, unknown>
const clearedCookie = '__Host-access=; __Host-refresh='

/** Signs in with a provider that returns in this way. */
async function signInWithProvider(server: CookieClient, provider: 'query' | 'posting', sameSite: string): Promise<void> {
  const begun = await server.send('POST', `/api/users/providers/${provider}/start/`, server.home)
  const [line] = linesOf(begun)
  assert.match(String(line), new RegExp(`^__Host-provider=pb_[\\w-]{43}; Path=/; Max-Age=600; HttpOnly; Secure; SameSite=${sameSite}$`))
  const parameters = approved(String(jsonOf(begun)['url']), `person of ${provider}`.replaceAll(' ', '-'))
  const path = `/api/users/providers/${provider}/callback/`
  const answer = await (provider === 'query'
    ? server.send('GET', `${path}?${parameters}`, { cookie: cookieOf(begun) })
    : send(server.url, {
        ...{ method: 'POST', path, body: parameters },
        headers: { cookie: cookieOf(begun), origin: 'https://provider.example.com', 'content-type': 'application/x-www-form-urlencoded' },
      }))
  assert.equal(answer.status, 303, answer.body)
  assert.equal(answer.headers.location, '/')
  assert.equal(answer.body, '')
  assert.deepEqual(
    linesOf(answer).map((one) => one.replace(/=.*/, '')),
    ['__Host-provider', '__Host-access', '__Host-refresh'],
  )
  const me = await server.send('GET', '/api/users/me/', { cookie: cookieOf(answer) })
  assert.equal(me.status, 200, me.body)
}

export const cookieChecks: readonly CookieCheck[] = [
  {
    title: 'a provider that returns with a GET signs the browser in',
    run: (server) => signInWithProvider(server, 'query', 'Lax'),
  },
  {
    title: 'a provider that returns with a POST from its own page signs the browser in',
    run: (server) => signInWithProvider(server, 'posting', 'None'),
  },
  {
    title: 'sign-in sets two cookies in separate headers and shows no token',
    async run(server) {
      const answer = await server.signIn()
      const [access, refresh, ...more] = linesOf(answer)
      assert.equal(answer.status, 200, answer.body)
      assert.match(String(access), /^__Host-access=[\w.-]+; Path=\/; Max-Age=900; HttpOnly; Secure; SameSite=Lax$/)
      assert.match(String(refresh), /^__Host-refresh=rt_[\w-]+; Path=\/; Max-Age=2592000; HttpOnly; Secure; SameSite=Strict$/)
      assert.deepEqual(more, [])
      assert.deepEqual(jsonOf(answer), { token_type: 'Cookie', expires_in: 900 })
    },
  },
  {
    title: 'a magic link sets the cookies too',
    async run(server) {
      const { perms, mailer } = server.world
      // A user of its own: the first proof of an address ends the password.
      await asSystem(() => perms.models.user.query().insert({ email: 'link@example.com' }))
      await server.send('POST', '/api/users/magic-link/request', {}, { email: 'link@example.com' })
      await perms.auth.settled()
      const headers = { ...server.home, prefer: 'cookies', 'user-agent': 'Tests' }
      const answer = await server.send('POST', '/api/users/magic-link/', headers, { token: mailer.tokenFrom(mailer.last('magicLink')) })
      assert.equal(answer.status, 200, answer.body)
      assert.equal(linesOf(answer).length, 2)
      assert.deepEqual(jsonOf(answer), { token_type: 'Cookie', expires_in: 900 })
    },
  },
  {
    title: "cookies identify the caller, also on the application's routes",
    async run(server) {
      const { ids } = server.world
      const cookie = await server.cookie()
      assert.equal(jsonOf(await server.send('GET', '/api/users/me', { cookie }))['email'], 'ada@example.com')
      assert.deepEqual(jsonOf(await server.send('GET', '/who', { cookie })), { id: ids.ada })
      assert.deepEqual(jsonOf(await server.send('GET', '/account', { cookie })), { id: ids.ada })
      assert.equal((await server.send('GET', '/reports', { cookie })).status, 403)
      const made = await server.send('POST', '/api/documents', { ...server.home, cookie }, { title: 'By cookie', content: 'x' })
      assert.equal(made.status, 201, made.body)
      assert.equal(jsonOf(made)['userId'], ids.ada)
    },
  },
  {
    title: 'cookies are refreshed without a body and deleted at sign-out',
    async run(server) {
      const refreshed = await server.send('POST', '/api/users/refresh/', { ...server.home, cookie: await server.cookie() })
      assert.equal(refreshed.status, 200, refreshed.body)
      const cookie = cookieOf(refreshed)
      const out = await server.send('POST', '/api/users/logout/', { ...server.home, cookie })
      assert.equal(out.status, 204)
      assert.equal(cookieOf(out), clearedCookie)
      for (const path of ['/api/users/me', '/who']) assert.equal((await server.send('GET', path, { cookie })).status, 401, path)
      const dead = await server.send('POST', '/api/users/refresh/', { ...server.home, cookie })
      assert.equal(dead.status, 401)
      assert.equal(cookieOf(dead), clearedCookie)
      assert.equal((await server.send('POST', '/api/users/logout/', { ...server.home, cookie })).status, 204)
    },
  },
  {
    title: 'a session in cookies is confirmed from a page of this server only',
    async run(server) {
      const cookie = await server.cookie()
      const confirm = (headers: { readonly origin: string }) =>
        server.send('POST', '/api/users/me/confirm/', { ...headers, cookie }, { password })
      assert.equal(jsonOf(await confirm({ origin: 'https://evil.example.com' }))['code'], 'foreign_origin')
      const answer = await confirm(server.home)
      assert.equal(answer.status, 200, answer.body)
      assert.deepEqual(jsonOf(answer)['amr'], ['pwd'])
      assert.equal((await server.send('GET', '/vault', { cookie })).status, 200)
    },
  },
  {
    title: "a page of another site changes nothing, also on the application's routes",
    async run(server) {
      const cookie = await server.cookie()
      const foreign = { origin: 'http://127.0.0.1:1', cookie }
      const targets = ['POST /api/documents', 'POST /api/users/logout', `DELETE /api/documents/${server.world.ids.document}`]
      for (const target of [...targets, 'POST /who', 'PUT /who', 'DELETE /nowhere']) {
        const [method, path] = target.split(' ') as [string, string]
        for (const headers of [foreign, { cookie }]) {
          const answer = await server.send(method, path, headers)
          assert.equal(answer.status, 403, target)
          assert.equal(jsonOf(answer)['code'], 'foreign_origin', target)
        }
      }
      assert.equal((await server.send('GET', '/who', foreign)).status, 200)
      const own = await server.send('POST', '/who', { ...server.home, cookie })
      assert.ok([200, 404, 405].includes(own.status), String(own.status))
    },
  },
  {
    title: "a cookie together with a Bearer token gives 400, also on the application's routes",
    async run(server) {
      const headers = { cookie: await server.cookie(), authorization: `Bearer ${server.world.tokens.bob}` }
      for (const path of ['/api/users/me', '/api/critters', '/who', '/account']) {
        const answer = await server.send('GET', path, headers)
        assert.equal(answer.status, 400, path)
        assert.equal(jsonOf(answer)['code'], 'ambiguous_credentials', path)
      }
    },
  },
  {
    title: 'malformed cookies give 400 or 401 [promise 47]',
    async run(server) {
      const cookie = await server.cookie()
      const long = `__Host-access=${'a'.repeat(10_000)}`
      const malformed = ['__Host-access=', '__Host-access=%00', '__Host-access=a%2Eb%2Ec', '__Host-access="a.b.c"', long]
      const others = ['__Host-access=\u00ff\u00fe.\u00ff.\u00ff', '__Host-refresh=x', `${cookie}; ${cookie}`, [cookie, cookie]]
      for (const shape of [...malformed, ...others]) {
        for (const path of ['/api/users/me', '/who']) {
          const { status } = await server.send('GET', path, { cookie: shape })
          assert.ok([400, 401].includes(status), `${status} at ${path} for ${shape.slice(0, 40)}`)
        }
      }
      for (const shape of ['__Host-accessx=1', '__host-access=1', '\u00a0__Host-access=1', ';=;;', 'a="', '='])
        assert.deepEqual(jsonOf(await server.send('GET', '/who', { cookie: shape })), { id: null }, shape)
    },
  },
  {
    title: 'the origin is checked for every spelling of a path [promise 49]',
    async run(server) {
      const cookie = await server.cookie()
      const spellings = ['/api/users/logout', '/api/users/logout/', '/api//users/logout', '/API/users/logout', '/api/users/%6cogout']
      for (const path of [...spellings, '/api/users/logout;x']) {
        const { status } = await server.send('POST', path, { origin: 'https://evil.example', cookie })
        assert.ok([403, 404].includes(status), `${status} at ${path}`)
      }
      assert.equal((await server.send('GET', '/api/users/me', { cookie })).status, 200)
    },
  },
]
