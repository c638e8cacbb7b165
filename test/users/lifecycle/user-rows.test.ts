import { expect } from 'chai'
import Knex from 'knex'
import {
  asSystem,
  BasePermsModel,
  ConfigurationError,
  check,
  column,
  createTables,
  everyone,
  HasUserMixin,
  initPerms,
  type OnUserDeleted,
  type Perms,
  Role,
  runAs,
  SoftDeleteMixin,
  User,
} from '../../../src/index.js'
import { definitionOf } from '../../../src/schema/definition/definition.js'
import { createUser, testHasher } from '../../../src/testing/index.js'
import { countQueries, eachDatabase } from '../../helpers/databases.js'
import { rejection } from '../../helpers/errors.js'
import { migrateAtOnce } from '../../helpers/library-tables-at-once.js'

/** Says nothing about its rows, which its foreign key would destroy. */
class Page extends SoftDeleteMixin(HasUserMixin(BasePermsModel)).withColumns({ title: column.string() }) {}

/** Has no user, but goes with the team of one. */
class Team extends HasUserMixin(BasePermsModel).withColumns({ name: column.string() }) {}
class Task extends SoftDeleteMixin(BasePermsModel).withColumns({
  title: column.string(),
  teamId: column.uuid().references('team.id', { onDelete: 'cascade' }).index(),
}) {}

class Report extends SoftDeleteMixin(HasUserMixin(BasePermsModel)).withColumns({ title: column.string() }) {
  static override userIdNullable = true
  static override onUserDeleted: OnUserDeleted = 'softDelete'
}

class Keeper extends User {
  static override tableName = 'user'
  static override adminBypass = false
  static override policy = { read: everyone(), delete: check((row: object) => (row as Keeper).email !== 'kept@example.com') }
}

const models = [Page, Team, Task, Report]

eachDatabase('Rows of a user who is deleted', (db) => {
  let perms: Perms
  before(async function () {
    this.timeout(30_000)
    perms = initPerms({
      knex: db.knex,
      user: Keeper,
      models,
      jwt: { secret: 'a secret of the tests, 32 bytes long' },
      passwordHasher: testHasher(),
    })
    await migrateAtOnce(perms)
    await createTables(db.knex, models)
  })
  after(() => perms.close())
  beforeEach(async () => {
    for (const table of ['task', 'team', 'page', 'report', 'user_role', 'user']) await db.knex(table).delete()
  })

  const ways: Readonly<Record<string, (user: User) => Promise<unknown>>> = {
    'row.delete()': (user) => user.delete(),
    'query().delete()': (user) => Keeper.query().delete().where('email', user.email).execute(),
    'query().deleteById()': (user) => Keeper.query().deleteById(user.id).execute(),
    '$query().delete()': (user) => user.$query().delete().execute(),
  }

  for (const [way, remove] of Object.entries(ways)) {
    it(`are not destroyed silently by ${way} if they can be restored [promise 168]`, async () => {
      const user = await createUser()
      const page = await asSystem(() => Page.create({ title: 'kept', userId: user.id }))
      await asSystem(() => page.delete())
      const error = await rejection(asSystem(() => remove(user)))
      expect(error.name).to.equal('ConflictError')
      expect(error.message).to.include('rows of Page').and.to.include('static onUserDeleted')
      expect(await asSystem(() => Page.withDeleted().resultSize())).to.equal(1)
      // A user without such rows is deleted as before.
      const other = await createUser()
      await asSystem(() => remove(other))
      expect(await asSystem(() => Keeper.query().findById(other.id))).to.equal(undefined)
    })
  }

  it('are not destroyed by a statement that deletes several users: no user is deleted [promise 168]', async () => {
    const [one, two] = [await createUser(), await createUser()]
    await asSystem(() => Page.create({ title: 'kept', userId: two.id }))
    const error = await rejection(asSystem(() => Keeper.query().delete().whereIn('id', [one.id, two.id]).execute()))
    expect(error.name).to.equal('ConflictError')
    expect(await asSystem(() => Keeper.query().resultSize())).to.equal(2)
  })

  it('are not destroyed through other rows that the user owns [promise 168]', async () => {
    const user = await createUser()
    const team = await asSystem(() => Team.create({ name: 'red', userId: user.id }))
    await asSystem(() => Task.create({ title: 'kept', teamId: team.id }))
    const error = await rejection(asSystem(() => user.delete()))
    expect(error.message).to.include('rows of Task').and.to.include('because they refer to rows of the user')
    await asSystem(() => Task.query().delete())
    expect((await rejection(asSystem(() => user.delete()))).name, 'a deleted task can be restored').to.equal('ConflictError')
    await db.knex('task').delete()
    await asSystem(() => user.delete())
    expect(await asSystem(() => Team.query().resultSize())).to.equal(0)
  })

  it('are handled as the model says, in the transaction of the deletion [promise 169]', async () => {
    const user = await createUser()
    await asSystem(() => Report.create({ title: 'kept', userId: user.id }))
    await asSystem(() => user.delete())
    const [report] = await asSystem(() => Report.withDeleted())
    expect(report).to.include({ title: 'kept', userId: null, isDeleted: true })
  })

  it('stay as they are when the deletion is refused or the caller may not delete the user [promise 169]', async () => {
    const [user, stranger, kept] = [await createUser(), await createUser(), await createUser({ email: 'kept@example.com' })]
    await asSystem(async () => {
      for (const one of [user, kept]) await Report.create({ title: 'kept', userId: one.id })
      await Page.create({ title: 'kept', userId: user.id })
    })
    await rejection(runAs(stranger, () => user.delete()))
    await rejection(asSystem(() => user.delete()))
    // check() of the policy decides after the rows were handled.
    const admin = await createUser({}, { role: Role.ADMIN })
    await runAs(admin, () => Keeper.query().delete().where('email', 'kept@example.com').execute()).catch(() => undefined)
    const reports = await asSystem(() => Report.query())
    expect(reports.map(({ userId, isDeleted }) => [userId, isDeleted])).to.have.deep.members([
      [user.id, false],
      [kept.id, false],
    ])
  })

  it('cost a deletion no statement when no model says anything and none keeps deleted rows', async () => {
    await perms.close()
    const plain = initPerms({
      knex: db.knex,
      user: Keeper,
      jwt: { secret: 'a secret of the tests, 32 bytes long' },
      passwordHasher: testHasher(),
    })
    try {
      const user = await createUser()
      const { statements } = await countQueries(db.knex, () => asSystem(() => user.delete()))
      expect(statements.filter((sql) => /page|team|task|report|sqlite_master|information_schema|to_regclass/.test(sql))).to.deep.equal([])
    } finally {
      await plain.close()
    }
  })
})

