import { request } from 'node:http'
import { expect } from 'chai'
import { CrudResource } from '../../src/http/crud/crud-resource.js'
import { Api } from '../../src/http/serve/api.js'
import { UserResource } from '../../src/http/users/user-resource.js'
import { asSystem } from '../../src/policy/context.js'
import { capturedMailer } from '../../src/testing/index.js'
import { type App, apps } from './apps.js'
import { Critter, openZoo, password, UserDocument, type Zoo } from './zoo.js'

interface Answer {
  readonly status: number
  readonly cookies: readonly string[]
  readonly body: any
}

type Headers = Readonly<Record<string, string | readonly string[]>>

function send(url: string, method: string, path: string, headers: Headers = {}, body?: object): Promise<Answer> {
  const payload = body === undefined ? undefined : JSON.stringify(body)
  const type = payload === undefined ? {} : { 'content-type': 'application/json', 'content-length': Buffer.byteLength(payload) }
  return new Promise((resolve, reject) => {
    const sent = request(url + path, { method, agent: false, headers: { ...type, ...headers } as never }, (response) => {
      const chunks: Buffer[] = []
      response.on('data', (chunk: Buffer) => chunks.push(chunk))
      response.on('end', () => {
        const text = Buffer.concat(chunks).toString()
        const isJson = /json/.test(response.headers['content-type'] ?? '')
        resolve({ status: response.statusCode ?? 0, cookies: response.headers['set-cookie'] ?? [], body: isJson ? JSON.parse(text) : text })
      })
    })
    sent.on('error', reject)
    sent.end(payload)
  })
}

/** As the browser sends them back. */
const jar = ({ cookies }: Answer): string => cookies.map((line) => line.split(';')[0]).join('; ')

