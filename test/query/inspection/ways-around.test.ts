import { expect } from 'chai'
import { knexSnakeCaseMappers, Model, raw } from 'objection'
import {
  asSystem,
  BaseModel,
  BasePermsModel,
  ConfigurationError,
  column,
  createTables,
  HasUserMixin,
  initPerms,
  type Perms,
  runAs,
  type User,
  UserOwnershipMixin,
} from '../../../src/index.js'
import { protectedTables } from '../../../src/query/inspection/protected-tables.js'
import { createUser } from '../../../src/testing/index.js'
import { eachDatabase } from '../../helpers/databases.js'
import { rejection } from '../../helpers/errors.js'
import { migrateAtOnce } from '../../helpers/library-tables-at-once.js'

class SecretDoc extends UserOwnershipMixin(HasUserMixin(BasePermsModel)).withColumns({ title: column.string() }) {
  static override tableName = 'secret-docs'
}
class OpenDoc extends BaseModel.withColumns({ title: column.string() }) {
  static override tableName = 'open_doc'
}

/** Objection's own class over the table of a model with a policy. */
class Plain extends Model {
  static override tableName = 'secret-docs'
}
class PlainOpen extends Model {
  static override tableName = 'open_doc'
  static override relationMappings = () => ({
    secrets: { relation: Model.HasManyRelation, modelClass: Plain, join: { from: 'open_doc.title', to: 'secret-docs.title' } },
  })
}
class LegacyUser extends Model {
  static override tableName = 'user'
  static unprotected = true
}
class Legacy extends Model {
  static override tableName = 'secret-docs'
  static unprotected = true
  static override relationMappings = () => ({
    owner: { relation: Model.BelongsToOneRelation, modelClass: LegacyUser, join: { from: 'secret-docs.user_id', to: 'user.id' } },
  })
  declare title: string
}
class LegacyChild extends Legacy {
  static override tableName = 'secret-docs'
}
class LegacyBase extends BaseModel.withColumns({ title: column.string() }) {
  static override tableName = 'secret-docs'
  static unprotected = true
}

type Untyped = any