describe('static onUserDeleted', () => {
  const invalid: Readonly<Record<string, [() => object, RegExp]>> = {
    'a value that does not exist': [
      () =>
        class Wrong extends HasUserMixin(BasePermsModel).withColumns({ x: column.text() }) {
          static override onUserDeleted = 'forget' as never
        },
      /must be 'delete'/,
    ],
    "'softDelete' without SoftDeleteMixin": [
      () =>
        class Wrong extends HasUserMixin(BasePermsModel).withColumns({ x: column.text() }) {
          static override onUserDeleted: OnUserDeleted = 'softDelete'
        },
      /needs SoftDeleteMixin/,
    ],
    "'anonymise' for a column that may not be null": [
      () =>
        class Wrong extends HasUserMixin(BasePermsModel).withColumns({ x: column.text() }) {
          static override onUserDeleted: OnUserDeleted = 'anonymise'
        },
      /userId may not be null.*userIdNullable/,
    ],
    "'keep' with a foreign key that deletes": [
      () =>
        class Wrong extends HasUserMixin(BasePermsModel).withColumns({ x: column.text() }) {
          static override onUserDeleted: OnUserDeleted = 'keep'
        },
      /the foreign key of userId deletes the rows/,
    ],
    'an unknown column': [
      () =>
        class Wrong extends HasUserMixin(BasePermsModel).withColumns({ x: column.text() }) {
          static override userIdNullable = true
          static override onUserDeleted: OnUserDeleted = { anonymise: { y: null } }
        },
      /names 'y'/,
    ],
    'a model without a user': [
      () =>
        class Wrong extends BasePermsModel.withColumns({ x: column.text() }) {
          static onUserDeleted: OnUserDeleted = 'delete'
        },
      /no column of Wrong says whom a row belongs to/,
    ],
    'ownerFields that name no column': [
      () =>
        class Wrong extends BasePermsModel.withColumns({ x: column.text() }) {
          static ownerFields = ['nobodyId']
          static override policy = { read: everyone() }
        },
      /ownerFields names 'nobodyId'/,
    ],
  }
  for (const [what, [make, message]] of Object.entries(invalid)) {
    it(`refuses ${what}`, () => {
      expect(() => definitionOf(make())).to.throw(ConfigurationError, message)
    })
  }
})

