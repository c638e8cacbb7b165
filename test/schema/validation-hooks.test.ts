import { expect } from 'chai'
import { type JSONSchema, Model, type ModelOptions, ValidationError as ObjectionValidationError, type Pojo } from 'objection'
import { CrudResource } from '../../src/http/crud/crud-resource.js'
import { Api } from '../../src/http/serve/api.js'
import { UserResource } from '../../src/http/users/user-resource.js'
import {
  BaseModel,
  BasePermsModel,
  ConfigurationError,
  column,
  createTables,
  Domain,
  everyone,
  hasMany,
  initPerms,
  type Perms,
  PermsError,
  Token,
  User,
  UserRole,
  UserSetting,
  ValidationError,
} from '../../src/index.js'
import { testHasher } from '../../src/testing/hasher.js'
import { eachDatabase } from '../helpers/databases.js'
import { fieldsOf, rejection, thrown } from '../helpers/errors.js'
import { type Client, clientOf } from '../http/client.js'

type Said = Record<string, unknown>

class Offer extends BaseModel.withColumns({
  title: column.string({ maxLength: 50 }),
  slug: column.string({ maxLength: 50 }),
  low: column.integer().nullable(),
  high: column.integer().nullable(),
  offerId: column.uuid().nullable(),
}) {
  static calls: [string, Said, boolean][] = []
  static override relationMappings = { parts: hasMany(() => Offer, 'offerId') }

  override $beforeValidate(schema: JSONSchema, json: Pojo, options: ModelOptions): JSONSchema {
    Offer.calls.push(['before', { ...json }, options.patch === true])
    if (typeof json.title === 'string' && json.slug === undefined && !options.patch) json.slug = json.title.toLowerCase()
    const properties = schema.properties as Record<string, Said>
    if (json.title === 'short') properties.title = { type: 'string', maxLength: 3 }
    if (json.title === 'asks') schema.required = [...(schema.required ?? []), 'high']
    return schema
  }

  override $afterValidate(json: Pojo, options: ModelOptions): void {
    Offer.calls.push(['after', { ...json }, options.patch === true])
    const { low, high } = { ...(options.old as Said | undefined), ...json } as { low?: number; high?: number }
    if (low != null && high != null && low > high) {
      throw Offer.createValidationError({
        type: 'ModelValidation',
        message: 'The bounds are the wrong way round.',
        data: { low: [{ message: 'is above high', keyword: 'bounds', params: {} }], high: [{ message: 'is below low' }] },
      } as never)
    }
  }
}

class Guarded extends BasePermsModel.withColumns({ title: column.string({ maxLength: 50 }), slug: column.string({ maxLength: 50 }) }) {
  static override tableName = 'guarded'
  static override policy = { read: everyone(), create: everyone(), update: everyone(), delete: everyone() }

  override $beforeValidate(schema: JSONSchema, json: Pojo): JSONSchema {
    if (typeof json.title === 'string') json.slug ??= json.title.toLowerCase()
    return schema
  }

  override $afterValidate(json: Pojo): void {
    if (json.title === 'app')
      throw new ObjectionValidationError({ type: 'MyOwn', message: 'Not today.', data: { title: 'is not for today' } })
    if (json.title === 'plain')
      throw new ObjectionValidationError({ type: 'ModelValidation', data: { title: [{ message: 'is too plain' }] } })
    if (json.title === 'bare') throw new ObjectionValidationError({ type: 'MyOwn', message: 'Just no.', statusCode: 500 })
  }

  override async $beforeInsert(context: never): Promise<void> {
    await super.$beforeInsert(context)
    await this.#unique()
  }

  override async $beforeUpdate(options: never, context: never): Promise<void> {
    await super.$beforeUpdate(options, context)
    await this.#unique()
  }

  // As objection-unique does it.
  async #unique(): Promise<void> {
    if (this.title !== 'twin') return
    throw Model.createValidationError.call(
      this.constructor as never,
      {
        data: { title: [{ keyword: 'unique', message: 'title already in use.' }] },
        message: 'Unique Validation Failed',
        type: 'ModelValidation',
      } as never,
    )
  }
}

