import { expect } from 'chai'
import { Api, type Route } from '../../src/http/api.js'
import { CrudResource } from '../../src/http/crud-resource.js'
import { UserResource } from '../../src/http/user-resource.js'
import { createTables } from '../../src/migrations.js'
import { HasDomainMixin } from '../../src/mixins/has-domain.js'
import { HasUserMixin } from '../../src/mixins/has-user.js'
import { column } from '../../src/model/column.js'
import { BasePermsModel } from '../../src/perms/base-perms-model.js'
import { asSystem } from '../../src/perms/context.js'
import { authenticated, owner } from '../../src/perms/rules.js'
import { createUser, signInAs } from '../../src/testing/index.js'
import { Domain } from '../../src/users/domain.js'
import { Role } from '../../src/users/roles.js'
import { Token } from '../../src/users/token.js'
import { User } from '../../src/users/user.js'
import { Critter, openZoo, UserDocument, type Zoo } from '../conformance/zoo.js'
import { type Client, clientOf } from './client.js'

class Notice extends HasDomainMixin(HasUserMixin(BasePermsModel)).withColumns({ text: column.text() }) {
  static override policy = { read: authenticated(), create: authenticated(), update: owner(), delete: owner() }
}

const actors = [
  'anonymous',
  'bad token',
  'disabled',
  'stranger',
  'owner',
  'admin of another domain',
  'admin of the domain',
  'admin',
  'superadmin',
  'API key of the owner',
] as const
type Who = (typeof actors)[number]

const grants: Readonly<Partial<Record<Who, { role: string; domain?: 'own' | 'other' }>>> = {
  'admin of another domain': { role: Role.ADMIN, domain: 'other' },
  'admin of the domain': { role: Role.ADMIN, domain: 'own' },
  admin: { role: Role.ADMIN },
  superadmin: { role: Role.SUPERADMIN },
}

/** The status for each caller, in the order of `actors`; the row belongs to `owner`. */
const expected: Readonly<Record<string, readonly number[]>> = {
  'POST /users/login': [422, 422, 422, 422, 422, 422, 422, 422, 422, 422],
  'POST /users/refresh': [422, 422, 422, 422, 422, 422, 422, 422, 422, 422],
  'POST /users/logout': [401, 401, 401, 204, 204, 204, 204, 204, 204, 403],
  'GET /users/me': [401, 401, 401, 200, 200, 200, 200, 200, 200, 200],
  'PATCH /users/me': [401, 401, 401, 200, 200, 200, 200, 200, 200, 403],
  'GET /users/sessions': [401, 401, 401, 200, 200, 200, 200, 200, 200, 403],
  'DELETE /users/sessions/:sessionId': [401, 401, 401, 404, 204, 404, 404, 404, 404, 403],
  'DELETE /users/sessions': [401, 401, 401, 204, 204, 204, 204, 204, 204, 403],
  'POST /users/api-keys': [401, 401, 401, 422, 422, 422, 422, 422, 422, 403],
  'GET /users/api-keys': [401, 401, 401, 200, 200, 200, 200, 200, 200, 403],
  'DELETE /users/api-keys/:keyId': [401, 401, 401, 404, 204, 404, 404, 404, 404, 403],
  'GET /users': [401, 401, 401, 200, 200, 200, 200, 200, 200, 403],
  'POST /users': [401, 401, 401, 403, 403, 403, 403, 422, 422, 403],
  'GET /users/:id': [401, 401, 401, 404, 200, 404, 404, 200, 200, 403],
  'PATCH /users/:id': [401, 401, 401, 404, 200, 404, 404, 200, 200, 403],
  'DELETE /users/:id': [401, 401, 401, 404, 403, 404, 404, 204, 204, 403],
  'GET /documents': [401, 401, 401, 200, 200, 200, 200, 200, 200, 200],
  'POST /documents': [401, 401, 401, 422, 422, 422, 422, 422, 422, 422],
  'GET /documents/:id': [401, 401, 401, 404, 200, 404, 404, 200, 200, 200],
  'PATCH /documents/:id': [401, 401, 401, 404, 200, 404, 404, 200, 200, 200],
  'DELETE /documents/:id': [401, 401, 401, 404, 204, 404, 404, 204, 204, 204],
  'GET /critters': [200, 401, 401, 200, 200, 200, 200, 200, 200, 200],
  'POST /critters': [401, 401, 401, 422, 422, 422, 422, 422, 422, 403],
  'GET /critters/:id': [200, 401, 401, 200, 200, 200, 200, 200, 200, 200],
  'PATCH /critters/:id': [401, 401, 401, 403, 200, 403, 403, 200, 200, 403],
  'GET /notices': [401, 401, 401, 200, 200, 200, 200, 200, 200, 403],
  'POST /notices': [401, 401, 401, 403, 403, 422, 422, 422, 422, 403],
  'GET /notices/:id': [401, 401, 401, 404, 404, 404, 200, 200, 200, 403],
  'PATCH /notices/:id': [401, 401, 401, 404, 404, 404, 200, 200, 200, 403],
  'DELETE /notices/:id': [401, 401, 401, 404, 404, 404, 204, 204, 204, 403],
  'DELETE /critters/:id': [401, 401, 401, 403, 403, 403, 403, 204, 204, 403],
}

