import { mkdtempSync, rmSync } from 'node:fs'
import { type AddressInfo, createServer } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { expect } from 'chai'
import Knex from 'knex'
import { TOTP } from 'otpauth'
import { readSettings, SettingsError } from '../../examples/zoo/settings.js'
import { createDatabase, type OwnDatabase } from '../helpers/databases.js'
import { type Answer, type RequestOptions, request } from '../helpers/http.js'
import { failToStart, runShellLines, shellLines, startZoo, type ZooProcess } from './zoo-process.js'

const password = 'correct horse battery'
const admin = { email: 'keeper@example.com', password: "the keeper's own password" }
const secret = 'a secret of at least thirty-two bytes, for tests'
const settings = { JWT_SECRET: secret, ADMIN_EMAIL: admin.email, ADMIN_PASSWORD: admin.password }
/** As little work for a password as possible. One test starts the zoo with the default. */
const base = { ...settings, PASSWORD_COST: '10' }

/** Starts the zoo as `npm start` does. The other tests share a process, where a zoo starts faster. */
const ownProcess = [process.execPath]

const sqlite = ['sqlite3' as const]
const databases = [
  ...sqlite,
  ...(process.env['POSTGRES_URL'] ? ['pg' as const] : []),
  ...(process.env['MARIADB_URL'] ? ['mysql2' as const] : []),
]

let count = 0
const freshEmail = (): string => {
  count += 1
  return `visitor${count}@example.com`
}

// The differences between frameworks do not depend on the database.
const onKoa = process.env['FULL'] === '1' ? databases : sqlite
const places = { express: databases, koa: onKoa, fastify: sqlite, hono: sqlite, fetch: sqlite, node: sqlite }

/** On the other frameworks, the tests whose code differs by framework run; test/conformance compares the adapters. FULL=1 runs all. */
const isWhole = (framework: string) => framework === 'express' || process.env['FULL'] === '1'

