import { expect } from 'chai'
import { Model } from 'objection'
import {
  asAnonymous,
  asSystem,
  BaseModel,
  BasePermsModel,
  belongsTo,
  ConfigurationError,
  column,
  createTables,
  Domain,
  everyone,
  HasUserMixin,
  hasMany,
  initPerms,
  owner,
  type Perms,
  related,
  runAs,
  Token,
  User,
  UserRole,
  UserSetting,
  where,
} from '../../src/index.js'
import { testHasher } from '../../src/testing/hasher.js'
import { eachDatabase } from '../helpers/databases.js'
import { rejection, thrown } from '../helpers/errors.js'

/** New classes for each test: what the library learns of a class it learns at its first use. */
function projectModels() {
  class Task extends BasePermsModel.withColumns({ title: column.string(), projectId: column.uuid().references('project.id') }) {
    static override relationMappings = { project: belongsTo(() => Project, 'projectId') }
    static override policy = { read: related('project', related('members', owner())), create: everyone() }
  }
  class Project extends BasePermsModel.withColumns({ title: column.string() }) {
    static override relationMappings = { members: hasMany(() => Member, 'projectId'), tasks: hasMany(() => Task, 'projectId') }
    static override policy = { read: related('members', owner()) }
  }
  class Member extends HasUserMixin(BasePermsModel).withColumns({ projectId: column.uuid().references('project.id') }) {
    static override tableName = 'project_member'
    static override relationMappings = { project: belongsTo(() => Project, 'projectId') }
    static override policy = { read: related('project', related('members', owner())) }
  }
  return { Task, Project, Member }
}

const orders = (names: readonly string[]): string[][] =>
  names.length < 2 ? [[...names]] : names.flatMap((name) => orders(names.filter((other) => other !== name)).map((rest) => [name, ...rest]))

eachDatabase('Models whose policies lead to each other', (db) => {
  let perms: Perms
  const tables = [User, UserRole, Domain, Token, UserSetting]
  before(async () => {
    perms = initPerms({ knex: db.knex, passwordHasher: testHasher() })
    const { Task, Project, Member } = projectModels()
    await createTables(db.knex, [...tables, Project, Task, Member])
    await asSystem(async () => {
      const ada = await User.create({ email: 'ada@example.com' } as never)
      const project = await Project.create({ title: 'seen' } as never)
      const other = await Project.create({ title: 'unseen' } as never)
      await Member.create({ projectId: project.id, userId: ada.id } as never)
      for (const { id, title } of [project, other]) await Task.create({ title: `of ${title}`, projectId: id } as never)
    })
    await perms.close()
  })
  afterEach(() => perms.close())

  for (const order of orders(['Task', 'Project', 'Member'])) {
    it(`work whatever the order they are given in: ${order.join(', ')} [promise 72]`, async () => {
      const made = projectModels()
      perms = initPerms({ knex: db.knex, models: order.map((name) => made[name as keyof typeof made]), passwordHasher: testHasher() })
      const ada = await asSystem(() => User.getByOr404({ email: 'ada@example.com' }))
      const seen = await runAs(ada, () => made.Task.query().withGraphFetched('project.[members, tasks]'))
      expect(seen.map(({ title }) => title)).to.deep.equal(['of seen'])
      expect((seen[0] as unknown as { project: { members: unknown[] } }).project.members).to.have.length(1)
      expect(await asAnonymous(() => made.Task.query())).to.deep.equal([])
    })

    it(`work in the order of their first use: ${order.join(', ')} [promise 72]`, async () => {
      const made = projectModels()
      perms = initPerms({ knex: db.knex, passwordHasher: testHasher() })
      const ada = await asSystem(() => User.getByOr404({ email: 'ada@example.com' }))
      for (const name of order)
        expect(
          await runAs(ada, () => (made[name as keyof typeof made] as typeof BasePermsModel & typeof Model).query()),
          name,
        ).to.have.length(1)
    })
  }
})

