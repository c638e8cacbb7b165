import { expect } from 'chai'
import type { Knex } from 'knex'
import { ConfigurationError, column, initPerms, permsMigrations, User } from '../../../src/index.js'
import { createDatabase, eachDatabase, type OwnDatabase } from '../../helpers/databases.js'
import { rejection } from '../../helpers/errors.js'

class Employee extends User.withColumns({ desk: column.string({ maxLength: 20 }).nullable() }) {
  static override tableName = 'employee'
}
class Other extends User {
  static override tableName = 'other_user'
}

const history = 'objection_perms_migrations'

eachDatabase('permsMigrations()', (db) => {
  let own: OwnDatabase
  beforeEach(async () => {
    own = await createDatabase(db.name)
  })
  afterEach(() => own.destroy())

  const refusal = async (promise: PromiseLike<unknown>) => {
    const error = await rejection(promise)
    expect(error).to.be.instanceOf(ConfigurationError)
    return error.message
  }
  const exist = (...names: string[]) => Promise.all(names.map((name) => own.knex.schema.hasTable(name)))
  const file = (up: (knex: Knex) => Promise<void>) => ({
    getMigrations: async () => ['001_perms'],
    getMigrationName: (name: string) => name,
    getMigration: async () => ({ up, down: async () => {} }),
  })

  it('is refused without initPerms(), in a history, in up() and in down(), because the tables depend on the models', async () => {
    const text = /Call initPerms\(.*permsMigrations\(\{ user: User \}\)/
    expect(await refusal(own.knex.migrate.latest({ migrationSource: permsMigrations() }))).to.match(text)
    expect(await refusal(permsMigrations().up(own.knex))).to.match(text)
    expect(await refusal(permsMigrations().down(own.knex))).to.match(text)
    expect(await exist('user', 'user_role')).to.deep.equal([false, false])
  })

  it('works without initPerms() when it gets the same options, and creates the tables that initPerms() expects', async () => {
    const options = { user: Employee, ids: 'integer', tables: { prefix: 'own_' } } as const
    await own.knex.migrate.latest({ migrationSource: permsMigrations(options), tableName: 'own_migrations' })
    expect(await exist('employee', 'own_user_role', 'user')).to.deep.equal([true, true, false])
    const perms = initPerms({ knex: own.knex, ...options })
    try {
      expect(await perms.migrate()).to.deep.equal([])
      expect((await Employee.create({ email: 'ada@example.com', desk: '4' })).desk).to.equal('4')
    } finally {
      await perms.close()
    }
    await own.knex.migrate.rollback({ migrationSource: permsMigrations(options), tableName: 'own_migrations' }, true)
    expect(await exist('employee', 'own_user_role')).to.deep.equal([false, false])
  })

  it('forgets its models afterwards', async () => {
    await permsMigrations({ user: Employee }).up(own.knex)
    await refusal(permsMigrations().up(own.knex))
    const perms = initPerms({ knex: own.knex, user: Other })
    expect(perms.models.user).to.equal(Other)
    await perms.close()
  })

  it('refuses other models, tables and ids than initPerms() has', async () => {
    const perms = initPerms({ knex: own.knex, user: Employee })
    try {
      expect(await refusal(permsMigrations({ user: Other }).up(own.knex))).to.equal(
        'permsMigrations({ user: Other }): initPerms() uses Employee. Use the same classes.',
      )
      expect(await refusal(permsMigrations({ tables: { prefix: 'x_' } }).up(own.knex))).to.contain(
        'permsMigrations({ tables }): initPerms()',
      )
      expect(await refusal(permsMigrations({ ids: 'integer' }).up(own.knex))).to.contain("permsMigrations({ ids: 'integer' }): initPerms()")
      await permsMigrations({ user: Employee }).up(own.knex)
    } finally {
      await perms.close()
    }
  })

  it('is refused in a history of the application after perms.migrate(), and in a migration of the application', async () => {
    const perms = initPerms({ knex: own.knex })
    try {
      await perms.migrate()
      const text = /already run in the history 'objection_perms_migrations'.*remove permsMigrations\(\)/
      expect(await refusal(own.knex.migrate.latest({ migrationSource: permsMigrations() }))).to.match(text)
      expect(await refusal(own.knex.migrate.latest({ migrationSource: file((knex) => permsMigrations().up(knex)) }))).to.match(text)
    } finally {
      await perms.close()
    }
  })

  it('lets perms.migrate() refuse when its migrations have run in the history of the application', async () => {
    const perms = initPerms({ knex: own.knex })
    try {
      await own.knex.migrate.latest({ migrationSource: permsMigrations() })
      expect(await refusal(perms.migrate())).to.match(/in the history 'knex_migrations'.*`knex\.migrate\.latest\(\)` instead/)
    } finally {
      await perms.close()
    }
  })

  it('lets perms.migrate() refuse another prefix than that of the history that created the tables', async () => {
    const first = initPerms({ knex: own.knex, user: Employee, tables: { prefix: 'a_' } })
    await first.migrate()
    await first.close()
    const second = initPerms({ knex: own.knex, user: Employee, tables: { prefix: 'b_' } })
    expect(await refusal(second.migrate())).to.match(
      /'employee'.*'a_migrations'.*'b_migrations'.*initPerms\(\{ tables: \{ prefix: 'a_' \} \}\)/,
    )
    await second.close()
    const third = initPerms({ knex: own.knex, user: Employee })
    expect(await refusal(third.migrate())).to.match(/'a_migrations'.*'objection_perms_migrations'/)
    await third.close()
    const others = initPerms({ knex: own.knex, user: Other, tables: { prefix: 'c_' } })
    expect(await others.migrate(), 'another application with tables of its own').to.have.length.greaterThan(0)
    await others.close()
    expect(await exist(history)).to.deep.equal([false])
  })
})