for (const [framework, its] of Object.entries(places)) {
  for (const database of its) {
    describe(`The zoo on ${framework} and ${database}`, function () {
      this.timeout(60_000)
      let own: OwnDatabase
      let zoo: ZooProcess
      let tokens: Record<'ada' | 'bob' | 'admin', string>
      let adaEmail: string

      const send = (method: string, path: string, options?: RequestOptions): Promise<Answer> => request(zoo.url, method, path, options)
      const login = async (email: string, word = password): Promise<string> =>
        (await send('POST', '/auth/login', { json: { email, password: word } })).body.access_token
      const register = async (): Promise<string> => {
        const email = freshEmail()
        expect((await send('POST', '/auth/register', { json: { email, password } })).status).to.equal(201)
        return email
      }
      const countUsers = async (): Promise<number> => (await send('GET', '/api/users/', { token: tokens.admin })).body.pagination.total

      /** A refusal as RFC 9457 wants it, that tells nothing of the inside. */
      const expectProblem = (answer: Answer, status: number, fields?: readonly string[]): void => {
        const text = JSON.stringify(answer.body)
        expect(answer.status, text).to.equal(status)
        expect(answer.headers.get('content-type'), text).to.match(/^application\/problem\+json/)
        expect(answer.body).to.include.keys('type', 'title', 'status', 'code', 'detail', 'errors')
        expect(answer.body.status).to.equal(status)
        expect(text).not.to.match(/select |insert |SQLITE|node_modules|\.ts:/i)
        if (fields) expect(answer.body.errors.map(({ field }: { field: string }) => field).sort(), text).to.deep.equal([...fields].sort())
      }

      before(async () => {
        own = await createDatabase(database)
        zoo = await startZoo({ ...base, FRAMEWORK: framework, DATABASE_URL: own.url })
        adaEmail = await register()
        tokens = {
          ada: await login(adaEmail),
          bob: await login(await register()),
          admin: await login(admin.email, admin.password),
        }
      })
      after(async () => {
        await zoo?.stop()
        await own?.destroy()
      })

      it('prints lines for the shell that work as they are', async () => {
        const lines = shellLines(zoo.output())
        const outputs = await runShellLines(lines)
        const answers = lines.flatMap((line, i) => (/^\w+=/.test(line) ? [] : [JSON.parse(outputs[i] as string)]))
        const [registered, profile, me, document, documents, critter, critters, report, users] = answers
        expect(answers).to.have.length(9)
        expect(registered).to.include({ message: 'User created' })
        expect(profile).to.deep.equal({ id: registered.id, email: registered.email, isEnabled: true, roles: ['user'] })
        expect(me.roles).to.deep.equal([{ role: 'user', domain: null }])
        expect(document.userId).to.equal(registered.id)
        expect(documents.data).to.deep.equal([document])
        expect(critters.data.map(({ id }: { id: string }) => id)).to.include(critter.id)
        expect(report.documents).to.be.at.least(1)
        expect(users.pagination.total).to.be.at.least(2)
      })

      it('serves the pages that sign in with cookies and take mailed tokens: nothing inline, nothing from elsewhere, in no frame', async () => {
        for (const path of ['/cookies.html', '/verify-email', '/reset-password', '/change-email', '/magic-link', '/invitation']) {
          // The page is served even when the access token has expired and only the refresh cookie is left.
          const page = await send('GET', path, { headers: { cookie: '__Host-refresh=x' } })
          expect([path, page.status]).to.deep.equal([path, 200])
          expect(page.headers.get('content-type')).to.equal('text/html; charset=utf-8')
          expect(page.headers.get('referrer-policy')).to.equal('no-referrer')
          const policy = page.headers.get('content-security-policy')?.split('; ')
          expect(policy).to.include.members(["default-src 'none'", "script-src 'self'", "connect-src 'self'", "frame-ancestors 'none'"])
          expect(policy?.join()).not.to.match(/unsafe|\*|http/)
          expect(page.body).not.to.match(/https?:|<script(?![^>]* src=)|<style|\s(?:on\w+|style)=/)
          const script = await send('GET', /src="([^"]+)"/.exec(page.body)?.[1] as string)
          expect(script.headers.get('content-type')).to.match(/^text\/javascript/)
          const imported = /from '([^']+)'/.exec(script.body)?.[1] as string
          expect((await send('GET', imported)).headers.get('content-type')).to.match(/^text\/javascript/)
          // Nothing is taken from a link by opening it.
          expect((await send('POST', path, { json: { token: 'x' } })).status).to.be.oneOf([404, 405])
        }
        expect(zoo.output()).to.contain(`${zoo.url}/cookies.html`)
        const credentials = { json: { email: adaEmail, password }, headers: { prefer: 'cookies', origin: zoo.url } }
        expect((await send('POST', '/api/users/login/', credentials)).headers.getSetCookie()).to.have.length(2)
      })

      describe('its own routes', () => {
        it('register, sign in and show the profile', async () => {
          const email = freshEmail()
          const registered = await send('POST', '/auth/register', { json: { email: email.toUpperCase(), password } })
          expect(registered.status).to.equal(201)
          const signedIn = await send('POST', '/auth/login', { json: { email, password } })
          expect(signedIn.status).to.equal(200)
          expect(signedIn.body.refresh_token).to.be.a('string')
          const profile = await send('GET', '/auth/profile', { token: signedIn.body.access_token })
          expect(profile.status).to.equal(200)
          expect(profile.body).to.deep.equal({ id: registered.body.id, email, isEnabled: true, roles: ['user'] })
        })

        it('a refresh token that was made by hand gets new tokens', async () => {
          const { body } = await send('POST', '/auth/login', { json: { email: adaEmail, password } })
          const refreshed = await send('POST', '/api/users/refresh/', { json: { refresh_token: body.refresh_token } })
          expect(refreshed.status).to.equal(200)
          expect((await send('GET', '/auth/profile', { token: refreshed.body.access_token })).status).to.equal(200)
        })

        it('sign-in asks users with a second factor for a code, and issues no tokens before', async () => {
          const email = await register()
          const token = await login(email)
          const { secret } = (await send('POST', '/api/users/me/second-factor/', { token, json: { password } })).body
          const codeOf = (later: number) => new TOTP({ secret }).generate({ timestamp: Date.now() + later * 1000 })
          expect((await send('POST', '/api/users/me/second-factor/confirm/', { token, json: { code: codeOf(0) } })).status).to.equal(200)
          const { body } = await send('POST', '/auth/login', { json: { email, password } })
          expect(body).to.have.keys('status', 'challenge')
          expect(body.status).to.equal('second_factor')
          expectProblem(await send('GET', '/auth/profile', { token: body.challenge }), 401)
          const json = { challenge: body.challenge, code: codeOf(30) }
          const { access_token } = (await send('POST', '/api/users/second-factor/', { json })).body
          expect((await send('GET', '/auth/profile', { token: access_token })).body.email).to.equal(email)
        })

        it('profile gives 401 without a token and with an invalid token', async () => {
          expectProblem(await send('GET', '/auth/profile'), 401)
          expectProblem(await send('GET', '/auth/profile', { token: 'nonsense' }), 401)
        })

        it('register and login do not look at a bad token', async () => {
          const email = freshEmail()
          expect((await send('POST', '/auth/register', { token: 'nonsense', json: { email, password } })).status).to.equal(201)
          expect((await send('POST', '/auth/login', { token: 'nonsense', json: { email, password } })).status).to.equal(200)
        })

        it('health needs no sign-in', async () => {
          const { status, body } = await send('GET', '/health', { token: 'nonsense' })
          expect([status, body]).to.deep.equal([200, { status: 'ok' }])
        })

        it('reports are for admins', async () => {
          expectProblem(await send('GET', '/reports'), 401)
          expectProblem(await send('GET', '/reports', { token: tokens.ada }), 403)
          const { status, body } = await send('GET', '/reports', { token: tokens.admin })
          expect(status).to.equal(200)
          expect(body).to.have.all.keys('documents', 'critters', 'adoptable')
        })

        it('stand at one address each, with a slash at the end or without', async () => {
          expect((await send('GET', '/health/')).status).to.equal(200)
          expect((await send('GET', '/auth/profile/', { token: tokens.ada })).status).to.equal(200)
          expectProblem(await send('GET', '/reports/', { token: tokens.ada }), 403)
          for (const path of ['/AUTH/profile', '/auth//profile', '/auth/profile;x'])
            expectProblem(await send('GET', path, { token: tokens.ada }), 404)
        })

        it('unknown paths give 404', async () => {
          expectProblem(await send('GET', '/nothing/here'), 404)
          expectProblem(await send('GET', '/api/nothing', { token: tokens.ada }), 404)
        })
      })

      describe('bad credentials', () => {
        for (const path of isWhole(framework) ? ['/auth/login', '/api/users/login/'] : ['/auth/login']) {
          it(`wrong and unknown ones get the same 401 at ${path}`, async () => {
            const wrong = await send('POST', path, { json: { email: adaEmail, password: 'wrong horse battery' } })
            const unknown = await send('POST', path, { json: { email: 'nobody@example.com', password } })
            expectProblem(wrong, 401)
            expect(unknown.status).to.equal(401)
            expect(unknown.body).to.deep.equal(wrong.body)
          })
        }
      })

      describe('bad input', () => {
        const bodies: readonly { what: string; options: RequestOptions; status: number; fields?: readonly string[] }[] = [
          { what: 'malformed JSON', options: { raw: '{"email":' }, status: 400 },
          { what: 'bytes that are no UTF-8', options: { raw: new Uint8Array([0x7b, 0x22, 0xff, 0x22, 0x3a, 0x31, 0x7d]) }, status: 400 },
          { what: 'a missing body', options: {}, status: 422 },
          { what: 'a list', options: { json: [] }, status: 422 },
          { what: 'null', options: { raw: 'null' }, status: 422 },
          { what: 'an empty object', options: { json: {} }, status: 422, fields: ['email', 'password'] },
          { what: 'wrong types', options: { json: { email: 7, password: { $ne: '' } } }, status: 422, fields: ['email', 'password'] },
          {
            what: 'unknown fields',
            options: { json: { email: 'x@example.com', password, role: 'admin', isEnabled: true } },
            status: 422,
            fields: ['role', 'isEnabled'],
          },
          {
            what: 'another content type',
            options: { raw: 'email=a', headers: { 'content-type': 'application/x-www-form-urlencoded' } },
            status: 415,
          },
          {
            what: 'another charset',
            options: { raw: '{}', headers: { 'content-type': 'application/json; charset=iso-8859-1' } },
            status: 415,
          },
          { what: 'a compressed body', options: { raw: '{}', headers: { 'content-encoding': 'gzip' } }, status: 415 },
          {
            what: 'keys of the language',
            options: { raw: '{"email":"x@example.com","password":"y","__proto__":{},"constructor":{}}' },
            status: 422,
            fields: ['__proto__', 'constructor'],
          },
          { what: 'a huge body', options: { raw: `{"email":"${'x'.repeat(2_000_000)}"}` }, status: 413 },
        ]
        for (const path of ['/auth/register', '/auth/login', '/api/users/login/']) {
          for (const { what, options, status, fields } of bodies) {
            it(`${what} at ${path}: ${status}`, async () => {
              expectProblem(await send('POST', path, options), status, fields)
            })
          }
        }
        if (!isWhole(framework)) return

        const addresses = [
          '',
          'ada',
          'ada@',
          '@example.com',
          'a b@example.com',
          'ada@example',
          `${'a'.repeat(250)}@example.com`,
          'a\u0000@example.com',
        ]
        it('register gives 422 that names email for an invalid address', async () => {
          for (const email of addresses) {
            expectProblem(await send('POST', '/auth/register', { json: { email, password } }), 422, ['email'])
          }
        })

        it('passwords that are too short, too long, too common or the address are 422 at register, naming password', async () => {
          for (const word of ['', 'short', 'x'.repeat(5000), 'password1', 'same@example.com']) {
            expectProblem(await send('POST', '/auth/register', { json: { email: 'same@example.com', password: word } }), 422, ['password'])
          }
        })

        it('a taken address is 409, in any case', async () => {
          for (const email of [adaEmail, adaEmail.toUpperCase(), ` ${adaEmail} `]) {
            expectProblem(await send('POST', '/auth/register', { json: { email, password } }), 409, ['email'])
          }
        })

        it('the refused registrations wrote no rows', async () => {
          const before = await countUsers()
          await send('POST', '/auth/register', { json: { email: 'half@example.com', password: 'short' } })
          await send('POST', '/auth/register', { json: { email: 'half@example.com', password, role: 'admin' } })
          await send('POST', '/auth/register', { json: { email: adaEmail, password } })
          expect(await countUsers()).to.equal(before)
        })

        it('of twelve registrations of one address at once, one is 201 and eleven are 409', async () => {
          const before = await countUsers()
          const email = freshEmail()
          const answers = await Promise.all(Array.from({ length: 12 }, () => send('POST', '/auth/register', { json: { email, password } })))
          const statuses = answers.map(({ status }) => status).sort()
          expect(statuses).to.deep.equal([201, ...Array(11).fill(409)])
          for (const answer of answers) if (answer.status === 409) expectProblem(answer, 409, ['email'])
          expect(await countUsers()).to.equal(before + 1)
          const profile = await send('GET', '/auth/profile', { token: await login(email) })
          expect(profile.body.roles).to.deep.equal(['user'])
        })
      })

      describe('all features', () => {
        it('are on, and described', async () => {
          const { body } = await send('GET', '/openapi.json')
          const paths = Object.keys(body.paths).map((path) => path.replace('/api/', ''))
          const users = ['api-keys', 'verify-email', 'reset-password', 'change-email', 'magic-link', 'second-factor', 'me/second-factor']
          expect(paths).to.include.members([...users, 'invitations', 'impersonation'].map((path) => `users/${path}`))
          expect(paths).to.include.members(['domains', 'audit', 'users/domains/{domainId}/members'])
        })

        if (!isWhole(framework)) return

        it('print their mail, with links to the server', async () => {
          const email = await register()
          expect(await zoo.link(email, 'Confirm your e-mail address')).to.match(/\/verify-email#token=mt_/)
          expect((await send('POST', '/api/users/magic-link/request/', { json: { email } })).status).to.equal(202)
          const link = new URL(await zoo.link(email, 'Sign in'))
          expect(link.origin).to.equal(zoo.url)
          const json = { token: link.hash.slice('#token='.length) }
          const { body } = await send('POST', '/api/users/magic-link/', { json })
          const me = await send('GET', '/api/users/me/', { token: body.access_token })
          expect(me.body.email).to.equal(email)
          // Signing in with the link proves that the user owns the mailbox.
          expect(me.body.emailVerifiedAt).to.be.a('string')
        })

        it('confirm a session with the password, and ask for that before a domain is deleted', async () => {
          const token = (await send('POST', '/auth/login', { json: admin })).body.access_token
          const { id } = (await send('POST', '/api/domains/', { token, json: { name: `pond of ${framework}` } })).body
          await own.knex('token').update({ auth_time: null })
          expectProblem(await send('DELETE', `/api/domains/${id}`, { token }), 401)
          expectProblem(await send('POST', '/api/users/me/confirm/', { token, json: { password: 'wrong' } }), 401)
          const confirmed = await send('POST', '/api/users/me/confirm/', { token, json: { password: admin.password } })
          expect(confirmed.body.amr).to.deep.equal(['pwd'])
          expect((await send('DELETE', `/api/domains/${id}`, { token })).status).to.equal(204)
        })

        it('let only admins create domains and read the audit log', async () => {
          const json = { name: `aquarium of ${framework}` }
          expectProblem(await send('POST', '/api/domains/', { json }), 401)
          expectProblem(await send('POST', '/api/domains/', { token: tokens.ada, json }), 403)
          const made = await send('POST', '/api/domains/', { token: tokens.admin, json })
          expect(made.status).to.equal(201)
          expectProblem(await send('GET', `/api/domains/${made.body.id}`, { token: tokens.ada }), 404)
          const log = async (token: string) => (await send('GET', '/api/audit/?event=registered', { token })).body.data
          expect((await log(tokens.admin)).length).to.be.above(1)
          expect(await log(tokens.ada)).to.deep.equal([])
          expectProblem(await send('DELETE', `/api/audit/${(await log(tokens.admin))[0].id}`, { token: tokens.admin }), 405)
        })
      })

      if (!isWhole(framework)) return

      describe('documents', () => {
        let id: string
        before(async () => {
          const made = await send('POST', '/api/documents/', { token: tokens.ada, json: { title: 'Mine', content: 'Text' } })
          expect(made.status).to.equal(201)
          id = made.body.id
        })

        it('are listed for their owner and for admins', async () => {
          const titles = async (token: string) =>
            (await send('GET', '/api/documents/?pageSize=100', { token })).body.data.map((d: any) => d.id)
          expect(await titles(tokens.ada)).to.deep.equal([id])
          expect(await titles(tokens.bob)).to.deep.equal([])
          expect(await titles(tokens.admin)).to.include(id)
        })

        it('the document of another user gives 404 for every method; an anonymous caller gets 401', async () => {
          for (const [method, json] of [['GET'], ['PATCH', { title: 'Stolen' }], ['DELETE']] as const) {
            const path = `/api/documents/${id}`
            expectProblem(await send(method, path, { token: tokens.bob, ...(json && { json }) }), 404)
            expectProblem(await send(method, path, json && { json }), 401)
          }
          expect((await send('GET', `/api/documents/${id}`, { token: tokens.ada })).body.title).to.equal('Mine')
        })

        it('an id that is no UUID, or of no row, is 404', async () => {
          for (const wrong of ['1', 'x', '%00', '0190e2f0-0000-7000-8000-000000000000', "'; drop table user; --"]) {
            expectProblem(await send('GET', `/api/documents/${encodeURIComponent(wrong)}`, { token: tokens.ada }), 404)
          }
        })

        const bad = [
          ['malformed JSON', { raw: '{' }, 400, []],
          ['a missing body', {}, 422, undefined],
          ['a string', { json: 'title' }, 422, undefined],
          ['missing fields', { json: {} }, 422, ['title', 'content']],
          ['wrong types', { json: { title: 7, content: {} } }, 422, ['title', 'content']],
          ['a title that is too long', { json: { title: 'x'.repeat(201), content: '' } }, 422, ['title']],
          ['unknown fields', { json: { title: 'a', content: 'b', nope: 1, id: 'x' } }, 422, ['nope', 'id']],
        ] as const
        for (const [what, options, status, fields] of bad) {
          it(`${what}: ${status}`, async () => {
            const before = (await send('GET', '/api/documents/', { token: tokens.ada })).body.pagination.total
            expectProblem(await send('POST', '/api/documents/', { token: tokens.ada, ...options }), status, fields)
            expect((await send('GET', '/api/documents/', { token: tokens.ada })).body.pagination.total).to.equal(before)
          })
        }

        it("in another's name: refused", async () => {
          const { body } = await send('GET', '/auth/profile', { token: tokens.bob })
          const answer = await send('POST', '/api/documents/', { token: tokens.ada, json: { title: 'a', content: 'b', userId: body.id } })
          expect(answer.status).to.be.oneOf([403, 422])
          expectProblem(answer, answer.status)
        })

        it('bad queries are 422, naming the parameter', async () => {
          expectProblem(await send('GET', '/api/documents/?page=0&nope=1', { token: tokens.ada }), 422)
          expectProblem(await send('GET', '/api/documents/?pageSize=x', { token: tokens.ada }), 422, ['pageSize'])
        })
      })

      describe('critters', () => {
        let adoptable: string
        let shy: string
        before(async () => {
          const make = async (json: object) => (await send('POST', '/api/critters/', { token: tokens.ada, json })).body
          const made = await make({ name: 'Otto', species: 'otter' })
          expect(made.isAdoptable).to.equal(true)
          adoptable = made.id
          shy = (await make({ name: 'Shy', species: 'mouse', isAdoptable: false })).id
        })

        it('are read by everyone when they can be adopted, else by their owner and admins', async () => {
          const status = async (id: string, token?: string) => (await send('GET', `/api/critters/${id}`, { token })).status
          expect([await status(adoptable), await status(shy), await status(shy, tokens.bob)]).to.deep.equal([200, 404, 404])
          expect([await status(shy, tokens.ada), await status(shy, tokens.admin)]).to.deep.equal([200, 200])
          const ids = (await send('GET', '/api/critters/?pageSize=100')).body.data.map((critter: any) => critter.id)
          expect(ids).to.include(adoptable).and.not.include(shy)
        })

        it('can be created by signed-in users only', async () => {
          expectProblem(await send('POST', '/api/critters/', { json: { name: 'X', species: 'y' } }), 401)
        })

        it('are changed by their owner', async () => {
          const change = (token?: string) => send('PATCH', `/api/critters/${adoptable}`, { token, json: { name: 'Ottilie' } })
          expectProblem(await change(), 401)
          expectProblem(await change(tokens.bob), 403)
          expect((await change(tokens.ada)).body.name).to.equal('Ottilie')
        })

        it('are adopted once, by another user', async () => {
          const otter = (await send('POST', '/api/critters/', { token: tokens.ada, json: { name: 'Odo', species: 'otter' } })).body.id
          const adopt = (token?: string) => send('POST', `/api/critters/${otter}/adopt/`, { token })
          const list = await send('GET', '/api/critters/?pageSize=100&allowed=adopt', { token: tokens.bob })
          expect(list.body.data.find(({ id }: { id: string }) => id === otter).allowed).to.deep.equal({ adopt: true })
          expectProblem(await adopt(), 401)
          expectProblem(await adopt(tokens.ada), 403)
          expect((await adopt(tokens.bob)).body.isAdoptable).to.equal(false)
          expectProblem(await adopt(tokens.bob), 403)
        })

        it('are deleted by admins', async () => {
          const remove = (token?: string) => send('DELETE', `/api/critters/${adoptable}`, { token })
          expectProblem(await remove(), 401)
          expectProblem(await remove(tokens.ada), 403)
          expect((await remove(tokens.admin)).status).to.equal(204)
          expectProblem(await remove(tokens.admin), 404)
        })
      })

      describe('users', () => {
        it('are listed for themselves, and for admins all', async () => {
          const mine = await send('GET', '/api/users/', { token: tokens.ada })
          expect(mine.body.data.map(({ email }: { email: string }) => email)).to.deep.equal([adaEmail])
          expect(await countUsers()).to.be.at.least(3)
        })

        it('show no password, in no form', async () => {
          const all = await send('GET', '/api/users/?pageSize=100', { token: tokens.admin })
          expect(JSON.stringify(all.body)).not.to.match(/password|\$2[aby]\$/i)
        })

        it('are changed and deleted by admins only', async () => {
          const email = await register()
          const token = await login(email)
          const { id } = (await send('GET', '/auth/profile', { token })).body
          expectProblem(await send('PATCH', `/api/users/${id}`, { token, json: { isEnabled: false } }), 403)
          expectProblem(await send('DELETE', `/api/users/${id}`, { token }), 403)
          const changed = await send('PATCH', `/api/users/${id}`, { token: tokens.admin, json: { isEnabled: false } })
          expect(changed.body.isEnabled).to.equal(false)
          expectProblem(await send('GET', '/auth/profile', { token }), 401)
          expectProblem(await send('POST', '/auth/login', { json: { email, password } }), 401)
          expect((await send('DELETE', `/api/users/${id}`, { token: tokens.admin })).status).to.equal(204)
        })

        it('change their own password at me/ with the old one', async () => {
          const email = await register()
          const token = await login(email)
          const change = (json: object) => send('PATCH', '/api/users/me/', { token, json })
          expectProblem(await change({ password: 'a better one entirely' }), 422, ['oldPassword'])
          expectProblem(await change({ password: 'a better one entirely', oldPassword: 'wrong' }), 422, ['oldPassword'])
          expectProblem(await change({ isEnabled: 'x', nope: 1 }), 422, ['isEnabled', 'nope'])
          expect((await change({ password: 'a better one entirely', oldPassword: password })).status).to.equal(200)
          expect(await login(email)).to.equal(undefined)
          expect(await login(email, 'a better one entirely')).to.be.a('string')
        })
      })
    })
  }
}