eachDatabase('An error in one model', (db) => {
  let perms: Perms
  class Note extends BasePermsModel.withColumns({ text: column.string(), boxId: column.uuid().nullable() }) {
    static override relationMappings = { box: belongsTo(() => Box, 'boxId') }
    static override policy = { read: everyone(), create: everyone(), update: everyone(), delete: everyone() }
  }
  /** Its policy names a column that it has not. */
  class Box extends BasePermsModel.withColumns({ label: column.string(), pin: column.string().nullable().hidden() }) {
    static override relationMappings = { notes: hasMany(() => Note, 'boxId') }
    static override policy = { read: where({ lable: 'a' }) }
  }
  class InBox extends BasePermsModel.withColumns({ boxId: column.uuid().nullable() }) {
    static override relationMappings = { box: belongsTo(() => Box, 'boxId') }
    static override policy = { read: related('box', where({ label: 'a' })), create: everyone() }
  }
  before(async () => {
    perms = initPerms({ knex: db.knex, passwordHasher: testHasher() })
    await createTables(db.knex, [User, UserRole, Domain, Token, UserSetting, Note, InBox])
    await db.knex.schema.createTable('box', (table) => {
      table.uuid('id').primary()
      table.string('label')
      table.string('pin')
      table.dateTime('created_at')
      table.dateTime('updated_at')
    })
  })
  after(() => perms.close())
  beforeEach(async () => {
    for (const table of ['note', 'in_box', 'box']) await db.knex(table).delete()
  })

  const works = async () => {
    await asAnonymous(async () => {
      const note = await Note.create({ text: 'one' } as never)
      await note.update({ text: 'two' } as never)
      expect(JSON.parse(JSON.stringify(await Note.query()))).to.deep.include.members([JSON.parse(JSON.stringify(note))])
      await note.delete()
    })
  }

  const rowOf = async (text: string) => {
    const note = await asSystem(() => Note.create({ text } as never))
    const [row] = (await db.knex('note').where({ id: note.id })) as object[]
    await db.knex('note').delete()
    return row
  }

  it('is thrown at each use of the model, and does not affect other models [promise 72]', async () => {
    for (let i = 0; i < 2; i += 1) {
      expect(thrown(() => Box.build({ label: 'a' } as never))).to.be.instanceOf(ConfigurationError)
      const error = await rejection(asAnonymous(() => Box.query()))
      expect(error).to.be.instanceOf(ConfigurationError)
      expect(error.message).to.match(/^Box\.policy\.read: where\(\{ lable \}\)/)
      await works()
    }
  })

  it('does not end the protection of its table [promise 72]', async () => {
    await rejection(asAnonymous(() => Box.query()))
    expect((await rejection(asAnonymous(() => Note.query().whereRaw('exists (select 1 from box)')))).message).to.contain(
      "the table 'box' without its model",
    )
    const id = '0198c0de-0000-7000-8000-00000000000a'
    await db.knex('box').insert({ id, label: 'a' })
    await asSystem(async () => db.knex('note').insert({ ...(await rowOf('two')), box_id: id }))
    expect(await rejection(asAnonymous(() => Note.query().withGraphFetched('box')))).to.be.instanceOf(ConfigurationError)
  })

  it('refuses a reference to its rows, whose rule cannot be evaluated [promise 72]', async () => {
    const id = '0198c0de-0000-7000-8000-00000000000b'
    await db.knex('box').insert({ id, label: 'a' })
    const error = await rejection(asAnonymous(() => Note.create({ text: 'x', boxId: id } as never)))
    expect(error).to.be.instanceOf(ConfigurationError)
    expect(error.message).to.match(/^Box\.policy\.read/)
    await works()
  })

  it('does not reach a model whose rule looks at its rows: their columns are all that it needs [promise 72]', async () => {
    const id = '0198c0de-0000-7000-8000-00000000000c'
    await db.knex('box').insert({ id, label: 'a' })
    await asSystem(() => InBox.create({ boxId: id } as never))
    expect(await asAnonymous(() => InBox.query().select('id'))).to.have.length(1)
  })

  it('about class fields that overwrite columns does not affect a related model [promise 72]', async () => {
    class Cup extends BasePermsModel.withColumns({ label: column.string() }) {
      static override tableName = 'box'
      static override policy = { read: everyone() }
      size = 1
    }
    class Tray extends BasePermsModel.withColumns({ text: column.string(), boxId: column.uuid().nullable() }) {
      static override tableName = 'note'
      static override relationMappings = { box: belongsTo(() => Cup, 'boxId') }
      static override policy = { read: everyone(), create: everyone() }
    }
    await asAnonymous(async () => {
      await Tray.create({ text: 'one' } as never)
      expect(await Tray.query()).to.have.length(1)
      expect((await rejection(Cup.query())).message).to.contain('Cup has class fields (size)')
      expect(await Tray.query()).to.have.length(1)
    })
    await works()
  })

  it('in a relation has the same message each time, and does not affect other models [promise 72]', async () => {
    class Odd extends BasePermsModel.withColumns({ label: column.string(), noteId: column.uuid().nullable() }) {
      static override tableName = 'box'
      static override relationMappings = {
        owner: { relation: Model.HasManyRelation, modelClass: UserRole, join: { from: 'elsewhere.id', to: 'user_role.userId' } },
      }
      static override policy = { read: everyone(), create: everyone() }
    }
    class Shelf extends BasePermsModel.withColumns({ text: column.string(), boxId: column.uuid().nullable() }) {
      static override tableName = 'note'
      static override relationMappings = { odd: belongsTo(() => Odd, 'boxId') }
      static override policy = { read: everyone(), create: everyone() }
    }
    const messages: string[] = []
    for (let i = 0; i < 2; i += 1) {
      const error = await rejection(asAnonymous(() => Odd.query().withGraphFetched('owner')))
      messages.push(error.message)
      await works()
      await asAnonymous(() => Shelf.create({ text: 'one' } as never))
      expect(await asAnonymous(() => Shelf.query())).to.have.length(i + 1)
    }
    expect(messages[0]).to.contain('Odd.relationMappings.owner')
    expect(messages[1]).to.equal(messages[0])
  })

  it('that initPerms() refuses does not affect a later initPerms() without that model [promise 72]', async () => {
    await perms.close()
    expect(thrown(() => initPerms({ knex: db.knex, models: [Note, Box], passwordHasher: testHasher() })).message).to.match(
      /^Box\.policy\.read/,
    )
    perms = initPerms({ knex: db.knex, models: [Note], passwordHasher: testHasher() })
    await works()
  })

  it('about its userBackref does not affect other models [promise 72]', async () => {
    class Bad extends HasUserMixin(BasePermsModel).withColumns({ text: column.string() }) {
      static override tableName = 'note'
      static override userBackref = 'roles'
      static override policy = { read: everyone() }
    }
    const error = await rejection(asAnonymous(() => Bad.query()))
    expect(error).to.be.instanceOf(ConfigurationError)
    expect(error.message).to.contain('Bad.userBackref')
    await works()
    const ada = await asSystem(() => User.create({ email: 'ada@example.com' } as never))
    expect((await asSystem(() => User.getOr404(ada.id))).roles).to.deep.equal([])
    expect(await asSystem(() => User.query().withGraphFetched('roles'))).to.have.length(1)
  })
})

