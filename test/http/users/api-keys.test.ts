import { expect } from 'chai'
import { Api, CrudResource, UserResource } from '../../../src/index.js'
import { asSystem } from '../../../src/policy/context.js'
import { Token } from '../../../src/users/token.js'
import { User } from '../../../src/users/user.js'
import { Critter, openZoo, UserDocument, type Zoo } from '../../conformance/zoo.js'
import { countQueries } from '../../helpers/databases.js'
import { type Client, clientOf } from '../client.js'

describe('API keys over HTTP', () => {
  let zoo: Zoo
  let ask: Client
  let user: User
  let token: string
  const documents = new CrudResource({ model: UserDocument, path: 'documents' })
  documents.endpoint({ method: 'POST', path: 'shred', readsBody: false, handler: () => ({ shredded: true }) })
  documents.endpoint({ method: 'POST', path: 'count', readsBody: false, abilities: () => ['documents:read'], handler: () => ({ n: 1 }) })
  const api = new Api({
    resources: [
      new UserResource({ features: { apiKeys: true } }),
      documents,
      new CrudResource({ model: Critter, methods: { list: { public: true } } }),
    ],
  })

  before(async () => {
    zoo = await openZoo()
    ask = clientOf(api, zoo.perms)
    user = await asSystem(() => User.create({ email: 'keys@example.com' }))
    token = await zoo.perms.auth.createAccessToken(user)
    await asSystem(() => UserDocument.create({ title: 't', content: 'c', userId: user.id }))
  })
  after(() => zoo.close())

  const make = async (abilities: readonly string[], more: object = {}) =>
    (await ask('POST', '/users/api-keys', token, { body: { abilities, ...more } })).body as { id: string; key: string }

  it('are created, shown once, listed and revoked [promises 13, 25, 43]', async () => {
    const made = await ask('POST', '/users/api-keys', token, {
      body: { abilities: ['documents:read'], description: 'CI', expiresIn: 3600 },
    })
    expect(made.status).to.equal(201)
    expect(made.headers['cache-control']).to.equal('no-store')
    const { key, ...rest } = made.body
    expect(key).to.match(/^opk_/)
    expect(Date.parse(rest.expiresAt)).to.be.closeTo(Date.now() + 3_600_000, 60_000)
    const list = await ask('GET', '/users/api-keys', token)
    expect(list.body.data).to.deep.include(rest)
    expect(JSON.stringify(list.body)).not.to.contain(key)
    expect((await ask('GET', '/documents', key)).status).to.equal(200)
    expect((await ask('DELETE', `/users/api-keys/${rest.id}`, token)).status).to.equal(204)
    expect((await ask('DELETE', `/users/api-keys/${rest.id}`, token)).status).to.equal(404)
    const dead = await ask('GET', '/documents', key)
    expect(dead.status).to.equal(401)
    expect(dead.headers['www-authenticate']).to.equal('Bearer error="invalid_token"')
  })

  it('allow only their abilities, and the refusal names the missing ability [promise 25]', async () => {
    const { key } = await make(['documents:read'])
    expect((await ask('GET', '/documents', key)).body.data).to.have.length(1)
    expect((await ask('GET', '/users/me', key)).body.id).to.equal(user.id)
    const refused = await ask('POST', '/documents', key, { body: { title: 'x', content: 'x' } })
    expect(refused.status).to.equal(403)
    expect(refused.body).to.include({ code: 'insufficient_ability' })
    expect(refused.body.detail).to.contain("'documents:create'")
    expect(refused.headers['www-authenticate']).to.match(/^Bearer error="insufficient_scope", scope="[\w:-]+( [\w:-]+)*"$/)
    for (const [method, path] of [
      ['GET', '/users'],
      ['GET', `/users/${user.id}`],
      ['PATCH', '/users/me'],
      ['PATCH', '/documents/x'],
      ['DELETE', '/documents/x'],
      ['POST', '/documents/shred'],
    ] as const)
      expect((await ask(method, path, key, method === 'PATCH' ? { body: {} } : {})).status, `${method} ${path}`).to.equal(403)
    expect((await ask('POST', '/documents/count', key)).status).to.equal(200)
    expect((await ask('POST', '/documents/shred', (await make(['documents:*'])).key)).status).to.equal(200)
  })

  it('accept abilities with the name of the model and with the path of the resource', async () => {
    for (const abilities of [['user-documents:read'], ['documents:read'], ['*']])
      expect((await ask('GET', '/documents', (await make(abilities)).key)).body.data, String(abilities)).to.have.length(1)
  })

  it('cannot read or change keys, sessions, passwords or addresses, even with * [promise 25]', async () => {
    const { key, id } = await make(['*'])
    const attempts = [
      ['POST', '/users/api-keys', { abilities: ['*'] }],
      ['GET', '/users/api-keys', undefined],
      ['DELETE', `/users/api-keys/${id}`, undefined],
      ['GET', '/users/sessions', undefined],
      ['DELETE', '/users/sessions', undefined],
      ['DELETE', `/users/sessions/${id}`, undefined],
      ['POST', '/users/logout', undefined],
      ['PATCH', '/users/me', { password: 'quite another one', oldPassword: 'x' }],
      ['PATCH', '/users/me', { email: 'other@example.com', oldPassword: 'x' }],
      ['PATCH', `/users/${user.id}`, { email: 'other@example.com', oldPassword: 'x' }],
    ] as const
    for (const [method, path, body] of attempts) {
      const answer = await ask(method, path, key, body === undefined ? {} : { body })
      expect(answer.status, `${method} ${path}`).to.equal(403)
    }
    expect((await asSystem(() => User.getOr404(user.id))).email).to.equal('keys@example.com')
    expect((await ask('GET', '/users/me', key)).status).to.equal(200)
  })

  it('of another user give 404 [promise 36]', async () => {
    const { id } = await make(['*'])
    const other = await asSystem(() => User.create({ email: 'other-keys@example.com' }))
    const theirs = await zoo.perms.auth.createAccessToken(other)
    expect((await ask('DELETE', `/users/api-keys/${id}`, theirs)).status).to.equal(404)
    expect((await ask('GET', '/users/api-keys', theirs)).body.data).to.deep.equal([])
  })

  it('reject invalid input [promise 27]', async () => {
    for (const body of [
      {},
      { abilities: [] },
      { abilities: 'x' },
      { abilities: [''] },
      { abilities: [null] },
      { abilities: {} },
      { abilities: ['a'], x: 1 },
      [],
      null,
      { abilities: ['a'], expiresIn: 0 },
      { abilities: ['a'], expiresIn: '1' },
      { abilities: ['a'], description: 1 },
    ])
      expect((await ask('POST', '/users/api-keys', token, { body })).status, JSON.stringify(body)).to.equal(422)
    const mistaken = await ask('POST', '/users/api-keys', token, { body: { abilities: ['documents.read'] } })
    expect(mistaken.body.errors[0].message).to.equal("must be an ability: 'documents:read', 'documents:*' or '*'")
  })

  it('are off by default', async () => {
    const plain = clientOf(new Api({ resources: [new UserResource()] }), zoo.perms)
    expect((await plain('GET', '/users/api-keys', token)).status).to.be.oneOf([404, 405])
  })

  it('identify the caller with one statement', async () => {
    const { key } = await make(['documents:read'])
    await ask('GET', '/documents', key)
    await zoo.perms.auth.settled()
    const { statements } = await countQueries(zoo.perms.knex, () => ask('GET', '/documents?total=false', key))
    expect(statements).to.have.length(2)
  })

  it('that code has issued work as well', async () => {
    const { plain } = await asSystem(() => Token.issue(user, { kind: 'api', abilities: ['documents:read'] }))
    expect((await ask('GET', '/documents', plain)).status).to.equal(200)
  })
})
