import { expect } from 'chai'
import type Knex from 'knex'
import { BaseModel, column, initPerms, permsMigrations, User } from '../../src/index.js'
import { makeMigration } from '../../src/migrate/make.js'
import { modelClass } from '../../src/schema/model-class.js'
import { createDatabase, eachDatabase } from '../helpers/databases.js'
import { Application } from './application.js'

const secret = 'a secret of at least thirty-two characters'
class Employee extends User.withColumns({
  nickName: column.string({ maxLength: 40 }).nullable().index(),
  level: column.integer().default(1),
}) {
  static override tableName = 'user'
}
class RenamedEmployee extends User.withColumns({
  alias: column.string({ maxLength: 60 }).nullable().unique().renamedFrom('nickName'),
  level: column.integer().default(1),
}) {
  static override tableName = 'user'
}

eachDatabase('A migration of columns that the application adds to a table of the library', (db) => {
  it('adds them to a database with users, and leaves a new database as perms.migrate() makes it', async function () {
    this.timeout(180_000)
    const app = new Application(db.knex)
    const fresh = await createDatabase(db.name)
    const as = async <T>(user: typeof User, knex: Knex.Knex, fn: (perms: ReturnType<typeof initPerms>) => Promise<T>): Promise<T> => {
      const perms = initPerms({ knex, jwt: { secret }, user })
      try {
        return await fn(perms)
      } finally {
        await perms.close()
      }
    }
    try {
      await as(User, db.knex, (perms) => perms.migrate())
      for (const [i, user] of [Employee, RenamedEmployee].entries()) {
        const made = await as(user as typeof User, db.knex, (perms) => makeMigration(perms, { name: `step_${i}`, directory: app.folder }))
        expect(made?.text).to.include('hasColumn')
        await as(user as typeof User, db.knex, () => app.up())
        expect(await as(user as typeof User, db.knex, (perms) => makeMigration(perms, { name: 'none', directory: app.folder }))).to.equal(
          null,
        )
        expect(await db.knex.schema.hasColumn('user', i === 0 ? 'nick_name' : 'alias')).to.equal(true)
      }
      await as(RenamedEmployee as typeof User, fresh.knex, async (perms) => {
        await perms.migrate()
        await fresh.knex.migrate.latest({ directory: app.folder })
        const columns = Object.keys(await fresh.knex('user').columnInfo())
        expect(columns).to.include('alias').and.not.include('nick_name')
      })
    } finally {
      app.remove()
      await fresh.destroy()
    }
  })
})

describe('A migration of an application with one history', () => {
  it('is made from permsMigrations(), into the folder of the application', async function () {
    this.timeout(60_000)
    const own = await createDatabase('sqlite3')
    const app = new Application(own.knex)
    class Note extends BaseModel.withColumns({ userId: column.uuid().references('user.id'), text: column.text() }) {
      static override tableName = 'note'
    }
    const knex = own.connect({ migrations: { migrationSource: permsMigrations({ with: app.folder }) } })
    const perms = initPerms({ knex, jwt: { secret }, models: [modelClass(Note)] })
    try {
      const made = await makeMigration(perms, { name: 'notes' })
      expect(made?.file.startsWith(app.folder)).to.equal(true)
      await knex.migrate.latest()
      expect(await makeMigration(perms, { name: 'none' })).to.equal(null)
      expect(await knex.schema.hasTable('note')).to.equal(true)
    } finally {
      await perms.close()
      app.remove()
      await own.destroy()
    }
  })
})