eachDatabase('A call to the user class that is not the registered one', (db) => {
  class Employee extends User.withColumns({ department: column.string().nullable() }) {}
  class Note extends HasUserMixin(BasePermsModel).withColumns({ text: column.string() }) {
    static override policy = { read: owner(), create: everyone() }
  }
  class Plain extends BaseModel.withColumns({ text: column.string() }) {}
  let perms: Perms
  let ada: Employee
  before(async () => {
    perms = initPerms({ knex: db.knex, user: Employee, passwordHasher: testHasher() })
    await createTables(db.knex, [Employee, UserRole, Domain, Token, UserSetting, Note, Plain])
    ada = await Employee.create({ email: 'ada@example.com' } as never)
  })
  after(() => perms.close())

  it('fails, but does not affect later creates, reads and relations [promise 72]', async () => {
    for (let i = 0; i < 2; i += 1) {
      const calls: (() => unknown)[] = [
        () => User.getBy({ email: 'ada@example.com' }),
        () => User.create({ email: 'bob@example.com' } as never),
        () => User.query().withGraphFetched('roles'),
        () => User.relatedQuery('roles').for(ada.id),
      ]
      for (const call of calls) {
        await asSystem(call).catch((error: unknown) => expect(error).to.be.instanceOf(Error))
        await asAnonymous(call).catch((error: unknown) => expect(error).to.be.instanceOf(Error))
      }
      await runAs(ada, async () => {
        await Note.create({ text: 'one' } as never)
        await Plain.create({ text: 'one' } as never)
        expect(await Note.query().withGraphFetched('user.roles')).to.have.length(i + 1)
        expect(JSON.parse(JSON.stringify(await Note.query()))).to.have.length(i + 1)
      })
      const made = await asSystem(() => Employee.create({ email: `cy${i}@example.com` } as never))
      await asSystem(() => UserRole.create({ user: made, role: 'editor' } as never))
      expect((await asSystem(() => Employee.getOr404(made.id))).hasRole('editor')).to.equal(true)
    }
  })
})