class Member extends User.withColumns({ nick: column.string().nullable() }) {
  static override publicRegistration = true
  override $afterValidate(json: Pojo): void {
    if (json.nick === 'root') throw new ObjectionValidationError({ type: 'MyOwn', message: 'Taken.', data: { nick: 'is taken' } })
  }
}

eachDatabase('$beforeValidate and $afterValidate', (db) => {
  let perms: Perms
  before(async () => {
    perms = initPerms({ knex: db.knex, passwordHasher: testHasher() })
    await createTables(db.knex, [Offer])
  })
  after(() => perms.close())
  beforeEach(() => {
    Offer.calls = []
  })

  it('are called once by each method that creates or changes a row', async () => {
    const row = await Offer.create({ title: 'One' } as never)
    expect(Offer.calls.map(([name, , isPatch]) => [name, isPatch])).to.deep.equal([
      ['before', false],
      ['after', false],
    ])
    expect(row.slug).to.equal('one')
    Offer.calls = []
    await row.update({ low: 1 })
    await Offer.query().findById(row.id).patch({ low: 2 })
    row.low = 3
    await row.save()
    await row.$query().patch({ low: 4 })
    expect(Offer.calls.map(([name, json, isPatch]) => [name, json.low, isPatch])).to.deep.equal(
      [1, 2, 3, 4].flatMap((low) => [
        ['before', low, true],
        ['after', low, true],
      ]),
    )
    Offer.calls = []
    await Offer.query().insert({ title: 'Two' } as never)
    await Offer.query().upsertGraph({ id: row.id, parts: [{ title: 'Three' }] } as never)
    row.$validate()
    expect(Offer.calls.filter(([name]) => name === 'before').map(([, json]) => json.title)).to.include.members(['Two', 'Three', 'One'])
    expect((await Offer.query().orderBy('slug')).map(({ slug }) => slug)).to.include.members(['one', 'two', 'three'])
  })

  it('may change the schema for one row without changing the caller’s input', async () => {
    const input = Object.freeze({ title: 'Four' })
    expect(Offer.build(input as never).slug).to.equal('four')
    expect(fieldsOf(thrown(() => Offer.build({ title: 'short' } as never)))).to.deep.equal(['title'])
    expect(fieldsOf(thrown(() => Offer.build({ title: 'asks' } as never)))).to.deep.equal(['high'])
    expect(fieldsOf(await rejection(Offer.query().insert({ title: 'asks' } as never)))).to.deep.equal(['high'])
    expect(fieldsOf(await rejection(Offer.query().patch({ title: 'short' })))).to.deep.equal(['title'])
    // A change requires nothing.
    await Offer.query().patch({ title: 'asks' }).where('title', 'nobody')
    expect(Offer.build({ title: 'long enough' } as never).title).to.equal('long enough')
  })

  it('may throw createValidationError(), whose fields are kept', async () => {
    const error = thrown(() => Offer.build({ title: 'x', low: 2, high: 1 } as never)) as ValidationError
    expect(error).to.be.instanceOf(ValidationError)
    expect(error.message).to.equal('The bounds are the wrong way round.')
    expect(error.errors).to.deep.equal([
      { field: 'low', message: 'is above high' },
      { field: 'high', message: 'is below low' },
    ])
    const row = await Offer.create({ title: 'y', low: 1, high: 2 } as never)
    for (const call of [() => row.update({ low: 3 }), () => row.$query().patch({ low: 3 })])
      expect(fieldsOf(await rejection(call()))).to.deep.equal(['low', 'high'])
    row.low = 3
    expect(fieldsOf(thrown(() => row.$validate()))).to.deep.equal(['low', 'high'])
  })

  it('are not called with skipValidation, as in Objection', () => {
    Offer.fromJson({ title: 'x' }, { skipValidation: true })
    expect(Offer.calls).to.deep.equal([])
  })

  it('that return a promise are refused, since nothing would be validated', () => {
    class Late extends BaseModel.withColumns({ title: column.string() }) {
      override $beforeValidate(): never {
        return Promise.resolve({}) as never
      }
    }
    expect(thrown(() => Late.build({ title: 'x' } as never))).to.be.instanceOf(ConfigurationError)
  })
})

