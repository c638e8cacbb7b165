import { expect } from 'chai'
import { isBodyStream } from '../../../src/http/core/body-stream.js'
import { MountedApi } from '../../../src/http/serve/api.js'
import { Api, AuditLog, asSystem, CrudResource, Role, UserResource } from '../../../src/index.js'
import { createUser, type FakeClock, fakeClock, signInAs } from '../../../src/testing/index.js'
import { Keeper, openFullZoo } from '../../conformance/full-zoo.js'
import { password, UserDocument } from '../../conformance/zoo.js'
import { type Client, clientOf, neutralRequest } from '../client.js'

const DAY = 86_400
const linesOf = (text: string) =>
  text
    .trimEnd()
    .split('\n')
    .map((line) => JSON.parse(line))

const features = { export: true, deleteAccount: true, confirm: true, impersonation: true, apiKeys: true }
const api = () => new Api({ resources: [new UserResource({ features }), new CrudResource({ model: UserDocument, path: 'documents' })] })

describe('Exports and the deletion of accounts over HTTP', () => {
  let zoo: Awaited<ReturnType<typeof openFullZoo>>
  let ask: Client
  let clock: FakeClock
  before(async () => {
    zoo = await openFullZoo('better-sqlite3', { auditLog: true, throttle: {}, accountDeletion: { delay: 7 * DAY } })
    ask = clientOf(api(), zoo.perms)
  })
  after(() => zoo.close())
  beforeEach(() => {
    clock = fakeClock()
  })
  afterEach(() => clock.restore())

  const signedIn = async () => await signInAs<Keeper>({ email: `user-${Math.random()}@example.com`, password } as never)

  it('sends the caller’s data as JSON lines to download, which no cache stores [promise 84]', async () => {
    const { user, accessToken } = await signedIn()
    await asSystem(() => UserDocument.create({ userId: user.id, title: 'Mine', content: 'x', secret: 'a hidden column' }))
    const reply = await ask('GET', '/users/me/export/', accessToken)
    expect(reply.status).to.equal(200)
    expect(reply.headers).to.include({
      'content-type': 'application/x-ndjson; charset=utf-8',
      'cache-control': 'no-store',
      'content-disposition': 'attachment; filename="export.ndjson"',
    })
    const [header, ...rows] = linesOf(reply.body)
    expect(header).to.include({ format: 'objection-perms/export', userId: user.id })
    expect(rows.find(({ model }: { model: string }) => model === 'UserDocument').row).to.include({ title: 'Mine' })
    expect(reply.body).to.not.include('a hidden column').and.not.include(accessToken)
    await zoo.perms.auth.settled()
    const events = await asSystem(() => AuditLog.query().where({ subjectId: user.id, event: 'dataExported' }))
    expect(events).to.have.length(1)
  })

  it('is limited to ten exports an hour for each user [promise 175]', async () => {
    const { accessToken } = await signedIn()
    for (let i = 0; i < 10; i += 1) expect((await ask('GET', '/users/me/export', accessToken)).status).to.equal(200)
    const refused = await ask('GET', '/users/me/export', accessToken)
    expect([refused.status, refused.headers['content-type']]).to.deep.equal([429, 'application/problem+json; charset=utf-8'])
    expect((await ask('GET', '/users/me/export', (await signedIn()).accessToken)).status).to.equal(200)
  })

  it('schedules a deletion with the password, shows its date, signs the other sessions out, and undoes it [promise 164]', async () => {
    const { user, accessToken } = await signedIn()
    const other = (await signInAs(user)).accessToken
    expect((await ask('GET', '/users/me', accessToken)).body).to.include({ deletionAt: null })
    const asked = await ask('POST', '/users/me/deletion/', accessToken, { body: { password } })
    expect(asked.status).to.equal(202)
    expect(new Date(asked.body.deletionAt).getTime()).to.be.closeTo(Date.now() + 7 * DAY * 1000, 5000)
    expect((await ask('GET', '/users/me', other)).status).to.equal(401)
    const signIn = await ask('POST', '/users/login', null, { body: { email: user.email, password } })
    expect(signIn.status).to.equal(200)
    expect((await ask('GET', '/users/me', signIn.body.access_token)).body.deletionAt).to.equal(asked.body.deletionAt)
    clock.advance(60)
    // A second request does not move the date.
    expect((await ask('POST', '/users/me/deletion', signIn.body.access_token, { body: { password } })).body).to.deep.equal(asked.body)
    const again = (await signInAs(user)).accessToken
    expect((await ask('DELETE', '/users/me/deletion/', again)).status).to.equal(204)
    expect((await ask('GET', '/users/me', again)).body).to.include({ deletionAt: null })
    expect((await ask('DELETE', '/users/me/deletion', again)).status).to.equal(404)
    clock.advance(30 * DAY)
    await zoo.perms.deleteDueAccounts()
    expect(await asSystem(() => Keeper.query().findById(user.id))).to.include({ email: user.email })
    await zoo.perms.auth.settled()
    const kinds = zoo.mailer.mails.filter(({ to }) => to === user.email).map(({ kind }) => kind)
    expect(kinds).to.deep.equal(['accountDeletionScheduled', 'accountDeletionUndone'])
    const events = (await asSystem(() => AuditLog.query().where({ subjectId: user.id }).orderBy('createdAt'))).map(({ event }) => event)
    expect(events).to.include.members(['accountDeletionScheduled', 'accountDeletionUndone'])
  })

  it('needs the password or a recent session [promise 170]', async () => {
    const { user } = await signedIn()
    const old = (await signInAs(user, { authTime: new Date(Date.now() - 600_000) })).accessToken
    const without = await ask('POST', '/users/me/deletion', old)
    expect([without.status, without.body.code]).to.deep.equal([401, 'insufficient_user_authentication'])
    const wrong = await ask('POST', '/users/me/deletion', old, { body: { password: 'a wrong password' } })
    expect([wrong.status, wrong.body.code]).to.deep.equal([401, 'invalid_credentials'])
    for (const body of [{ password: '' }, { password: null }, { password: [] }, { other: 1 }])
      expect((await ask('POST', '/users/me/deletion', old, { body })).status).to.equal(422)
    expect(await zoo.perms.auth.accountDeletion.status(user)).to.equal(null)
    const fresh = (await signInAs(user)).accessToken
    expect((await ask('POST', '/users/me/deletion', fresh)).status).to.equal(202)
  })

  it('counts wrong passwords like failed sign-ins [promise 170]', async () => {
    const { user } = await signedIn()
    const old = (await signInAs(user, { authTime: new Date(Date.now() - 600_000) })).accessToken
    const statuses: number[] = []
    for (let i = 0; i < 11; i += 1)
      statuses.push((await ask('POST', '/users/me/deletion', old, { body: { password: `wrong ${i}` } })).status)
    expect(statuses).to.deep.equal([...Array.from({ length: 10 }, () => 401), 429])
    expect((await ask('POST', '/users/login', null, { body: { email: user.email, password } })).status).to.equal(429)
  })

  it('refuses API keys and impersonations [promise 170]', async () => {
    const { user } = await signedIn()
    const root = await signInAs({}, { role: Role.SUPERADMIN })
    const { plain } = await asSystem(() => zoo.perms.auth.apiKeys.issue(user, { abilities: ['*'] }))
    const impersonated = (await ask('POST', '/users/impersonation', root.accessToken, { body: { userId: user.id } })).body.access_token
    for (const token of [plain, impersonated]) {
      expect((await ask('GET', '/users/me/export', token)).status).to.equal(403)
      expect((await ask('POST', '/users/me/deletion', token, { body: { password } })).status).to.equal(403)
      expect((await ask('DELETE', '/users/me/deletion', token)).status).to.equal(403)
    }
    expect(await zoo.perms.auth.accountDeletion.status(user)).to.equal(null)
  })

  it('answers HEAD without reading the data, and reads no page ahead of its client [promise 174]', async () => {
    const { user, accessToken } = await signedIn()
    await asSystem(async () => {
      for (let i = 0; i < 450; i += 1) await UserDocument.create({ userId: user.id, title: `${i}`, content: 'x'.repeat(500) })
    })
    const mounted = new MountedApi(api(), zoo.perms)
    const pages: string[] = []
    const listen = ({ sql }: { sql: string }) => void (/from .?user_document/.test(sql) && pages.push(sql))
    zoo.perms.knex.on('query', listen)
    try {
      const head = await mounted.handle(neutralRequest('HEAD', '/users/me/export', accessToken))
      expect([head?.status, head?.body]).to.deep.equal([200, null])
      const response = await mounted.handle(neutralRequest('GET', '/users/me/export', accessToken))
      expect(pages).to.deep.equal([])
      const body = response?.body
      if (!isBodyStream(body)) throw new Error('The body is no stream.')
      const chunks = body[Symbol.asyncIterator]()
      await chunks.next()
      expect(pages).to.have.length(1)
      await chunks.return?.()
      expect((await chunks.next()).done).to.equal(true)
      expect(pages).to.have.length(1)
    } finally {
      zoo.perms.knex.removeListener('query', listen)
    }
  })
})

describe('Exports and the deletion of accounts with stepUp', () => {
  it('needs a recent session for both with stepUp [promise 175]', async () => {
    const own = await openFullZoo('better-sqlite3', { stepUp: { maxAge: 900 } })
    try {
      const request = clientOf(api(), own.perms)
      const user = await createUser<Keeper>({ password } as never)
      const old = (await signInAs(user, { authTime: new Date(Date.now() - 1_000_000) })).accessToken
      for (const [method, path, body] of [
        ['GET', '/users/me/export', undefined],
        ['POST', '/users/me/deletion', { password }],
      ] as const) {
        const refused = await request(method, path, old, body ? { body } : {})
        expect([refused.status, refused.body.code]).to.deep.equal([401, 'insufficient_user_authentication'])
      }
      // Within maxAge, neither needs the password.
      const recent = (await signInAs(user, { authTime: new Date(Date.now() - 600_000) })).accessToken
      expect((await request('GET', '/users/me/export', recent)).status).to.equal(200)
      expect((await request('POST', '/users/me/deletion', recent)).status).to.equal(202)
    } finally {
      await own.close()
    }
  })
})
