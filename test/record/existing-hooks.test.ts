import { expect } from 'chai'
import {
  AjvValidator,
  type JSONSchema,
  Model,
  type ModelOptions,
  type Pojo,
  type QueryBuilder,
  Validator,
  type ValidatorArgs,
} from 'objection'
import {
  Api,
  asSystem,
  ConfigurationError,
  CrudResource,
  everyone,
  initPerms,
  type Perms,
  PermsMixin,
  runAs,
  type User,
  ValidationError,
} from '../../src/index.js'
import { createUser, signInAs, testHasher } from '../../src/testing/index.js'
import { eachDatabase } from '../helpers/databases.js'
import { fieldsOf, rejection, thrown } from '../helpers/errors.js'
import { migrateAtOnce } from '../helpers/library-tables-at-once.js'
import { type Client, clientOf } from '../http/client.js'

const open = { read: everyone(), create: everyone(), update: everyone(), delete: everyone() }
let calls: string[] = []
const note = (name: string): void => void calls.push(name)

class AppNotFound extends Error {}
class AppInvalid extends Error {
  constructor(readonly fields: string[]) {
    super('The application refuses this.')
  }
}

/** Adds a format and a keyword that only the application knows. */
const appValidator = () =>
  new AjvValidator({
    options: { allErrors: true, validateSchema: true, strict: false, coerceTypes: true } as never,
    onCreateAjv: (ajv) => {
      ajv.addFormat('sku', /^[A-Z]{2}-\d+$/)
      ajv.addKeyword({ keyword: 'even', type: 'integer', validate: (on: boolean, value: number) => !on || value % 2 === 0, errors: false })
    },
  })

/** A base class that overrides the hooks of Objection. */
class HookBase extends Model {
  static override uidProp = '#key'
  static override uidRefProp = '#see'
  static override useLimitInFirst = true
  static override relatedFindQueryMutates = true
  static override createValidator = appValidator
  static override modifiers = { cheap: (query: QueryBuilder<Model>) => void query.where('price', '<', 10) }
  static override get virtualAttributes() {
    return ['label']
  }

  static override createNotFoundError(): never {
    return new AppNotFound('gone') as never
  }
  static override createValidationError(props: { data?: object }): never {
    return new AppInvalid(Object.keys(props.data ?? {})) as never
  }
  static onCreateQuery = () => note('onCreateQuery')
  static modifierNotFound(_builder: unknown, name: string): void {
    note(`modifierNotFound ${name}`)
  }
  static override beforeFind = () => note('static beforeFind')
  static override afterFind = () => note('static afterFind')
  static override beforeInsert = () => note('static beforeInsert')
  static override afterInsert = () => note('static afterInsert')
  static override beforeUpdate = () => note('static beforeUpdate')
  static override afterUpdate = () => note('static afterUpdate')
  static override beforeDelete = () => note('static beforeDelete')
  static override afterDelete = () => note('static afterDelete')

  override $beforeInsert(): void {
    note('beforeInsert')
  }
  override $afterInsert(): void {
    note('afterInsert')
  }
  override $beforeUpdate(_options: ModelOptions): void {
    note('beforeUpdate')
  }
  override $afterUpdate(_options: ModelOptions): void {
    note('afterUpdate')
  }
  override $beforeDelete(): void {
    note('beforeDelete')
  }
  override $afterDelete(): void {
    note('afterDelete')
  }
  override $afterFind(): void {
    note('afterFind')
  }
  override $beforeValidate(schema: JSONSchema, json: Pojo, options: ModelOptions): JSONSchema {
    note('beforeValidate')
    return super.$beforeValidate(schema, json, options)
  }
  override $afterValidate(): void {
    note('afterValidate')
  }
  override $parseJson(json: Pojo, options?: ModelOptions): Pojo {
    const { cost, ...rest } = super.$parseJson(json, options)
    return cost === undefined ? rest : { ...rest, price: cost }
  }
  override $formatJson(json: Pojo): Pojo {
    return { ...super.$formatJson(json), shown: true }
  }
  override $parseDatabaseJson(json: Pojo): Pojo {
    const row = super.$parseDatabaseJson(json)
    return typeof row.code === 'string' ? { ...row, code: row.code.toUpperCase() } : row
  }
  override $formatDatabaseJson(json: Pojo): Pojo {
    const row = super.$formatDatabaseJson(json)
    return typeof row.code === 'string' ? { ...row, code: row.code.toLowerCase() } : row
  }
}