eachDatabase('Errors that the application throws while a row is written', (db) => {
  let perms: Perms
  let ask: Client
  const told: unknown[] = []
  before(async () => {
    perms = initPerms({
      knex: db.knex,
      user: Member,
      passwordHasher: testHasher(),
      jwt: { secret: 'k'.repeat(48) },
      throttle: false,
    })
    await createTables(db.knex, [Member, UserRole, Domain, Token, UserSetting, Guarded])
    ask = clientOf(
      new Api({
        resources: [
          new UserResource({}),
          new CrudResource({
            model: Guarded,
            path: 'guarded',
            methods: {
              list: { public: true },
              get: { public: true },
              create: { public: true },
              update: { public: true },
              delete: { public: true },
            },
            hooks: {
              beforeDelete: async () => {
                throw new ObjectionValidationError({ type: 'InvalidGraph', message: 'Keep it.', data: { title: { message: 'is kept' } } })
              },
            },
          }),
        ],
      }),
      perms as never,
      told,
    )
  })
  after(() => perms.close())
  beforeEach(() => {
    told.length = 0
  })

  it('become 422 with their fields, whatever their type', async () => {
    const made = await ask('POST', '/guarded', null, { body: { title: 'Good' } })
    expect(made.status, JSON.stringify(made.body)).to.equal(201)
    expect(made.body.slug).to.equal('good')
    const cases: [string, string, string[]][] = [
      ['app', 'Not today.', ['title']],
      ['plain', 'title: is too plain', ['title']],
      ['bare', 'Just no.', []],
      ['twin', 'Unique Validation Failed', ['title']],
    ]
    for (const [title, detail, fields] of cases) {
      for (const reply of [
        await ask('POST', '/guarded', null, { body: { title } }),
        await ask('PATCH', `/guarded/${made.body.id}`, null, { body: { title } }),
      ]) {
        expect([reply.status, reply.body.code, reply.body.detail], title).to.deep.equal([422, 'invalid', detail])
        expect(reply.body.errors.map(({ field }: { field: string }) => field)).to.deep.equal(fields)
      }
    }
    const kept = await ask('DELETE', `/guarded/${made.body.id}`)
    expect([kept.status, kept.body.detail, kept.body.errors]).to.deep.equal([422, 'Keep it.', [{ field: 'title', message: 'is kept' }]])
    expect(told).to.deep.equal([])
  })

  it('name the required fields that the hook did not fill in', async () => {
    const reply = await ask('POST', '/guarded', null, { body: {} })
    expect(reply.status).to.equal(422)
    expect(reply.body.errors.map(({ field }: { field: string }) => field)).to.have.members(['title', 'slug'])
  })

  it('become 422 at registration and at me/', async () => {
    const body = { email: 'ada@example.com', password: 'correct horse battery' }
    const refused = await ask('POST', '/users', null, { body: { ...body, nick: 'root' } })
    expect([refused.status, refused.body.errors]).to.deep.equal([422, [{ field: 'nick', message: 'is taken' }]])
    const made = await ask('POST', '/users', null, { body })
    expect(made.status, JSON.stringify(made.body)).to.equal(201)
    const { accessToken } = (await perms.auth.signIn(body)) as { accessToken: string }
    const change = await ask('PATCH', '/users/me', accessToken, { body: { nick: 'root' } })
    expect([change.status, change.body.errors]).to.deep.equal([422, [{ field: 'nick', message: 'is taken' }]])
  })

  it('are converted by mapError(), for sockets and jobs', () => {
    const mapped = perms.mapError(new ObjectionValidationError({ type: 'Any', message: 'No.', data: { a: ['x', 'y'], b: 5 } as never }))
    expect(mapped).to.be.instanceOf(PermsError)
    expect((mapped as PermsError).errors).to.deep.equal([{ field: 'a', message: 'x' }])
    const other = new Error('other')
    expect(perms.mapError(other)).to.equal(other)
  })
})
