import { expect } from 'chai'
import { Model } from 'objection'
import { ConfigurationError, ConflictError } from '../../../src/core/errors.js'
import { createTablesFromSpecs } from '../../../src/database/tables/tables.js'
import { BasePermsModel } from '../../../src/enforce/base-perms-model.js'
import type { Endpoint, EndpointContext } from '../../../src/http/core/endpoint.js'
import { Resource } from '../../../src/http/core/resource.js'
import { HttpResponse } from '../../../src/http/core/response.js'
import { CrudResource } from '../../../src/http/crud/crud-resource.js'
import { Api } from '../../../src/http/serve/api.js'
import { HasUserMixin } from '../../../src/mixins/has-user.js'
import { asSystem, currentUserId } from '../../../src/policy/context.js'
import { authenticated, everyone, nobody, owner, role } from '../../../src/policy/rules.js'
import { BaseModel } from '../../../src/record/base-model.js'
import { column } from '../../../src/schema/column.js'
import { definitionOf } from '../../../src/schema/definition/definition.js'
import { User } from '../../../src/users/user.js'
import { Critter, openZoo, UserDocument, type Zoo } from '../../conformance/zoo.js'
import { thrown } from '../../helpers/errors.js'
import { clientOf } from '../client.js'

class Cage extends HasUserMixin(BasePermsModel).withColumns({
  label: column.string({ maxLength: 20 }).unique(),
  code: column.string({ maxLength: 20 }).immutable(),
  size: column.integer({ minimum: 1 }).default(1),
  note: column.string().nullable().readableBy(role('admin')),
}) {
  static override policy = { read: everyone(), create: authenticated(), update: owner(), delete: owner() }
}

class Log extends BasePermsModel.withColumns({ text: column.string() }) {
  static override policy = { read: everyone(), create: role('admin'), update: nobody() }
}

const unknownId = '00000000-0000-7000-8000-000000000000'

