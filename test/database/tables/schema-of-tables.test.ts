import { expect } from 'chai'
import type { Knex } from 'knex'
import { packagedMigrations } from '../../../migrations/index.js'
import { ConfigurationError, initPerms, permsMigrations, User } from '../../../src/index.js'
import { testHasher } from '../../../src/testing/hasher.js'
import { createDatabase, eachDatabase, type OwnDatabase } from '../../helpers/databases.js'
import { rejection } from '../../helpers/errors.js'
import { laterTables } from '../../helpers/library-tables.js'
import { itServes, type SmallApplication, startSmallApplication } from './small-application.js'

eachDatabase('initPerms({ tables: { schema } })', (db) => {
  if (db.dialect === 'sqlite') {
    it('is refused on SQLite, which has no schemas', () => {
      expect(() => initPerms({ knex: db.knex, tables: { schema: 'auth' } })).to.throw(ConfigurationError, 'SQLite has no schemas')
    })
    return
  }

  const tables = () => ({ schema, prefix: 'perms_', names: { token: 'order' } })
  let schema: string
  let other: OwnDatabase | undefined
  let app: SmallApplication

  before(async function () {
    this.timeout(30_000)
    // On MariaDB, a schema is a database.
    if (db.dialect === 'mysql') other = await createDatabase('mysql2')
    schema = other ? new URL(other.url).pathname.slice(1) : 'group'
    // The application has tables of the same names in its own schema.
    for (const name of ['perms_user', 'order']) await db.knex.schema.createTable(name, (table) => void table.string('own'))
    app = await startSmallApplication(db.knex, { tables: tables() })
  })
  after(async () => {
    await app.perms.close()
    await other?.destroy()
  })

  const namesIn = async (place: string): Promise<string[]> => {
    const rows = (await db.knex('information_schema.tables').where({ table_schema: place }).select('table_name')) as object[]
    return rows.map((row) => String(Object.values(row)[0])).sort()
  }

  it('creates all tables of the library in that schema, and none elsewhere [promise 77]', async () => {
    expect(User.tableName).to.equal(`${schema}.perms_user`)
    expect(await namesIn(schema)).to.have.members([
      ...laterTables.map((table) => `perms_${table}`),
      ...['order', 'perms_audit_log', 'perms_domain', 'perms_invitation', 'perms_migrations', 'perms_migrations_lock'],
      ...['perms_second_factor', 'perms_tables', 'perms_throttle', 'perms_user', 'perms_user_role', 'perms_user_setting'],
    ])
    const own = db.dialect === 'pg' ? 'public' : new URL(db.url()).pathname.slice(1)
    expect(await namesIn(own)).to.deep.equal(['column', 'order', 'perms_user', 'table'])
    expect(await app.perms.migrate()).to.deep.equal([])
  })

  itServes(() => app)

  it('drops only its own tables when the migrations are undone, unless another schema refers to them [promise 77]', async () => {
    const rollback = () =>
      db.knex.migrate.rollback({ migrationSource: permsMigrations(), tableName: 'perms_migrations', schemaName: schema }, true)
    const error = await rejection(rollback())
    expect(error.message).to.match(/because "?table"? refers to them/)
    for (const name of ['column', 'table']) await db.knex.schema.dropTable(name)
    await rollback()
    expect(await namesIn(schema)).to.deep.equal(['perms_migrations', 'perms_migrations_lock'])
    expect(Object.keys(await db.knex('perms_user').columnInfo())).to.deep.equal(['own'])
  })
})

eachDatabase('initPerms({ tables: { schema } }) with a schema that does not exist', (db) => {
  if (db.dialect === 'sqlite') return
  const isCreated = db.dialect === 'pg'

  it(isCreated ? 'lets perms.migrate() create the schema' : 'is refused by perms.migrate(), since a schema is a database', async () => {
    const perms = initPerms({ knex: db.knex, passwordHasher: testHasher(), tables: { schema: 'nowhere' } })
    if (isCreated) expect(await perms.migrate()).to.have.length(packagedMigrations.length)
    else expect((await rejection(perms.migrate())).message).to.include("there is no database 'nowhere'. Create it first")
    await perms.close()
  })
})

eachDatabase('The search_path of Knex', (db) => {
  if (db.dialect !== 'pg') return
  let app: SmallApplication
  let knex: Knex
  before(async function () {
    this.timeout(30_000)
    await db.knex.raw('create schema auth')
    await db.knex.schema.createTable('token', (table) => void table.string('own'))
    knex = db.connect({ searchPath: ['auth'] })
    app = await startSmallApplication(knex, {})
  })
  after(() => app.perms.close())

  it('decides where the tables of the library and of the application are created', async () => {
    const names = async (place: string) =>
      (await db.knex('information_schema.tables').where({ table_schema: place }).pluck('table_name')).sort()
    expect(await names('public')).to.deep.equal(['token'])
    expect(await names('auth')).to.include.members(['user', 'token', 'table', 'perms_tables', 'objection_perms_migrations'])
  })

  itServes(() => app)

  it('finds a table of the application in a later schema of the path, and does not change it [promise 77]', async () => {
    await app.perms.close()
    await db.knex.raw('create schema empty')
    const perms = initPerms({ knex: db.connect({ searchPath: ['empty', 'public'] }), passwordHasher: testHasher() })
    const error = await rejection(perms.migrate())
    expect(error.message).to.include("The table 'token' of Token has no column 'id'")
    await perms.close()
  })
})
