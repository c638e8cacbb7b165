import { mkdtempSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { expect } from 'chai'
import { eachDatabase } from '../helpers/databases.js'
import { currentSources, password, sourcesIn, type UserModelName, userModelNames } from './application.js'
import { totpCode } from './fill.js'
import { type ReleaseProcess, startRelease } from './processes.js'
import { removeRelease, unpackRelease } from './releases.js'

const folder = join(mkdtempSync(join(tmpdir(), 'objection-perms-')), '0.1.0')
const problem = unpackRelease(folder)
const models: readonly UserModelName[] = process.env['FULL'] === '1' ? userModelNames : ['keeper']

describe('A process of 0.1.0 beside a process of this version', () => {
  after(() => removeRelease(folder))
  if (problem) console.warn(`  Left out: processes of 0.1.0. ${problem}`)
  else for (const model of models) eachDatabase(`on one database, with ${model} as the user model`, (db) => cases(db, model))
})

function cases(db: Parameters<Parameters<typeof eachDatabase>[1]>[0], model: UserModelName): void {
  let old: ReleaseProcess
  let current: ReleaseProcess
  let root: string
  let count = 0

  before(async function () {
    this.timeout(60_000)
    const database = { client: db.name, url: db.url() }
    old = await startRelease(sourcesIn(folder), database, model)
    // The old process serves while this one migrates.
    current = await startRelease(currentSources, database, model)
    root = (await login(old, 'root@example.com')).body.access_token
  })
  after(async () => {
    await Promise.all([old?.stop(), current?.stop()])
  })

  const post = async (at: ReleaseProcess, path: string, body: object, token?: string) =>
    await at.ask('POST', path, { body, ...(token && { token }) })
  const login = async (at: ReleaseProcess, email: string, secret = password) => await post(at, '/users/login', { email, password: secret })
  const me = async (at: ReleaseProcess, token: string) => await at.ask('GET', '/users/me', { token })
  /** Each process as the first of the pair: `it()` for both directions. */
  const bothWays = (title: string, test: (from: ReleaseProcess, to: ReleaseProcess) => Promise<void>) => {
    it(`${title}, from 0.1.0 to this version`, () => test(old, current))
    it(`${title}, from this version to 0.1.0`, () => test(current, old))
  }
  /** Creates a user at one process. @returns the address, the id and the tokens of a session there */
  async function newUser(at: ReleaseProcess) {
    const email = `user${++count}@example.com`
    const created = await post(at, '/users', { email, password }, root)
    expect(created.status, JSON.stringify(created.body)).to.equal(201)
    const { access_token: token, refresh_token: refreshToken } = (await login(at, email)).body
    return {
      email,
      id: created.body.id as string,
      token: token as string,
      refreshToken: refreshToken as string,
    }
  }

  bothWays('accepts access tokens and refreshes sessions', async (from, to) => {
    const user = await newUser(from)
    expect((await me(to, user.token)).body.id).to.equal(user.id)
    const next = await post(to, '/users/refresh', { refresh_token: user.refreshToken })
    expect(next.status).to.equal(200)
    expect((await me(from, next.body.access_token)).body.id).to.equal(user.id)
    expect((await post(from, '/users/refresh', { refresh_token: next.body.refresh_token })).status).to.equal(200)
    expect((await login(to, user.email)).status).to.equal(200)
  })

  bothWays('ends sessions that sign out, and sessions of a changed password', async (from, to) => {
    const user = await newUser(from)
    expect((await post(to, '/users/logout', {}, user.token)).status).to.equal(204)
    expect((await me(from, user.token)).status).to.equal(401)
    const [first, second] = [(await login(from, user.email)).body.access_token, (await login(to, user.email)).body.access_token]
    const change = { oldPassword: password, password: 'another long passphrase' }
    expect((await to.ask('PATCH', '/users/me', { token: second, body: change })).status).to.equal(200)
    expect((await me(from, first)).status).to.equal(401)
    expect((await login(from, user.email)).status).to.equal(401)
    expect((await login(from, user.email, change.password)).status).to.equal(200)
  })

  bothWays('shares rows, roles and API keys', async (from, to) => {
    const user = await newUser(from)
    const paper = await post(from, '/papers', { title: 'Diary' }, user.token)
    const key = (await post(from, '/users/api-keys', { abilities: ['papers:read'] }, user.token)).body
    expect((await to.ask('GET', '/papers', { token: key.key })).body.data[0].id).to.equal(paper.body.id)
    expect((await to.ask('PATCH', `/papers/${paper.body.id}`, { token: user.token, body: { title: 'Letter' } })).status).to.equal(200)
    expect((await from.ask('GET', `/papers/${paper.body.id}`, { token: user.token })).body.title).to.equal('Letter')
    expect((await to.ask('DELETE', `/users/api-keys/${key.id}`, { token: user.token })).status).to.equal(204)
    expect((await from.ask('GET', '/papers', { token: key.key })).status).to.equal(401)
    const grant = await post(to, '/roles', { userId: user.id, role: 'editor' }, root)
    expect(grant.status, JSON.stringify(grant.body)).to.equal(201)
    expect((await me(from, user.token)).body.roles.map(({ role }: { role: string }) => role)).to.deep.equal(['editor'])
  })

  bothWays('asks for a second factor', async (from, to) => {
    const user = await newUser(from)
    const { secret } = (await post(from, '/users/me/second-factor', { password }, user.token)).body
    expect((await post(to, '/users/me/second-factor/confirm', { code: totpCode(secret, -1) }, user.token)).status).to.equal(200)
    const asked = await login(from, user.email)
    expect(asked.body.status).to.equal('second_factor')
    const entered = await post(to, '/users/second-factor', { challenge: asked.body.challenge, code: totpCode(secret) })
    expect((await me(from, entered.body.access_token)).body.id).to.equal(user.id)
  })

  bothWays('accepts the links of each other’s mails', async (from, to) => {
    const user = await newUser(from)
    await post(from, '/users/reset-password/request', { email: user.email })
    const token = await from.tokenMailedTo(user.email)
    expect((await post(to, '/users/reset-password', { token, password: 'another long passphrase' })).status).to.equal(204)
    expect((await post(from, '/users/reset-password', { token, password })).status).to.equal(401)
    expect((await login(from, user.email, 'another long passphrase')).status).to.equal(200)
  })

  it('lets sessions of 0.1.0 be confirmed at this version, and serves them at both [promise 86]', async () => {
    const user = await newUser(old)
    const confirmed = await post(current, '/users/me/confirm', { password }, user.token)
    expect([confirmed.status, confirmed.body.amr]).to.deep.equal([200, ['pwd']])
    for (const at of [old, current]) expect((await me(at, user.token)).status).to.equal(200)
    expect((await post(old, '/users/refresh', { refresh_token: user.refreshToken })).status).to.equal(200)
  })

  it('counts failed sign-ins of both processes together', async () => {
    const { email } = await newUser(current)
    for (let tries = 0; tries < 10; tries += 1) expect((await login(tries % 2 ? old : current, email, 'wrong')).status).to.equal(401)
    expect((await login(old, email)).status).to.equal(429)
    expect((await login(current, email)).status).to.equal(429)
  })

  it('gives one successor for a refresh token that reaches both processes at once', async () => {
    const { refreshToken } = await newUser(current)
    const answers = await Promise.all([old, current, old, current].map((at) => post(at, '/users/refresh', { refresh_token: refreshToken })))
    const successors = new Set(answers.filter(({ status }) => status === 200).map(({ body }) => body.refresh_token))
    expect(answers.map(({ status }) => status)).to.deep.equal([200, 200, 200, 200])
    expect(successors.size).to.equal(1)
  })
}
