import { expect } from 'chai'
import { Api, AuditLog, CrudResource, Domain, Role, Token, User, UserResource, UserRole } from '../../../src/index.js'
import { asSystem } from '../../../src/policy/context.js'
import { capturedMailer, createUser, signInAs } from '../../../src/testing/index.js'
import { openZoo, password, UserDocument, type Zoo } from '../../conformance/zoo.js'
import { type Client, clientOf, type Reply } from '../client.js'

const features = {
  apiKeys: true,
  resetPassword: true,
  changeEmail: true,
  magicLink: true,
  totp: true,
  invitations: true,
  impersonation: true,
}
const host = 'zoo.example.com'

for (const cookies of [false, true])
  describe(`Impersonation over HTTP${cookies ? ', with cookies on' : ''}`, () => {
    const mailer = capturedMailer()
    let zoo: Zoo
    let ask: Client
    let root: string
    let rootId: string
    let ada: User
    before(async () => {
      const mail = { mailer, baseUrl: 'https://app.example.com' }
      zoo = await openZoo('better-sqlite3', { mail, throttle: false, auditLog: true, cookies })
      const api = new Api({
        resources: [
          new UserResource({ features }),
          new CrudResource({ model: UserDocument, path: 'documents' }),
          new CrudResource({ model: UserRole, path: 'roles' }),
          new CrudResource({ model: Token, path: 'tokens' }),
          new CrudResource({ model: Domain, path: 'domains' }),
        ],
      })
      ask = clientOf(api, zoo.perms)
      const signedIn = await signInAs({ email: 'root@example.com', password }, { role: Role.SUPERADMIN })
      root = signedIn.accessToken
      rootId = signedIn.user.id
      ada = (await asSystem(() => User.getOr404(zoo.ids.ada))) as User
    })
    after(() => zoo.close())

    const start = (body: unknown = { userId: ada.id }, token: string | null = root): Promise<Reply> =>
      ask('POST', '/users/impersonation', token, { body })
    const begin = async (userId = ada.id): Promise<string> => (await start({ userId })).body.access_token

    it('returns a token of the user that expires, and me/ shows the impersonator [promise 13]', async () => {
      const { status, body, headers } = await start({ userId: ada.id, reason: 'ticket 4711', expiresIn: 60 })
      expect(status).to.equal(201)
      expect(headers['cache-control']).to.equal('no-store')
      expect(body).to.have.all.keys('access_token', 'token_type', 'expires_in')
      expect(body).to.include({ token_type: 'Bearer', expires_in: 60 })
      const me = await ask('GET', '/users/me', body.access_token)
      expect(me.body).to.deep.include({ id: ada.id, impersonator: { id: rootId } })
      expect((await ask('GET', '/users/me', root)).body).not.to.have.property('impersonator')
      const documents = await ask('GET', '/documents', body.access_token)
      expect(documents.body.data.map(({ title }: { title: string }) => title)).to.deep.equal(['Mine'])
      expect((await ask('DELETE', '/users/impersonation', body.access_token)).status).to.equal(204)
      expect((await ask('GET', '/users/me', body.access_token)).status).to.equal(401)
      expect((await ask('GET', '/users/me', root)).status).to.equal(200)
    })

    it('is available only to signed-in superadmins, and not for other superadmins [promise 39]', async () => {
      const other = await createUser({}, { role: Role.SUPERADMIN })
      expect((await start({ userId: ada.id }, null)).status).to.equal(401)
      for (const token of [zoo.tokens.bob, zoo.tokens.admin, await begin()])
        expect((await start({ userId: ada.id }, token)).status).to.equal(403)
      const { plain } = await asSystem(async () => await Token.issue(await User.getOr404(rootId), { kind: 'api', abilities: ['*'] }))
      expect((await start({ userId: ada.id }, plain)).status).to.equal(403)
      for (const userId of [other.id, rootId]) expect((await start({ userId })).status).to.equal(403)
      expect((await start({ userId: '01890000-0000-7000-8000-000000000000' })).status).to.equal(404)
      expect((await ask('DELETE', '/users/impersonation', root)).status).to.equal(403)
      expect((await ask('DELETE', '/users/impersonation', plain)).status).to.equal(403)
    })

    it('rejects invalid input [promise 27]', async () => {
      for (const body of [
        {},
        [],
        null,
        { userId: null },
        { userId: ['x'] },
        { userId: ada.id, expiresIn: 0 },
        { userId: ada.id, expiresIn: 3601 },
        { userId: ada.id, expiresIn: '60' },
        { userId: ada.id, reason: 1 },
        { userId: ada.id, reason: '' },
        { userId: ada.id, reason: 'a\0b' },
        { userId: ada.id, more: 1 },
      ])
        expect((await start(body)).status, JSON.stringify(body)).to.equal(422)
    })

    it('cannot change a password, address, role, key, factor, session or invitation [promises 25, 39]', async () => {
      const admin = await createUser({ password }, { role: Role.ADMIN })
      const press = await asSystem(() => Domain.create({ name: 'press' }))
      const grant = await asSystem(() => ada.grantRole('editor', { domain: press }))
      const { token } = await asSystem(() => Token.issue(admin))
      const key = await asSystem(() => zoo.perms.auth.apiKeys.issue(admin, { abilities: ['*'] }))
      await zoo.perms.auth.createRefreshToken(admin)
      const [session] = await zoo.perms.auth.sessions(admin)
      const token2 = await begin(admin.id)
      const attempts = [
        ['PATCH', '/users/me', { password: 'another battery staple', oldPassword: password }],
        ['PATCH', '/users/me', { email: 'x@example.com', oldPassword: password }],
        ['PATCH', `/users/${admin.id}`, { password: 'another battery staple', oldPassword: password }],
        ['PATCH', `/users/${ada.id}`, { password: 'another battery staple' }],
        ['PATCH', `/users/${ada.id}`, { email: 'x@example.com' }],
        ['DELETE', `/users/${ada.id}`, undefined],
        ['POST', '/users/me/email', { email: 'x@example.com', oldPassword: password }],
        ['POST', '/users/api-keys', { abilities: ['*'] }],
        ['DELETE', `/users/api-keys/${key.key.id}`, undefined],
        ['DELETE', '/users/sessions', undefined],
        ['DELETE', `/users/sessions/${session?.id}`, undefined],
        ['POST', '/users/invitations', { email: 'x@example.com', role: 'editor', domain: 'press' }],
        ['POST', '/users/invitations/accept', { token: `in_${'A'.repeat(43)}` }],
        ['DELETE', '/users/invitations/01890000-0000-7000-8000-000000000000', undefined],
        ['PATCH', `/users/domains/press/members/${grant.id}`, { role: 'reader' }],
        ['DELETE', `/users/domains/press/members/${grant.id}`, undefined],
        ['POST', '/users/impersonation', { userId: ada.id }],
        ['POST', '/roles', { userId: ada.id, role: 'reader' }],
        ['PATCH', `/roles/${grant.id}`, { role: 'reader' }],
        ['DELETE', `/roles/${grant.id}`, undefined],
        ['PATCH', `/tokens/${token.id}`, { description: 'mine' }],
        ['DELETE', `/tokens/${token.id}`, undefined],
        ['DELETE', `/domains/${press.id}`, undefined],
      ] as const
      const state = async () => [
        await zoo.perms.knex('user').orderBy('id'),
        await zoo.perms.knex('user_role').orderBy('id'),
        await zoo.perms.knex('token').whereNull('impersonator_id').orderBy('id'),
        await zoo.perms.knex('domain'),
      ]
      const before = await state()
      for (const [method, path, body] of attempts) {
        const answer = await ask(method, path, token2, body === undefined ? {} : { body })
        expect(answer.status, `${method} ${path} ${JSON.stringify(answer.body)}`).to.equal(403)
      }
      // Before anything is said of the input.
      for (const [method, path] of attempts.filter(([, one]) => /^\/users\/(?!me$|0)/.test(one))) {
        const answer = await ask(method, `${path}?nope=1`, token2, method === 'DELETE' ? {} : { body: { nope: 1 } })
        expect(answer.status, `${method} ${path} ${JSON.stringify(answer.body)}`).to.equal(403)
      }
      expect(await state()).to.deep.equal(before)
      expect((await ask('POST', '/documents', token2, { body: { title: 't', content: 'c' } })).status).to.equal(201)
      expect((await ask('POST', '/users/refresh', token2, { body: { refresh_token: token2 } })).status).to.equal(401)
    })

    it('cannot access second factors [promise 25]', async () => {
      const token = await begin()
      for (const [path, body] of [
        ['', { password }],
        ['/confirm', { code: '123456' }],
        ['/remove', { code: '123456' }],
        ['/recovery-codes', { code: '123456' }],
      ] as const)
        for (const one of [body, {}, { nope: 1 }])
          expect((await ask('POST', `/users/me/second-factor${path}`, token, { body: one })).status, path).to.equal(403)
      expect(await zoo.perms.knex('second_factor')).to.deep.equal([])
    })

    it('ends when the superadmin signs out [promise 22]', async () => {
      const { body } = await ask('POST', '/users/login', null, { body: { email: 'root@example.com', password } })
      const { access_token: mine } = (await start({ userId: ada.id }, body.access_token)).body
      expect((await ask('GET', '/users/me', mine)).status).to.equal(200)
      expect((await ask('POST', '/users/logout', body.access_token)).status).to.equal(204)
      expect((await ask('GET', '/users/me', mine)).status).to.equal(401)
      const another = await begin()
      expect((await ask('POST', '/users/logout', another)).status).to.equal(204)
      expect((await ask('GET', '/users/me', another)).status).to.equal(401)
    })

    it('is off by default', async () => {
      const plain = clientOf(new Api({ resources: [new UserResource()] }), zoo.perms)
      expect((await plain('POST', '/users/impersonation', root, { body: { userId: ada.id } })).status).to.be.oneOf([404, 405])
    })

    if (cookies) {
      it('can be started by a superadmin with cookies, and its token cannot be combined with a cookie', async () => {
        const headers = { origin: `https://${host}`, host, prefer: 'cookies' }
        const login = await ask('POST', '/users/login', null, { body: { email: 'root@example.com', password }, headers })
        const cookie = login.cookies.map((line) => line.split(';')[0]).join('; ')
        const given = await ask('POST', '/users/impersonation', null, { body: { userId: ada.id }, headers: { ...headers, cookie } })
        expect(given.status).to.equal(201)
        // The superadmin stays signed in: the cookies are as they were.
        expect(given.cookies).to.deep.equal([])
        expect((await ask('GET', '/users/me', given.body.access_token)).body.impersonator).to.deep.equal({ id: rootId })
        expect((await ask('GET', '/users/me', given.body.access_token, { headers: { host, cookie } })).status).to.equal(400)
        const foreign = await ask('POST', '/users/impersonation', null, {
          body: { userId: ada.id },
          headers: { ...headers, cookie, origin: 'https://evil.example.com' },
        })
        expect(foreign.status).to.equal(403)
        // As a cookie it is the same: nothing refreshes it.
        const mine = { cookie: `__Host-access=${given.body.access_token}`, host, origin: `https://${host}` }
        expect((await ask('GET', '/users/me', null, { headers: mine })).body.impersonator).to.deep.equal({ id: rootId })
        expect(
          (await ask('PATCH', '/users/me', null, { headers: mine, body: { email: 'x@example.com', oldPassword: password } })).status,
        ).to.equal(403)
        expect((await ask('POST', '/users/refresh', null, { headers: mine })).status).to.be.oneOf([401, 422])
      })
    }
  })

