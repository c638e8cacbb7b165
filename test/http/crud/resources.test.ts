import { randomUUID } from 'node:crypto'
import { expect } from 'chai'
import { ConfigurationError, ConflictError } from '../../../src/core/errors.js'
import { BasePermsModel } from '../../../src/enforce/base-perms-model.js'
import type { Endpoint, EndpointContext } from '../../../src/http/core/endpoint.js'
import type { Resource } from '../../../src/http/core/resource.js'
import type { HttpResponse } from '../../../src/http/core/response.js'
import type { CrudMethod, MethodOptions } from '../../../src/http/crud/crud-options.js'
import { CrudResource } from '../../../src/http/crud/crud-resource.js'
import { Api } from '../../../src/http/serve/api.js'
import { UserResource } from '../../../src/http/users/user-resource.js'
import { createTables } from '../../../src/migrations.js'
import { HasUserMixin } from '../../../src/mixins/has-user.js'
import { UserOwnershipMixin } from '../../../src/mixins/user-ownership.js'
import { asSystem } from '../../../src/policy/context.js'
import { authenticated, everyone } from '../../../src/policy/rules.js'
import { belongsTo, hasMany } from '../../../src/record/relations.js'
import { column } from '../../../src/schema/column.js'
import { signInAs } from '../../../src/testing/index.js'
import { Role } from '../../../src/users/roles/roles.js'
import { User } from '../../../src/users/user.js'
import { UserRole } from '../../../src/users/user-role.js'
import { openZoo, password, type Zoo } from '../../conformance/zoo.js'
import { availableDatabases, countQueries } from '../../helpers/databases.js'
import { type Client, clientOf } from '../client.js'

const open = { read: everyone(), create: authenticated(), update: authenticated(), delete: authenticated() }

class Shelf extends UserOwnershipMixin(HasUserMixin(BasePermsModel)).withColumns({ label: column.string() }) {
  static override relationMappings = { boxes: hasMany(() => Box, 'shelfId') }
}

class Box extends BasePermsModel.withColumns({
  shelfId: column.uuid().references('shelf.id', { onDelete: 'cascade' }),
  code: column.string({ maxLength: 20 }).unique(),
}) {
  static override policy = open
  static override relationMappings = {
    shelf: belongsTo(() => Shelf, 'shelfId'),
    things: hasMany(() => Thing, 'boxId'),
  }
}

class Thing extends BasePermsModel.withColumns({
  boxId: column.uuid().references('box.id', { onDelete: 'cascade' }),
  name: column.string({ maxLength: 20 }),
  weight: column.integer().default(1),
}) {
  static override policy = open
  static override relationMappings = { box: belongsTo(() => Box, 'boxId') }
}

class Note extends BasePermsModel.withColumns({ text: column.string() }) {
  static override policy = open
}