describe('static onUserDeleted that a model inherits', () => {
  abstract class Base extends BasePermsModel {
    static onUserDeleted: OnUserDeleted | undefined = 'delete'
    static exported = false
  }

  it('is in effect below HasUserMixin, and so is `exported`', () => {
    class Owned extends HasUserMixin(Base) {}
    expect(Owned.onUserDeleted).to.equal('delete')
    expect(Owned.exported).to.equal(false)
    class Plain extends HasUserMixin(BasePermsModel) {}
    expect([Plain.onUserDeleted, Plain.exported]).to.deep.equal([undefined, true])
  })

  it('is refused with the class that it comes from, for a model without an owner', () => {
    class Tag extends Base.withColumns({ name: column.string() }) {}
    expect(() => definitionOf(Tag)).to.throw(
      ConfigurationError,
      'Tag.onUserDeleted has no effect (inherited from Base): no column of Tag says whom a row belongs to. Add HasUserMixin or static ownerFields, or set static onUserDeleted = undefined.',
    )
    class Note extends Base.withColumns({ name: column.string() }) {
      static override onUserDeleted: OnUserDeleted | undefined = undefined
    }
    class Part extends Note.withColumns({ size: column.integer() }) {
      static ownerFields = ['authorId']
    }
    class Piece extends Part.withColumns({ weight: column.integer() }) {}
    expect(() => definitionOf(Piece)).to.throw(
      ConfigurationError,
      "Piece.ownerFields (inherited from Part) names 'authorId', which is no column of Piece. List its columns with ids of users, or set static ownerFields = [].",
    )
    class Quiet extends Base.withColumns({ name: column.string() }) {
      static override onUserDeleted: OnUserDeleted | undefined = undefined
    }
    definitionOf(Quiet)
  })

  it('is refused on a user model, whose rows are the users', () => {
    class Person extends User {
      static override tableName = 'person'
      static onUserDeleted: OnUserDeleted = 'anonymise'
    }
    class Staff extends Person.withColumns({ room: column.string() }) {
      static override tableName = 'staff'
    }
    const why = 'a row of the user model is the user, and no column names an owner. Set static onUserDeleted = undefined on '
    expect(() => definitionOf(Person)).to.throw(ConfigurationError, `Person.onUserDeleted has no effect: ${why}Person,`)
    expect(() => definitionOf(Staff)).to.throw(
      ConfigurationError,
      `Staff.onUserDeleted has no effect (inherited from Person): ${why}Staff,`,
    )
  })
})

describe('Models whose rows keep their users from being deleted', () => {
  it('are named by a warning after the first adapter is created, each once', async () => {
    const knex = Knex({ client: 'sqlite3', connection: { filename: ':memory:' }, useNullAsDefault: true })
    const perms = initPerms({ knex, models, jwt: { secret: 'a secret of the tests, 32 bytes long' }, passwordHasher: testHasher() })
    const { warn } = console
    const lines: string[] = []
    console.warn = (text: string) => lines.push(text)
    try {
      perms.noteAdapter()
      perms.noteAdapter()
      await new Promise((resolve) => setImmediate(() => setImmediate(resolve)))
    } finally {
      console.warn = warn
      await perms.close()
      await knex.destroy()
    }
    const found = lines.filter((line) => line.includes('cannot be deleted'))
    expect(found).to.have.length(1)
    expect(found[0]).to.equal(
      [
        'objection-perms: Users who have rows of Page cannot be deleted: the foreign keys (Page.user_id) would destroy rows that can be restored.',
        "Say what happens to them: static onUserDeleted on Page, such as 'softDelete' or 'delete'.\nUsers who have rows of Task cannot be deleted: the foreign keys",
        "(Team.user_id, Task.team_id) would destroy rows that can be restored. Say static onUserDeleted = 'delete' on Task, or change its foreign key so that the rows stay.",
      ].join(' '),
    )
  })
})