describe('The audit log over HTTP', () => {
  let zoo: Zoo
  let ask: Client
  let boss: string
  let press: Domain
  before(async () => {
    zoo = await openZoo('better-sqlite3', { auditLog: true })
    ask = clientOf(
      new Api({
        resources: [
          new UserResource(),
          new CrudResource({ model: AuditLog, path: 'audit', methods: ['list', 'get'] }),
          new CrudResource({ model: AuditLog, path: 'whole-audit' }),
        ],
      }),
      zoo.perms,
    )
    press = await asSystem(() => Domain.create({ name: 'press' }))
    boss = (await signInAs({}, { role: Role.ADMIN, domain: press })).accessToken
    for (let i = 0; i < 5; i += 1) await createUser({}, { role: 'editor', domain: press })
    await zoo.perms.auth.settled()
  })
  after(() => zoo.close())

  it('is listed in pages with filters, newest first', async () => {
    const page = `/audit?event=roleGranted&domainId=${press.id}&pageSize=2`
    const { body } = await ask('GET', page, zoo.tokens.admin)
    expect(body.data).to.have.length(2)
    expect(body.data[0]).to.have.all.keys(
      ...[
        'id',
        'event',
        'actorId',
        'impersonatorId',
        'subjectId',
        'domainId',
        'address',
        'rowTable',
        'rowId',
        'details',
        'createdAt',
        'updatedAt',
      ],
    )
    expect(body.data[0]).to.deep.include({ event: 'roleGranted', domainId: press.id, details: { role: 'editor' } })
    const seen = [...body.data]
    for (let { nextCursor } = body.pagination; nextCursor; ) {
      const next = await ask('GET', `${page}&cursor=${nextCursor}`, zoo.tokens.admin)
      seen.push(...next.body.data)
      nextCursor = next.body.pagination.nextCursor
    }
    expect(new Set(seen.map(({ id }) => id)).size).to.equal(body.pagination.total)
    const moments = seen.map(({ createdAt }) => createdAt)
    expect(moments).to.deep.equal([...moments].sort().reverse())
    expect((await ask('GET', `/audit/${seen[0].id}`, zoo.tokens.admin)).body).to.deep.equal(seen[0])
    expect((await ask('GET', `/audit?domainId=${press.id}&total=true`, zoo.tokens.admin)).body.pagination.total).to.equal(6)
  })

  it('shows the admins of a domain their domain, and other users nothing [promises 31, 36, 38]', async () => {
    const all = (await ask('GET', '/audit?pageSize=100', zoo.tokens.admin)).body
    const mine = (await ask('GET', '/audit?pageSize=100', boss)).body
    expect(mine.pagination.total).to.equal(6)
    expect(all.pagination.total).to.be.greaterThan(6)
    const [global] = all.data.filter(({ domainId }: { domainId: string | null }) => domainId === null)
    expect((await ask('GET', `/audit/${global.id}`, boss)).status).to.equal(404)
    expect((await ask('GET', `/audit/${mine.data[0].id}`, boss)).status).to.equal(200)
    expect((await ask('GET', '/audit', zoo.tokens.ada)).body).to.deep.include({ data: [] })
    expect((await ask('GET', `/audit/${mine.data[0].id}`, zoo.tokens.ada)).status).to.equal(404)
    expect((await ask('GET', '/audit', null)).status).to.equal(401)
  })

  it('cannot be written even if a resource enables writes', async () => {
    const { accessToken } = await signInAs({}, { role: Role.SUPERADMIN })
    await zoo.perms.auth.settled()
    const [row] = (await ask('GET', '/audit', accessToken)).body.data
    const before = await zoo.perms.knex('audit_log').orderBy('id')
    for (const method of ['POST', 'PATCH', 'PUT', 'DELETE']) {
      const target = method === 'POST' ? '' : `/${row.id}`
      const more = method === 'DELETE' ? {} : { body: { event: 'nothing' } }
      expect((await ask(method, `/audit${target}`, accessToken, more)).status, method).to.equal(405)
      if (method !== 'PUT') expect((await ask(method, `/whole-audit${target}`, accessToken, more)).status, method).to.equal(403)
    }
    expect(await zoo.perms.knex('audit_log').orderBy('id')).to.deep.equal(before)
  })
})
