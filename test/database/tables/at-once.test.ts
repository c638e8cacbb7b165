import { expect } from 'chai'
import { initPerms, User } from '../../../src/index.js'
import { countQueries, createDatabase, eachDatabase } from '../../helpers/databases.js'
import { describeTables } from '../../helpers/described-tables.js'
import { migrateAtOnce } from '../../helpers/library-tables-at-once.js'

class Neighbour extends User {
  static override tableName = 'neighbour'
}

eachDatabase('The set-up of the library’s tables', (db) => {
  const secret = 'a secret of this test, 32 bytes or more'

  /** Creates the tables in a database of its own. @returns what the database then has, and the number of statements */
  async function tablesOf(migrate: typeof migrateAtOnce, user: typeof User, existing?: string) {
    const own = await createDatabase(db.name)
    const perms = initPerms({ knex: own.knex, user, jwt: { secret } })
    try {
      if (existing !== undefined) await own.knex.schema.createTable(existing, (table) => table.integer('id'))
      const { statements } = await countQueries(own.knex, () => migrate(perms))
      const rows = async (table: string, ...columns: string[]) => await own.knex(table).select(columns).orderBy(columns)
      const result = {
        tables: await describeTables(own.knex, db.dialect, (name) => name !== existing),
        history: await rows('objection_perms_migrations', 'id', 'name', 'batch'),
        locks: await rows('objection_perms_migrations_lock', 'index', 'is_locked'),
        record: await rows('perms_tables', 'name'),
      }
      return { result, count: statements.length }
    } finally {
      await perms.close()
      await own.destroy()
    }
  }

  it('by migrateAtOnce() has the tables, the history and the record of perms.migrate(), the first time and later', async function () {
    this.timeout(120_000)
    for (const user of [User, Neighbour]) {
      const expected = await tablesOf(async (perms) => void (await perms.migrate()), user)
      expect(Object.keys(expected.result.tables)).to.include(user === User ? 'user' : 'neighbour')
      const first = await tablesOf(migrateAtOnce, user)
      const second = await tablesOf(migrateAtOnce, user)
      expect(first.result).to.deep.equal(expected.result)
      expect(second.result).to.deep.equal(expected.result)
      if (process.env['FULL'] !== '1') expect(second.count).to.be.below(expected.count / 4)
    }
  })

  it('by migrateAtOnce() runs the migrations in a database that has tables', async function () {
    this.timeout(120_000)
    const expected = await tablesOf(async (perms) => void (await perms.migrate()), User)
    const beside = await tablesOf(migrateAtOnce, User, 'existing')
    expect(beside.result).to.deep.equal(expected.result)
    expect(beside.count).to.be.within(expected.count, expected.count + 10)
  })

  it('by perms.migrate() looks up which tables exist in few statements', async () => {
    const { count, result } = await tablesOf(async (perms) => void (await perms.migrate()), User)
    const tables = Object.keys(result.tables).length
    // With one look-up for each table and migration, it would be more than twenty for each table.
    expect(count / tables).to.be.below(16)
  })
})
