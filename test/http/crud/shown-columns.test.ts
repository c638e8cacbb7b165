import { createHash, createHmac } from 'node:crypto'
import { expect } from 'chai'
import { BasePermsModel } from '../../../src/enforce/base-perms-model.js'
import type { ServedRow } from '../../../src/http/core/ports.js'
import type { Resource } from '../../../src/http/core/resource.js'
import type { CrudMethod, CrudResourceOptions } from '../../../src/http/crud/crud-options.js'
import { CrudResource } from '../../../src/http/crud/crud-resource.js'
import { openApiDocument } from '../../../src/http/openapi/document.js'
import { Api } from '../../../src/http/serve/api.js'
import type { UserResourceOptions } from '../../../src/http/users/user-options.js'
import { UserResource } from '../../../src/http/users/user-resource.js'
import { createTables } from '../../../src/migrations.js'
import { HasUserMixin } from '../../../src/mixins/has-user.js'
import { asSystem } from '../../../src/policy/context.js'
import { everyone, role } from '../../../src/policy/rules.js'
import { hasMany } from '../../../src/record/relations.js'
import { column } from '../../../src/schema/column.js'
import { Domain } from '../../../src/users/domain.js'
import { Role } from '../../../src/users/roles/roles.js'
import type { FullZoo } from '../../conformance/full-zoo.js'
import { password } from '../../conformance/zoo.js'
import { availableDatabases } from '../../helpers/databases.js'
import { type Client, clientOf } from '../client.js'
import { openPeople, Person, servePeople } from '../people.js'

const open = { read: everyone(), create: everyone(), update: everyone(), delete: everyone() }

class Ticket extends HasUserMixin(BasePermsModel).withColumns({
  title: column.string(),
  pin: column.string().nullable(),
  salary: column.integer().nullable().readableBy(role(Role.ADMIN)),
  internal: column.string().nullable().hidden(),
}) {
  static override policy = open
  static override relationMappings = { comments: hasMany(() => Comment, 'ticketId') }
}

class Comment extends HasUserMixin(BasePermsModel).withColumns({
  ticketId: column.uuid().references('ticket.id', { onDelete: 'cascade' }),
  text: column.string(),
  note: column.string().nullable(),
}) {
  static override policy = open
}

const directory = { schema: ['id', 'nickname'] }

