import { expect } from 'chai'
import { readSchema } from '../../src/database/catalogue/read-schema.js'
import type { SchemaChange } from '../../src/database/catalogue/schema-types.js'
import { column, initPerms, type Perms, User } from '../../src/index.js'
import { describeChanges } from '../../src/migrate/compare/describe.js'
import { compareSchemas } from '../../src/migrate/compare.js'
import { declaredSchema } from '../../src/migrate/declared-schema.js'
import { declaredTables, libraryTableNames } from '../../src/migrate/declared-tables.js'
import { migrate } from '../../src/migrations.js'
import { replayLibraryColumnsOnly } from '../../src/users/tables/migration-tables.js'
import { createDatabase, eachDatabase, type TestDatabase } from '../helpers/databases.js'

class Member extends User.withColumns({
  email: column.string({ maxLength: 320 }).unique().named('login_email').renamedFrom('email'),
  badge: column.string({ maxLength: 12 }).unique(),
}) {
  static override tableName = 'member'
}

/** Returns the differences between a database with the library's tables and the models. */
async function differences(db: TestDatabase, perms: Perms, isReplay: boolean): Promise<SchemaChange[]> {
  const [own, scratch] = [await createDatabase(db.name), await createDatabase(db.name)]
  try {
    if (isReplay) replayLibraryColumnsOnly(own.knex)
    await perms.run(() => migrate(own.knex))
    return compareSchemas(await readSchema(own.knex), await declaredSchema(scratch.knex, declaredTables(perms)))
  } finally {
    await own.destroy()
    await scratch.destroy()
  }
}

eachDatabase('The tables of the library', (db) => {
  let perms: Perms
  before(() => {
    perms = initPerms({ knex: db.knex, user: Member, tables: { prefix: 'own_' } })
  })
  after(() => perms.close())

  it('have the names that the registered models and the options give them', () => {
    expect(libraryTableNames(perms)).to.have.members([
      ...['member', 'own_user_role', 'own_domain', 'own_token', 'own_user_setting', 'own_second_factor', 'own_invitation', 'own_audit_log'],
      ...['own_throttle', 'own_tables', 'own_migrations', 'own_migrations_lock'],
    ])
  })

  it('do not differ from the models after perms.migrate()', async () => {
    expect(describeChanges(await differences(db, perms, false))).to.deep.equal([])
  })

  it('have only the columns of the library in a replay, with earlier names, so that the columns of the application are differences', async () => {
    const changes = await differences(db, perms, true)
    expect(changes.map(({ kind }) => kind)).to.deep.equal(['renameColumn', 'addColumn', 'changeColumn', 'addIndex'])
    expect(changes[0]).to.deep.equal({ kind: 'renameColumn', table: 'member', from: 'email', to: 'login_email' })
    expect(changes[1]).to.deep.include({ kind: 'addColumn', table: 'member' })
    expect(changes[2])
      .to.have.nested.property('to.type')
      .that.matches(/\(320\)/)
    expect(changes[3]).to.have.nested.property('index.columns').that.deep.equals(['badge'])
  })
})
