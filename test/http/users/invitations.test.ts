import { expect } from 'chai'
import { Api, Domain, Role, Token, type User, UserResource } from '../../../src/index.js'
import { asSystem } from '../../../src/policy/context.js'
import { capturedMailer, createUser, signInAs } from '../../../src/testing/index.js'
import { openZoo, password, type Zoo } from '../../conformance/zoo.js'
import { thrown } from '../../helpers/errors.js'
import { type Client, clientOf } from '../client.js'

const unknownId = '01890000-0000-7000-8000-000000000000'

describe('Invitations and members over HTTP', () => {
  const mailer = capturedMailer()
  let zoo: Zoo
  let ask: Client
  let press: Domain
  let other: Domain
  let boss: string
  let editor: User
  let editorToken: string
  before(async () => {
    zoo = await openZoo('better-sqlite3', { mail: { mailer, baseUrl: 'https://app.example.com' }, throttle: false })
    ask = clientOf(new Api({ resources: [new UserResource({ features: { invitations: true } })] }), zoo.perms)
    press = await asSystem(() => Domain.create({ name: 'press' }))
    other = await asSystem(() => Domain.create({ name: 'other' }))
    boss = (await signInAs({ email: 'boss@example.com' }, { role: Role.ADMIN, domain: press })).accessToken
    const signedIn = await signInAs({ email: 'editor@example.com' }, { role: 'editor', domain: press })
    editor = signedIn.user
    editorToken = signedIn.accessToken
  })
  after(() => zoo.close())

  const path = (more = '', domain = 'press') => `/users/domains/${domain}/members${more}`
  const tokenFor = async (email: string, role = 'editor') => {
    const { status } = await ask('POST', '/users/invitations', boss, { body: { email, role, domain: 'press' } })
    expect(status).to.equal(201)
    await zoo.perms.auth.settled()
    return mailer.tokenFrom(mailer.last(email))
  }
  const grantOf = async (who: string, domain = 'press'): Promise<string> => {
    const { body } = await ask('GET', path('', domain), zoo.tokens.admin)
    return body.data.find(({ user }: { user: { email: string } }) => user.email === who).grantId
  }

  it('create, list and revoke an invitation without showing its token [promises 13, 20]', async () => {
    const made = await ask('POST', '/users/invitations', boss, {
      body: { email: 'new@example.com', role: 'editor', domain: 'press' },
    })
    expect(made.status).to.equal(201)
    expect(made.headers['cache-control']).to.equal('no-store')
    expect(made.body).to.have.all.keys('id', 'email', 'role', 'domain', 'expiresAt', 'createdAt')
    expect(made.body).to.include({ email: 'new@example.com', role: 'editor', domain: press.id })
    await zoo.perms.auth.settled()
    expect(JSON.stringify(made)).not.to.contain(mailer.tokenFrom(mailer.last('new@example.com')))
    for (const query of ['', '?domain=press', `?domain=${press.id}`])
      expect((await ask('GET', `/users/invitations${query}`, boss)).body.data).to.deep.include(made.body)
    expect((await ask('GET', '/users/invitations?domain=other', boss)).body.data).to.deep.equal([])
    expect((await ask('GET', '/users/invitations', editorToken)).body.data).to.deep.equal([])
    expect((await ask('GET', '/users/invitations?nope=1', boss)).status).to.equal(422)
    expect((await ask('GET', '/users/invitations?domain=a%00b', boss)).body.data).to.deep.equal([])
    expect((await ask('DELETE', `/users/invitations/${made.body.id}`, editorToken)).status).to.equal(404)
    expect((await ask('DELETE', `/users/invitations/${made.body.id}`, boss)).status).to.equal(204)
    expect((await ask('DELETE', `/users/invitations/${made.body.id}`, boss)).status).to.equal(404)
    expect((await ask('DELETE', '/users/invitations/x', boss)).status).to.equal(404)
  })

  it('refuse inviters without the rank, and invalid input [promises 27, 39]', async () => {
    const sound = { email: 'x@example.com', role: 'editor', domain: 'press' }
    for (const [token, status] of [
      [null, 401],
      [editorToken, 403],
      [zoo.tokens.ada, 403],
    ] as const)
      for (const body of [sound, {}, { ...sound, email: 'x' }, { ...sound, role: 'ADMIN' }, { ...sound, more: 1 }])
        expect((await ask('POST', '/users/invitations', token, { body })).status, JSON.stringify(body)).to.equal(status)
    for (const body of [
      { ...sound, role: 'admin' },
      { ...sound, role: 'superadmin' },
      { ...sound, domain: 'other' },
      { ...sound, domain: 'nowhere' },
    ])
      expect((await ask('POST', '/users/invitations', boss, { body })).status).to.equal(403)
    for (const body of [{}, [], null, { ...sound, email: 'x' }, { ...sound, email: ['x@example.com'] }, { ...sound, more: 1 }])
      expect((await ask('POST', '/users/invitations', boss, { body })).status, JSON.stringify(body)).to.equal(422)
  })

  it('report a missing domain only to callers who may invite into it [promise 36]', async () => {
    await asSystem(() => Domain.create({ name: 'asleep', active: false }))
    for (const domain of ['nowhere', unknownId, 'asleep']) {
      const body = { email: 'x@example.com', role: 'editor', domain }
      const { status, body: problem } = await ask('POST', '/users/invitations', zoo.tokens.admin, { body })
      expect([status, problem.code, problem.errors]).to.deep.equal([
        422,
        'missing_reference',
        [{ field: 'domain', message: 'does not exist, or is not active' }],
      ])
      for (const token of [boss, editorToken, zoo.tokens.ada]) {
        const refused = await ask('POST', '/users/invitations', token, { body })
        const elsewhere = await ask('POST', '/users/invitations', token, { body: { ...body, domain: 'other' } })
        expect([refused.status, refused.body]).to.deep.equal([403, elsewhere.body])
      }
      expect((await ask('POST', '/users/invitations', zoo.tokens.admin, { body: { ...body, role: 'superadmin' } })).status).to.equal(403)
    }
  })

  it('let only the invited user accept, once', async () => {
    const token = await tokenFor('ada@example.com')
    expect((await ask('POST', '/users/invitations/accept', null, { body: { token } })).status).to.equal(401)
    expect((await ask('POST', '/users/invitations/accept', zoo.tokens.bob, { body: { token } })).status).to.equal(403)
    const accepted = await ask('POST', '/users/invitations/accept', zoo.tokens.ada, { body: { token } })
    expect([accepted.status, accepted.body]).to.deep.equal([200, { role: 'editor', domain: press.id }])
    expect((await ask('GET', '/users/me', zoo.tokens.ada)).body.roles).to.deep.equal([{ role: 'editor', domain: press.id }])
    const again = await ask('POST', '/users/invitations/accept', zoo.tokens.ada, { body: { token } })
    expect(again.status).to.equal(401)
  })

  it('register the invited person once, with and without public registration', async () => {
    const token = await tokenFor('guest@example.com')
    const register = (body: object) => ask('POST', '/users/invitations/register', null, { body })
    for (const body of [
      { token, password: 'short' },
      { token, password, email: 'thief@example.com' },
      { token, password, isEnabled: true },
      { token, password, roles: [] },
      { password },
      { token: 1, password },
      { token: ['x'], password },
    ])
      expect((await register(body)).status, JSON.stringify(body)).to.equal(422)
    const made = await register({ token, password })
    expect(made.status).to.equal(201)
    expect(made.body).to.have.all.keys('id', 'email')
    expect(made.headers['cache-control']).to.equal('no-store')
    expect((await register({ token, password })).status).to.equal(401)
    const { body } = await ask('POST', '/users/login', null, { body: { email: 'guest@example.com', password } })
    expect((await ask('GET', '/users/me', body.access_token)).body.roles).to.deep.equal([{ role: 'editor', domain: press.id }])
    expect((await register({ token: await tokenFor('bob@example.com'), password })).status).to.equal(409)
  })

  it('list members in pages for the admins of the domain [promises 36, 38]', async () => {
    const { status, body, headers } = await ask('GET', path(), boss)
    expect(status).to.equal(200)
    expect(headers['cache-control']).to.equal('no-store')
    expect(body.pagination).to.deep.equal({ page: 1, pageSize: 100, total: body.data.length, totalPages: 1 })
    expect(body.data).to.deep.include({
      grantId: await grantOf(editor.email),
      role: 'editor',
      user: { id: editor.id, email: editor.email },
    })
    const second = await ask('GET', path(`?page=2&pageSize=1`), boss)
    expect(second.body).to.deep.equal({
      data: [body.data[1]],
      pagination: { page: 2, pageSize: 1, total: body.data.length, totalPages: body.data.length },
    })
    for (const query of ['page=0', 'page=x', 'pageSize=1001', 'pageSize=-1', 'page=1.5', 'nope=1', 'page=1&page=2'])
      expect((await ask('GET', path(`?${query}`), boss)).status, query).to.equal(422)
    for (const token of [editorToken, zoo.tokens.bob])
      for (const query of ['', '?page=0', '?nope=1']) expect((await ask('GET', path(query), token)).status, query).to.equal(404)
    expect((await ask('GET', path(), null)).status).to.equal(401)
    for (const domain of ['other', other.id, 'nowhere', unknownId, '%00', '%zz', '*'])
      expect((await ask('GET', path('', domain), boss)).status, domain).to.be.oneOf(domain === '%zz' ? [400] : [404])
  })

  it('change and remove members only within the domain and below the caller’s rank [promises 36, 38, 39]', async () => {
    const foreign = await createUser({ email: 'foreign@example.com' }, { role: 'editor', domain: other })
    const theirs = await grantOf(foreign.email, 'other')
    const [own, mine] = [await grantOf('boss@example.com'), await grantOf(editor.email)]
    const change = (id: string, body: unknown, token: string | null = boss) => ask('PATCH', path(`/${id}`), token, { body })
    expect((await change(mine, { role: 'reader' }, editorToken)).status).to.equal(404)
    expect((await change(mine, {}, editorToken)).status).to.equal(404)
    expect((await change(mine, { role: 'reader' }, null)).status).to.equal(401)
    for (const id of [theirs, unknownId, 'x']) {
      expect((await change(id, { role: 'reader' })).status).to.equal(404)
      expect((await change(id, {})).status).to.equal(404)
      expect((await ask('DELETE', path(`/${id}`), boss)).status).to.equal(404)
    }
    for (const role of ['admin', 'superadmin']) expect((await change(mine, { role })).status).to.equal(403)
    for (const body of [{}, { role: 1 }, { role: '' }, { role: 'ADMIN' }, { role: 'x', domain: other.id }, { role: 'a\0b' }])
      expect((await change(mine, body)).status, JSON.stringify(body)).to.equal(422)
    for (const body of [{ role: 'editor' }, {}, { role: 1 }, { role: 'ADMIN' }, { role: 'editor', domain: other.id }])
      expect((await change(own, body)).status, JSON.stringify(body)).to.equal(403)
    expect((await ask('DELETE', path(`/${own}?nope=1`), boss)).status).to.equal(403)
    expect((await ask('DELETE', path(`/${own}`), boss)).status).to.equal(403)
    const changed = await change(mine, { role: 'reader' })
    expect([changed.status, changed.body]).to.deep.equal([
      200,
      { grantId: mine, role: 'reader', user: { id: editor.id, email: editor.email } },
    ])
    expect((await ask('DELETE', path(`/${mine}`), boss)).status).to.equal(204)
    expect((await ask('DELETE', path(`/${mine}`), boss)).status).to.equal(404)
    expect((await ask('GET', '/users/me', editorToken)).body.roles).to.deep.equal([])
  })

  it('refuse every API key [promise 25]', async () => {
    const admin = await createUser({}, { role: Role.ADMIN })
    const { plain } = await asSystem(() => Token.issue(admin, { kind: 'api', abilities: ['*'] }))
    const body = { email: 'x@example.com', role: 'editor', domain: 'press', token: 'x' }
    for (const [method, target] of [
      ['POST', '/users/invitations'],
      ['GET', '/users/invitations'],
      ['DELETE', `/users/invitations/${unknownId}`],
      ['POST', '/users/invitations/accept'],
      ['GET', path()],
      ['PATCH', path(`/${unknownId}`)],
      ['DELETE', path(`/${unknownId}`)],
    ] as const)
      expect(
        (await ask(method, target, plain, method === 'POST' || method === 'PATCH' ? { body } : {})).status,
        `${method} ${target}`,
      ).to.equal(403)
  })

  it('are off by default, and need a mailer', () => {
    const routes = (features: object) => new Api({ resources: [new UserResource({ features })] }).routes(zoo.perms).map(({ path }) => path)
    expect(routes({}).filter((one) => /invitations|members/.test(one))).to.deep.equal([])
    expect(routes({ invitations: true }).filter((one) => /invitations|members/.test(one))).to.have.length(8)
    const withoutMail = Object.create(zoo.perms, { auth: { value: { mail: { isReady: false } } } })
    const error = thrown(() => new Api({ resources: [new UserResource({ features: { invitations: true } })] }).routes(withoutMail))
    expect(error.message).to.contain('features.invitations').and.contain('mailer')
  })
})