describe('every route for every caller', function () {
  this.timeout(60_000)
  let zoo: Zoo
  let ask: Client
  const api = new Api({
    resources: [
      new UserResource({ features: { apiKeys: true } }),
      new CrudResource({ model: UserDocument, path: 'documents' }),
      new CrudResource({ model: Critter, methods: { delete: { adminOnly: true }, list: { public: true }, get: { public: true } } }),
      new CrudResource({ model: Notice }),
    ],
  })
  const routes: Route[] = []
  const nameOf = ({ endpoint, path }: Route) => `${endpoint.options.method} ${path}`
  const domains = { own: '', other: '' }
  before(async () => {
    zoo = await openZoo()
    await createTables(zoo.perms.knex, [Notice])
    const [domain, other] = await asSystem(
      async () => [await Domain.create({ name: 'press' }), await Domain.create({ name: 'other' })] as const,
    )
    domains.own = domain.id
    domains.other = other.id
    routes.push(...api.routes(zoo.perms))
    ask = clientOf(api, zoo.perms)
  })
  after(() => zoo.close())

  /** A new user of the kind, signed in. */
  async function caller(who: Who): Promise<{ id: string; token: string | null }> {
    if (who === 'anonymous') return { id: '', token: null }
    if (who === 'bad token') return { id: '', token: 'bad' }
    const { role, domain } = grants[who] ?? {}
    const { user, accessToken } = await signInAs({}, { role, ...(domain && { domain: domains[domain] }) })
    if (who === 'API key of the owner') {
      const abilities = ['documents:*', 'critters:read']
      return { id: user.id, token: (await asSystem(() => Token.issue(user, { kind: 'api', abilities }))).plain }
    }
    if (who === 'disabled') await asSystem(() => user.update({ isEnabled: false } as never))
    return { id: user.id, token: accessToken }
  }

  async function rowFor(path: string, ownerId: string | null): Promise<string> {
    const userId = ownerId ?? (await createUser()).id
    if (path.includes('/sessions/')) {
      await zoo.perms.auth.createRefreshToken((await asSystem(() => User.get(userId))) as User)
      return (await zoo.perms.auth.sessions(userId))[0]?.id ?? ''
    }
    if (path.includes('/api-keys/')) {
      const owner = (await asSystem(() => User.get(userId))) as User
      return (await zoo.perms.auth.apiKeys.issue(owner, { abilities: ['*'] })).key.id
    }
    if (path.startsWith('/users')) return userId
    if (path.startsWith('/documents')) return (await asSystem(() => UserDocument.create({ title: 't', content: 'c', userId }))).id
    if (path.startsWith('/notices')) return (await asSystem(() => Notice.create({ text: 't', userId, domainId: domains.own }))).id
    return (await asSystem(() => Critter.create({ name: 'n', species: 's', userId }))).id
  }

  it('has a row in the table [promise 50]', () => {
    expect(routes.map(nameOf)).to.have.members(Object.keys(expected))
  })

  for (const [name, statuses] of Object.entries(expected)) {
    it(`${name} [promise 50]`, async () => {
      const [method, path] = name.split(' ') as [string, string]
      const answers: number[] = []
      for (const who of actors) {
        const { id, token } = await caller(who)
        const row = /:\w/.test(path) ? await rowFor(path, who === 'owner' || who === 'API key of the owner' ? id : null) : ''
        const body = method === 'POST' ? { nope: 1 } : method === 'PATCH' ? {} : undefined
        const answer = await ask(method, path.replace(/:\w+/, row), token, body === undefined || path.endsWith('logout') ? {} : { body })
        answers.push(answer.status)
      }
      expect(Object.fromEntries(actors.map((who, i) => [who, answers[i]]))).to.deep.equal(
        Object.fromEntries(actors.map((who, i) => [who, statuses[i]])),
      )
    })
  }
})
