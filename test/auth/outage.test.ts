import { hashSync } from 'bcryptjs'
import { expect } from 'chai'
import { initPerms, type Perms, User } from '../../src/index.js'
import { createDatabase, type OwnDatabase } from '../helpers/databases.js'
import { type Answer, type RequestOptions, request } from '../helpers/http.js'
import { migrateAtOnce } from '../helpers/library-tables-at-once.js'
import { untilSomeoneWaits } from '../helpers/until.js'
import { type DatabaseProxy, openDatabaseProxy } from './database-proxy.js'
import { type OwnPostgres, ownPostgres } from './own-postgres.js'
import { type ServerProcess, startServer } from './server-process.js'

/** A server whose database goes away: cut off by a proxy for a while, and on PostgreSQL also stopped, for longer. */
const SECONDS = { cutOff: 2, stopped: 10 }

const secret = 'a secret of this test, 32 bytes or more'
const password = 'correct horse battery'
const oldHash = hashSync(password, 4)

const databases = [...(process.env['POSTGRES_URL'] ? ['pg' as const] : []), ...(process.env['MARIADB_URL'] ? ['mysql2' as const] : [])]
const wait = (milliseconds: number) => new Promise((resolve) => setTimeout(resolve, milliseconds))

/** The requests of clients during the outage: one with a token, a sign-in, a refresh, a registration. */
interface Credentials {
  readonly token: string
  readonly refreshToken: string
  readonly email: string
}

const requestsOf = ({ token, refreshToken, email }: Credentials): readonly (readonly [string, string, RequestOptions])[] => [
  ['GET', '/users/me', { token }],
  ['POST', '/users/login', { json: { email, password } }],
  ['POST', '/users/refresh', { json: { refresh_token: refreshToken } }],
  ['PATCH', '/users/me', { token, json: { password: 'another battery staple', oldPassword: password } }],
]

/** Seconds within which a used refresh token may come again. */
const GRACE = 10

/** Asks without a pause until told to stop. */
function underLoad(url: string, credentials: Credentials, seconds: number): () => Promise<Answer[]> {
  const answers: Answer[] = []
  let isOver = false
  // The same refresh token again and again, as tabs do, but not for longer than that is allowed.
  const workers = requestsOf(credentials)
    .slice(0, seconds < GRACE / 2 ? 3 : 2)
    .map(async ([method, path, options]) => {
      while (!isOver) {
        answers.push(await request(url, method, path, options))
        await wait(10)
      }
    })
  return async () => {
    isOver = true
    await Promise.all(workers)
    return answers
  }
}

/** @param away takes the database away, `back` brings it back */
async function survive(
  server: ServerProcess,
  credentials: Credentials,
  seconds: number,
  away: () => Promise<void>,
  back: () => Promise<void>,
): Promise<void> {
  const stop = underLoad(server.url, credentials, seconds)
  await wait(300)
  await away()
  const begun = Date.now()
  const meanwhile: Answer[] = []
  while (Date.now() - begun < seconds * 1000) {
    for (const [method, path, options] of requestsOf(credentials)) meanwhile.push(await request(server.url, method, path, options))
    await wait(50)
  }
  for (const { status, headers, body } of meanwhile) {
    expect([status, body.code], JSON.stringify(body)).to.deep.equal([503, 'unavailable'])
    expect(Number(headers.get('retry-after'))).to.be.within(1, 60)
    expect(JSON.stringify(body)).not.to.match(/ECONN|127\.0\.0\.1|select|terminat/i)
  }
  expect(server.isAlive()).to.equal(true)
  expect((await request(server.url, 'GET', '/nowhere')).status).to.equal(404)
  await back()
  // The very next one.
  expect((await request(server.url, 'GET', '/users/me', { token: credentials.token })).status).to.equal(200)
  await wait(200)
  const all = await stop()
  expect(new Set(all.map(({ status }) => status))).to.deep.equal(new Set([200, 503]))
  expect((await request(server.url, 'POST', '/users/login', { json: { email: credentials.email, password } })).status).to.equal(200)
  // No try that was answered 503 used it up.
  expect((await request(server.url, 'POST', '/users/refresh', { json: { refresh_token: credentials.refreshToken } })).status).to.equal(200)
}

