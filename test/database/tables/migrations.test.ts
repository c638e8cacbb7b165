import { execFile } from 'node:child_process'
import { mkdirSync, mkdtempSync, rmSync, symlinkSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'
import { expect } from 'chai'
import type { Knex } from 'knex'
import { packagedMigrations } from '../../../migrations/index.js'
import {
  AuditLog,
  BaseModel,
  BasePermsModel,
  ConfigurationError,
  column,
  createTables,
  HasUserMixin,
  initPerms,
  type Perms,
  permsMigrations,
  Token,
  User,
  UserRole,
} from '../../../src/index.js'
import { migrate } from '../../../src/migrations.js'
import { availableDrivers, createDatabase, eachDatabase } from '../../helpers/databases.js'
import { rejection } from '../../helpers/errors.js'
import { laterTables } from '../../helpers/library-tables.js'

class Clerk extends User.withColumns({ desk: column.string().default('none') }) {}
class Paper extends HasUserMixin(BasePermsModel).withColumns({ title: column.string() }) {}

const tables = ['domain', 'user_role', 'token', 'user_setting']

for (const name of availableDrivers.filter((one) => one === 'pg' || one === 'mysql2')) {
  describe(`Migrations by processes that start at once (${name})`, () => {
    it('run in one process while the others wait, and so does createTables()', async function () {
      this.timeout(60_000)
      const own = await createDatabase(name)
      const perms = initPerms({ knex: own.knex, passwords: { cost: 10 } })
      try {
        // With one connection each: what waits holds none of them.
        const processes = Array.from({ length: 4 }, () => own.connect({ pool: { min: 0, max: 1 } }))
        const ran = await Promise.all(processes.map((knex) => migrate(knex)))
        expect(ran.filter((names) => names.length > 0)).to.have.length(1)
        const history = (await own.knex('objection_perms_migrations').select('name')).map((row) => row.name)
        expect(history).to.deep.equal(ran.flat())
        expect(await own.knex('objection_perms_migrations_lock')).to.have.length(1)
        await Promise.all(processes.map((knex) => createTables(knex, [Paper])))
        expect(await own.knex('paper')).to.deep.equal([])
      } finally {
        await perms.close()
        await own.destroy()
      }
    })
  })
}

eachDatabase('Migrations', (db) => {
  let perms: Perms
  let folder: string
  before(() => {
    folder = mkdtempSync(join(tmpdir(), 'objection-perms-migrations-'))
    writeFileSync(
      join(folder, '001_application.mjs'),
      `export const up = (knex) => knex.schema.createTable('own_thing', (table) => {
        table.increments('id')
        table.specificType('user_id', ${JSON.stringify(db.dialect === 'pg' ? 'uuid' : db.dialect === 'mysql' ? 'char(36) character set utf8mb4 collate utf8mb4_nopad_bin' : 'char(36)')}).references('id').inTable('user').onDelete('CASCADE')
      })
      export const down = (knex) => knex.schema.dropTable('own_thing')
      `,
    )
    writeFileSync(join(folder, 'README.md'), 'not a migration')
    writeFileSync(join(folder, '002_types.d.ts'), 'export {}')
  })
  after(() => rmSync(folder, { recursive: true, force: true }))
  beforeEach(() => {
    perms = initPerms({ knex: db.knex, passwords: { cost: 10 } })
  })
  afterEach(async () => {
    await perms.close()
    for (const table of [
      'own_thing',
      ...laterTables,
      'second_factor',
      'invitation',
      'audit_log',
      'paper',
      'token',
      'user_role',
      'user_setting',
      'clerk',
      'user',
      'domain',
      'knex_migrations',
      'knex_migrations_lock',
      'objection_perms_migrations',
      'objection_perms_migrations_lock',
    ])
      await db.knex.schema.dropTableIfExists(table)
  })

  const exist = async (...names: string[]) => Promise.all(names.map((name) => db.knex.schema.hasTable(name)))

  it('create the library’s tables once, with their own history', async () => {
    expect(await perms.migrate()).to.have.length(packagedMigrations.length)
    expect(await exist('user', ...tables)).to.deep.equal([true, true, true, true, true])
    expect(await exist('objection_perms_migrations', 'knex_migrations')).to.deep.equal([true, false])
    expect(await perms.migrate()).to.deep.equal([])
    const user = await User.create({ email: 'ada@example.com' })
    await UserRole.create({ user, role: 'x' })
    expect(await perms.migrate()).to.deep.equal([])
    expect((await User.getOr404(user.id)).hasRole('x')).to.equal(true)
  })

  it('run inside one migration of an application that keeps its own history', async () => {
    const migration = {
      up: (knex: Knex) => permsMigrations().up(knex),
      down: (knex: Knex) => permsMigrations().down(knex),
    }
    const migrationSource = {
      getMigrations: async () => ['adopt'],
      getMigrationName: (name: string) => name,
      getMigration: async () => migration,
    }
    await db.knex.migrate.latest({ migrationSource })
    expect(await exist('user', ...tables, 'second_factor')).to.deep.equal([true, true, true, true, true, true])
    expect(await exist('objection_perms_migrations')).to.deep.equal([false])
    const user = await User.create({ email: 'ada@example.com' })
    // Both ways to migrate agree on what is there.
    expect(await perms.migrate()).to.have.length(packagedMigrations.length)
    expect((await User.getOr404(user.id)).email).to.equal('ada@example.com')
    await db.knex.migrate.rollback({ migrationSource })
    expect(await exist('user', ...tables, 'second_factor')).to.deep.equal([false, false, false, false, false, false])
  })

  it('add missing columns to tables of an earlier version and keep their rows', async () => {
    await perms.migrate()
    const user = await User.create({ email: 'ada@example.com' })
    const { plain } = await Token.issue(user)
    const further = ['second_factor', 'invitation', 'audit_log']
    expect(await exist(...further)).to.deep.equal([true, true, true])
    for (const table of further) await db.knex.schema.dropTable(table)
    // Migration 008 changes the audit log that 002 creates.
    await db.knex('objection_perms_migrations').where('name', 'like', '%002%').orWhere('name', 'like', '%008%').delete()
    await db.knex.schema.alterTable('token', (table) => {
      if (db.dialect === 'mysql') table.dropForeign('impersonator_id', 'token_impersonator_id_foreign')
      table.dropColumns('abilities', 'bound_to', 'impersonator_id')
    })
    expect(await perms.migrate()).to.deep.equal(['objection_perms_002_further_tables.js', 'objection_perms_008_row_changes.js'])
    expect(await exist(...further)).to.deep.equal([true, true, true])
    expect(Object.keys(await db.knex('token').columnInfo())).to.include.members(['abilities', 'bound_to', 'impersonator_id'])
    expect((await Token.verify(plain))?.userId).to.equal(user.id)
    // The column that came later refers to users as in a new table.
    const superadmin = await User.create({ email: 'root@example.com' })
    await db.knex('token').update({ impersonator_id: superadmin.id })
    await superadmin.delete()
    expect(await Token.query()).to.deep.equal([])
    await AuditLog.create({ event: 'signIn', details: { sessionId: 'x' } })
    expect((await AuditLog.query())[0]).to.deep.include({ event: 'signIn', actorId: null, details: { sessionId: 'x' } })
  })

  it('of a later version do not stop this one, which may start again beside it', async () => {
    await perms.migrate()
    await db.knex('objection_perms_migrations').insert({ name: 'objection_perms_999_later.js', batch: 2, migration_time: new Date() })
    expect(await perms.migrate()).to.deep.equal([])
  })

  it('at once from several processes run once', async () => {
    const others = [db.connect(), db.connect()]
    const results = await Promise.allSettled([perms.migrate(), perms.migrate()])
    expect(results.some(({ status }) => status === 'fulfilled')).to.equal(true)
    await perms.migrate()
    expect(await exist('user', ...tables)).to.deep.equal([true, true, true, true, true])
    await Promise.all(others.map((knex) => knex.destroy()))
  })

  it('create the table of the registered user model, which the others reference', async () => {
    await perms.close()
    perms = initPerms({ knex: db.knex, user: Clerk, passwords: { cost: 10 } })
    await perms.migrate()
    expect(await exist('clerk', 'user')).to.deep.equal([true, false])
    const clerk = await Clerk.create({ email: 'ada@example.com', desk: '4' })
    await UserRole.create({ user: clerk, role: 'x' })
    await clerk.delete()
    expect(await UserRole.query()).to.deep.equal([])
  })

  it('come before the application’s migrations in one history: permsMigrations({ with })', async () => {
    const config = { migrationSource: permsMigrations({ with: folder }) }
    const [, ran] = (await db.knex.migrate.latest(config)) as [number, string[]]
    expect(ran.map((name) => name.replace(/_.*/, ''))).to.deep.equal([...packagedMigrations.map(() => 'objection'), '001'])
    expect(ran.at(-1)).to.equal('001_application.mjs')
    expect(await exist('user', 'own_thing', 'objection_perms_migrations')).to.deep.equal([true, true, false])
    expect(((await db.knex.migrate.latest(config)) as [number, string[]])[1]).to.deep.equal([])
    await db.knex.migrate.rollback(config, true)
    expect(await exist('user', 'own_thing', ...tables)).to.deep.equal([false, false, false, false, false, false])
  })

  it('come after a migration of the application, from its own source: permsMigrations({ with, after })', async () => {
    await perms.close()
    perms = initPerms({ knex: db.knex, user: Clerk, passwords: { cost: 10 } })
    const own: Record<string, Knex.Migration> = {
      '1_clerks': { up: (knex) => createTables(knex, [Clerk]), down: (knex) => knex.schema.dropTable('clerk') },
      '2_things': {
        up: (knex) => knex.schema.createTable('own_thing', (table) => void table.string('name')),
        down: (knex) => knex.schema.dropTable('own_thing'),
      },
    }
    const source: Knex.MigrationSource<string> = {
      getMigrations: async () => Object.keys(own),
      getMigrationName: (name) => name,
      getMigration: async (name) => own[name] as Knex.Migration,
    }
    const config = { migrationSource: permsMigrations({ with: source, after: '1_clerks' }) }
    const [, ran] = (await db.knex.migrate.latest(config)) as [number, string[]]
    expect(ran).to.deep.equal([...['1_clerks', ...packagedMigrations.map(({ file }) => `objection_perms_${file}`), '2_things']])
    expect((await db.knex('perms_tables')).map(({ name }) => name)).to.not.include('clerk')
    await db.knex.migrate.rollback(config, true)
    expect(await exist('clerk', 'own_thing', ...tables)).to.deep.equal([false, false, false, false, false, false])
    const wrong = { migrationSource: permsMigrations({ with: source, after: '3_none' }) }
    const error = await rejection(db.knex.migrate.latest(wrong))
    expect(error).to.be.instanceOf(ConfigurationError)
    expect(error.message).to.include("the application has no such migration. It has '1_clerks', '2_things'")
  })

  it('do not change the application’s own history', async () => {
    await perms.migrate()
    const own = { directory: folder, loadExtensions: ['.mjs'] }
    const [, ran] = (await db.knex.migrate.latest(own)) as [number, string[]]
    expect(ran).to.have.length(1)
    await db.knex.migrate.rollback(own, true)
    expect(await exist('own_thing', 'user')).to.deep.equal([false, true])
  })

  it('drop their tables when undone', async () => {
    await perms.migrate()
    await db.knex.migrate.rollback({ migrationSource: permsMigrations(), tableName: 'objection_perms_migrations' }, true)
    expect(await exist('user', ...tables)).to.deep.equal([false, false, false, false, false])
  })

  it('createTables() creates the tables of models in any order and keeps existing ones', async () => {
    await perms.migrate()
    await createTables(db.knex, [Paper, User])
    const user = await User.create({ email: 'ada@example.com' })
    await Paper.create({ title: 'x', userId: user.id })
    await createTables(db.knex, [Paper])
    expect(await Paper.query()).to.have.length(1)
    expect((await rejection(Paper.create({ title: 'x', userId: '0198c0de-0000-7000-8000-00000000000a' }))) as object).to.include({
      status: 422,
    })
  })

  it('createTables() names a model that declares no table', async () => {
    class Nothing extends BaseModel {}
    const error = await rejection(createTables(db.knex, [Nothing]))
    expect(error).to.be.instanceOf(ConfigurationError)
    expect(error.message).to.include('Nothing')
  })
})

describe('A knexfile', () => {
  const root = fileURLToPath(new URL('../../../', import.meta.url))
  let folder: string
  beforeEach(() => {
    folder = mkdtempSync(join(tmpdir(), 'objection-perms-knexfile-'))
  })
  afterEach(() => rmSync(folder, { recursive: true, force: true }))

  const knex = async (knexfile: string, command: string) => {
    const args = ['--import', 'tsx', join(root, 'node_modules/knex/bin/cli.js'), '--knexfile', knexfile, command]
    const env = { ...process.env, DATABASE_URL: join(folder, 'app.db') }
    return (await promisify(execFile)(process.execPath, args, { cwd: root, env })).stdout
  }

  it('knexfile.ts migrates the database of DATABASE_URL with the knex command, up and down', async function () {
    this.timeout(60_000)
    const knexfile = join(root, 'knexfile.ts')
    expect(await knex(knexfile, 'migrate:latest')).to.include(`${packagedMigrations.length} migrations`)
    expect(await knex(knexfile, 'migrate:latest')).to.match(/Already up to date/)
    expect(await knex(knexfile, 'migrate:rollback')).to.include(`${packagedMigrations.length} migrations`)
  })

  it('in CommonJS runs the library’s migrations between those of the application', async function () {
    this.timeout(60_000)
    const text = {
      'migrations/1_employees.js': `exports.up = (knex) => knex.schema.createTable('employees', (table) => {
          table.uuid('id').primary()
          for (const name of ['email', 'password_hash']) table.string(name)
          table.boolean('is_enabled').notNullable().defaultTo(true)
          for (const name of ['created_at', 'updated_at']) table.datetime(name)
        })
        exports.down = (knex) => knex.schema.dropTable('employees')`,
      'migrations/2_notes.cjs': `module.exports = {
          up: (knex) => knex.schema.createTable('note', (table) => void table.uuid('role_id').references('id').inTable('user_role')),
          down: (knex) => knex.schema.dropTable('note'),
        }`,
      'knexfile.cjs': `const { initPerms, permsMigrations, User } = require(${JSON.stringify(join(root, 'src/index.ts'))})
        const config = {
          client: 'better-sqlite3',
          connection: { filename: process.env.DATABASE_URL },
          useNullAsDefault: true,
          migrations: { migrationSource: permsMigrations({ with: ${JSON.stringify(join(folder, 'migrations'))}, after: '1_employees.js' }) },
        }
        class Employee extends User {}
        Employee.tableName = 'employees'
        initPerms({ knex: require('knex')(config), user: Employee })
        module.exports = config`,
    }
    mkdirSync(join(folder, 'migrations'))
    // The knex command looks for the package from the folder of the knexfile.
    symlinkSync(join(root, 'node_modules'), join(folder, 'node_modules'))
    for (const [name, content] of Object.entries(text)) writeFileSync(join(folder, name), content)
    const knexfile = join(folder, 'knexfile.cjs')
    expect(await knex(knexfile, 'migrate:latest')).to.include(`${packagedMigrations.length + 2} migrations`)
    expect(await knex(knexfile, 'migrate:rollback')).to.include(`${packagedMigrations.length + 2} migrations`)
  })
})