describe('CrudResource', () => {
  let zoo: Zoo
  before(async () => {
    zoo = await openZoo()
    await createTablesFromSpecs(
      zoo.perms.knex,
      [Cage, Log].map((model) => {
        const { tableName, columns, uniques, indexes } = definitionOf(model)
        return { name: tableName, columns: columns as never, primaryKey: 'id', uniques, indexes }
      }),
    )
  })
  after(() => zoo.close())
  const serve = (...resources: Resource[]) => clientOf(new Api({ resources }), zoo.perms)
  let count = 0
  const cage = () => {
    count += 1
    return { label: `cage ${count}`, code: 'c' }
  }

  describe('methods', () => {
    it('are exactly those of a list', async () => {
      const ask = serve(new CrudResource({ model: Cage, methods: ['list', 'create'] }))
      expect((await ask('GET', '/cages')).status).to.equal(401)
      expect((await ask('PUT', '/cages')).headers.allow).to.equal('GET, POST, HEAD')
      await ask('GET', `/cages/${unknownId}`).then(
        () => expect.fail('there is no such path'),
        (error) => expect(String(error)).to.match(/none of the API's paths/),
      )
    })

    it('are all enabled by an object, except those that are false or in skipMethods', () => {
      const names = (resource: CrudResource) => resource.endpoints().map(({ options }) => options.name)
      expect(
        names(new CrudResource({ model: Cage, methods: { list: false, get: { public: true } }, skipMethods: ['delete'] }) as never),
      ).to.deep.equal(['getCage', 'createCage', 'updateCage'])
      expect(names(new CrudResource({ model: Cage, name: 'Box' }) as never)).to.deep.equal([
        'listBox',
        'getBox',
        'createBox',
        'updateBox',
        'deleteBox',
      ])
    })

    it('can require a role, which is checked after the row was found', async () => {
      const ask = serve(new CrudResource({ model: Critter, methods: { get: { role: 'keeper' } } }))
      expect((await ask('GET', `/critters/${zoo.ids.critter}`)).status).to.equal(401)
      expect((await ask('GET', `/critters/${zoo.ids.critter}`, zoo.tokens.ada)).status).to.equal(403)
      expect((await ask('GET', `/critters/${zoo.ids.shy}`, zoo.tokens.ada)).status).to.equal(404)
    })

    it('cannot be public and require a role', () => {
      expect(() => new CrudResource({ model: Cage, methods: { get: { public: true, adminOnly: true } } }).endpoints()).to.throw(
        ConfigurationError,
        /cannot be combined/,
      )
    })
  })

  describe('paths', () => {
    it('default to the plural of the class, and ignore the prefix if they begin with a slash', () => {
      const api = new Api({
        prefix: 'v1/',
        resources: [
          new CrudResource({ model: UserDocument, methods: ['list'] }),
          new CrudResource({ model: Cage, path: '/outside', methods: ['list'] }),
        ],
      })
      expect(api.routes(zoo.perms).map(({ path }) => path)).to.deep.equal(['/v1/user-documents', '/outside'])
    })

    it('cannot be used twice', () => {
      expect(() => serve(new CrudResource({ model: Cage }), new CrudResource({ model: Cage }))).to.throw(
        ConfigurationError,
        /Two endpoints have the route GET \/cages/,
      )
    })

    it('serve one model more than once', async () => {
      const ask = serve(
        new CrudResource({ model: Cage }),
        new CrudResource({ model: Cage, path: 'labels', name: 'Label', methods: { list: { public: true } }, schema: ['id', 'label'] }),
      )
      const made = await ask('POST', '/cages', zoo.tokens.ada, { body: cage() })
      const { body } = await ask('GET', '/labels')
      expect(body.data[0]).to.have.all.keys('id', 'label')
      expect(body.data.map(({ id }: { id: string }) => id)).to.include(made.body.id)
    })

    it('can be added after mounting', async () => {
      const api = new Api({ resources: [] })
      const ask = clientOf(api, zoo.perms)
      api.add(new CrudResource({ model: Cage }))
      expect((await ask('GET', '/cages', zoo.tokens.ada)).status).to.equal(200)
    })

    it('can identify a row by another column', async () => {
      const ask = serve(new CrudResource({ model: Cage, id: 'label' }))
      await ask('POST', '/cages', zoo.tokens.ada, { body: { ...cage(), label: 'by name' } }).then(({ headers }) =>
        expect(headers.location).to.equal('/cages/by%20name'),
      )
      expect((await ask('GET', '/cages/by%20name', zoo.tokens.bob)).body.label).to.equal('by name')
      expect((await ask('GET', '/cages/by%20nam_', zoo.tokens.bob)).status).to.equal(404)
      expect((await ask('GET', '/cages/%00', zoo.tokens.bob)).status).to.equal(404)
      expect((await ask('GET', '/cages/%zz', zoo.tokens.bob)).status).to.equal(400)
    })
  })

  describe('schema and argSchema', () => {
    it('restrict the shown columns and the accepted keys', async () => {
      const ask = serve(new CrudResource({ model: Cage, methods: { create: { argSchema: ['label', 'code'], schema: ['id', 'label'] } } }))
      expect((await ask('POST', '/cages', zoo.tokens.ada, { body: { ...cage(), size: 2 } })).body.errors).to.deep.equal([
        { field: 'size', message: 'is not known here' },
      ])
      expect((await ask('POST', '/cages', zoo.tokens.ada, { body: cage() })).body).to.have.all.keys('id', 'label')
    })

    it('refuse a name that is not a column, with similar names', () => {
      const refused = (options: object) => thrown(() => serve(new CrudResource({ model: Cage, ...options })))
      const wrong: [object, RegExp][] = [
        [{ schema: ['id', 'labl'] }, /schema of Cage names 'labl', which is not a column.*Did you mean 'label'\?/],
        [{ schema: { properties: { nmae: {}, lable: {} } } }, /names 'nmae'/],
        [{ argSchema: ['label', 'ocde'] }, /argSchema of Cage names 'ocde'.*no hooks.*Did you mean 'code'\?/],
        [{ methods: { get: { schema: ['szie'] } } }, /methods.get.schema of Cage names 'szie'.*Did you mean 'size'\?/],
        [{ methods: { list: { argSchema: ['anything'] } } }, /methods.list.argSchema of Cage names 'anything'/],
        [{ methods: { update: { argSchema: { properties: { codes: {} } } } } }, /methods.update.argSchema of Cage names 'codes'/],
        [{ id: 'lebel' }, /id of Cage names 'lebel'.*Did you mean 'label'\?/],
        [{ include: { user: ['emial'] } }, /include\['user'\] of Cage names 'emial'.*Did you mean 'email'\?/],
      ]
      for (const [options, message] of wrong) {
        const error = refused(options)
        expect(error).to.be.instanceOf(ConfigurationError)
        expect(error.message).to.match(message)
      }
      serve(new CrudResource({ model: Cage, argSchema: ['label', 'codes'], hooks: { beforeCreate: () => undefined } }))
      serve(new CrudResource({ model: Cage, argSchema: ['label', 'reason'] }))
      class Linked extends CrudResource {
        protected override shape(): Record<string, unknown> {
          return { self: '/' }
        }
      }
      serve(new Linked({ model: Cage, schema: ['id', 'self'] }))
    })

    it('pass keys that are not columns to the hooks, and cannot make a read-only column writable', async () => {
      const seen: unknown[] = []
      const argSchema = {
        type: 'object',
        properties: {
          label: { type: 'string' },
          code: { type: 'string' },
          invite: { type: 'string', pattern: '^i' },
          createdAt: { type: 'string' },
        },
        required: ['invite'],
        additionalProperties: false,
      }
      const ask = serve(
        new CrudResource({
          model: Cage,
          methods: { create: { argSchema } },
          hooks: {
            beforeCreate: ({ input, args, caller, request }) =>
              void seen.push(Object.keys(input), args, (caller as User).email, request.method),
          },
        }),
      )
      expect((await ask('POST', '/cages', zoo.tokens.ada, { body: cage() })).body.errors[0].field).to.equal('invite')
      expect((await ask('POST', '/cages', zoo.tokens.ada, { body: { ...cage(), invite: 'no' } })).status).to.equal(422)
      expect(
        (await ask('POST', '/cages', zoo.tokens.ada, { body: { ...cage(), invite: 'i1', createdAt: '2020-01-01T00:00:00Z' } })).body
          .errors[0].field,
      ).to.equal('createdAt')
      seen.length = 0
      expect((await ask('POST', '/cages', zoo.tokens.ada, { body: { ...cage(), invite: 'i1' } })).status).to.equal(201)
      expect(seen).to.deep.equal([['label', 'code'], { invite: 'i1' }, 'ada@example.com', 'POST'])
    })

    it('restrict the filters of a list', async () => {
      const ask = serve(new CrudResource({ model: Cage, methods: { list: { argSchema: ['label'] } } }))
      expect((await ask('GET', '/cages?label=x', zoo.tokens.ada)).status).to.equal(200)
      expect((await ask('GET', '/cages?size=1', zoo.tokens.ada)).status).to.equal(422)
    })
  })

  describe('hooks', () => {
    it('roll the write back if they throw, and their error becomes the response', async () => {
      const refuse = () => {
        throw new ConflictError('Not today.')
      }
      const ask = serve(new CrudResource({ model: Cage, hooks: { afterCreate: refuse, afterUpdate: refuse, afterDelete: refuse } }))
      const label = 'never there'
      expect((await ask('POST', '/cages', zoo.tokens.ada, { body: { ...cage(), label } })).status).to.equal(409)
      expect(await asSystem(() => Cage.getBy({ label }))).to.equal(null)
      const row = await asSystem(() => Cage.create({ ...cage(), userId: zoo.ids.ada }))
      expect((await ask('PATCH', `/cages/${row.id}`, zoo.tokens.ada, { body: { size: 9 } })).status).to.equal(409)
      expect((await ask('DELETE', `/cages/${row.id}`, zoo.tokens.ada)).status).to.equal(409)
      expect(await asSystem(() => Cage.get(row.id))).to.include({ size: 1 })
    })

    it('may change the input, run as the caller, and see the row', async () => {
      const seen: unknown[] = []
      const ask = serve(
        new CrudResource({
          model: Cage,
          hooks: {
            beforeCreate(context) {
              context.input = { ...context.input, size: 7 }
              seen.push(currentUserId())
            },
            afterCreate: (row) => void seen.push(row.size),
          },
        }),
      )
      expect((await ask('POST', '/cages', zoo.tokens.ada, { body: cage() })).body.size).to.equal(7)
      expect(seen).to.deep.equal([zoo.ids.ada, 7])
    })
  })

  describe('parents', () => {
    it('must be readable, and must be the parent of the row', async () => {
      const ask = serve(new CrudResource({ model: UserDocument, path: 'documents', parent: { model: User, param: 'userId' } }))
      const mine = `/users/${zoo.ids.ada}/documents`
      expect((await ask('GET', mine, zoo.tokens.ada)).body.data).to.have.length(1)
      expect((await ask('GET', `${mine}/${zoo.ids.document}`, zoo.tokens.ada)).status).to.equal(200)
      expect((await ask('GET', `/users/${zoo.ids.bob}/documents`, zoo.tokens.ada)).status).to.equal(404)
      expect((await ask('GET', `/users/${zoo.ids.bob}/documents/${zoo.ids.document}`, zoo.tokens.admin)).status).to.equal(404)
      expect((await ask('GET', `/users/nobody/documents`, zoo.tokens.admin)).status).to.equal(404)
      expect((await ask('GET', `/users/${zoo.ids.bob}/documents`, zoo.tokens.admin)).body.data).to.have.length(1)
      const made = await ask('POST', mine, zoo.tokens.ada, { body: { title: 'below', content: 'x' } })
      expect(made.body).to.include({ userId: zoo.ids.ada })
      expect(made.headers.location).to.equal(`${mine}/${made.body.id}`)
      expect(
        (await ask('POST', mine, zoo.tokens.ada, { body: { title: 'below', content: 'x', userId: zoo.ids.bob } })).body.errors[0].field,
      ).to.equal('userId')
    })

    it('can be nested to any depth', async () => {
      const users = { model: User, param: 'userId' }
      const resource = new CrudResource({
        model: Critter,
        methods: ['get'],
        parent: { model: UserDocument, param: 'documentId', path: 'documents', field: 'userId', parent: users },
      })
      expect(new Api({ prefix: '/api', resources: [resource] }).routes(zoo.perms).map(({ path }) => path)).to.deep.equal([
        '/api/users/:userId/documents/:documentId/critters/:id',
      ])
    })

    it('need a column for their id', () => {
      expect(() => serve(new CrudResource({ model: Log, parent: { model: User, param: 'userId' } }))).to.throw(
        ConfigurationError,
        /Log has no column 'userId'/,
      )
    })
  })

  describe('custom endpoints', () => {
    it('receive the row, run as the caller, and apply the policy', async () => {
      const cages = new CrudResource({ model: Cage })
      cages.endpoint<Cage>({
        method: 'POST',
        path: ':id/grow',
        item: true,
        handler: async ({ row }) => await row.update({ size: row.size + 1 }),
      })
      cages.endpoint({ method: 'GET', path: 'statistics', public: true, handler: () => HttpResponse.json({ cages: 3 }, { status: 202 }) })
      cages.endpoint({
        method: 'POST',
        path: 'check',
        argSchema: { type: 'object', properties: { n: { type: 'integer' } }, required: ['n'], additionalProperties: false },
        handler: () => undefined,
      })
      const ask = serve(cages)
      const row = await asSystem(() => Cage.create({ ...cage(), userId: zoo.ids.ada }))
      expect((await ask('POST', `/cages/${row.id}/grow`, zoo.tokens.ada)).body).to.include({ size: 2 })
      expect((await ask('POST', `/cages/${row.id}/grow`, zoo.tokens.bob)).status).to.equal(403)
      expect((await ask('POST', `/cages/${row.id}/grow`)).status).to.equal(401)
      expect((await ask('POST', `/cages/${unknownId}/grow`, zoo.tokens.ada)).status).to.equal(404)
      expect((await ask('GET', '/cages/statistics')).status).to.equal(202)
      expect(
        (await ask('POST', '/cages/check', zoo.tokens.ada, { body: { n: 'x', m: 1 } })).body.errors.map(
          ({ field }: { field: string }) => field,
        ),
      ).to.have.members(['n', 'm'])
      expect((await ask('POST', '/cages/check', zoo.tokens.ada, { body: { n: 1 } })).status).to.equal(204)
    })

    it('can be part of a resource without a model', async () => {
      const status = new Resource({ path: 'status' })
      status.endpoint({ method: 'GET', path: '', public: true, handler: () => ({ ok: true }) })
      expect((await serve(status)('GET', '/status')).body).to.deep.equal({ ok: true })
    })
  })

  it('can be overridden in a subclass that calls super', async () => {
    class Counted extends CrudResource<typeof Cage> {
      override getEndpoint(): Endpoint {
        const endpoint = super.getEndpoint()
        const handler = async (context: EndpointContext) =>
          ((await endpoint.options.handler(context)) as HttpResponse).with({ 'x-seen': '1' })
        return endpoint.with({ handler })
      }
    }
    const row = await asSystem(() => Cage.create({ ...cage(), userId: zoo.ids.ada }))
    const { headers } = await serve(new Counted({ model: Cage }))('GET', `/cages/${row.id}`, zoo.tokens.ada)
    expect(headers).to.include({ 'x-seen': '1' })
  })

  describe('refusals', () => {
    it('have a fixed order: 403 before 412 and 422, 404 before all except 401', async () => {
      const ask = serve(new CrudResource({ model: Cage }), new CrudResource({ model: Log }))
      const row = await asSystem(() => Cage.create({ ...cage(), userId: zoo.ids.ada }))
      expect((await ask('PATCH', `/cages/${row.id}`, zoo.tokens.bob, { body: '{"size":' })).status).to.equal(403)
      expect((await ask('PATCH', `/cages/${row.id}`, zoo.tokens.bob, { body: { size: 'x' } })).status).to.equal(403)
      expect((await ask('PATCH', `/cages/${unknownId}`, zoo.tokens.bob, { body: { size: 'x' } })).status).to.equal(404)
      const conditional = { headers: { 'if-match': '"other"' } }
      const inWords = [
        await ask('PATCH', `/cages/${row.id}`, zoo.tokens.bob, { ...conditional, body: { size: 2 } }),
        await ask('PATCH', `/cages/${row.id}`, zoo.tokens.bob, { body: { size: 2 } }),
        await ask('PATCH', `/cages/${row.id}`, zoo.tokens.bob, { body: { size: 'x' } }),
      ]
      for (const { status, body } of inWords) expect([status, body]).to.deep.equal([403, inWords[0]?.body])
      expect((await ask('DELETE', `/cages/${row.id}`, zoo.tokens.bob, conditional)).status).to.equal(403)
      expect((await ask('DELETE', `/cages/${row.id}`, zoo.tokens.ada, conditional)).status).to.equal(412)
      expect((await ask('PATCH', `/cages/${row.id}`, zoo.tokens.ada, { ...conditional, body: { size: 'x' } })).status).to.equal(412)
      expect((await ask('POST', '/logs', zoo.tokens.bob, { body: { text: 5 } })).status).to.equal(403)
      expect((await ask('POST', '/logs', zoo.tokens.bob, { body: { text: 'x' } })).status).to.equal(403)
      expect((await ask('POST', '/logs', zoo.tokens.admin, { body: { text: 5 } })).status).to.equal(422)
    })

    it('are 403 for unreadable rows with accessDenied: 403', async () => {
      const perms = { ...zoo.perms, options: { accessDenied: 403 as const } }
      const ask = clientOf(new Api({ resources: [new CrudResource({ model: UserDocument })] }), perms)
      const other = await ask('GET', `/user-documents/${zoo.ids.foreign}`, zoo.tokens.ada)
      const missing = await ask('GET', `/user-documents/${unknownId}`, zoo.tokens.ada)
      expect(other.status).to.equal(403)
      expect(other.body).to.deep.equal(missing.body)
    })

    it('name a repeated query parameter instead of using one of the values [promise 44]', async () => {
      const row = await asSystem(() => Cage.create({ ...cage(), userId: zoo.ids.ada }))
      const ask = serve(new CrudResource({ model: Cage, include: ['user'] }))
      const { status, body } = await ask('GET', `/cages/${row.id}?include=user&include=tokens&nope=1&nope=2`, zoo.tokens.ada)
      expect(status).to.equal(422)
      expect(body.errors.map(({ field }: { field: string }) => field)).to.deep.equal(['include', 'nope'])
    })

    it('have a limited size for any input [promise 46]', async () => {
      const ask = serve(new CrudResource({ model: Cage }))
      const row = await asSystem(() => Cage.create({ ...cage(), userId: zoo.ids.ada }))
      const many = Object.fromEntries(Array.from({ length: 50_000 }, (_, i) => [`k${i}`, 1]))
      const keys = Array.from({ length: 5000 }, (_, i) => `k${i}`).join('&')
      const begun = process.cpuUsage()
      const answers = [
        await ask('POST', '/cages', zoo.tokens.ada, { body: many }),
        await ask('PATCH', `/cages/${row.id}`, zoo.tokens.ada, { body: many }),
        await ask('POST', '/cages', zoo.tokens.ada, { body: { ['😀'.repeat(100_000)]: 1 } }),
        await ask('GET', `/cages?${keys}`, zoo.tokens.ada),
        await ask('GET', `/cages/${row.id}?${keys}`, zoo.tokens.ada),
      ]
      // Each looks at every key once: with each against all others it is ten times as much.
      expect(process.cpuUsage(begun).user / 1000).to.be.below(2500)
      for (const { status, body } of answers) {
        expect(status).to.equal(422)
        expect(JSON.stringify(body).length).to.be.below(20_000)
        expect(body.errors.length).to.be.within(1, 100)
      }
      expect(answers[2]?.body.errors[0].field).to.match(/^(?:😀)+…$/u)
    })

    it('name the field whose value is taken [promise 48]', async () => {
      const ask = serve(new CrudResource({ model: Cage }))
      const one = cage()
      await ask('POST', '/cages', zoo.tokens.ada, { body: one })
      const { status, body } = await ask('POST', '/cages', zoo.tokens.bob, { body: one })
      expect(status).to.equal(409)
      expect(body).to.include({ code: 'taken' })
      expect(body.errors[0].field).to.equal('label')
    })

    it('name immutable columns that an update changes', async () => {
      const row = await asSystem(() => Cage.create({ ...cage(), userId: zoo.ids.ada }))
      const { body } = await serve(new CrudResource({ model: Cage }))('PATCH', `/cages/${row.id}`, zoo.tokens.ada, {
        body: { code: 'other' },
      })
      expect(body.errors[0].field).to.equal('code')
    })

    it('reveal nothing about server errors, and pass them to onError [promise 48]', async () => {
      const broken = new Resource({ path: 'broken' })
      broken.endpoint({
        method: 'GET',
        path: '',
        public: true,
        handler: () => {
          throw new Error('select * from secrets')
        },
      })
      const errors: unknown[] = []
      const ask = clientOf(new Api({ resources: [broken] }), zoo.perms, errors)
      const { status, body } = await ask('GET', '/broken')
      expect(status).to.equal(500)
      expect(body).to.deep.equal({ type: 'about:blank', title: 'Internal Server Error', status: 500, code: 'internal', errors: [] })
      expect(String(errors[0])).to.match(/secrets/)
    })
  })

  describe('columns with a readableBy rule', () => {
    it('cannot be filtered or sorted by callers who cannot see them in every row [promise 43]', async () => {
      const ask = serve(new CrudResource({ model: Cage }))
      const { status, body } = await ask('GET', '/cages?note=x&sort=note', zoo.tokens.ada)
      expect(status).to.equal(422)
      expect(body.errors.map(({ field }: { field: string }) => field)).to.have.members(['note', 'sort'])
      expect((await ask('GET', '/cages?note=x&sort=note', zoo.tokens.admin)).status).to.equal(200)
    })
  })

  describe('what rows show', () => {
    class Shouting extends Cage {
      static override policy = Cage.policy
      static override virtualAttributes = ['shout']
      get shout() {
        return this.label.toUpperCase()
      }
    }
    class Discreet extends Cage {
      static override policy = Cage.policy
      override $afterFind() {
        if (this.size > 5) this.$omitFromJson('code')
      }
    }
    class Masked extends Cage {
      static override policy = Cage.policy
      override $formatJson(json: object): never {
        return { ...(super.$formatJson(json as never) as object), code: '***' } as never
      }
    }
    const shown = async (model: typeof Cage, size: number) => {
      const row = await asSystem(() => Cage.create({ ...cage(), size, userId: zoo.ids.ada }))
      const ask = serve(new CrudResource({ model, path: 'cages' }))
      const { body } = await ask('GET', `/cages/${row.id}`, zoo.tokens.ada)
      const list = await ask('GET', `/cages?size=${size}&sort=-createdAt`, zoo.tokens.ada)
      const listed = list.body.data.find(({ id }: { id: string }) => id === row.id)
      expect(listed).to.deep.equal(body)
      return body as Record<string, unknown>
    }

    it('includes getters that are named in virtualAttributes', async () => {
      const { label, shout } = await shown(Shouting as never, 2)
      expect(shout).to.equal((label as string).toUpperCase())
    })

    it('omits columns that a hook removes from single rows', async () => {
      expect(await shown(Discreet as never, 3)).to.have.property('code', 'c')
      expect(await shown(Discreet as never, 6)).not.to.have.property('code')
    })

    it("is the result of the model's own $formatJson", async () => {
      expect(await shown(Masked as never, 4)).to.have.property('code', '***')
    })

    it('uses toJSON() only if that could change the result', async () => {
      const objectionModel = Object.getPrototypeOf(Model.prototype)
      const { $toJson } = objectionModel
      let count = 0
      objectionModel.$toJson = function (...args: unknown[]) {
        count += 1
        return $toJson.apply(this, args)
      }
      try {
        await asSystem(() => Log.create({ text: 'x' }))
        expect((await serve(new CrudResource({ model: Log }))('GET', '/logs', zoo.tokens.ada)).body.data).to.have.length(1)
        expect(count).to.equal(0)
        await shown(Masked as never, 8)
        expect(count).to.be.greaterThan(0)
      } finally {
        objectionModel.$toJson = $toJson
      }
    })

    it('hides a column by its readableBy rule', async () => {
      expect(await shown(Cage, 7)).not.to.have.property('note')
    })
  })

  describe('ETag', () => {
    it('changes with the row, and works with If-None-Match and If-Match', async () => {
      const ask = serve(new CrudResource({ model: Cage }))
      const row = await asSystem(() => Cage.create({ ...cage(), userId: zoo.ids.ada }))
      const path = `/cages/${row.id}`
      const first = (await ask('GET', path, zoo.tokens.ada)).headers.etag as string
      expect((await ask('GET', path, zoo.tokens.ada, { headers: { 'if-none-match': `W/${first}` } })).status).to.equal(304)
      expect((await ask('PATCH', path, zoo.tokens.ada, { headers: { 'if-match': `"x", ${first}` }, body: { size: 3 } })).status).to.equal(
        200,
      )
      expect((await ask('PATCH', path, zoo.tokens.ada, { headers: { 'if-match': first }, body: { size: 4 } })).status).to.equal(412)
      expect((await ask('PATCH', path, zoo.tokens.ada, { headers: { 'if-match': `W/${first}` }, body: { size: 4 } })).status).to.equal(412)
      expect((await ask('DELETE', path, zoo.tokens.ada, { headers: { 'if-match': first } })).status).to.equal(412)
      const second = (await ask('GET', path, zoo.tokens.ada)).headers.etag as string
      expect((await ask('GET', path, zoo.tokens.ada)).body.size).to.equal(3)
      expect((await ask('DELETE', path, zoo.tokens.ada, { headers: { 'if-match': second } })).status).to.equal(204)
    })

    it('lets only one of two concurrent writers succeed', async () => {
      const ask = serve(new CrudResource({ model: Cage }))
      const row = await asSystem(() => Cage.create({ ...cage(), userId: zoo.ids.ada }))
      const etag = (await ask('GET', `/cages/${row.id}`, zoo.tokens.ada)).headers.etag as string
      const tries = [2, 3, 4, 5].map((size) =>
        ask('PATCH', `/cages/${row.id}`, zoo.tokens.ada, { headers: { 'if-match': etag }, body: { size } }),
      )
      expect((await Promise.all(tries)).map(({ status }) => status).sort()).to.deep.equal([200, 412, 412, 412])
    })
  })

  it('serves a model without permissions to signed-in users', async () => {
    class Plain extends BaseModel.withColumns({ label: column.string() }) {}
    const { tableName, columns } = definitionOf(Plain)
    await createTablesFromSpecs(zoo.perms.knex, [{ name: tableName, columns: columns as never, primaryKey: 'id' }])
    const ask = serve(new CrudResource({ model: Plain }))
    expect((await ask('POST', '/plains', zoo.tokens.ada, { body: { label: 'x' } })).status).to.equal(201)
    expect((await ask('GET', '/plains', zoo.tokens.ada)).body.data).to.have.length(1)
    expect((await ask('GET', '/plains')).status).to.equal(401)
  })
})