for (const client of databases) {
  describe(`a server whose database goes away (${client})`, function () {
    this.timeout(60_000)
    let own: OwnDatabase
    let perms: Perms
    let proxy: DatabaseProxy
    let server: ServerProcess
    before(async () => {
      own = await createDatabase(client)
      proxy = await openDatabaseProxy(own.url)
      perms = initPerms({ knex: own.knex, jwt: { secret }, passwords: { cost: 10 }, outsideContext: 'allow' })
      await migrateAtOnce(perms)
      server = await startServer({ client, url: proxy.url, secret, cost: 10 })
    })
    after(async () => {
      await server?.stop()
      await proxy?.close()
      await perms?.close()
      await own?.destroy()
    })

    let count = 0
    async function newUser(): Promise<{ user: User } & Credentials> {
      count += 1
      const user = await User.create({ email: `someone${count}@example.com` })
      await own.knex('user').where({ id: user.id }).update({ password_hash: oldHash })
      const refreshToken = await perms.auth.createRefreshToken(user)
      const token = await perms.auth.createAccessToken(user, { refreshToken })
      return { user, email: user.email, token, refreshToken }
    }

    it('answers 503 with Retry-After, keeps running, and works at the first request afterwards [promise 51]', async () => {
      await survive(
        server,
        await newUser(),
        SECONDS.cutOff,
        () => proxy.shut(),
        () => proxy.open(),
      )
    })

    it('does not change a session whose refresh was interrupted, and the token still works [promise 52]', async () => {
      const { user, refreshToken } = await newUser()
      const stored = async () => await own.knex('token').where({ user_id: user.id })
      const before = await stored()
      await cutAt(client === 'pg' ? 'update "token"' : 'update `token`')
      expect((await post('/users/refresh', { refresh_token: refreshToken })).status).to.equal(503)
      expect(await stored()).to.deep.equal(before)
      expect((await post('/users/refresh', { refresh_token: refreshToken })).status).to.equal(200)
    })

    it('stores neither a new hash nor a session for an interrupted sign-in [promise 52]', async () => {
      const { user, email } = await newUser()
      const before = await own.knex('token').where({ user_id: user.id })
      await cutAt(client === 'pg' ? 'insert into "token"' : 'insert into `token`')
      expect((await post('/users/login', { email, password })).status).to.equal(503)
      expect((await own.knex('user').where({ id: user.id }).first()).password_hash).to.equal(oldHash)
      expect(await own.knex('token').where({ user_id: user.id })).to.deep.equal(before)
      expect((await post('/users/login', { email, password })).status).to.equal(200)
      expect((await own.knex('user').where({ id: user.id }).first()).password_hash).to.match(/^\$2b\$10\$/)
    })

    it('keeps the old password and all sessions when a password change was interrupted [promise 52]', async () => {
      const { user, token, refreshToken } = await newUser()
      await perms.auth.createRefreshToken(user)
      await cutAt(client === 'pg' ? 'update "token"' : 'update `token`')
      const json = { password: 'another battery staple', oldPassword: password }
      expect((await request(server.url, 'PATCH', '/users/me', { token, json })).status).to.equal(503)
      expect((await own.knex('user').where({ id: user.id }).first()).password_hash).to.equal(oldHash)
      expect(await own.knex('token').where({ user_id: user.id, revoked: true })).to.deep.equal([])
      expect((await post('/users/refresh', { refresh_token: refreshToken })).status).to.equal(200)
    })

    const post = (path: string, json: object) => request(server.url, 'POST', path, { json })
    // Over new connections: PostgreSQL is told a statement in full once on each.
    async function cutAt(text: string): Promise<void> {
      await proxy.shut()
      await proxy.open()
      await wait(100)
      proxy.cutAt(text)
    }
  })

  describe(`a server with one connection (${client})`, function () {
    this.timeout(60_000)
    let own: OwnDatabase
    let perms: Perms
    let server: ServerProcess
    before(async () => {
      own = await createDatabase(client)
      perms = initPerms({ knex: own.knex, jwt: { secret }, passwords: { cost: 10 }, outsideContext: 'allow' })
      await migrateAtOnce(perms)
      server = await startServer({ client, url: own.url, secret, cost: 10, pool: { min: 0, max: 1 }, acquireConnectionTimeout: 1500 })
    })
    after(async () => {
      await server?.stop()
      await perms?.close()
      await own?.destroy()
    })

    async function signIn(email: string): Promise<{ access_token: string; refresh_token: string }> {
      return (await request(server.url, 'POST', '/users/login', { json: { email, password } })).body
    }

    it('serves concurrent requests with one connection: no request needs a second one [promise 54]', async () => {
      const users = await Promise.all(
        Array.from({ length: 6 }, async (_, i) => {
          const user = await User.create({ email: `one${i}@example.com` })
          await own.knex('user').where({ id: user.id }).update({ password_hash: oldHash })
          return user
        }),
      )
      const statuses = await Promise.all(
        users.map(async ({ email }) => {
          const first = await signIn(email)
          const { access_token: token, refresh_token } = (
            await request(server.url, 'POST', '/users/refresh', { json: { refresh_token: first.refresh_token } })
          ).body
          const ask = async (method: string, path: string, json?: object) =>
            (await request(server.url, method, path, { token, ...(json && { json }) })).status
          return [
            await ask('GET', '/users/sessions'),
            await ask('POST', '/users/login', { email, password: 'a wrong password' }),
            await ask('POST', '/users/refresh', { refresh_token: first.refresh_token }),
            await ask('PATCH', '/users/me', { password: 'another battery staple', oldPassword: password }),
            await ask('DELETE', '/users/sessions'),
            await ask('GET', '/users'),
            await ask('POST', '/users/refresh', { refresh_token }),
            await ask('POST', '/users/logout'),
          ]
        }),
      )
      for (const one of statuses) expect(one).to.deep.equal([200, 401, 200, 200, 204, 200, 200, 204])
    })

    it('answers 503 with Retry-After in bounded time while another holds what it needs, and works after [promise 54]', async () => {
      const user = await User.create({ email: 'held@example.com' })
      const token = await perms.auth.createAccessToken(user)
      const refreshToken = await perms.auth.createRefreshToken(user)
      let answers: Answer[] = []
      let begun = Date.now()
      await own.knex.transaction(async (trx) => {
        await trx('token').where({ user_id: user.id }).update({ description: 'held' })
        // Holds the one connection, and waits for the row.
        const waiting = request(server.url, 'POST', '/users/refresh', { json: { refresh_token: refreshToken } })
        await untilSomeoneWaits(own.knex)
        begun = Date.now()
        answers = await Promise.all(Array.from({ length: 5 }, () => request(server.url, 'GET', '/users/me', { token })))
        void waiting.catch(() => undefined)
      })
      expect(Date.now() - begun).to.be.lessThan(5000)
      for (const { status, headers } of answers) {
        expect(status).to.equal(503)
        expect(Number(headers.get('retry-after'))).to.be.within(1, 60)
      }
      expect((await request(server.url, 'GET', '/users/me', { token })).status).to.equal(200)
    })
  })
}