describe('Cookies in every framework', function () {
  this.timeout(20_000)

  for (const [name, start] of Object.entries(apps)) {
    describe(name, () => {
      let zoo: Zoo
      let app: App
      let home: Record<string, string>
      const mailer = capturedMailer()
      before(async () => {
        zoo = await openZoo('better-sqlite3', { cookies: true, mail: { mailer, baseUrl: 'https://app.example' } })
        const resources = [
          new UserResource({ features: { magicLink: true } }),
          new CrudResource({ model: UserDocument, path: 'documents' }),
          new CrudResource({ model: Critter }),
        ]
        app = await start(zoo.perms, new Api({ prefix: '/api', resources }))
        home = { origin: app.url }
      })
      after(async () => {
        await app.close()
        await zoo.close()
      })

      const ask = (method: string, path: string, headers?: Headers, body?: object) => send(app.url, method, path, headers, body)
      const login = () => ask('POST', '/api/users/login/', { ...home, prefer: 'cookies' }, { email: 'ada@example.com', password })

      it('sets two cookies in separate headers, and shows no token', async () => {
        const answer = await login()
        expect(answer.status, JSON.stringify(answer.body)).to.equal(200)
        expect(answer.cookies).to.have.length(2)
        expect(answer.cookies[0]).to.match(/^__Host-access=[\w.-]+; Path=\/; Max-Age=900; HttpOnly; Secure; SameSite=Lax$/)
        expect(answer.cookies[1]).to.match(/^__Host-refresh=rt_[\w-]+; Path=\/; Max-Age=2592000; HttpOnly; Secure; SameSite=Strict$/)
        expect(answer.body).to.deep.equal({ token_type: 'Cookie', expires_in: 900 })
      })

      it('sets them for a magic link too', async () => {
        // A user of its own: the first proof of an address ends the password.
        await asSystem(() => zoo.perms.models.user.query().insert({ email: 'link@example.com' } as never))
        await ask('POST', '/api/users/magic-link/request', {}, { email: 'link@example.com' })
        await zoo.perms.auth.settled()
        const body = { token: mailer.tokenFrom(mailer.last('magicLink')) }
        const answer = await ask('POST', '/api/users/magic-link/', { ...home, prefer: 'cookies', 'user-agent': 'Tests' }, body)
        expect(answer.status, JSON.stringify(answer.body)).to.equal(200)
        expect(answer.cookies).to.have.length(2)
        expect(answer.body).to.deep.equal({ token_type: 'Cookie', expires_in: 900 })
      })

      it('identifies the caller by them, also on routes of the application', async () => {
        const cookie = jar(await login())
        expect((await ask('GET', '/api/users/me', { cookie })).body.email).to.equal('ada@example.com')
        expect((await ask('GET', '/who', { cookie })).body).to.deep.equal({ id: zoo.ids.ada })
        expect((await ask('GET', '/account', { cookie })).body).to.deep.equal({ id: zoo.ids.ada })
        expect((await ask('GET', '/reports', { cookie })).status).to.equal(403)
        const made = await ask('POST', '/api/documents', { ...home, cookie }, { title: 'By cookie', content: 'x' })
        expect(made.status).to.equal(201)
        expect(made.body.userId).to.equal(zoo.ids.ada)
      })

      it('refreshes with them without a body, and deletes them at sign-out', async () => {
        const first = jar(await login())
        const refreshed = await ask('POST', '/api/users/refresh/', { ...home, cookie: first })
        expect(refreshed.status, JSON.stringify(refreshed.body)).to.equal(200)
        const cookie = jar(refreshed)
        const out = await ask('POST', '/api/users/logout/', { ...home, cookie })
        expect(out.status).to.equal(204)
        expect(jar(out)).to.equal('__Host-access=; __Host-refresh=')
        expect((await ask('GET', '/api/users/me', { cookie })).status).to.equal(401)
        expect((await ask('GET', '/who', { cookie })).status).to.equal(401)
        const dead = await ask('POST', '/api/users/refresh/', { ...home, cookie })
        expect(dead.status).to.equal(401)
        expect(jar(dead)).to.equal('__Host-access=; __Host-refresh=')
        expect((await ask('POST', '/api/users/logout/', { ...home, cookie })).status).to.equal(204)
      })

      it('refuses requests of a page of another site, also on routes of the application', async () => {
        const cookie = jar(await login())
        const foreign = { origin: 'http://127.0.0.1:1', cookie }
        for (const [method, path] of [
          ['POST', '/api/documents'],
          ['POST', '/api/users/logout'],
          ['DELETE', `/api/documents/${zoo.ids.document}`],
          ['POST', '/who'],
          ['PUT', '/who'],
          ['DELETE', '/nowhere'],
        ] as const) {
          for (const headers of [foreign, { cookie }]) {
            const { status, body } = await ask(method, path, headers)
            expect(status, `${method} ${path}`).to.equal(403)
            expect(body.code).to.equal('foreign_origin')
          }
        }
        expect((await ask('GET', '/who', foreign)).status).to.equal(200)
        expect((await ask('POST', '/who', { ...home, cookie })).status).to.be.oneOf([200, 404])
      })

      it('gives 400 together with a Bearer token, also on routes of the application', async () => {
        const headers = { cookie: jar(await login()), authorization: `Bearer ${zoo.tokens.bob}` }
        for (const path of ['/api/users/me', '/api/critters', '/who', '/account']) {
          const { status, body } = await ask('GET', path, headers)
          expect(status, path).to.equal(400)
          expect(body.code).to.equal('ambiguous_credentials')
        }
      })

      it('answers cookies of any shape with 400 or 401 [promise 47]', async () => {
        const cookie = jar(await login())
        const shapes = [
          '__Host-access=',
          '__Host-access=%00',
          '__Host-access=a%2Eb%2Ec',
          '__Host-access="a.b.c"',
          `__Host-access=${'a'.repeat(10_000)}`,
          '__Host-access=\u00ff\u00fe.\u00ff.\u00ff',
          '__Host-refresh=x',
          `${cookie}; ${cookie}`,
          [cookie, cookie],
        ]
        for (const shape of shapes) {
          for (const path of ['/api/users/me', '/who']) {
            const { status } = await ask('GET', path, { cookie: shape })
            expect(status, `${path} ${shape.slice(0, 40)}`).to.be.oneOf([400, 401])
          }
        }
        for (const shape of ['__Host-accessx=1', '__host-access=1', '\u00a0__Host-access=1', ';=;;', 'a="', '='])
          expect((await ask('GET', '/who', { cookie: shape })).body, shape).to.deep.equal({ id: null })
      })

      it('uses them for every spelling of a path [promise 49]', async () => {
        const cookie = jar(await login())
        for (const path of [
          '/api/users/logout',
          '/api/users/logout/',
          '/api//users/logout',
          '/API/users/logout',
          '/api/users/%6cogout',
          '/api/users/logout;x',
        ]) {
          const { status } = await ask('POST', path, { origin: 'https://evil.example', cookie })
          expect(status, path).to.be.oneOf([403, 404])
        }
        expect((await ask('GET', '/api/users/me', { cookie })).status).to.equal(200)
      })
    })
  }
})
