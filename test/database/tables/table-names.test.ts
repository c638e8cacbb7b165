import { expect } from 'chai'
import {
  asAnonymous,
  asSystem,
  BasePermsModel,
  ConfigurationError,
  column,
  createTables,
  Domain,
  HasUserMixin,
  Invitation,
  initPerms,
  type Perms,
  permsMigrations,
  Role,
  runAs,
  SecondFactor,
  Token,
  User,
  UserOwnershipMixin,
  UserRole,
} from '../../../src/index.js'
import { testHasher } from '../../../src/testing/hasher.js'
import { eachDatabase } from '../../helpers/databases.js'
import { rejection } from '../../helpers/errors.js'

class Paper extends UserOwnershipMixin(HasUserMixin(BasePermsModel)).withColumns({ title: column.string() }) {}

const jwt = { secret: 'k'.repeat(48) }

eachDatabase('initPerms({ tables })', (db) => {
  let perms: Perms
  before(async function () {
    this.timeout(20_000)
    // An application with tables of the same names as the library's.
    for (const name of ['user', 'token']) await db.knex.schema.createTable(name, (table) => void table.string('own'))
    perms = initPerms({
      knex: db.knex,
      passwordHasher: testHasher(),
      jwt,
      tables: { prefix: 'perms_', names: { token: 'api_token', userRole: 'group' } },
    })
    await perms.migrate()
    await createTables(db.knex, [Paper])
  })
  after(() => perms.close())

  it('creates the library’s tables under these names and leaves the application’s alone [promise 77]', async () => {
    const names = ['perms_user', 'perms_domain', 'group', 'api_token', 'perms_user_setting', 'perms_second_factor', 'perms_invitation']
    for (const name of [...names, 'perms_audit_log', 'perms_migrations']) expect(await db.knex.schema.hasTable(name), name).to.equal(true)
    for (const name of ['user_role', 'domain', 'objection_perms_migrations'])
      expect(await db.knex.schema.hasTable(name), name).to.equal(false)
    expect(Object.keys(await db.knex('user').columnInfo())).to.deep.equal(['own'])
    expect([User, UserRole, Token, Domain, SecondFactor, Invitation, Paper].map(({ tableName }) => tableName)).to.deep.equal([
      ...['perms_user', 'group', 'api_token', 'perms_domain', 'perms_second_factor', 'perms_invitation', 'paper'],
    ])
  })

  it('signs users in, holds their roles and shows them their own rows only', async () => {
    const ada = await User.create({ email: 'ada@example.com', password: 'correct horse battery' } as never)
    const bob = await User.create({ email: 'bob@example.com' })
    await Domain.create({ name: 'press' })
    await ada.grantRole('editor', { domain: 'press' })
    await ada.grantRole(Role.ADMIN)
    const { accessToken } = (await asAnonymous(() =>
      perms.auth.signIn({ email: 'ada@example.com', password: 'correct horse battery' }),
    )) as { accessToken: string }
    expect((await perms.authenticate(accessToken)).grants).to.have.length(2)
    const { plain } = await Token.issue(bob)
    expect((await Token.verify(plain))?.userId).to.equal(bob.id)
    await runAs(bob, () => Paper.create({ title: 'of bob' }))
    await asSystem(() => Paper.create({ title: 'of ada', userId: ada.id }))
    expect((await runAs(bob, () => Paper.query().withGraphJoined('user'))).map(({ title }) => title)).to.deep.equal(['of bob'])
    await runAs(ada, () => Paper.query().patch({ title: 'patched' }))
    expect(await runAs(bob, () => UserRole.query())).to.deep.equal([])
  })

  it('protects the tables under their names [promise 71]', async () => {
    const bob = await User.getByOr404({ email: 'bob@example.com' } as never)
    for (const table of ['perms_user', 'api_token', 'group']) {
      for (const query of [() => Paper.query().from(table as never), () => Paper.query().whereRaw(`exists (select 1 from "${table}")`)]) {
        const error = await rejection(runAs(bob, query as never))
        expect(error, table).to.be.instanceOf(ConfigurationError)
        expect(error.message, table).to.include(`'${table}'`)
      }
    }
  })

  it('drops only the library’s tables when undone [promise 77]', async () => {
    await db.knex.schema.dropTable('paper')
    await db.knex.migrate.rollback({ migrationSource: permsMigrations(), tableName: 'perms_migrations' }, true)
    expect(await db.knex.schema.hasTable('perms_user')).to.equal(false)
    expect(Object.keys(await db.knex('token').columnInfo())).to.deep.equal(['own'])
  })

  it('refuses unknown tables, names that SQL would read in another way, and models in use under other names', async () => {
    await perms.close()
    for (const tables of [{ names: { tokens: 'x' } as never }, { prefix: 'a.' }, { names: { token: 'a b' } }])
      expect(() => initPerms({ knex: db.knex, tables })).to.throw(ConfigurationError)
    // Two models in one table, or a model in a table without one. The names of SQLite and MariaDB may ignore case.
    for (const names of [{ token: 'user' }, { token: 'x', domain: 'X' }, { token: 'perms_tables' }, { auditLog: 'perms_throttle' }])
      expect(() => initPerms({ knex: db.knex, tables: { names } }), JSON.stringify(names)).to.throw(ConfigurationError, /is the table of/)
    expect(User.columnSpecs.email).to.not.equal(undefined)
    expect(() => initPerms({ knex: db.knex, tables: { prefix: 'p_' } })).to.throw(ConfigurationError, /before anything uses the models/)
    perms = initPerms({ knex: db.knex, passwordHasher: testHasher(), jwt })
    expect(User.tableName).to.equal('user')
  })
})