const canStartPostgres = ownPostgres.isPossible()

;(canStartPostgres ? describe : describe.skip)('a server whose PostgreSQL is stopped and started again', function () {
  this.timeout(120_000)
  let postgres: OwnPostgres
  let server: ServerProcess
  let perms: Perms
  let knex: OwnDatabase['knex']
  before(async () => {
    postgres = await ownPostgres.start()
    const { default: Knex } = await import('knex')
    knex = Knex({ client: 'pg', connection: postgres.url, pool: { min: 0, max: 2 } })
    perms = initPerms({ knex, jwt: { secret }, passwords: { cost: 10 }, outsideContext: 'allow' })
    await migrateAtOnce(perms)
    server = await startServer({ client: 'pg', url: postgres.url, secret, cost: 10 })
  })
  after(async () => {
    await server?.stop()
    await perms?.close()
    await knex?.destroy()
    await postgres?.remove()
  })

  it('answers 503 with Retry-After during the outage, keeps running, and serves the first request after it [promise 51]', async () => {
    const user = await User.create({ email: 'ada@example.com' })
    await knex('user').where({ id: user.id }).update({ password_hash: oldHash })
    const refreshToken = await perms.auth.createRefreshToken(user)
    const token = await perms.auth.createAccessToken(user, { refreshToken })
    await knex.destroy()
    await survive(
      server,
      { token, refreshToken, email: user.email },
      SECONDS.stopped,
      () => postgres.stop(),
      () => postgres.start(),
    )
  })
})