for (const database of availableDatabases) {
  describe(`Columns that a resource does not show (${database})`, function () {
    this.timeout(30_000)
    let zoo: FullZoo
    let ticket: Ticket
    before(async () => {
      zoo = await openPeople(database)
      await createTables(zoo.perms.knex, [Ticket, Comment])
      ticket = await asSystem(async () => {
        const ada = await Person.getByOr404({ email: 'ada@example.com' })
        await ada.update({ pin: '123456', nickname: 'Ada' })
        const made = await Ticket.create({ title: 'Broken', pin: '4711', userId: zoo.ids.ada })
        await Comment.create({ ticketId: made.id, text: 'Really', note: 'secret note', userId: zoo.ids.ada })
        return made
      })
    })
    after(() => zoo.close())

    const serve = (...resources: Resource[]): Client => clientOf(new Api({ resources }), zoo.perms)
    const tickets = (options: Partial<CrudResourceOptions> = {}) => new CrudResource({ model: Ticket, ...options } as never)
    const statusOf = async (ask: Client, query: string, token: string | null = zoo.tokens.bob, path = '/users') =>
      (await ask('GET', `${path}?${query}`, token)).status

    it('cannot be filtered by, sorted by or requested [promise 65]', async () => {
      const ask = servePeople(zoo, directory)
      const operators = ['', '__ne', '__gt', '__gte', '__lt', '__lte', '__from', '__to', '__min', '__max', '__in', '__like', '__ilike']
      for (const name of ['email', 'pin', 'plan', 'createdAt', 'isEnabled'])
        for (const operator of operators) expect(await statusOf(ask, `${name}${operator}=a%25`), name + operator).to.equal(422)
      for (const query of [
        'pin__null=true',
        'sort=pin',
        'sort=-email',
        'sort=nickname,pin',
        'sort=createdAt',
        'fields=pin',
        'fields=id,email',
      ])
        expect(await statusOf(ask, query), query).to.equal(422)
      expect(await statusOf(ask, 'nickname__like=A%25&sort=-nickname,id&fields=nickname')).to.equal(200)
    })

    it('are refused with the same message as columns that do not exist [promise 65]', async () => {
      const ask = servePeople(zoo, directory)
      const said = async (query: string, name: string) =>
        JSON.stringify((await ask('GET', `/users?${query}`, zoo.tokens.bob)).body).replaceAll(name, 'X')
      for (const query of ['X=1', 'X__like=a', 'X__nope=1', 'X__in=a,b', 'X=%00', 'sort=X', 'fields=X'])
        for (const name of ['pin', 'isEnabled', 'createdAt'])
          expect(await said(query.replace('X', name), name), query).to.equal(await said(query.replace('X', 'unheard'), 'unheard'))
    })

    it('do not change the default sort, and its cursor does not reveal them [promise 65]', async () => {
      const ask = servePeople(zoo, directory)
      const all = (await ask('GET', '/users', zoo.tokens.bob)).body.data.map(({ id }: { id: string }) => id)
      const first = (await ask('GET', '/users?pageSize=1', zoo.tokens.bob)).body
      const again = (await ask('GET', '/users?pageSize=1', zoo.tokens.bob)).body
      const { cursor } = { cursor: first.pagination.nextCursor as string }
      // Sealed anew each time: equal places do not look equal.
      expect(cursor).not.to.equal(again.pagination.nextCursor)
      const person = await asSystem(() => Person.getByOr404({ id: first.data[0].id }))
      for (const text of [cursor, Buffer.from(cursor, 'base64url').toString('latin1')])
        expect(text).not.to.contain(person.createdAt.toISOString()).and.not.to.contain(person.id)
      const second = (await ask('GET', `/users?pageSize=1&cursor=${cursor}`, zoo.tokens.bob)).body
      expect([first.data[0].id, second.data[0].id]).to.deep.equal(all.slice(0, 2))
      expect((await ask('GET', '/users?sort=-createdAt,id', zoo.tokens.bob)).body.data.map(({ id }: { id: string }) => id)).to.deep.equal(
        all,
      )
    })

    it('are those that neither list nor get shows to the caller [promise 65]', async () => {
      const either: UserResourceOptions = { methods: { list: { schema: ['id'] }, get: { schema: ['id', 'plan'] } } }
      expect(await statusOf(servePeople(zoo, either), 'plan=free&sort=plan')).to.equal(200)
      expect(await statusOf(servePeople(zoo, either), 'pin=1')).to.equal(422)
      const only: UserResourceOptions = { methods: { list: { schema: ['id'] }, get: false } }
      expect(await statusOf(servePeople(zoo, only), 'plan=free')).to.equal(422)
      const forAdmins: UserResourceOptions = { methods: { list: { schema: ['id'] }, get: { adminOnly: true } } }
      expect(await statusOf(servePeople(zoo, forAdmins), 'pin=1')).to.equal(422)
      expect(await statusOf(servePeople(zoo, forAdmins), 'pin=1', zoo.tokens.admin)).to.equal(200)
      const forOthers = { methods: { list: { schema: ['id'], public: true }, get: {} } }
      expect(await statusOf(serve(tickets(forOthers)), 'pin=1', null, '/tickets')).to.equal(422)
      expect(await statusOf(serve(tickets(forOthers)), 'pin=1', zoo.tokens.bob, '/tickets')).to.equal(200)
    })

    it('cannot be filtered by where the argSchema of list names them [promise 65]', async () => {
      const ask = servePeople(zoo, { ...directory, methods: { list: { argSchema: ['pin', 'nickname'] } } })
      expect(await statusOf(ask, 'pin=1')).to.equal(422)
      expect(await statusOf(ask, 'nickname=Ada')).to.equal(200)
    })

    it('change the ETag, but cannot be guessed from it [promise 65]', async () => {
      const ask = serve(tickets({ schema: ['id', 'title'] }))
      const path = `/tickets/${ticket.id}`
      const { headers, body } = await ask('GET', path, zoo.tokens.bob)
      const whole = (await serve(tickets())('GET', path, zoo.tokens.bob)).body
      const texts = [whole, body].map((one) => JSON.stringify(one))
      const guesses = texts.flatMap((text) =>
        [createHash('sha256'), createHmac('sha256', ''), createHmac('sha256', 'etag'), createHmac('sha256', ticket.id)].map(
          (hash) => `"${hash.update(text).digest('base64url').slice(0, 22)}"`,
        ),
      )
      expect(guesses).not.to.include(headers['etag'])
      for (const [name, value] of Object.entries({ pin: '4712', salary: 5, internal: 'x' })) {
        const { etag } = (await ask('GET', path, zoo.tokens.bob)).headers
        await asSystem(async () => (await Ticket.getByOr404({ id: ticket.id })).update({ [name]: value }))
        await zoo.perms.knex('ticket').update({ updated_at: (await zoo.perms.knex('ticket').first()).created_at })
        const stale = { headers: { 'if-match': etag as string }, body: { title: 'Lost' } }
        expect((await ask('PATCH', path, zoo.tokens.bob, stale)).status, name).to.equal(412)
        expect((await ask('GET', path, zoo.tokens.bob, { headers: { 'if-none-match': etag as string } })).status, name).to.equal(200)
      }
    })

    it('give the same ETag in the responses of create, get and update [promise 65]', async () => {
      const ask = serve(tickets(), new UserResource())
      const made = await ask('POST', '/tickets', zoo.tokens.admin, { body: { title: 'New', pin: '1', salary: 3, userId: zoo.ids.admin } })
      expect(made.status).to.equal(201)
      const at = made.headers['location'] as string
      expect((await ask('GET', at, zoo.tokens.admin)).headers['etag']).to.equal(made.headers['etag'])
      const changed = await ask('PATCH', at, zoo.tokens.admin, { body: { salary: 4 } })
      expect((await ask('GET', at, zoo.tokens.admin)).headers['etag']).to.equal(changed.headers['etag'])
      const user = `/users/${zoo.ids.bob}`
      const secret = await ask('PATCH', user, zoo.tokens.bob, { body: { password: 'another battery staple', oldPassword: password } })
      expect(secret.status).to.equal(200)
      expect((await ask('GET', user, zoo.tokens.bob)).headers['etag']).to.equal(secret.headers['etag'])
    })

    it('give different ETags for rows with the same values [promise 65]', async () => {
      const ask = serve(tickets({ schema: ['title'] }))
      const values = { title: 'Twin', createdAt: new Date(0), updatedAt: new Date(0), userId: zoo.ids.ada }
      const twins = await asSystem(async () => [await Ticket.create(values), await Ticket.create(values)])
      const [one, other] = await Promise.all(
        twins.map(async ({ id }) => (await ask('GET', `/tickets/${id}`, zoo.tokens.bob)).headers['etag']),
      )
      expect(one).not.to.equal(other)
    })

    describe('of another resource', () => {
      const included = async (ask: Client, query = 'include=user', token = zoo.tokens.bob) =>
        (await ask('GET', `/tickets/${ticket.id}?${query}`, token)).body
      const keysOf = (row: object) => Object.keys(row)

      it('are not shown by an include [promise 65]', async () => {
        const ask = serve(tickets({ include: ['user', 'comments.user'] }), new UserResource(directory))
        const one = await included(ask, 'include=user,comments.user')
        const [listed] = (await ask('GET', '/tickets?include=user,comments.user', zoo.tokens.bob)).body.data.filter(
          ({ id }: { id: string }) => id === ticket.id,
        )
        for (const row of [one, listed]) {
          expect(keysOf(row.user)).to.have.members(['id', 'nickname'])
          expect(keysOf(row.comments[0].user)).to.have.members(['id', 'nickname'])
          expect(keysOf(row.comments[0])).to.include('note')
        }
      })

      it('are hidden if one of several resources for the model hides them [promise 65]', async () => {
        const admin = new UserResource({
          path: 'admin/users',
          name: 'AdminUser',
          methods: { list: { adminOnly: true }, get: { adminOnly: true } },
        })
        for (const resources of [
          [new UserResource(directory), admin],
          [admin, new UserResource(directory)],
        ]) {
          const ask = serve(tickets({ include: ['user'] }), ...resources)
          expect(keysOf((await included(ask)).user)).to.have.members(['id', 'nickname'])
        }
      })

      it('are hidden if a resource of a subclass with the same table hides them [promise 65]', async () => {
        class Face extends Person {}
        const ask = serve(tickets({ include: ['user'] }), new UserResource({ model: Face as never, ...directory }))
        expect(keysOf((await included(ask)).user)).to.have.members(['id', 'nickname'])
      })

      it('depend on the caller if get is for admins only [promise 65]', async () => {
        const users = new UserResource({ methods: { list: directory, get: { adminOnly: true } } })
        const ask = serve(tickets({ include: ['user'] }), users)
        expect(keysOf((await included(ask)).user)).to.have.members(['id', 'nickname'])
        expect(keysOf((await included(ask, 'include=user', zoo.tokens.admin)).user)).to.include('email')
      })

      it('are shown if the include lists them, except hidden ones [promise 65]', async () => {
        const include = { user: ['nickname', 'plan', 'passwordHash'], 'comments.user': true, comments: ['text'] } as const
        const ask = serve(tickets({ include }), new UserResource(directory))
        const row = await included(ask, 'include=user,comments.user')
        expect(row.user).to.deep.equal({ nickname: 'Ada', plan: 'free' })
        expect(keysOf(row.comments[0])).to.have.members(['text', 'user'])
        expect(keysOf(row.comments[0].user)).to.have.members(['id', 'nickname'])
      })

      it('are all shown if no resource of the Api serves their model', async () => {
        expect(keysOf((await included(serve(tickets({ include: ['user'] })))).user)).to.include('email')
      })

      it('are not shown for members of a domain [promise 65]', async () => {
        await asSystem(async () => {
          await Domain.create({ name: `press of ${database}` })
          await (await Person.getByOr404({ email: 'ada@example.com' })).grantRole('reader', { domain: `press of ${database}` })
        })
        const members = async (options: UserResourceOptions) => {
          const ask = servePeople(zoo, { ...options, features: { invitations: true } })
          const { id } = await asSystem(() => Domain.getByOr404({ name: `press of ${database}` }))
          const list = await ask('GET', `/users/domains/${id}/members`, zoo.tokens.admin)
          const [{ grantId, user }] = list.body.data
          const changed = await ask('PATCH', `/users/domains/${id}/members/${grantId}`, zoo.tokens.admin, { body: { role: 'writer' } })
          expect(changed.body.user).to.deep.equal(user)
          return user
        }
        expect(await members({})).to.deep.equal({ id: zoo.ids.ada, email: 'ada@example.com' })
        expect(await members(directory)).to.deep.equal({ id: zoo.ids.ada })
      })
    })

    it('are not part of the OpenAPI document [promise 65]', () => {
      const api = new Api({
        resources: [
          tickets({ include: ['user'], methods: { list: { schema: ['id', 'title'] }, get: { schema: ['id', 'title'] } } }),
          new UserResource(directory),
        ],
      })
      const document = openApiDocument(api, zoo.perms)
      const parametersOf = (path: string) => (document.paths[path]?.['get']?.parameters ?? []) as { name: string; description: string }[]
      const names = parametersOf('/tickets').map(({ name }) => name)
      expect(names).to.include.members(['title', 'title__like']).and.not.include.members(['pin'])
      expect(names.filter((name) => /^(pin|salary|internal|userId|createdAt)/.test(name))).to.deep.equal([])
      for (const { name, description } of [...parametersOf('/tickets'), ...parametersOf('/tickets/{id}')])
        if (name === 'sort' || name === 'fields') expect(description).to.match(/: id, title\.$/)
      const schemas = document.components.schemas as Record<string, { properties?: Record<string, { anyOf?: { properties: object }[] }> }>
      expect(keysOf(schemas['GetTicketOutput']?.properties ?? {})).to.have.members(['id', 'title', 'user', 'allowed'])
      expect(keysOf(schemas['GetTicketOutput']?.properties?.['user']?.anyOf?.[0]?.properties ?? {})).to.have.members(['id', 'nickname'])
      expect(keysOf(schemas['GetCurrentPersonOutput']?.properties ?? {})).to.have.members(['id', 'nickname', 'roles', 'impersonator'])
      function keysOf(value: object): string[] {
        return Object.keys(value)
      }
    })
  })

  describe(`shape() in a subclass (${database})`, function () {
    this.timeout(30_000)
    let zoo: FullZoo
    let id: string
    class Tickets extends CrudResource<typeof Ticket> {
      protected override shape(row: ServedRow, method: CrudMethod): Record<string, unknown> {
        const { pin: _, ...shown } = super.shape(row, method)
        return { ...shown, title: String(shown['title']).toUpperCase(), method }
      }
    }
    before(async () => {
      zoo = await openPeople(database)
      await createTables(zoo.perms.knex, [Ticket, Comment])
      id = (await asSystem(() => Ticket.create({ title: 'loud', pin: '4711', userId: zoo.ids.ada }))).id
    })
    after(() => zoo.close())
    const serve = (...resources: Resource[]): Client => clientOf(new Api({ resources }), zoo.perms)

    it('applies to every row in a response', async () => {
      const ask = serve(new Tickets({ model: Ticket }))
      const token = zoo.tokens.ada
      const answers = {
        list: (await ask('GET', '/tickets', token)).body.data[0],
        get: (await ask('GET', `/tickets/${id}`, token)).body,
        create: (await ask('POST', '/tickets', token, { body: { title: 'new', pin: '1' } })).body,
        update: (await ask('PATCH', `/tickets/${id}`, token, { body: { pin: '2' } })).body,
      }
      for (const [method, row] of Object.entries(answers)) {
        expect(row, method).to.include({ method }).and.not.have.property('pin')
        expect(row.title, method).to.match(/^(LOUD|NEW)$/)
        expect(row, method).to.include.keys('id', 'createdAt')
      }
    })

    it('works with fields, include and conditional requests', async () => {
      const ask = serve(new Tickets({ model: Ticket, include: ['user'] }))
      const path = `/tickets/${id}`
      expect((await ask('GET', `${path}?fields=title`, zoo.tokens.ada)).body).to.deep.equal({ title: 'LOUD' })
      expect((await ask('GET', `/tickets?fields=title,pin&title=loud`, zoo.tokens.ada)).body.data).to.deep.equal([{ title: 'LOUD' }])
      const one = (await ask('GET', `${path}?include=user`, zoo.tokens.ada)).body
      expect(one).to.include({ title: 'LOUD', method: 'get' })
      expect(one.user.id).to.equal(zoo.ids.ada)
      const { etag } = (await ask('GET', path, zoo.tokens.ada)).headers
      expect((await ask('GET', path, zoo.tokens.ada, { headers: { 'if-none-match': etag as string } })).status).to.equal(304)
      expect((await ask('PATCH', path, zoo.tokens.ada, { headers: { 'if-match': etag as string }, body: {} })).status).to.equal(200)
    })

    it('applies to included rows and to rows of custom endpoints', async () => {
      class Users extends UserResource {
        protected override shape(row: ServedRow, method: CrudMethod): Record<string, unknown> {
          const { email, ...shown } = super.shape(row, method)
          return { ...shown, email: `${String(email).slice(0, 1)}***` }
        }
      }
      const users = new Users({ schema: ['id', 'email'] })
      const tickets = new Tickets({ model: Ticket, include: ['user'] })
      tickets.endpoint({ method: 'GET', path: ':id/raw', item: true, abilities: () => [], handler: ({ row }) => row })
      tickets.endpoint({
        method: 'GET',
        path: 'all/raw',
        abilities: () => [],
        handler: async () => ({ at: 1, rows: await Ticket.query().withGraphFetched('user') }),
      })
      tickets.endpoint({
        method: 'GET',
        path: 'all/count',
        abilities: () => [],
        handler: async () => ({ count: await Ticket.query().resultSize(), when: new Date(0) }),
      })
      const ask = serve(users, tickets)
      const masked = { id: zoo.ids.ada, email: 'a***' }
      expect((await ask('GET', `/tickets/${id}?include=user`, zoo.tokens.ada)).body.user).to.deep.equal(masked)
      expect((await ask('GET', '/users/me', zoo.tokens.ada)).body).to.deep.equal({ ...masked, roles: [] })
      expect((await ask('PATCH', '/users/me', zoo.tokens.ada, { body: {} })).body).to.deep.equal({ ...masked, roles: [] })
      const raw = (await ask('GET', `/tickets/${id}/raw`, zoo.tokens.ada)).body
      expect(raw).to.include({ title: 'LOUD' }).and.not.have.property('pin')
      const all = (await ask('GET', '/tickets/all/raw', zoo.tokens.ada)).body
      expect(all.at).to.equal(1)
      const [first] = all.rows.filter((row: { id: string }) => row.id === id)
      expect(first).to.include({ title: 'LOUD' }).and.not.have.property('pin')
      expect(first.user).to.deep.equal(masked)
      expect((await ask('GET', '/tickets/all/count', zoo.tokens.ada)).body).to.include({ when: '1970-01-01T00:00:00.000Z' })
    })

    it('changes no rows of custom endpoints if no resource restricts them', async () => {
      const tickets = new CrudResource({ model: Ticket })
      tickets.endpoint({
        method: 'GET',
        path: ':id/raw',
        item: true,
        abilities: () => [],
        handler: ({ row }) => Object.assign(row as object, { extra: 1 }),
      })
      const { body } = await serve(tickets)('GET', `/tickets/${id}/raw`, zoo.tokens.ada)
      expect(body).to.include({ title: 'loud', extra: 1 }).and.include.keys('pin', 'createdAt')
    })
  })
}
