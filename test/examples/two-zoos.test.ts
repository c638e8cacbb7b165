import { expect } from 'chai'
import { initPerms, type Perms, Role, User } from '../../src/index.js'
import { availableDatabases, createDatabase, type OwnDatabase } from '../helpers/databases.js'
import { type RequestOptions, request } from '../helpers/http.js'
import { startZoo, type ZooProcess } from './zoo-process.js'

const password = 'correct horse battery'
const admin = { email: 'keeper@example.com', password: "the keeper's own password" }
const env = {
  JWT_SECRET: 'a secret of at least thirty-two bytes, for tests',
  ADMIN_EMAIL: admin.email,
  ADMIN_PASSWORD: admin.password,
  PASSWORD_COST: '10',
}

for (const database of availableDatabases.filter((name) => name === 'pg' || name === 'mysql2')) {
  describe(`Two zoos on one database (${database}) are one`, function () {
    this.timeout(60_000)
    let own: OwnDatabase
    let zoos: readonly ZooProcess[]
    /** A third process, which serves nothing: this one. */
    let perms: Perms
    before(async () => {
      own = await createDatabase(database)
      // In different frameworks, and both at once on an empty database.
      zoos = await Promise.all(['express', 'koa'].map((framework) => startZoo({ ...env, FRAMEWORK: framework, DATABASE_URL: own.url })))
      perms = initPerms({ knex: own.knex, jwt: { secret: env.JWT_SECRET }, outsideContext: 'allow' })
    })
    after(async () => {
      await perms?.close()
      await Promise.all((zoos ?? []).map((zoo) => zoo.stop()))
      await own?.destroy()
    })

    const at = (turn: number) => zoos[turn % 2] as ZooProcess
    const ask = (turn: number, method: string, path: string, options?: RequestOptions) => request(at(turn).url, method, path, options)
    const signIn = async (turn: number, json = { email: 'ada@example.com', password }) =>
      (await ask(turn, 'POST', '/api/users/login/', { json })).body as { access_token: string; refresh_token: string }
    const me = async (turn: number, token: string) => (await ask(turn, 'GET', '/api/users/me/', { token })).status

    it('create one superadmin when they start at the same time', async () => {
      expect(await own.knex('user_role').where({ role: 'superadmin' })).to.have.length(1)
      expect((await own.knex('user')).map(({ email }) => email)).to.deep.equal([admin.email])
    })

    it('accept users and sessions of the other process, until a session ends there [promise 22]', async () => {
      expect((await ask(0, 'POST', '/auth/register', { json: { email: 'ada@example.com', password } })).status).to.equal(201)
      const { access_token: token, refresh_token } = await signIn(1)
      expect([await me(0, token), await me(1, token)]).to.deep.equal([200, 200])
      const refreshed = await ask(0, 'POST', '/api/users/refresh/', { json: { refresh_token } })
      expect(refreshed.status).to.equal(200)
      expect((await ask(0, 'POST', '/api/users/logout/', { token: refreshed.body.access_token })).status).to.equal(204)
      expect([await me(1, token), await me(1, refreshed.body.access_token)]).to.deep.equal([401, 401])
      const late = await ask(1, 'POST', '/api/users/refresh/', { json: { refresh_token: refreshed.body.refresh_token } })
      expect(late.status).to.equal(401)
    })

    it('give one successor to twenty refreshes at once, and end the session at both for a token that comes too late [promise 21]', async () => {
      const { refresh_token } = await signIn(0)
      const refresh = (turn: number, token: string) => ask(turn, 'POST', '/api/users/refresh/', { json: { refresh_token: token } })
      const answers = await Promise.all(Array.from({ length: 20 }, (_, i) => refresh(i, refresh_token)))
      expect(new Set(answers.map(({ status }) => status))).to.deep.equal(new Set([200]))
      const [successor, ...others] = new Set<string>(answers.map(({ body }) => body.refresh_token))
      expect(others).to.deep.equal([])
      const next = await refresh(1, successor as string)
      expect(next.status).to.equal(200)
      expect((await refresh(0, refresh_token)).status).to.equal(401)
      expect(await me(1, next.body.access_token)).to.equal(401)
    })

    it('apply a disabled account, a granted and a revoked role of the other process at once [promise 22]', async () => {
      const { access_token: keeper } = await signIn(0, admin)
      const { access_token: token } = await signIn(1)
      const { id } = (await ask(1, 'GET', '/api/users/me/', { token })).body
      const reports = async (turn: number) => (await ask(turn, 'GET', '/reports', { token })).status
      const ada = await User.getOr404(id)
      expect([await reports(0), await reports(1)]).to.deep.equal([403, 403])
      await ada.grantRole(Role.ADMIN)
      expect([await reports(0), await reports(1)]).to.deep.equal([200, 200])
      await ada.revokeRole(Role.ADMIN)
      expect([await reports(0), await reports(1)]).to.deep.equal([403, 403])
      expect((await ask(0, 'PATCH', `/api/users/${id}`, { token: keeper, json: { isEnabled: false } })).status).to.equal(200)
      expect(await me(1, token)).to.equal(401)
      expect((await ask(1, 'POST', '/api/users/login/', { json: { email: 'ada@example.com', password } })).status).to.equal(403)
      expect((await ask(1, 'PATCH', `/api/users/${id}`, { token: keeper, json: { isEnabled: true } })).status).to.equal(200)
    })

    it('count wrong passwords together: of a hundred at once ten are looked at [promise 12]', async () => {
      const json = { email: 'ada@example.com', password: 'a wrong password' }
      const answers = await Promise.all(
        Array.from({ length: 100 }, (_, i) => ask(i, 'POST', i % 4 < 2 ? '/api/users/login/' : '/auth/login', { json })),
      )
      expect(answers.filter(({ status }) => status === 401)).to.have.length(10)
      expect(answers.filter(({ status }) => status === 429)).to.have.length(90)
      for (const turn of [0, 1]) {
        const { status, headers } = await ask(turn, 'POST', '/api/users/login/', { json: { ...json, password } })
        expect(status).to.equal(429)
        expect(Number(headers.get('retry-after'))).to.be.within(800, 900)
      }
    })
  })
}