/** Takes one mail (RFC 5321), without TLS. */
async function smtpServer(): Promise<{ port: number; mail: Promise<string>; close(): void }> {
  let got: (mail: string) => void = () => {}
  const mail = new Promise<string>((resolve) => {
    got = resolve
  })
  const server = createServer((socket) => {
    let data: string | undefined
    socket.setEncoding('utf8').write('220 here\r\n')
    socket.on('data', (text: string) => {
      if (data === undefined && /^DATA/i.test(text)) data = ''
      else if (data !== undefined) data += text
      if (data === '' || /^QUIT/i.test(text)) socket.write(data === '' ? '354 go on\r\n' : '221 bye\r\n')
      else if (data === undefined) socket.write('250 ok\r\n')
      else if (data.endsWith('\r\n.\r\n')) {
        got(data)
        data = undefined
        socket.write('250 ok\r\n')
      }
    })
  })
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  return { port: (server.address() as AddressInfo).port, mail, close: () => server.close() }
}

describe('The zoo, started and ended', function () {
  this.timeout(60_000)
  let folder: string
  before(() => {
    folder = mkdtempSync(join(tmpdir(), 'objection-perms-zoo-'))
  })
  after(() => rmSync(folder, { recursive: true, force: true }))

  it('keeps its data, makes the admin once, and prints lines that work again', async () => {
    const env = { ...settings, DATABASE_URL: `sqlite:${join(folder, 'kept.db')}` }
    for (const signal of ['SIGTERM', 'SIGINT'] as const) {
      const zoo = await startZoo(env, ownProcess)
      const outputs = await runShellLines(shellLines(zoo.output()))
      expect(outputs.join('')).not.to.contain('"code"')
      expect(await zoo.stop(signal)).to.equal(0)
    }
    const zoo = await startZoo({ ...env, ADMIN_EMAIL: 'other@example.com', ADMIN_PASSWORD: 'the password of another' })
    const other = await request(zoo.url, 'POST', '/auth/login', {
      json: { email: 'other@example.com', password: 'the password of another' },
    })
    expect(other.status).to.equal(401)
    const { body } = await request(zoo.url, 'POST', '/auth/login', { json: admin })
    const users = await request(zoo.url, 'GET', '/api/users/', { token: body.access_token })
    expect(users.body.pagination.total, 'the admin, and who was registered in each run').to.equal(3)
    await zoo.stop()
  })

  it('starts with a database from before it had its own User', async () => {
    const file = join(folder, 'old.db')
    const env = { ...base, DATABASE_URL: `sqlite:${file}` }
    await (await startZoo(env)).stop()
    const knex = Knex({ client: 'better-sqlite3', connection: { filename: file }, useNullAsDefault: true })
    await knex.schema.alterTable('user', (table) => table.dropColumns('last_login_at', 'email_verified_at'))
    await knex.destroy()
    const zoo = await startZoo(env)
    expect((await request(zoo.url, 'POST', '/auth/login', { json: admin })).status).to.equal(200)
    await zoo.stop()
  })

  it('sends mail as MAIL specifies, with links to BASE_URL, whatever the Host header of the request is', async () => {
    const smtp = await smtpServer()
    const zoo = await startZoo({
      ...base,
      DATABASE_URL: ':memory:',
      MAIL: `smtp://127.0.0.1:${smtp.port}`,
      MAIL_FROM: 'Zoo <noreply@zoo.example.com>',
      BASE_URL: 'https://zoo.example.com',
    })
    try {
      const json = { email: 'ada@example.com', password }
      await request(zoo.url, 'POST', '/auth/register', { json, headers: { 'x-forwarded-host': 'evil.example.com' } })
      const mail = await smtp.mail
      expect(mail).to.contain('From: Zoo <noreply@zoo.example.com>').and.contain('To: ada@example.com')
      expect(mail.replaceAll('=\r\n', '').replaceAll('=3D', '=')).to.match(/https:\/\/zoo\.example\.com\/verify-email#token=[\w-]{40}/)
      expect(mail).not.to.contain('evil')
      expect(zoo.output()).not.to.contain('token=')
      // The page may change something where a proxy changes the Host header.
      const headers = { origin: 'https://zoo.example.com', prefer: 'cookies' }
      expect((await request(zoo.url, 'POST', '/api/users/login/', { json, headers })).status).to.equal(200)
    } finally {
      await zoo.stop()
      smtp.close()
    }
  })

  it('ends with the shell of npm start, which passes no signal on', async () => {
    const shell = ['sh', '-c', `"$@"; true`, 'sh', process.execPath]
    const zoo = await startZoo({ ...base, DATABASE_URL: ':memory:', npm_lifecycle_event: 'start' }, shell)
    const isUp = async () =>
      await request(zoo.url, 'GET', '/health').then(
        () => true,
        () => false,
      )
    expect(await isUp()).to.equal(true)
    await zoo.stop('SIGKILL')
    for (let i = 0; i < 50 && (await isUp()); i++) await new Promise((resolve) => setTimeout(resolve, 100))
    expect(await isUp()).to.equal(false)
  })

  for (const framework of ['express', 'koa']) {
    it(`counts wrong passwords at all sign-in endpoints together, on ${framework}, unless THROTTLE is off [promise 12]`, async () => {
      const env = { ...base, FRAMEWORK: framework, DATABASE_URL: `sqlite:${join(folder, `${framework}.db`)}` }
      const endpoints = ['/auth/login', '/api/users/login/']
      const tries = async (zoo: ZooProcess) => {
        const json = { email: admin.email, password: 'a wrong password' }
        return await Promise.all(Array.from({ length: 12 }, (_, i) => request(zoo.url, 'POST', endpoints[i % 2] as string, { json })))
      }
      const free = await startZoo({ ...env, THROTTLE: 'off' })
      expect((await tries(free)).map(({ status }) => status)).to.deep.equal(Array(12).fill(401))
      await free.stop()
      const zoo = await startZoo(env)
      const answers = await tries(zoo)
      expect(answers.map(({ status }) => status).sort()).to.deep.equal([...Array(10).fill(401), 429, 429])
      await zoo.stop()
      // Counted in the database: starting again forgets nothing.
      const again = await startZoo(env)
      for (const endpoint of endpoints) {
        const { status, headers } = await request(again.url, 'POST', endpoint, { json: admin })
        expect([endpoint, status]).to.deep.equal([endpoint, 429])
        expect(Number(headers.get('retry-after'))).to.be.within(800, 900)
      }
      await again.stop()
    })
  }

  it('generates a secret and a password outside production, and prints a notice', async () => {
    const zoo = await startZoo({ DATABASE_URL: ':memory:' })
    try {
      expect(zoo.output()).to.match(/Warning: JWT_SECRET is not set/)
      const [, email, word] = /The admin is (\S+) with the password (\S+):/.exec(zoo.output()) as unknown as string[]
      expect(email).to.equal('admin@example.com')
      const { status } = await request(zoo.url, 'POST', '/api/users/login/', { json: { email, password: word } })
      expect(status).to.equal(200)
    } finally {
      await zoo.stop()
    }
  })

  const refused: readonly [string, Record<string, string>, RegExp][] = [
    ['in production without JWT_SECRET', { NODE_ENV: 'production', ADMIN_PASSWORD: password }, /JWT_SECRET/],
    ['with a database that it does not know', { DATABASE_URL: 'oracle://x' }, /oracle:\/\//],
    [
      'with a database that cannot be opened',
      { DATABASE_URL: '/nowhere/zoo.db' },
      /The database of DATABASE_URL cannot be opened: SQLITE_CANTOPEN/,
    ],
    [
      'on an address that is not its own',
      { HOST: '192.0.2.1' },
      /cannot listen there \(listen EADDRNOTAVAIL.*\): set another PORT or HOST/,
    ],
    [
      'with a password for the admin that is too short',
      { ADMIN_PASSWORD: 'short' },
      /ADMIN_PASSWORD make no user: The password is too short/,
    ],
    ['with an admin whose address is none', { ADMIN_EMAIL: 'admin' }, /ADMIN_EMAIL and .* make no user: email must be an e-mail address/],
  ]
  for (const [what, env, message] of refused) {
    it(`refuses to start ${what}`, async () => {
      const { code, output } = await failToStart({ DATABASE_URL: ':memory:', ...env })
      expect(code).to.equal(1)
      expect(output).to.match(message)
      expect(output).not.to.match(/is open at|\n {4}at /)
    })
  }

  // readSettings() throws them all in the same way, so one process, for JWT_SECRET, is enough.
  const refusedSettings: readonly [string, Record<string, string>, RegExp][] = [
    ['in production without ADMIN_PASSWORD', { NODE_ENV: 'production', JWT_SECRET: secret }, /ADMIN_PASSWORD/],
    ['with a short JWT_SECRET', { JWT_SECRET: 'short' }, /32/],
    ['with a page that is not on https', { BASE_URL: 'http://zoo.example.com' }, /BASE_URL is 'http:\/\/zoo.example.com': set the https/],
    ['with a page below the root', { BASE_URL: 'https://example.com/zoo' }, /BASE_URL is 'https:\/\/example.com\/zoo'/],
    ['with mail that goes to a place it does not know', { MAIL: 'pigeon' }, /MAIL is 'pigeon': set console, or an SMTP server/],
    ['with cookies neither on nor off', { COOKIES: 'maybe' }, /COOKIES is 'maybe': set on or off/],
    ['with a throttle that is none', { THROTTLE: 'maybe' }, /THROTTLE is 'maybe': set on or off/],
    ['with too little work for a password', { PASSWORD_COST: '4' }, /PASSWORD_COST is '4'/],
    ['with a port that is none', { PORT: 'http' }, /PORT is 'http'/],
    [
      'with a framework that it does not know',
      { FRAMEWORK: 'struts' },
      /FRAMEWORK is 'struts': set one of express, koa, fastify, hono, fetch, node/,
    ],
  ]
  for (const [what, env, message] of refusedSettings) {
    it(`refuses settings ${what}`, () => {
      expect(() => readSettings(env)).to.throw(SettingsError, message)
    })
  }

  it('prints no password and no mail in production, and names the settings to set', async () => {
    const zoo = await startZoo({ ...base, NODE_ENV: 'production', DATABASE_URL: ':memory:' })
    expect(zoo.output()).not.to.contain(admin.password.slice(0, 8))
    expect(zoo.output()).to.match(/Warning: MAIL is not set: no mail is sent/)
    expect(zoo.output()).to.match(/Warning: BASE_URL is not set/)
    expect((await request(zoo.url, 'POST', '/auth/register', { json: { email: 'ada@example.com', password } })).status).to.equal(201)
    await zoo.stop()
    expect(zoo.output()).not.to.contain('token=')
  })
})
