import { expect } from 'chai'
import { Model, type Pojo, QueryBuilder, snakeCaseMappers } from 'objection'
import {
  ActiveRecordMixin,
  asAnonymous,
  BaseModel,
  column,
  HasRolesMixin,
  initPerms,
  NotFoundError,
  owner,
  PasswordMixin,
  type Perms,
  PermsMixin,
  runAs,
  UniqueViolationError,
  User,
  UserRole,
  ValidationError,
} from '../../src/index.js'
import { testHasher } from '../../src/testing/hasher.js'
import { eachDatabase } from '../helpers/databases.js'
import { fieldsOf, rejection } from '../helpers/errors.js'
import { migrateAtOnce } from '../helpers/library-tables-at-once.js'

class AppQueryBuilder<M extends Model, R = M[]> extends QueryBuilder<M, R> {
  declare ArrayQueryBuilderType: AppQueryBuilder<M, M[]>
  declare SingleQueryBuilderType: AppQueryBuilder<M, M>
  declare MaybeSingleQueryBuilderType: AppQueryBuilder<M, M | undefined>
  declare NumberQueryBuilderType: AppQueryBuilder<M, number>
  declare PageQueryBuilderType: AppQueryBuilder<M, import('objection').Page<M>>

  newest(): this {
    return this.orderBy('id', 'desc').limit(1)
  }
}

// An application's base class as it may have stood before: its own ids, its own QueryBuilder, its own names.
class AppBase extends Model {
  declare id: number
  declare QueryBuilderType: AppQueryBuilder<this>
  static override QueryBuilder = AppQueryBuilder
  static override columnNameMappers = snakeCaseMappers()
}

class Plain extends ActiveRecordMixin(AppBase) {
  static override tableName = 'plain_thing'
  declare firstName: string
  declare visitCount: number
  declare moreData: { a: number } | null
  static override jsonSchema = {
    type: 'object',
    required: ['firstName'],
    properties: {
      firstName: { type: 'string', minLength: 1 },
      visitCount: { type: 'integer' },
      moreData: { type: ['object', 'null'] },
    },
  }
}

class Bare extends ActiveRecordMixin(AppBase) {
  static override tableName = 'plain_thing'
  declare firstName: string
  declare visitCount: number | null
}

class Declared extends ActiveRecordMixin(AppBase).withColumns({
  firstName: column.string({ maxLength: 20 }).unique(),
  isActive: column.boolean().default(true),
  seenAt: column.datetime().nullable(),
  amount: column.decimal(10, 2).nullable(),
  extra: column.json().nullable(),
}) {
  static override tableName = 'declared_thing'
}

class Guarded extends PermsMixin(ActiveRecordMixin(AppBase)) {
  static override tableName = 'guarded_thing'
  declare userId: string
  declare noteText: string
  static override policy = { read: owner('userId'), create: owner('userId'), update: owner('userId') }
}

class Login extends PasswordMixin(ActiveRecordMixin(AppBase)) {
  static override tableName = 'login'
  declare loginName: string
}

class Account extends HasRolesMixin(PasswordMixin(PermsMixin(ActiveRecordMixin(Model)))).withColumns({
  id: column.uuid(),
  email: column.string().unique(),
  isEnabled: column.boolean().default(true),
}) {
  static override policy = {}
  static override tableName = 'account'
}