class Good extends PermsMixin(HookBase) {
  declare id: number
  declare code: string
  declare price: number
  declare shelfId: number | null
  declare tags: string[] | null
  static override tableName = 'goods'
  static override jsonAttributes = ['tags']
  static override jsonSchema: JSONSchema = {
    type: 'object',
    required: ['code'],
    properties: {
      id: { type: 'integer' },
      code: { type: 'string', format: 'sku' },
      price: { type: 'integer', even: true } as JSONSchema,
      shelfId: { type: ['integer', 'null'] },
      tags: { type: ['array', 'null'], items: { type: 'string' } },
    },
  }
  static override policy = open
  get label(): string {
    return `${this.code}!`
  }
}

class PlainGood extends HookBase {
  static override tableName = 'plain_goods'
  static override jsonAttributes = Good.jsonAttributes
  static override jsonSchema = Good.jsonSchema
  declare code: string
  get label(): string {
    return `${this.code}!`
  }
}

class Shelf extends PermsMixin(HookBase) {
  declare id: number
  declare code: string
  declare goods?: Good[]
  static override tableName = 'shelves'
  static override jsonSchema: JSONSchema = { type: 'object', properties: { id: { type: 'integer' }, code: { type: 'string' } } }
  static override relationMappings = {
    goods: { relation: Model.HasManyRelation, modelClass: Good, join: { from: 'shelves.id', to: 'goods.shelfId' } },
  }
  static override policy = open
}

/** A schema whose rules stand beside its properties. */
class Ruled extends PermsMixin(Model) {
  declare id: number
  declare code: string | null
  declare price: number | null
  static override tableName = 'goods'
  static override get jsonSchema(): JSONSchema {
    return {
      type: 'object',
      additionalProperties: false,
      anyOf: [{ required: ['code'] }, { required: ['price'] }],
      if: { properties: { code: { const: 'priced' } }, required: ['code'] },
      // biome-ignore lint/suspicious/noThenProperty: a keyword of JSON Schema
      then: { required: ['price'] },
      definitions: {
        money: { type: 'integer', minimum: 1 },
        label: { allOf: [{ $ref: '#/definitions/text' }] },
        text: { type: 'string', maxLength: 9 },
      },
      properties: {
        id: { type: 'integer' },
        code: { $ref: '#/definitions/label' },
        price: { $ref: '#/definitions/money' },
        tags: { type: 'array', items: [{ type: 'string' }, { type: 'integer' }], additionalItems: false },
      },
    } as JSONSchema
  }
  static override policy = open
}