eachDatabase('ways around the policy', (db) => {
  let perms: Perms
  let owner: User
  let stranger: User
  before(async function () {
    this.timeout(30_000)
    perms = initPerms({ knex: db.knex, jwt: { secret: 'x'.repeat(32) }, models: [SecretDoc] })
    await migrateAtOnce(perms)
    await createTables(db.knex, [SecretDoc, OpenDoc])
    for (const cls of [Plain, PlainOpen, Legacy, LegacyChild]) cls.knex(db.knex)
    owner = await createUser({ email: 'owner@example.com' })
    stranger = await createUser({ email: 'stranger@example.com' })
    await SecretDoc.create({ title: 'MARK', userId: owner.id })
    await OpenDoc.create({ title: 'MARK' })
  })
  after(async () => await perms.close())

  const quote = () => (db.dialect === 'mysql' ? '`' : '"')
  const table = () => `${quote()}secret-docs${quote()}`
  const schema = () => (db.dialect === 'pg' ? 'public' : db.dialect === 'mysql' ? new URL(db.url()).pathname.slice(1) : 'main')

  const ways: Record<string, () => unknown> = {
    'a plain class': () => Plain.query(),
    'a plain class bound to a Knex': () => Plain.bindKnex(db.knex).query(),
    'a plain class in a transaction': () => Plain.transaction(async (trx) => await Plain.query(trx)),
    'findById of a plain class': () => Plain.query().findById(1),
    'a count by a plain class': () => Plain.query().resultSize(),
    'a page of a plain class': () => Plain.query().page(0, 10),
    'an insert by a plain class': () => Plain.query().insert({ title: 'x' } as Untyped),
    'an update by a plain class': () => Plain.query().patch({ title: 'x' } as Untyped),
    'a delete by a plain class': () => Plain.query().delete(),
    'a knex query of a plain class': async () => await (Plain.query() as Untyped).toKnexQuery(),
    'a relation to a plain class': () => PlainOpen.query().withGraphFetched('secrets'),
    'a joined relation to a plain class': () => PlainOpen.query().joinRelated('secrets').select('secrets.title'),
    'a graph joined to a plain class': () => PlainOpen.query().withGraphJoined('secrets'),
    'a related query of a plain class': () => PlainOpen.relatedQuery('secrets').for(['MARK']),
    'a join of a plain class': () =>
      PlainOpen.query().join('secret-docs', 'secret-docs.title', 'open_doc.title').select('secret-docs.title'),
    'a subquery of a plain class': () => PlainOpen.query().whereIn('title', Plain.query().select('title')),
    'a subquery of a plain class in a model': () => OpenDoc.query().whereExists(Plain.query()),
    'raw SQL of a plain class': () => PlainOpen.query().whereRaw(`exists (select 1 from ${table()})`),
    'from() of a plain class': () => PlainOpen.query().from('secret-docs').select('title'),
    'another schema of a plain class': () => {
      class Named extends Model {
        static override tableName = `${schema()}.secret-docs`
      }
      return Named.bindKnex(db.knex).query().select('title')
    },
    'a plain class by another case': () => {
      class Named extends Model {
        static override tableName = 'SECRET-DOCS'
      }
      return Named.bindKnex(db.knex).query()
    },
    'a subclass of a class that is unprotected': () => LegacyChild.query(),
    'another protected table by a class that is unprotected': () =>
      Legacy.query().join('token', 'token.user_id', 'secret-docs.user_id').select('token.id'),
    'raw SQL over another protected table by such a class': () =>
      Legacy.query().whereRaw(`exists (select 1 from ${quote()}token${quote()})`),
    'a BaseModel over schema.table': () => {
      class Named extends BaseModel.withColumns({ title: column.string() }) {
        static override tableName = `${schema()}.secret-docs`
      }
      return Named.query()
    },
    'a write by a BaseModel over schema.table': () => {
      class Written extends BaseModel.withColumns({ title: column.string() }) {
        static override tableName = `${schema()}.secret-docs`
      }
      return Written.query().patch({ title: 'x' })
    },
    'raw SQL with a quoted name': () => OpenDoc.query().whereRaw(`exists (select 1 from ${table()})`),
    'raw SQL with a quoted name and a schema': () =>
      OpenDoc.query().select(raw(`(select max(title) from ${schema()} . ${table()}) as title`)),
    'raw SQL with a name next to a comment': () => OpenDoc.query().select(raw(`(select max(title) from/**/${table()}) as title`)),
    'raw SQL after an apostrophe in a name': () =>
      OpenDoc.query().select(raw(`(select max(title) as "it's" from ${table()} where '' = '') as ${quote()}it's${quote()}`)),
    'raw SQL after an apostrophe in quotes, in where': () =>
      OpenDoc.query().whereRaw(`exists (select title as "it's" from ${table()}) or 'x' = 'it''s'`),
    'raw SQL in two pieces': () => OpenDoc.query().select(raw('(select max(title) from ?)', [raw(table())]).as('title')),
    'raw SQL in two pieces, the table outside': () =>
      OpenDoc.query().select(raw(`(? ${table()})`, [raw('select max(title) from')]).as('title')),
    'raw SQL with a bound name': () => OpenDoc.query().select(raw('(select max(title) from ??)', ['secret-docs']).as('title')),
    'raw SQL with a bound name and an alias': () =>
      OpenDoc.query().select(raw('(select max(title) from ??)', ['secret-docs as d']).as('title')),
    'raw SQL with a name bound by key': () => OpenDoc.query().select(raw('(select max(title) from :t:)', { t: 'secret-docs' }).as('title')),
    'raw SQL with knex.ref': () =>
      OpenDoc.query().select(raw('(select max(title) from ?)', [db.knex.ref('secret-docs') as Untyped]).as('title')),
    'raw SQL around a query bound as a name': () =>
      OpenDoc.query().select(db.knex.raw('(?? or 1 = 1)', [(SecretDoc.query().select('title') as Untyped).toKnexQuery()]) as Untyped),
    'raw SQL around a pluck': () =>
      OpenDoc.query().select(
        db.knex.raw('(? or 1 = 1)', [(SecretDoc.query() as Untyped).toKnexQuery().clearSelect().pluck('title')]) as Untyped,
      ),
    'an object that looks like raw SQL': () =>
      OpenDoc.query().where({
        isRawInstance: true,
        sql: '1 = 1',
        toSQL: () => ({ sql: `exists (select 1 from ${table()})`, bindings: [] }),
      } as Untyped),
    'a statement that is executed in a comment': () => SecretDoc.query().whereRaw('1 = 1 /*!50000 or 1 = 1 */'),
    'a backslash before a quote': () => SecretDoc.query().whereRaw(db.dialect === 'sqlite' ? 'title = [x' : "title = 'a\\' or 1 = 1 -- '"),
    'raw SQL in an object without a prototype': () =>
      OpenDoc.query().onBuildKnex((query: Untyped) =>
        query.select(Object.assign(Object.create(null), { t: db.knex.raw(`(select max(title) from ${table()})`) })),
      ),
    'raw SQL in an object of a class': () =>
      OpenDoc.query().onBuildKnex((query: Untyped) =>
        query.select(Object.assign(new (class A {})(), { t: db.knex.raw(`(select max(title) from ${table()})`) })),
      ),
    'a function in an object of a class': () =>
      OpenDoc.query().onBuildKnex((query: Untyped) =>
        query.select(Object.assign(new (class A {})(), { t: (q: Untyped) => q.max('title').from('secret-docs') })),
      ),
    'a table in an object of a class': () =>
      OpenDoc.query().onBuildKnex((query: Untyped) =>
        query.crossJoin(Object.assign(new (class A {})(), { t: 'secret-docs' })).select('t.title'),
      ),
    'joinRaw of a BaseModel, in two pieces': () => OpenDoc.query().joinRaw('cross join').joinRaw(table()).select('open_doc.title'),
    'a statement that onBuildKnex() replaces': () => OpenDoc.query().onBuildKnex((() => db.knex('secret-docs')) as Untyped),
    'a statement of a plain class that onBuildKnex() replaces': () =>
      PlainOpen.query().onBuildKnex((() => db.knex('secret-docs')) as Untyped),
    'a knex query of a BaseModel, joined later, in a model': () =>
      OpenDoc.query()
        .from((OpenDoc.query() as Untyped).toKnexQuery().clearSelect().select('s.title').crossJoin('secret-docs as s').as('open_doc'))
        .select('title'),
    'a knex query of a plain class, joined later, in a model': () =>
      OpenDoc.query()
        .from((PlainOpen.query() as Untyped).toKnexQuery().clearSelect().select('s.title').crossJoin('secret-docs as s').as('open_doc'))
        .select('title'),
    'values in options()': () => (SecretDoc.query() as Untyped).where('title', 'x').options({ values: [owner.id, owner.id] }),
    'bindings in options()': () => (SecretDoc.query() as Untyped).options({ bindings: [owner.id] }),
    'text in options()': () => (OpenDoc.query() as Untyped).options({ text: `select * from ${table()}` }),
    'sql in options()': () => (OpenDoc.query() as Untyped).options({ sql: `select * from ${table()}` }),
    'a name in options()': () => (SecretDoc.query() as Untyped).options({ name: 'of another statement' }),
    'submit in options()': () => (SecretDoc.query() as Untyped).options({ submit() {} }),
    'options() of a plain class': () =>
      (PlainOpen.query() as Untyped).options({ sql: `select * from ${table()}`, text: `select * from ${table()}` }),
    'a value with SQL of its own': () => SecretDoc.query().where('title', { toSqlString: () => "'' or 1 = 1" } as Untyped),
    'a raw value with SQL of its own': () => SecretDoc.query().whereRaw('title = ?', [{ toSqlString: () => "'' or 1 = 1" }] as Untyped),
    'a list with a value with SQL of its own': () =>
      SecretDoc.query().whereIn('title', [{ toSqlString: () => "'') or 1 = 1 or (''" }] as Untyped),
    'a listener that adds to the statement': () =>
      SecretDoc.query().onBuildKnex((query: Untyped) => void query.on('start', (one: Untyped) => one.orWhereRaw('1 = 1'))),
    'a listener that changes the bindings': () =>
      SecretDoc.query().onBuildKnex((query: Untyped) => void query.on('query', (one: Untyped) => one.bindings.fill(owner.id))),
    'a parameter by number': () =>
      SecretDoc.query()
        .where('title', owner.id)
        .orWhereRaw(db.dialect === 'pg' ? 'user_id = $1' : 'user_id = ?1'),
    'a question mark inside quotes': () =>
      db.dialect === 'sqlite'
        ? SecretDoc.query().whereRaw('title = @a')
        : SecretDoc.query().whereRaw("title = '?' or title = :a", { a: owner.id }),
  }
  for (const [way, run] of Object.entries(ways)) {
    it(`${way} is refused [promise 71]`, async () => {
      for (const user of [stranger, owner]) {
        const error = await rejection((async () => await runAs(user, () => run() as PromiseLike<unknown>))())
        expect(error, error.stack).to.be.instanceOf(ConfigurationError)
      }
    })
  }

  const ordinary: Record<string, () => PromiseLike<unknown>> = {
    'a plain class over another table': () => PlainOpen.query().select('title').where('title', 'MARK'),
    'a plain class with raw SQL': () => PlainOpen.query().whereRaw('upper(title) = ? /* a comment */', ['MARK']).select('title'),
    'a plain class that says it is unprotected': () => Legacy.query().select('title'),
    'such a class bound to a Knex': () => Legacy.bindKnex(db.knex).query().select('title'),
    'such a class in a transaction': () => Legacy.transaction(async (trx) => await Legacy.query(trx).select('title')),
    'a relation between such classes': async () => await Legacy.query().joinRelated('owner').select('secret-docs.title'),
    'raw SQL over the own table of such a class': () => Legacy.query().whereRaw(`exists (select 1 from ${table()})`).select('title'),
    'a BaseModel that says so': () => LegacyBase.query().select('title'),
    'a subquery of such a class': () => OpenDoc.query().whereIn('title', Legacy.query().select('title')).select('title'),
    'raw SQL that names a column of the table': () =>
      OpenDoc.query().whereRaw('exists (select 1 from open_doc o where o.title = open_doc.title)').select('title'),
    'a protected query in raw SQL': () =>
      OpenDoc.query()
        .whereRaw('not exists ?', [(SecretDoc.query() as Untyped).toKnexQuery()])
        .select('title'),
    'options that change the form of the answer': () =>
      (OpenDoc.query() as Untyped).options({ nestTables: false, safeIntegers: false }).select('title'),
    'conditions added to a knex query of a model': async () => {
      await SecretDoc.query().toKnexQuery().where('title', 'x').whereRaw('1 = 1')
      return [{ title: 'MARK' }]
    },
  }
  for (const [way, run] of Object.entries(ordinary)) {
    it(`${way} is allowed`, async () => {
      const rows = (await runAs(stranger, run)) as { title: string }[]
      expect(rows.map(({ title }) => title)).to.deep.equal(['MARK'])
    })
  }

  it('code of the application itself is not restricted', async () => {
    await asSystem(async () => {
      expect(await Plain.query()).to.have.lengthOf(1)
      expect(await OpenDoc.query().whereRaw(`exists (select 1 from ${table()})`)).to.have.lengthOf(1)
    })
  })

  it('a query on another Knex instance is rejected too, because it may use the same database', async () => {
    const other = db.connect()
    expect(await rejection(runAs(stranger, () => Plain.query(other)))).to.be.instanceOf(ConfigurationError)
  })

  it("a table is recognised under the name that the application's wrapIdentifier gives it [promise 71]", async function () {
    this.timeout(20_000)
    await perms.close()
    const other = db.connect(knexSnakeCaseMappers())
    class MappedDoc extends UserOwnershipMixin(HasUserMixin(BasePermsModel)).withColumns({ title: column.string() }) {
      static override tableName = 'mapped_doc'
    }
    class Camel extends Model {
      static override tableName = 'mappedDoc'
    }
    const second = initPerms({ knex: other, models: [MappedDoc] })
    try {
      for (const query of [() => Camel.query(other), () => PlainOpen.query(other).join('mappedDoc', 'mappedDoc.id', 'open_doc.id')])
        expect(await rejection(runAs(stranger.id, query as never)), String(query)).to.be.instanceOf(ConfigurationError)
    } finally {
      await second.close()
      perms = initPerms({ knex: db.knex, jwt: { secret: 'x'.repeat(32) }, models: [SecretDoc] })
    }
  })

  it('a class with a policy cannot be unprotected, and an unprotected class over its table does not end the protection [promise 71]', async () => {
    class Both extends BasePermsModel.withColumns({ title: column.string() }) {
      static unprotected = true
    }
    expect((await rejection(asSystem(() => Both.query()))).message).to.match(/unprotected/)
    expect(protectedTables()).to.include('secret-docs')
  })

  it('views and functions over protected tables are listed, and printed when the first adapter is created [promise 71]', async () => {
    const name = table()
    await db.knex.raw(`create view red_view as select * from ${name}`)
    await db.knex.raw('create view red_view_of_view as select * from red_view')
    await db.knex.raw('create view harmless_view as select * from open_doc')
    if (db.dialect === 'pg')
      await db.knex.raw(`create function red_function() returns bigint language sql as 'select count(*) from "secret-docs"'`)
    if (db.dialect === 'mysql')
      await db.knex.raw('create function red_function() returns int reads sql data return (select count(*) from `secret-docs`)')
    const found = await perms.listUnguarded()
    const names = found.map((one) => one.name.replace(/^public\./, ''))
    expect(names).to.include.members(['red_view', 'red_view_of_view', ...(db.dialect === 'sqlite' ? [] : ['red_function'])])
    expect(names).not.to.include('harmless_view')
    expect(found.find((one) => /red_view$/.test(one.name))).to.deep.include({ kind: 'view', reads: ['secret-docs'] })

    const lines: string[] = []
    const warn = console.warn
    console.warn = (text: string) => lines.push(text)
    try {
      perms.noteAdapter()
      perms.noteAdapter()
      for (let i = 0; i < 200 && lines.length === 0; i += 1) await new Promise((resolve) => setTimeout(resolve, 10))
    } finally {
      console.warn = warn
    }
    expect(lines).to.have.lengthOf(1)
    expect(lines[0]).to.contain('red_view').and.to.contain('secret-docs').and.to.contain('asSystem()')
  })

  it('an unreadable catalogue is reported, and does not prevent the start [promise 71]', async () => {
    await perms.close()
    const lines: string[] = []
    const warn = console.warn
    console.warn = (text: string) => lines.push(text)
    const other = db.connect()
    const second = initPerms({ knex: other, jwt: { secret: 'x'.repeat(32) }, models: [SecretDoc] })
    try {
      await other.destroy()
      second.noteAdapter()
      for (let i = 0; i < 200 && lines.length === 0; i += 1) await new Promise((resolve) => setTimeout(resolve, 10))
    } finally {
      console.warn = warn
      await second.close()
      perms = initPerms({ knex: db.knex, jwt: { secret: 'x'.repeat(32) }, models: [SecretDoc] })
    }
    expect(lines).to.have.lengthOf(1)
    expect(lines[0]).to.contain('could not be listed')
  })
})
