import { readFileSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import { expect } from 'chai'
import { dropTables } from '../../../src/database/tables/tables.js'
import {
  column,
  createTables,
  Domain,
  initPerms,
  type Perms,
  type PermsOptions,
  permsMigrations,
  TimestampMixin,
  Token,
  User,
} from '../../../src/index.js'
import { testHasher } from '../../../src/testing/hasher.js'
import { internalModels } from '../../../src/users/tables/internal-models.js'
import { countQueries, eachDatabase } from '../../helpers/databases.js'
import { describeTables } from '../../helpers/described-tables.js'
import { runNode } from '../../run-node.js'

class Employee extends TimestampMixin(User).withColumns({
  desk: column.string({ maxLength: 20 }).default('none').index(),
  email: column.string({ maxLength: 100 }).nullable(),
}) {
  static override columnNames = { passwordHash: 'password', isEnabled: 'enabled' }
}
class Device extends Token.withColumns({ device: column.string({ maxLength: 40 }).nullable().unique() }) {
  static override tableName = 'device'
}
class BigNumbered extends User.withColumns({ id: column.bigint() }) {
  static override tableName = 'user'
}
class Named extends User.withColumns({ id: column.string({ maxLength: 24 }) }) {
  static override tableName = 'user'
}
class Realm extends Domain.withColumns({ id: column.string({ maxLength: 64 }) }) {
  static override tableName = 'domain'
}

const applications: Record<string, Pick<PermsOptions, 'user' | 'token' | 'domain' | 'tables' | 'ids'>> = {
  'the library’s own models': {},
  'models with columns, names and tables of their own': {
    ...{ user: Employee, token: Device },
    tables: { prefix: 'own_', names: { domain: 'order', userRole: 'group' } },
  },
  'integer ids of the library’s rows': { ids: 'integer' },
  'bigint ids of users': { user: BigNumbered as never },
  'string ids of users and domains': { user: Named as never, domain: Realm as never },
}

const history = 'history'
const fixture = (dialect: string) => fileURLToPath(new URL(`../../fixtures/migrations/${dialect}.sql`, import.meta.url))
/** Everything but the tables that createTables() does not create. */
const isOfModel = (table: string) => !/history|sqlite_sequence|(?:perms|own)_(?:tables|throttle)$/.test(table)

eachDatabase('The packaged migrations', (db) => {
  let perms: Perms | undefined
  const start = (options: Partial<PermsOptions> = {}) => {
    perms = initPerms({ knex: db.knex, passwordHasher: testHasher(), ...options })
    return perms
  }
  const config = { migrationSource: permsMigrations(), tableName: history }
  const up = () => db.knex.migrate.latest(config)
  const down = () => db.knex.migrate.rollback(config, true)
  afterEach(() => perms?.close())

  /** Returns the statements that create and alter the tables of models, one a line. */
  const statementsOf = async (options: Partial<PermsOptions>) => {
    start(options)
    const { statements } = await countQueries(db.knex, up)
    await down()
    const created = statements.filter((sql) => /^(?:create|alter) /.test(sql) && !sql.includes(history) && !sql.includes('perms_tables'))
    return created.filter((sql) => !sql.includes('objection_perms_')).map((sql) => `${sql};\n`)
  }

  it('send the statements that their releases sent, literally: change a model in a new migration, never in these', async () => {
    expect((await statementsOf({})).join('')).to.equal(readFileSync(fixture(db.dialect), 'utf8'))
  })

  it("send with ids: 'integer' the statements that their releases sent, literally", async () => {
    const sent = await statementsOf({ ids: 'integer' })
    expect(sent.join('')).to.equal(readFileSync(fixture(`${db.dialect}-integer`), 'utf8'))
  })

  for (const [title, options] of Object.entries(applications)) {
    it(`create the tables that the current models declare, and drop all of them when undone: ${title}`, async function () {
      this.timeout(20_000)
      const { models } = start(options)
      await up()
      const migrated = await describeTables(db.knex, db.dialect, isOfModel)
      await down()
      expect(await describeTables(db.knex, db.dialect, isOfModel)).to.deep.equal({})
      await createTables(db.knex, [...Object.values(models), ...internalModels])
      const declared = await describeTables(db.knex, db.dialect, isOfModel)
      expect(Object.keys(declared)).to.have.length(5 + internalModels.length)
      expect(migrated).to.deep.equal(declared)
      await dropTables(
        db.knex,
        Object.keys(declared).map((name) => ({ name, columns: {} })),
      )
    })
  }
})

describe('A migration of an earlier version', () => {
  it('does not create what later versions of the library’s models declare, and keeps what they no longer declare', async function () {
    this.timeout(60_000)
    const root = fileURLToPath(new URL('../../../', import.meta.url))
    const { output, failure } = await runNode(['--import', 'tsx', fileURLToPath(new URL('later-version.ts', import.meta.url))], {
      cwd: root,
      timeout: 60_000,
    })
    expect(failure, output).to.equal(undefined)
    const { declared, created } = JSON.parse(output) as Record<string, string[]>
    expect(declared).to.include('later')
    expect(created).to.not.include('later')
    expect(created).to.include.members(['token', 'address', 'bound_to', 'abilities'])
    expect(created).to.include('kind varchar(32)')
  })
})
