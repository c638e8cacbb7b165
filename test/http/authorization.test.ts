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
import { Domain } from '../../src/users/domain.js'
import { Role } from '../../src/users/roles.js'
import { User } from '../../src/users/user.js'
import { UserRole } from '../../src/users/user-role.js'
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
] as const
type Who = (typeof actors)[number]

/** The status for each caller, in the order of `actors`; the row belongs to `owner`. */
const expected: Readonly<Record<string, readonly number[]>> = {
  'POST /users/login': [422, 422, 422, 422, 422, 422, 422, 422, 422],
  'POST /users/refresh': [422, 422, 422, 422, 422, 422, 422, 422, 422],
  'POST /users/logout': [401, 401, 401, 204, 204, 204, 204, 204, 204],
  'GET /users/me': [401, 401, 401, 200, 200, 200, 200, 200, 200],
  'PATCH /users/me': [401, 401, 401, 200, 200, 200, 200, 200, 200],
  'GET /users/sessions': [401, 401, 401, 200, 200, 200, 200, 200, 200],
  'DELETE /users/sessions/:sessionId': [401, 401, 401, 404, 204, 404, 404, 404, 404],
  'DELETE /users/sessions': [401, 401, 401, 204, 204, 204, 204, 204, 204],
  'GET /users': [401, 401, 401, 200, 200, 200, 200, 200, 200],
  'POST /users': [401, 401, 401, 403, 403, 403, 403, 422, 422],
  'GET /users/:id': [401, 401, 401, 404, 200, 404, 404, 200, 200],
  'PATCH /users/:id': [401, 401, 401, 404, 200, 404, 404, 200, 200],
  'DELETE /users/:id': [401, 401, 401, 404, 403, 404, 404, 204, 204],
  'GET /documents': [401, 401, 401, 200, 200, 200, 200, 200, 200],
  'POST /documents': [401, 401, 401, 422, 422, 422, 422, 422, 422],
  'GET /documents/:id': [401, 401, 401, 404, 200, 404, 404, 200, 200],
  'PATCH /documents/:id': [401, 401, 401, 404, 200, 404, 404, 200, 200],
  'DELETE /documents/:id': [401, 401, 401, 404, 204, 404, 404, 204, 204],
  'GET /critters': [200, 401, 401, 200, 200, 200, 200, 200, 200],
  'POST /critters': [401, 401, 401, 422, 422, 422, 422, 422, 422],
  'GET /critters/:id': [200, 401, 401, 200, 200, 200, 200, 200, 200],
  'PATCH /critters/:id': [401, 401, 401, 403, 200, 403, 403, 200, 200],
  'GET /notices': [401, 401, 401, 200, 200, 200, 200, 200, 200],
  'POST /notices': [401, 401, 401, 403, 403, 422, 422, 422, 422],
  'GET /notices/:id': [401, 401, 401, 404, 404, 404, 200, 200, 200],
  'PATCH /notices/:id': [401, 401, 401, 404, 404, 404, 200, 200, 200],
  'DELETE /notices/:id': [401, 401, 401, 404, 404, 404, 204, 204, 204],
  'DELETE /critters/:id': [401, 401, 401, 403, 403, 403, 403, 204, 204],
}

describe('every route for every caller', function () {
  this.timeout(60_000)
  let zoo: Zoo
  let ask: Client
  const api = new Api({
    resources: [
      new UserResource(),
      new CrudResource({ model: UserDocument, path: 'documents' }),
      new CrudResource({ model: Critter, methods: { delete: { adminOnly: true }, list: { public: true }, get: { public: true } } }),
      new CrudResource({ model: Notice }),
    ],
  })
  const routes: Route[] = []
  const nameOf = ({ endpoint, path }: Route) => `${endpoint.options.method} ${path}`
  const domains = { own: '', other: '' }
  let count = 0
  const nextEmail = () => {
    count += 1
    return `caller${count}@example.com`
  }

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
    const email = nextEmail()
    const user = await asSystem(() => User.create({ email }))
    if (who === 'admin' || who === 'superadmin')
      await asSystem(() => UserRole.create({ userId: user.id, role: who === 'admin' ? Role.ADMIN : Role.SUPERADMIN } as never))
    if (who === 'admin of another domain' || who === 'admin of the domain') {
      const domainId = who === 'admin of the domain' ? domains.own : domains.other
      await asSystem(() => UserRole.create({ userId: user.id, role: Role.ADMIN, domainId }))
    }
    const accessToken = await zoo.perms.auth.createAccessToken(user)
    if (who === 'disabled') await asSystem(() => user.update({ isEnabled: false } as never))
    return { id: user.id, token: accessToken }
  }

  async function rowFor(path: string, ownerId: string | null): Promise<string> {
    const userId = ownerId ?? (await asSystem(() => User.create({ email: nextEmail() }))).id
    if (path.includes('/sessions/')) {
      await zoo.perms.auth.createRefreshToken((await asSystem(() => User.get(userId))) as User)
      return (await zoo.perms.auth.sessions(userId))[0]?.id ?? ''
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
        const row = /:\w/.test(path) ? await rowFor(path, who === 'owner' ? id : null) : ''
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