eachDatabase('A base class that overrides hooks of Objection', (db) => {
  let perms: Perms
  let ada: User
  let ask: Client
  let token: string
  before(async () => {
    perms = initPerms({ knex: db.knex, jwt: { secret: 'a secret of the tests, 32 bytes long' }, passwordHasher: testHasher() })
    await migrateAtOnce(perms)
    PlainGood.knex(db.knex)
    for (const name of ['goods', 'plain_goods'])
      await db.knex.schema.createTable(name, (table) => {
        table.increments('id')
        table.string('code')
        table.integer('price')
        table.integer('shelfId')
        table.text('tags')
      })
    await db.knex.schema.createTable('shelves', (table) => {
      table.increments('id')
      table.string('code')
    })
    ada = await asSystem(() => createUser({ email: 'ada@example.com' }))
    token = (await signInAs(ada)).accessToken
    ask = clientOf(new Api({ resources: [new CrudResource({ model: Good }), new CrudResource({ model: Ruled, path: 'ruled' })] }), perms)
  })
  after(() => perms.close())
  beforeEach(async () => {
    await db.knex('goods').delete()
    await db.knex('shelves').delete()
    calls = []
  })

  const asAda = <T>(fn: () => PromiseLike<T>) => runAs(ada, async () => await fn())
  const insert = (values: object) => asAda(() => Good.query().insertAndFetch(values as never))

  it('keeps its own validator, which refuses, converts and knows further formats and keywords', async () => {
    const made = await insert({ code: 'AB-1', price: '4' })
    expect(made).to.include({ code: 'AB-1', price: 4 })
    for (const [values, field] of [
      [{ code: 'no', price: 4 }, 'code'],
      [{ code: 'AB-1', price: 3 }, 'price'],
    ] as const) {
      for (const write of [
        () => asAda(() => Good.query().insert(values)),
        () => asAda(() => Good.create(values)),
        () => asAda(() => Good.query().patch({ [field]: values[field] })),
        () => asAda(() => made.$query().update(values as never)),
        () => asAda(() => Good.query().upsertGraph({ id: made.id, ...values } as never)),
      ]) {
        const error = await rejection(write())
        expect(error, JSON.stringify(values)).to.be.instanceOf(AppInvalid)
        expect((error as unknown as AppInvalid).fields).to.deep.equal([field])
      }
    }
    expect(await db.knex('goods').select('code', 'price')).to.deep.equal([{ code: 'ab-1', price: 4 }])
  })

  it('keeps its own validator over HTTP, where a refusal is a 422 that names the field', async () => {
    for (const reply of [
      await ask('POST', '/goods/', token, { body: { code: 'no' } }),
      await ask('PATCH', `/goods/${(await insert({ code: 'AB-1' })).id}`, token, { body: { code: 'no' } }),
    ]) {
      expect([reply.status, reply.body.code], JSON.stringify(reply.body)).to.deep.equal([422, 'invalid'])
      expect(reply.body.errors.map((one: { field: string }) => one.field)).to.deep.equal(['code'])
    }
  })

  it('answers 422 also if the model class itself, below PermsMixin, overrides createValidationError()', async () => {
    class Own extends PermsMixin(Model) {
      static override tableName = 'goods'
      static override createValidator = appValidator
      static override jsonSchema = Good.jsonSchema
      static override policy = open
      static override createValidationError(props: { data?: object }): never {
        return new AppInvalid([this.tableName, ...Object.keys(props.data ?? {})]) as never
      }
    }
    class Heir extends Own {}
    const errors: unknown[] = []
    const resources = [Own, Heir].map((model) => new CrudResource({ model, path: model.name.toLowerCase() }))
    const client = clientOf(new Api({ resources }), perms, errors)
    for (const cls of [Own, Heir]) {
      const reply = await client('POST', `/${cls.name.toLowerCase()}/`, token, { body: { code: 'no' } })
      expect([reply.status, reply.body.code, reply.body.errors[0]?.field], cls.name).to.deep.equal([422, 'invalid', 'code'])
      const error = await rejection(asAda(() => cls.query().insert({ code: 'no' } as never)))
      expect(error).to.be.instanceOf(AppInvalid)
      expect((error as unknown as AppInvalid).fields).to.deep.equal(['goods', 'code'])
    }
    expect(errors).to.deep.equal([])
  })

  it('cannot turn off the checks of the library with a validator that accepts everything', async () => {
    class Lax extends Validator {
      override validate({ json }: ValidatorArgs): Pojo {
        return json
      }
    }
    class Loose extends PermsMixin(Model) {
      static override tableName = 'goods'
      static override createValidator = () => new Lax()
      static override jsonSchema: JSONSchema = { type: 'object', properties: { id: { type: 'integer' }, price: { type: 'integer' } } }
      static override policy = open
    }
    expect(fieldsOf(await rejection(asAda(() => Loose.query().insert({ price: 'many' } as never))))).to.deep.equal(['price'])
    class Late extends Loose {
      static override createValidator = () => Object.assign(new Lax(), { validate: async () => ({}) }) as never
    }
    expect(thrown(() => Late.fromJson({ price: 1 } as never))).to.be.instanceOf(ConfigurationError)
  })

  it('keeps its hooks, which run as often and in the same order as without the library', async () => {
    const rounds: unknown[] = []
    for (const cls of [PlainGood, Good] as (typeof Good)[]) {
      calls = []
      const made = await asAda(() => cls.query().insert({ code: 'AB-1', cost: 6, tags: ['x'] } as never))
      expect(await db.knex(cls.tableName).first('code', 'price', 'tags')).to.deep.equal({ code: 'ab-1', price: 6, tags: '["x"]' })
      const read = (await asAda(() => cls.query().findById(made.id))) as Good
      expect(read.toJSON()).to.deep.include({ code: 'AB-1', price: 6, tags: ['x'], label: 'AB-1!', shown: true })
      await asAda(() => read.$query().patch({ price: 8 }))
      await asAda(() => read.$query().delete())
      rounds.push(calls)
    }
    expect(rounds[0]).to.include.members(['beforeValidate', 'afterInsert', 'static beforeFind', 'afterUpdate', 'static afterDelete'])
    expect(rounds[1]).to.deep.equal(rounds[0])
  })

  it('keeps its static settings', async () => {
    for (const price of [2, 20]) await insert({ code: 'AB-1', price })
    expect(await asAda(() => Good.query().modify('cheap').resultSize())).to.equal(1)
    await asAda(() => Good.query().modify('unheardOf'))
    expect(calls).to.include('modifierNotFound unheardOf')
    const sent: string[] = []
    const listen = ({ sql }: { sql: string }) => void sent.push(sql)
    db.knex.on('query', listen)
    try {
      await asAda(() => Good.query().orderBy('id').first())
    } finally {
      db.knex.off('query', listen)
    }
    expect(sent.at(-1)).to.match(/ limit (\?|\$\d)/)
    expect(await rejection(asAda(() => Good.query().findById(-1).throwIfNotFound()))).to.be.instanceOf(AppNotFound)
    const [shelf] = (await asAda(() =>
      Shelf.query().insertGraph([{ '#key': 'a', code: 's', goods: [{ code: 'AB-2', price: 2 }] }] as never),
    )) as unknown as Shelf[]
    const again = await asAda(() =>
      Shelf.query()
        .findById((shelf as Shelf).id)
        .throwIfNotFound(),
    )
    await asAda(() => again.$relatedQuery('goods'))
    expect(again.goods?.map(({ code }) => code)).to.deep.equal(['AB-2'])
  })

  it('has its rules beside the properties of jsonSchema enforced on every write', async () => {
    const build = (values: object) => () => Ruled.fromJson(values)
    const refused: [object, string][] = [
      [{}, 'anyOf of nothing'],
      [{ code: 'priced' }, 'then'],
      [{ code: 'x', colour: 'red' }, 'additionalProperties'],
      [{ price: 0 }, 'a definition'],
      [{ code: 'longer than nine' }, 'a definition of a definition'],
      [{ code: 'x', tags: ['a', 'b'] }, 'the list of items'],
      [{ code: 'x', tags: ['a', 1, 2] }, 'additionalItems'],
    ]
    for (const [values, why] of refused) {
      expect(thrown(build(values)), why).to.be.instanceOf(ValidationError)
      expect(await rejection(asAda(() => Ruled.query().insert(values as never))), why).to.be.instanceOf(ValidationError)
      const reply = await ask('POST', '/ruled/', token, { body: values })
      expect(reply.status, `${why}: ${JSON.stringify(reply.body)}`).to.equal(422)
    }
    expect(await db.knex('goods')).to.have.length(0)
    const made = await ask('POST', '/ruled/', token, { body: { code: 'priced', price: 2, tags: ['a', 1] } })
    expect(made.status, JSON.stringify(made.body)).to.equal(201)
    // As in Objection, a patch requires nothing.
    expect((await ask('PATCH', `/ruled/${made.body.id}`, token, { body: { code: 'priced' } })).status).to.equal(200)
    expect((await ask('PATCH', `/ruled/${made.body.id}`, token, { body: { price: 0 } })).status).to.equal(422)
    expect(fieldsOf(thrown(() => Ruled.fromJson({ colour: 'red' } as never, { patch: true })))).to.deep.equal(['colour'])
    const document = JSON.stringify((await ask('GET', '/openapi.json')).body)
    expect(document).to.include('"minimum":1').and.not.include('#/definitions')
  })

  it('may refer to definitions in circles only with its own validator', () => {
    const circular: JSONSchema = {
      type: 'object',
      definitions: { tree: { type: 'object', properties: { child: { $ref: '#/definitions/tree' }, name: { type: 'string' } } } },
      properties: { tags: { $ref: '#/definitions/tree' } },
    } as JSONSchema
    class Circular extends PermsMixin(Model) {
      static override tableName = 'goods'
      static override jsonSchema = circular
    }
    class Validated extends Circular {
      static override createValidator = appValidator
    }
    expect(thrown(() => Circular.fromJson({})))
      .to.be.instanceOf(ConfigurationError)
      .with.property('message')
      .that.match(/'#\/definitions\/tree' is recursive.*createValidator/)
    expect(Validated.fromJson({ tags: { child: { name: 'x' } } } as never)).to.have.property('tags')
    expect(thrown(() => Validated.fromJson({ tags: { child: { name: {} } } } as never))).to.be.instanceOf(ValidationError)
  })
})