eachDatabase('An application’s own base class', (db) => {
  let perms: Perms
  before(async () => {
    perms = initPerms({ knex: db.knex, passwordHasher: testHasher() })
    await migrateAtOnce(perms)
    await db.knex.schema.createTable('plain_thing', (table) => {
      table.increments('id')
      table.string('first_name')
      table.integer('visit_count')
      table.text('more_data')
    })
    await db.knex.schema.createTable('declared_thing', (table) => {
      table.increments('id')
      table.string('first_name').unique()
      table.boolean('is_active')
      table.dateTime('seen_at', { precision: 3 } as never)
      table.decimal('amount', 10, 2)
      if (db.dialect === 'pg') table.jsonb('extra')
      else table.text('extra')
    })
    await db.knex.schema.createTable('guarded_thing', (table) => {
      table.increments('id')
      table.string('user_id', 36)
      table.string('note_text')
    })
    if (db.dialect === 'pg') await db.knex.raw('alter table guarded_thing alter user_id type uuid using user_id::uuid')
    await db.knex.schema.createTable('login', (table) => {
      table.increments('id')
      table.string('login_name')
      table.string('password_hash')
    })
  })
  after(() => perms.close())

  describe('with ActiveRecordMixin and a jsonSchema', () => {
    it('saves, reads, changes and deletes, with ids that the database counts', async () => {
      const made = await Plain.create({ firstName: 'Ada', moreData: { a: 1 } })
      expect(made.id).to.be.a('number')
      const read = await Plain.getOr404(made.id as never)
      expect(read).to.include({ firstName: 'Ada', visitCount: null })
      expect(read.moreData).to.deep.equal({ a: 1 })
      read.visitCount = 2
      await read.save()
      expect(await db.knex('plain_thing').where({ id: made.id }).first()).to.include({ first_name: 'Ada', visit_count: 2 })
      await read.update({ firstName: 'Eve', moreData: { a: 2 } })
      expect((await Plain.getByOr404({ firstName: 'Eve' })).moreData).to.deep.equal({ a: 2 })
      await read.delete()
      expect(await Plain.get(made.id as never)).to.equal(null)
    })

    it('validates by the jsonSchema', async () => {
      expect(fieldsOf(await rejection(Plain.create({ visitCount: 1 } as never).catch((e: unknown) => Promise.reject(e))))).to.deep.equal([
        'firstName',
      ])
      const made = await Plain.create({ firstName: 'x' })
      expect(fieldsOf(await rejection(made.update({ visitCount: 'many' as never })))).to.deep.equal(['visitCount'])
    })

    it('keeps the application’s own query methods', async () => {
      await Plain.create({ firstName: 'older' })
      const { id } = await Plain.create({ firstName: 'newer' })
      expect((await Plain.query().newest())[0]?.id).to.equal(id)
      expect((await Plain.query().where('firstName', 'newer').newest())[0]?.firstName).to.equal('newer')
    })

    it('keeps the application’s own hooks', async () => {
      class Hooked extends Plain {
        override async $beforeInsert(context: never): Promise<void> {
          await super.$beforeInsert(context)
          this.visitCount = 42
        }
      }
      const made = await Hooked.create({ firstName: 'h' })
      expect((await Plain.getOr404(made.id as never)).visitCount).to.equal(42)
    })

    it('keeps the application’s own way of reading rows, below the library and above it', async () => {
      class Below extends AppBase {
        override $parseDatabaseJson(json: Pojo): Pojo {
          const row = super.$parseDatabaseJson(json)
          return { ...row, visitCount: Number(row['visitCount'] ?? 0) + 1 }
        }
      }
      class Shouting extends ActiveRecordMixin(Below) {
        static override tableName = 'plain_thing'
        declare firstName: string
        declare visitCount: number
        override $parseDatabaseJson(json: Pojo): Pojo {
          const row = super.$parseDatabaseJson(json)
          return { ...row, firstName: String(row['firstName']).toUpperCase() }
        }
      }
      const made = await Plain.create({ firstName: 'ssh', visitCount: 1 })
      const read = await Shouting.getOr404(made.id as never)
      expect(read).to.include({ firstName: 'SSH', visitCount: 2 })
      // The row has the values that were read, so save() sends nothing.
      await read.save()
      expect(await Plain.getOr404(made.id as never)).to.include({ firstName: 'ssh', visitCount: 1 })
    })
  })

  it('with ActiveRecordMixin and no schema at all saves what it is given', async () => {
    const made = await Bare.create({ firstName: 'x', visitCount: 1 })
    const read = await Bare.getOr404(made.id as never)
    read.visitCount = 5
    await read.save()
    expect(await Bare.getByOr404({ id: made.id })).to.include({ firstName: 'x', visitCount: 5 })
    read.visitCount = null
    await read.save()
    expect((await db.knex('plain_thing').where({ id: made.id }).first()).visit_count).to.equal(null)
  })

  it('with declared columns reads them as it wrote them, whatever its columnNameMappers do', async () => {
    const seenAt = new Date('2030-01-31T12:00:00.123Z')
    const made = await Declared.create({ firstName: 'a', seenAt, amount: '5', extra: [1, { b: 2 }] })
    expect(made.id).to.be.a('number')
    const read = await Declared.getOr404(made.id as never)
    expect(read).to.include({ firstName: 'a', isActive: true, amount: '5.00' })
    expect(read.seenAt).to.deep.equal(seenAt)
    expect(read.extra).to.deep.equal([1, { b: 2 }])
    read.isActive = false
    await read.save()
    expect((await Declared.getByOr404({ isActive: false })).firstName).to.equal('a')
    expect(await Declared.query().where('firstName', 'a').orderBy('seenAt').resultSize()).to.equal(1)
    const taken = await rejection(Declared.create({ firstName: 'a' }))
    expect(taken).to.be.instanceOf(UniqueViolationError)
    expect(fieldsOf(taken)).to.deep.equal(['firstName'])
    expect(
      fieldsOf(await rejection(Declared.create({ firstName: 'b', colour: 1 } as never).catch((e: unknown) => Promise.reject(e)))),
    ).to.deep.equal(['colour'])
  })

  it('with PermsMixin shows each user only their own rows', async () => {
    const [ada, bob] = [await User.create({ email: 'ada@example.com' }), await User.create({ email: 'bob@example.com' })]
    const note = await runAs(ada, () => Guarded.create({ userId: ada.id, noteText: 'mine' }))
    expect(await runAs(ada, () => Guarded.query())).to.have.length(1)
    expect(await runAs(bob, () => Guarded.query())).to.have.length(0)
    expect(await asAnonymous(() => Guarded.query())).to.have.length(0)
    expect(await runAs(bob, () => Guarded.get(note.id as never))).to.equal(null)
    expect(await runAs(bob, () => rejection(note.update({ noteText: 'his' })))).to.be.instanceOf(NotFoundError)
    await runAs(ada, () => note.update({ noteText: 'changed' }))
    expect(await runAs(bob, () => rejection(Guarded.create({ userId: ada.id, noteText: 'in her name' })))).to.have.property('status', 403)
    expect((await Guarded.query()).map(({ noteText }) => noteText)).to.deep.equal(['changed'])
  })

  it('with PasswordMixin hashes, checks and hides the password', async () => {
    const made = await Login.create({ loginName: 'x', password: 'correct horse battery' } as never)
    const read = await Login.getOr404(made.id as never)
    expect(await read.isPasswordCorrect('correct horse battery')).to.equal(true)
    expect(await read.isPasswordCorrect('wrong')).to.equal(false)
    expect(JSON.stringify(read)).not.to.match(/password|\$2/i)
    await read.update({ password: 'another good one' } as never)
    expect(await (await Login.getOr404(made.id as never)).isPasswordCorrect('another good one')).to.equal(true)
    expect(await rejection((async () => Login.query().insert({ loginName: 'y', password: 'x' } as never))())).to.be.instanceOf(
      ValidationError,
    )
  })
})

