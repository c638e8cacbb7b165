import { expect } from 'chai'
import { packagedMigrations } from '../../../migrations/index.js'
import { createTablesFromSpecs } from '../../../src/database/tables/tables.js'
import {
  AuditLog,
  ConfigurationError,
  column,
  initPerms,
  type Perms,
  permsMigrations,
  Role,
  Token,
  User,
  UserRole,
} from '../../../src/index.js'
import { sqlType } from '../../../src/schema/storage.js'
import { testHasher } from '../../../src/testing/hasher.js'
import { tableSpecOf } from '../../../src/users/tables/table-specs.js'
import { eachDatabase } from '../../helpers/databases.js'
import { rejection } from '../../helpers/errors.js'
import { laterTables } from '../../helpers/library-tables.js'

/** The user model of an application with a table of its own. */
class Employee extends User.withColumns({ desk: column.string({ maxLength: 20 }).nullable() }) {
  static override tableName = 'employees'
  static override columnNames = { email: 'login_email', passwordHash: 'password' }
}

eachDatabase('A database with tables of the application', (db) => {
  let perms: Perms

  const uuid = () => sqlType(column.uuid().spec, db.dialect)
  const text = () => sqlType(column.string().spec, db.dialect)
  const time = () => sqlType(column.datetime().spec, db.dialect)

  async function createEmployees(): Promise<void> {
    await db.knex.schema.createTable('employees', (table) => {
      table.specificType('id', uuid()).primary()
      table.specificType('login_email', text()).notNullable().unique()
      table.specificType('password', text())
      table.specificType('phone', text())
    })
    await db.knex('employees').insert({ id: '0198c0de-0000-7000-8000-000000000001', login_email: 'ada@example.com', phone: '5' })
  }

  const addColumns = () =>
    db.knex.schema.alterTable('employees', (table) => {
      table.specificType('desk', text())
      table.specificType('created_at', time())
      table.specificType('updated_at', time())
      table
        .specificType('is_enabled', sqlType(column.boolean().spec, db.dialect))
        .notNullable()
        .defaultTo(db.dialect === 'pg' ? true : 1)
    })

  const history = { migrationSource: permsMigrations(), tableName: 'objection_perms_migrations' }
  const rollback = () => db.knex.migrate.rollback(history, true)
  const exist = async (...names: string[]) => Promise.all(names.map((name) => db.knex.schema.hasTable(name)))

  beforeEach(() => {
    perms = initPerms({ knex: db.knex, user: Employee as never, passwordHasher: testHasher(), jwt: { secret: 'k'.repeat(48) } })
  })
  afterEach(async () => {
    await perms.close()
    for (const table of [
      ...[
        'note',
        ...laterTables,
        'second_factor',
        'invitation',
        'audit_log',
        'token',
        'user_role',
        'user_setting',
        'employees',
        'user',
        'domain',
      ],
      ...['perms_tables', 'perms_throttle', 'objection_perms_migrations', 'objection_perms_migrations_lock'],
    ])
      await db.knex.schema.dropTableIfExists(table)
  })

  it('names the missing columns of a user table and the migration that adds them, and changes nothing [promise 77]', async () => {
    await createEmployees()
    const error = await rejection(perms.migrate())
    expect(error).to.be.instanceOf(ConfigurationError)
    expect(error.message).to.include("'employees' of Employee has no column 'created_at', 'updated_at', 'is_enabled', 'desk'")
    expect(error.message)
      .to.include("knex.schema.alterTable('employees'")
      .and.to.include(`'is_enabled', '${db.dialect === 'mysql' ? 'tinyint(1)' : 'boolean'}'`)
    expect(error.message).not.to.match(/'login_email',|'password',/)
    expect(Object.keys(await db.knex('employees').columnInfo())).to.have.members(['id', 'login_email', 'password', 'phone'])
    expect(await exist('token', 'user_role', 'perms_tables')).to.deep.equal([false, false, false])
  })

  it('accepts the migration that the message contains', async () => {
    await createEmployees()
    const { message } = await rejection(perms.migrate())
    const exported: { up?: (knex: unknown) => Promise<void> } = {}
    new Function('exports', message.slice(message.indexOf('exports.up')))(exported)
    await exported.up?.(db.knex)
    expect(await perms.migrate()).to.have.length(packagedMigrations.length)
  })

  it('keeps the user table and its rows when the migrations run and when they are undone [promise 77]', async () => {
    await createEmployees()
    await addColumns()
    const before = await db.knex('employees').columnInfo()
    expect(await perms.migrate()).to.have.length(packagedMigrations.length)
    const ada = await Employee.getByOr404({ email: 'ada@example.com' } as never)
    await (ada as unknown as User).grantRole(Role.ADMIN)
    await Token.issue(ada as never)
    expect(await perms.migrate()).to.deep.equal([])
    await rollback()
    expect(await exist('token', 'user_role', 'second_factor', 'perms_throttle', 'perms_tables')).to.deep.equal([
      false,
      false,
      false,
      false,
      false,
    ])
    expect(await db.knex('employees').select('login_email', 'phone')).to.deep.equal([{ login_email: 'ada@example.com', phone: '5' }])
    expect(await db.knex('employees').columnInfo()).to.deep.equal(before)
    expect(await perms.migrate()).to.have.length(packagedMigrations.length)
    expect(await UserRole.query()).to.deep.equal([])
  })

  it('reports columns that a later model declares, also when no migration is pending [promise 77]', async () => {
    await createEmployees()
    await addColumns()
    await perms.migrate()
    await db.knex.schema.alterTable('employees', (table) => table.dropColumn('desk'))
    const error = await rejection(perms.migrate())
    expect(error.message).to.include("no column 'desk'")
  })

  it('creates a user table that does not exist, records it and drops it when undone, also after the application altered it', async () => {
    await perms.migrate()
    await db.knex.schema.alterTable('employees', (table) => void table.specificType('badge', text()).index())
    await db.knex.schema.alterTable('employees', (table) => table.dropColumn('badge'))
    const names = (await db.knex('perms_tables').orderBy('name')).map(({ name }) => name)
    expect(names).to.have.members([
      ...['audit_log', 'domain', 'employees', 'invitation', 'perms_throttle', 'second_factor', 'token', 'user_role', 'user_setting'],
      ...laterTables,
    ])
    await rollback()
    expect(await exist('employees', 'perms_tables')).to.deep.equal([false, false])
  })

  it('refuses another table of the application under a name of the library, and does not change it [promise 77]', async () => {
    await db.knex.schema.createTable('token', (table) => void table.specificType('code', text()))
    const error = await rejection(perms.migrate())
    expect(error.message).to.include("The table 'token' of Token has no column 'id'")
    expect(Object.keys(await db.knex('token').columnInfo())).to.deep.equal(['code'])
    expect(await exist('user_role', 'employees')).to.deep.equal([false, false])
  })

  it('keeps tables to which tables of the application refer [promise 77]', async () => {
    await perms.migrate()
    await db.knex.schema.createTable('note', (table) => {
      table.specificType('id', uuid()).primary()
      table.specificType('user_id', uuid()).references('id').inTable('employees')
    })
    const error = await rejection(rollback())
    expect(error.message).to.include('note refers to them')
    expect(await exist('employees', 'user_role', 'token')).to.deep.equal([true, true, true])
  })

  it('does not drop tables that the application created in place of dropped and renamed ones [promise 77]', async () => {
    await perms.migrate()
    await db.knex.schema.renameTable('second_factor', 'archive')
    for (const name of ['token', 'audit_log']) await db.knex.schema.dropTable(name)
    for (const name of ['token', 'second_factor'])
      await db.knex.schema.createTable(name, (table) => void table.specificType('code', text()))
    // With all columns and indexes of the library's table.
    await createTablesFromSpecs(db.connect(), [tableSpecOf(AuditLog)])
    const columns = await db.knex('audit_log').columnInfo()
    await db.knex.schema.alterTable('archive', (table) => table.dropForeign('user_id', 'second_factor_user_id_foreign'))
    await rollback()
    expect(await exist('employees', 'user_role', 'perms_tables')).to.deep.equal([false, false, false])
    expect(await exist('token', 'second_factor', 'archive')).to.deep.equal([true, true, true])
    expect(await db.knex('audit_log').columnInfo()).to.deep.equal(columns)
    await db.knex.schema.dropTable('archive')
  })

  it('forgets tables that were dropped, and neither creates nor alters what came in their place [promise 77]', async () => {
    await perms.migrate()
    await db.knex.schema.dropTable('audit_log')
    const missing = await rejection(perms.migrate())
    expect(missing.message).to.include("The table 'audit_log' of AuditLog does not exist").and.to.include('or the table was dropped')
    expect(await db.knex('perms_tables').where({ name: 'audit_log' })).to.deep.equal([])
    await db.knex(history.tableName).where('name', 'like', '%002%').delete()
    for (const name of ['second_factor', 'invitation', 'token']) await db.knex.schema.dropTable(name)
    await db.knex.schema.createTable('token', (table) => void table.specificType('code', text()))
    const error = await rejection(perms.migrate())
    expect(error.message).to.include("The table 'token' of Token has no column 'id'")
    expect(Object.keys(await db.knex('token').columnInfo())).to.deep.equal(['code'])
  })

  const isPostgres = db.dialect === 'pg'
  if (isPostgres)
    it('keeps views of the application that depend on its tables [promise 77]', async () => {
      await perms.migrate()
      await db.knex.schema.createView('staff', (view) => view.as(db.knex('employees').select('login_email')))
      const error = await rejection(rollback())
      expect(error).to.be.instanceOf(ConfigurationError)
      expect(error.message).to.include('view staff depends on table employees')
      expect(await db.knex('staff')).to.deep.equal([])
      await db.knex.schema.dropView('staff')
    })

  it('counts the tables of 0.1.0 as the library’s, since it kept no record', async () => {
    await perms.migrate()
    await db.knex.schema.dropTable('perms_tables')
    expect(await perms.migrate()).to.deep.equal([])
    expect((await db.knex('perms_tables')).length).to.equal(9 + laterTables.length)
    await db.knex.schema.dropTable('perms_tables')
    await rollback()
    expect(await exist('employees', 'token', 'audit_log')).to.deep.equal([false, false, false])
  })

  it('refers to the ids of increments()', async () => {
    class Clerk extends User.withColumns({ id: column.integer() }) {
      static override tableName = 'employees'
    }
    await perms.close()
    // PostgreSQL keeps the parameter types of the statements that a connection prepared for tables with UUIDs.
    await db.knex.destroy()
    db.knex.initialize()
    await db.knex.schema.createTable('employees', (table) => {
      table.increments('id')
      table.specificType('email', text()).unique()
      table.specificType('password_hash', text())
      table.specificType('is_enabled', sqlType(column.boolean().spec, db.dialect)).notNullable()
      for (const name of ['created_at', 'updated_at']) table.specificType(name, time())
    })
    perms = initPerms({ knex: db.knex, user: Clerk as never, passwordHasher: testHasher() })
    await perms.migrate()
    const clerk = (await Clerk.create({ email: 'ada@example.com' } as never)) as unknown as User
    await clerk.grantRole(Role.ADMIN)
    expect((await db.knex('user_role').select('user_id'))[0]).to.deep.equal({ user_id: clerk.id })
  })

  it('refuses to go on when the migrations ran with another user model', async () => {
    await perms.close()
    await db.knex.migrate.latest({ ...history, migrationSource: permsMigrations({ user: User }) })
    perms = initPerms({ knex: db.knex, user: Employee as never, passwordHasher: testHasher() })
    const error = await rejection(perms.migrate())
    expect(error).to.be.instanceOf(ConfigurationError)
    expect(error.message).to.include("The table 'employees' of Employee does not exist").and.to.include('knexfile')
  })
})