for (const database of availableDatabases) {
  describe(`Resources (${database})`, function () {
    this.timeout(20_000)
    let zoo: Zoo
    let ids: Readonly<Record<'mine' | 'his' | 'box' | 'other' | 'thing', string>>
    before(async () => {
      zoo = await openZoo(database)
      await createTables(zoo.perms.knex, [Shelf, Box, Thing, Note])
      ids = await asSystem(async () => {
        const mine = await Shelf.create({ label: 'mine', userId: zoo.ids.ada })
        const his = await Shelf.create({ label: 'his', userId: zoo.ids.bob })
        const box = await Box.create({ shelfId: mine.id, code: 'A 1' })
        const other = await Box.create({ shelfId: his.id, code: 'B/1' })
        const thing = await Thing.create({ boxId: box.id, name: 'cup' })
        return { mine: mine.id, his: his.id, box: box.id, other: other.id, thing: thing.id }
      })
    })
    after(() => zoo.close())
    const serve = (...resources: Resource[]): Client => clientOf(new Api({ resources }), zoo.perms)

    describe('below parents, three deep', () => {
      const things = () =>
        serve(
          new CrudResource({
            model: Thing,
            parent: {
              model: Box,
              param: 'boxId',
              parent: { model: Shelf, param: 'shelfId', path: 'shelves', parent: { model: User, param: 'userId' } },
            },
          }),
        )
      const path = (user: string, shelf: string, box: string) => `/users/${user}/shelves/${shelf}/boxes/${box}/things`

      it('show and create only rows below all parents', async () => {
        const ask = things()
        const mine = path(zoo.ids.ada, ids.mine, ids.box)
        expect((await ask('GET', mine, zoo.tokens.ada)).body.data.map(({ id }: { id: string }) => id)).to.deep.equal([ids.thing])
        expect((await ask('GET', `${mine}/${ids.thing}`, zoo.tokens.ada)).status).to.equal(200)
        const made = await ask('POST', mine, zoo.tokens.ada, { body: { name: 'plate' } })
        expect(made.body).to.include({ boxId: ids.box })
        expect((await ask('PATCH', `${mine}/${made.body.id}`, zoo.tokens.ada, { body: { name: 'dish' } })).body.name).to.equal('dish')
        expect((await ask('DELETE', `${mine}/${made.body.id}`, zoo.tokens.ada)).status).to.equal(204)
      })

      it('apply the policy of each parent, and each parent must belong to the previous one', async () => {
        const ask = things()
        const wrong = [
          // Not for bob: ada herself, and her shelf.
          [path(zoo.ids.ada, ids.mine, ids.box), zoo.tokens.bob],
          [path(zoo.ids.bob, ids.mine, ids.box), zoo.tokens.bob],
          // For an admin all are there, but not below one another.
          [path(zoo.ids.bob, ids.mine, ids.box), zoo.tokens.admin],
          [path(zoo.ids.ada, ids.mine, ids.other), zoo.tokens.admin],
          [path(zoo.ids.ada, ids.his, ids.other), zoo.tokens.admin],
          [path(zoo.ids.ada, 'x', ids.box), zoo.tokens.admin],
        ] as const
        for (const [at, token] of wrong) {
          expect((await ask('GET', at, token)).status, at).to.equal(404)
          expect((await ask('POST', at, token, { body: { name: 'x' } })).status, at).to.equal(404)
          expect((await ask('GET', `${at}/${ids.thing}`, token)).status, at).to.equal(404)
          expect((await ask('DELETE', `${at}/${ids.thing}`, token)).status, at).to.equal(404)
        }
        expect((await ask('GET', `${path(zoo.ids.bob, ids.his, ids.other)}/${ids.thing}`, zoo.tokens.bob)).status).to.equal(404)
        expect((await ask('GET', path(zoo.ids.ada, ids.mine, ids.box))).status).to.equal(401)
      })
    })

    describe('hooks', () => {
      it('run in the transaction of the endpoint, and their own writes roll back too', async () => {
        const seen: string[] = []
        const note = (text: string) => async () => {
          seen.push(text)
          await Note.create({ text })
        }
        const fail = async () => {
          await Note.create({ text: 'too late' })
          throw new ConflictError('Not today.')
        }
        const count = async () => await asSystem(async () => [await Note.query().resultSize(), await Box.query().resultSize()])
        const before = await count()
        const at = `/boxes/${ids.box}`
        const failing = serve(
          new CrudResource({
            model: Box,
            hooks: {
              beforeCreate: note('before create'),
              afterCreate: fail,
              beforeUpdate: note('before update'),
              afterUpdate: fail,
              beforeDelete: note('before delete'),
              afterDelete: fail,
            },
          }),
        )
        expect((await failing('POST', '/boxes', zoo.tokens.ada, { body: { shelfId: ids.mine, code: 'new' } })).status).to.equal(409)
        expect((await failing('PATCH', at, zoo.tokens.ada, { body: { code: 'changed' } })).status).to.equal(409)
        expect((await failing('DELETE', at, zoo.tokens.ada)).status).to.equal(409)
        expect(seen).to.deep.equal(['before create', 'before update', 'before delete'])
        expect(await count()).to.deep.equal(before)
        expect((await asSystem(() => Box.get(ids.box)))?.code).to.equal('A 1')
      })

      it('commit their own writes on success, and receive the row, the caller and the request', async () => {
        const seen: unknown[] = []
        const ask = serve(
          new CrudResource({
            model: Note,
            hooks: {
              beforeUpdate: (row, { input, params, caller }) => void seen.push(row.text, input, params.id, (caller as User).email),
              afterUpdate: async (row) => {
                await Note.create({ text: `was ${row.text}` })
              },
              beforeDelete: (row) => void seen.push(`bye ${row.text}`),
            },
          }),
        )
        const { id } = await asSystem(() => Note.create({ text: 'old' }))
        expect((await ask('PATCH', `/notes/${id}`, zoo.tokens.ada, { body: { text: 'new' } })).status).to.equal(200)
        expect((await ask('DELETE', `/notes/${id}`, zoo.tokens.ada)).status).to.equal(204)
        expect(seen).to.deep.equal(['old', { text: 'new' }, id, 'ada@example.com', 'bye new'])
        expect(await asSystem(() => Note.getBy({ text: 'was new' }))).not.to.equal(null)
      })
    })

    it('identify rows by another column in every method, with an ETag', async () => {
      const ask = serve(new CrudResource({ model: Box, id: 'code' }))
      const made = await ask('POST', '/boxes', zoo.tokens.ada, { body: { shelfId: ids.mine, code: 'x/y ü' } })
      expect(made.headers.location).to.equal('/boxes/x%2Fy%20%C3%BC')
      const at = made.headers.location as string
      const { status, headers, body } = await ask('GET', at, zoo.tokens.ada)
      expect([status, body.id]).to.deep.equal([200, made.body.id])
      const conditional = { headers: { 'if-match': headers.etag as string } }
      expect((await ask('PATCH', at, zoo.tokens.ada, { ...conditional, body: { code: 'z' } })).status).to.equal(200)
      expect((await ask('GET', at, zoo.tokens.ada)).status).to.equal(404)
      expect((await ask('DELETE', '/boxes/Z', zoo.tokens.ada)).status).to.equal(404)
      expect((await ask('DELETE', '/boxes/z', zoo.tokens.ada, conditional)).status).to.equal(412)
      expect((await ask('DELETE', '/boxes/z', zoo.tokens.ada)).status).to.equal(204)
    })

    it('give 422 instead of truncating an include with too many rows [promise 46]', async () => {
      const ask = serve(new CrudResource({ model: Shelf, path: 'shelves', include: ['boxes.things', 'user'] }))
      const { shelf, box } = await asSystem(async () => {
        const made = await Shelf.create({ label: 'full', userId: zoo.ids.ada })
        const full = await Box.create({ shelfId: made.id, code: 'full' })
        const pea = await Thing.create({ boxId: full.id, name: 'pea' })
        const row = await zoo.perms.knex('thing').where({ id: pea.id }).first()
        const more = Array.from({ length: 999 }, () => ({ ...row, id: randomUUID() }))
        await zoo.perms.knex.batchInsert('thing', more, 100)
        return { shelf: made, box: full }
      })
      const at = `/shelves/${shelf.id}`
      const full = await ask('GET', `${at}?include=boxes.things`, zoo.tokens.ada)
      expect(full.body.boxes[0].things).to.have.length(1000)
      await asSystem(() => Thing.create({ boxId: box.id, name: 'one more' }))
      for (const target of [`${at}?include=boxes.things`, `/shelves?label=full&include=boxes.things`]) {
        const { status, body } = await ask('GET', target, zoo.tokens.ada)
        expect(status).to.equal(422)
        expect(body.errors[0])
          .to.include({ field: 'include' })
          .and.property('message')
          .to.match(/'boxes.things' has more than 1000 rows/)
      }
      expect((await ask('GET', `/shelves?label=full&include=boxes,user`, zoo.tokens.ada)).body.data[0].boxes).to.have.length(1)
      await asSystem(async () => await Shelf.query().deleteById(shelf.id))
    })

    it('include each relation with one statement, for any number of rows and depth', async () => {
      const ask = serve(new CrudResource({ model: Box, include: ['shelf.user', 'things.box'] }))
      const statements = async (query: string) =>
        (await countQueries(zoo.perms.knex, () => ask('GET', `/boxes?${query}`, zoo.tokens.admin))).statements.length
      // The first request loads the caller, whom the others prove in their own statement.
      await statements('pageSize=2')
      const base = await statements('pageSize=2')
      const includes: [string, number][] = [
        ['shelf', 1],
        ['things', 1],
        ['shelf,things', 2],
        ['shelf.user', 2],
        ['shelf.user,things.box', 4],
      ]
      for (const [include, more] of includes) {
        expect(await statements(`pageSize=1&include=${include}`), include).to.equal(base + more)
        expect(await statements(`pageSize=2&include=${include}`), include).to.equal(base + more)
      }
    })
  })
}