eachDatabase('An application’s own user model, made of the parts', (db) => {
  let perms: Perms
  before(async () => {
    perms = initPerms({ knex: db.knex, user: Account as never, passwordHasher: testHasher() })
    await migrateAtOnce(perms)
  })
  after(() => perms.close())

  it('has roles, a password and tables of the library’s that refer to it', async () => {
    const made = await Account.create({ email: 'ada@example.com', password: 'correct horse battery' } as never)
    await made.grantRole('editor')
    expect(made.hasRole('editor')).to.equal(true)
    const read = await Account.getByOr404({ email: 'ada@example.com' })
    expect(read.hasRole('editor')).to.equal(true)
    expect(await read.isPasswordCorrect('correct horse battery')).to.equal(true)
    await read.delete()
    expect(await UserRole.query()).to.deep.equal([])
  })

  it('leaves BaseModel usable', () => {
    expect(BaseModel.prototype).to.be.instanceOf(Model)
  })
})

class Film extends ActiveRecordMixin(Model) {
  static override tableName = 'films'
  declare billedAs: string
}
class Star extends ActiveRecordMixin(Model) {
  static override tableName = 'stars'
  declare id: number
  declare films: Film[]
  static override relationMappings = {
    films: {
      relation: Model.ManyToManyRelation,
      modelClass: Film,
      join: { from: 'stars.id', through: { from: 'casts.starId', to: 'casts.filmId', extra: ['billedAs'] }, to: 'films.id' },
    },
  }
}

eachDatabase('A join table without a model, between models without mappers of names', (db) => {
  let perms: Perms
  before(async () => {
    perms = initPerms({ knex: db.knex, models: [Star, Film] })
    await db.knex.schema.createTable('stars', (table) => table.increments('id'))
    await db.knex.schema.createTable('films', (table) => table.increments('id'))
    await db.knex.schema.createTable('casts', (table) => {
      for (const name of ['starId', 'filmId']) table.integer(name)
      table.string('billedAs')
    })
  })
  after(() => perms.close())

  it('has extra columns with the names that the relation gives them, like its keys', async () => {
    const star = await Star.query().insert({})
    await star.$relatedQuery('films').insert({ billedAs: 'the detective' } as never)
    const read = await Star.query().findById(star.id).withGraphFetched('films').throwIfNotFound()
    expect(read.films.map(({ billedAs }) => billedAs)).to.deep.equal(['the detective'])
  })
})
