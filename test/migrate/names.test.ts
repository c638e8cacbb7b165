import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { expect } from 'chai'
import { knexSnakeCaseMappers } from 'objection'
import { BaseModel, column } from '../../src/index.js'
import { codeString, sqlName } from '../../src/migrate/text/literals.js'
import { modelClass } from '../../src/schema/model-class.js'
import { eachDatabase } from '../helpers/databases.js'
import { Application } from './application.js'

const awkward = [
  "a'); process.exit(1); ('",
  'back\\slash',
  // biome-ignore lint/suspicious/noTemplateCurlyInString: text that looks like code
  '${x}',
  'new\nline',
  'que?stion',
  'line\u2028separator',
  '"double"',
  '`tick`',
  'dot.ted',
  'as as',
  'Ünïcode',
]

class Plain extends BaseModel.withColumns({ title: column.string(), kind: column.string() }) {
  static override tableName = 'oddity'
}

eachDatabase('Names of a database in a migration', (db) => {
  let app: Application

  before(() => {
    app = new Application(db.knex)
  })
  after(() => app.remove())

  it('are data, never code: columns, indexes and checks with any name are dropped and made again', async function () {
    this.timeout(180_000)
    const quote = (name: string) => sqlName(db.dialect, name)
    await app.change([modelClass(Plain)])
    // A question mark is no placeholder for drivers of SQLite and MariaDB, and is written in another way on PostgreSQL.
    const statements = awkward.flatMap((name, i) => [
      `alter table ${quote('oddity')} add column ${quote(name)} varchar(20) null`,
      `create index ${quote(`i ${name}`)} on ${quote('oddity')} (${quote(i % 2 === 0 ? name : 'kind')})`,
    ])
    writeFileSync(
      join(app.folder, '20991231000000_oddities.js'),
      `exports.up = async (knex) => { for (const sql of [${statements.map(codeString).join(', ')}]) await knex.raw(sql) }\nexports.down = async () => {}\n`,
    )
    await app.up()
    const text = await app.change([modelClass(Plain)], { name: 'kept' })
    expect(text).to.include('LOSES')
    await app.down()
    await app.up()
    await app.change([modelClass(Plain)], { name: 'dropped', allowLoss: true })
    expect(await app.drift([modelClass(Plain)])).to.deep.equal([])
  })
})

eachDatabase('A migration of an application with knexSnakeCaseMappers()', (db) => {
  class CamelCase extends BaseModel.withColumns({
    firstName: column.string({ maxLength: 20 }).index(),
    homeCity: column.string().nullable(),
  }) {
    static override tableName = 'camelCase'
  }
  class Wider extends BaseModel.withColumns({
    givenName: column.string({ maxLength: 40 }).index().renamedFrom('firstName'),
    age: column.integer().default(1),
  }) {
    static override tableName = 'camelCase'
  }

  it('has the names that its code uses, and runs', async function () {
    this.timeout(180_000)
    const app = new Application(db.connect(knexSnakeCaseMappers()))
    try {
      const first = await app.change([modelClass(CamelCase)])
      expect(first)
        .to.match(/createTable\('camelCase'/)
        .and.match(/specificType\('firstName'/)
      expect(await app.drift([modelClass(CamelCase)])).to.deep.equal([])
      const second = await app.change([modelClass(Wider)], { allowLoss: true })
      if (db.dialect !== 'mysql') expect(second).to.match(/renameColumn\('firstName', 'givenName'\)/)
      expect(await app.drift([modelClass(Wider)])).to.deep.equal([])
      expect(await app.check([modelClass(Wider)])).to.deep.equal([])
      expect(await db.knex.schema.hasColumn('camel_case', 'given_name')).to.equal(true)
    } finally {
      app.remove()
    }
  })
})