describe('resources', function () {
  this.timeout(20_000)
  let zoo: Zoo
  let keeper: string
  before(async () => {
    zoo = await openZoo()
    await createTables(zoo.perms.knex, [Shelf, Box, Thing, Note])
    keeper = await asSystem(async () => {
      const user = await User.create({ email: 'keeper@example.com' })
      await UserRole.create({ user, role: 'keeper' })
      return (await signInAs(user)).accessToken
    })
  })
  after(() => zoo.close())
  const serve = (...resources: Resource[]): Client => clientOf(new Api({ resources }), zoo.perms)

  describe('enable each method separately', () => {
    const requests: Readonly<Record<CrudMethod, (ask: Client, token: string | null) => Promise<number>>> = {
      list: async (ask, token) => (await ask('GET', '/notes', token)).status,
      get: async (ask, token) => (await ask('GET', await noteAt(), token)).status,
      create: async (ask, token) => (await ask('POST', '/notes', token, { body: { text: 'x' } })).status,
      update: async (ask, token) => (await ask('PATCH', await noteAt(), token, { body: { text: 'x' } })).status,
      delete: async (ask, token) => (await ask('DELETE', await noteAt(), token)).status,
    }
    const noteAt = async () => `/notes/${(await asSystem(() => Note.create({ text: 'x' }))).id}`
    const done: Readonly<Record<CrudMethod, number>> = { list: 200, get: 200, create: 201, update: 200, delete: 204 }
    // The policy lets only signed-in callers write, whatever the resource allows.
    const isRead = (method: CrudMethod) => method === 'list' || method === 'get'
    const cases: [MethodOptions, (method: CrudMethod) => [nobody: number, ada: number, keeper: number, admin: number]][] = [
      [{}, (method) => [401, done[method], done[method], done[method]]],
      [{ public: true }, (method) => [isRead(method) ? done[method] : 403, done[method], done[method], done[method]]],
      [{ adminOnly: true }, (method) => [401, 403, 403, done[method]]],
      [{ role: 'keeper' }, (method) => [401, 403, done[method], 403]],
      [{ role: Role.ADMIN }, (method) => [401, 403, 403, done[method]]],
    ]
    for (const method of Object.keys(requests) as CrudMethod[]) {
      for (const [options, expected] of cases) {
        it(`${method} only, with ${JSON.stringify(options)}`, async () => {
          const ask = serve(new CrudResource({ model: Note, methods: { [method]: options } }))
          const statuses: number[] = []
          for (const token of [null, zoo.tokens.ada, keeper, zoo.tokens.admin]) statuses.push(await requests[method](ask, token))
          expect(statuses).to.deep.equal(expected(method))
          for (const other of Object.keys(requests) as CrudMethod[])
            if (other !== method) expect(await requests[other](ask, null), other).to.equal(401)
        })
      }
    }
  })

  it('apply schema and argSchema as JSON Schema and as a list, for one method and for all', async () => {
    const { id: shelfId } = await asSystem(() => Shelf.create({ label: 's', userId: zoo.ids.ada }))
    const { id: boxId } = await asSystem(() => Box.create({ shelfId, code: 'c' }))
    const bare = { type: 'object', properties: { id: {}, name: {} } }
    const named = { type: 'object', properties: { name: { type: 'string', pattern: '^n' } }, additionalProperties: false }
    const ask = serve(
      new CrudResource({
        model: Thing,
        schema: ['id', 'weight'],
        methods: { get: { schema: bare }, update: { schema: bare, argSchema: named }, list: { argSchema: { properties: { name: {} } } } },
      }),
    )
    const made = await ask('POST', '/things', zoo.tokens.ada, { body: { boxId, name: 'n', weight: 3 } })
    expect(made.body).to.have.all.keys('id', 'weight')
    const at = `/things/${made.body.id}`
    expect((await ask('GET', at, zoo.tokens.ada)).body).to.have.all.keys('id', 'name')
    expect((await ask('GET', `${at}?fields=weight`, zoo.tokens.ada)).body.errors[0].field).to.equal('fields')
    expect((await ask('GET', '/things', zoo.tokens.ada)).body.data[0]).to.have.all.keys('id', 'weight')
    expect((await ask('GET', '/things?fields=name', zoo.tokens.ada)).status).to.equal(422)
    expect((await ask('GET', '/things?name=n', zoo.tokens.ada)).body.data).to.have.length(1)
    expect((await ask('GET', '/things?weight=3', zoo.tokens.ada)).body.errors[0].field).to.equal('weight')
    expect((await ask('PATCH', at, zoo.tokens.ada, { body: { name: 'next' } })).body).to.deep.equal({ id: made.body.id, name: 'next' })
    for (const body of [{ name: 'other' }, { weight: 9 }, { name: 'next', boxId }])
      expect((await ask('PATCH', at, zoo.tokens.ada, { body })).status, JSON.stringify(body)).to.equal(422)
    expect((await asSystem(() => Thing.get(made.body.id)))?.weight).to.equal(3)
  })

  it('limit the number and the depth of included relations', async () => {
    const offer = (include: string[]) => () => serve(new CrudResource({ model: Box, include }))
    expect(offer(['things.box.shelf.user'])).to.throw(ConfigurationError, /more than 3 relations/)
    expect(offer(['things.nothing'])).to.throw(ConfigurationError, /no relation 'nothing'/)
    const ask = offer(['things.box.shelf'])()
    expect((await ask('GET', '/boxes?include=things.box.shelf', zoo.tokens.ada)).status).to.equal(200)
    for (const include of [Array(11).fill('things').join(','), 'things.box.shelf.user', 'shelf', 'constructor', '__proto__'])
      expect((await ask('GET', `/boxes?include=${include}`, zoo.tokens.ada)).body.errors[0].field, include).to.equal('include')
  })

  it('let a subclass change each endpoint of users separately', async () => {
    const marked = (endpoint: Endpoint): Endpoint =>
      endpoint.with({
        handler: async (context: EndpointContext) =>
          ((await endpoint.options.handler(context)) as HttpResponse).with({ 'x-mark': endpoint.options.path || 'root' }),
      })
    class Marked extends UserResource {
      override loginEndpoint(): Endpoint {
        return marked(super.loginEndpoint())
      }
      override refreshEndpoint(): Endpoint {
        return marked(super.refreshEndpoint())
      }
      override logoutEndpoint(): Endpoint {
        return marked(super.logoutEndpoint())
      }
      override currentUserEndpoint(): Endpoint {
        return marked(super.currentUserEndpoint())
      }
      override updateCurrentUserEndpoint(): Endpoint {
        return marked(super.updateCurrentUserEndpoint())
      }
      override listEndpoint(): Endpoint {
        return marked(super.listEndpoint())
      }
      override createEndpoint(): Endpoint {
        return marked(super.createEndpoint())
      }
    }
    const ask = serve(new Marked())
    const credentials = { email: 'bob@example.com', password }
    const signedIn = await ask('POST', '/users/login', null, { body: credentials })
    const { access_token: token, refresh_token } = signedIn.body
    const answers = [
      signedIn,
      await ask('POST', '/users/refresh', null, { body: { refresh_token } }),
      await ask('GET', '/users/me', token),
      await ask('PATCH', '/users/me', token, { body: {} }),
      await ask('GET', '/users', token),
      await ask('POST', '/users', zoo.tokens.admin, { body: { ...credentials, email: 'new@example.com' } }),
      await ask('POST', '/users/logout', token),
    ]
    expect(answers.map(({ status }) => status)).to.deep.equal([200, 200, 200, 200, 200, 201, 204])
    expect(answers.map(({ headers }) => headers['x-mark'])).to.deep.equal(['login', 'refresh', 'me', 'me', 'root', 'root', 'logout'])
    expect((await ask('GET', `/users/${zoo.ids.ada}`, zoo.tokens.ada)).headers).not.to.have.property('x-mark')
  })
})
