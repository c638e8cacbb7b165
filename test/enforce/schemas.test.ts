import { expect } from 'chai'
import type { Knex } from 'knex'
import { Model } from 'objection'
import {
  asAnonymous,
  asSystem,
  BasePermsModel,
  belongsTo,
  ConfigurationError,
  column,
  createTables,
  Domain,
  ForbiddenError,
  hasMany,
  initPerms,
  MissingReferenceError,
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
import { createDatabase, eachDatabase, type OwnDatabase } from '../helpers/databases.js'
import { rejection } from '../helpers/errors.js'

/** Who is a member of a project reads and writes its tasks. Members are rows, and so are the labels of a task. */
const member = related('project', related('members', owner('userId')))

class Task extends BasePermsModel.withColumns({ title: column.string(), projectId: column.uuid() }) {
  static override relationMappings = () => ({
    project: belongsTo(() => Project, 'projectId'),
    openProject: {
      relation: Model.BelongsToOneRelation,
      modelClass: Project,
      join: { from: 'task.projectId', to: 'project.id' },
      modify: (query: { where(name: string, value: unknown): unknown }) => query.where('isOpen', true),
    },
    labels: {
      relation: Model.ManyToManyRelation,
      modelClass: Label,
      join: { from: 'task.id', through: { from: 'task_label.taskId', to: 'task_label.labelId' }, to: 'label.id' },
    },
  })
  static override policy = { read: member, create: member, update: member, delete: member }
}
class Project extends BasePermsModel.withColumns({ name: column.string(), isOpen: column.boolean().default(true) }) {
  static override relationMappings = { members: hasMany(() => Member, 'projectId'), tasks: hasMany(() => Task, 'projectId') }
  static override policy = { read: related('members', owner('userId')) }
}
class Member extends BasePermsModel.withColumns({ projectId: column.uuid(), userId: column.uuid() }) {
  static override relationMappings = { user: belongsTo(() => User, 'userId') }
  static override policy = { read: owner('userId') }
}
class Label extends BasePermsModel.withColumns({ text: column.string() }) {
  static override relationMappings = () => ({
    tasks: {
      relation: Model.ManyToManyRelation,
      modelClass: Task,
      join: { from: 'label.id', through: { from: 'task_label.labelId', to: 'task_label.taskId' }, to: 'task.id' },
    },
  })
  static override policy = { read: related('tasks', related('openProject', related('members', owner('userId')))) }
}
/** Rules about users, who are those of the connection's schema. */
class Badge extends BasePermsModel.withColumns({ text: column.string(), userId: column.uuid() }) {
  static override relationMappings = { user: belongsTo(() => User, 'userId') }
  static override policy = { read: related('user', where({ isEnabled: true })) }
}
/** Models that name the schema of their tables. */
function farModels(schema: string) {
  const relation = (kind: unknown, modelClass: () => unknown, from: string, to: string) =>
    ({ relation: kind, modelClass: modelClass(), join: { from: `${schema}.${from}`, to: `${schema}.${to}` } }) as never
  class Far extends BasePermsModel.withColumns({ title: column.string(), projectId: column.uuid() }) {
    static override tableName = `${schema}.task`
    static override relationMappings = () => ({
      project: relation(Model.BelongsToOneRelation, () => FarProject, 'task.projectId', 'project.id'),
    })
    static override policy = { read: related('project', related('members', owner('userId'))) }
  }
  class FarProject extends BasePermsModel.withColumns({ name: column.string() }) {
    static override tableName = `${schema}.project`
    static override relationMappings = () => ({
      members: relation(Model.HasManyRelation, () => FarMember, 'project.id', 'member.projectId'),
    })
  }
  class FarMember extends BasePermsModel.withColumns({ projectId: column.uuid(), userId: column.uuid() }) {
    static override tableName = `${schema}.member`
  }
  return { Far, FarProject, FarMember }
}

const ids = Object.fromEntries(
  ['project', 'task', 'label', 'badge'].map((name, i) => [name, `0198c0de-0000-7000-8000-0000000000a${i}`]),
) as Record<'project' | 'task' | 'label' | 'badge', string>

eachDatabase('withSchema()', (db) => {
  // SQLite has no schemas.
  if (db.dialect === 'sqlite') return
  let perms: Perms
  let here: User
  let there: User
  let schema: string
  let other: Knex
  let further: OwnDatabase | undefined
  before(async function () {
    this.timeout(20_000)
    if (db.dialect === 'mysql') {
      // A schema of MariaDB is a database.
      further = await createDatabase('mysql2')
      schema = new URL(further.url).pathname.slice(1)
      other = further.knex
    } else {
      schema = 'tenant'
      await db.knex.raw('create schema tenant')
      other = db.connect({ searchPath: ['tenant'] })
    }
    perms = initPerms({ knex: db.knex, passwordHasher: testHasher() })
    const rows = [Task, Project, Member, Label, Badge]
    await createTables(db.knex, [User, UserRole, Domain, Token, UserSetting, ...rows])
    await createTables(other, rows)
    for (const knex of [db.knex, other])
      await knex.schema.createTable('task_label', (table) => {
        table.specificType('task_id', db.dialect === 'pg' ? 'uuid' : 'char(36)')
        table.specificType('label_id', db.dialect === 'pg' ? 'uuid' : 'char(36)')
      })
    ;[here, there] = (await asSystem(async () => [
      await User.create({ email: 'here@example.com' } as never),
      await User.create({ email: 'there@example.com' } as never),
    ])) as [User, User]
  })
  after(async () => {
    await perms?.close()
    await further?.destroy()
  })
  // The same ids in both schemas: only who is a member differs.
  beforeEach(async () => {
    const now = new Date()
    for (const [knex, user] of [
      [db.knex, here],
      [other, there],
    ] as const) {
      for (const table of ['task_label', 'task', 'project', 'member', 'label', 'badge']) await knex(table).delete()
      const row = (id: string, more: object) => ({ id, created_at: now, updated_at: now, ...more })
      await knex('project').insert(row(ids.project, { name: 'p', is_open: true }))
      await knex('task').insert(row(ids.task, { title: 't', project_id: ids.project }))
      await knex('label').insert(row(ids.label, { text: 'l' }))
      await knex('badge').insert(row(ids.badge, { text: 'b', user_id: user.id }))
      await knex('task_label').insert({ task_id: ids.task, label_id: ids.label })
      await knex('member').insert(row(user.id, { project_id: ids.project, user_id: user.id }))
    }
  })

  it('is the schema of every table in the statement, including the tables of rules [promise 71]', async () => {
    const reads: [string, () => PromiseLike<unknown>, () => PromiseLike<unknown>][] = [
      ['task', () => Task.query(), () => Task.query().withSchema(schema)],
      ['by id', () => Task.query().findById(ids.task), () => Task.query().withSchema(schema).findById(ids.task)],
      ['project', () => Project.query(), () => Project.query().withSchema(schema)],
      ['join table and filter', () => Label.query(), () => Label.query().withSchema(schema)],
      [
        'exists',
        () => Task.query().whereExists(Task.relatedQuery('project')),
        () => Task.query().withSchema(schema).whereExists(Task.relatedQuery('project').withSchema(schema)),
      ],
      ['joinRelated', () => Task.query().joinRelated('project.members'), () => Task.query().withSchema(schema).joinRelated('project')],
      ['withGraphJoined', () => Task.query().withGraphJoined('labels'), () => Task.query().withSchema(schema).withGraphJoined('labels')],
    ]
    for (const [name, plain, other] of reads) {
      const count = async (user: User, query: () => PromiseLike<unknown>) =>
        [await runAs(user, query)].flat().filter((row) => row !== undefined).length
      expect(await count(here, plain), name).to.equal(1)
      expect(await count(there, plain), name).to.equal(0)
      expect(await count(here, other), `${name} in the other schema`).to.equal(0)
      expect(await count(there, other), `${name} in the other schema`).to.equal(1)
    }
    expect(await runAs(here, () => Task.query().withSchema(schema).resultSize())).to.equal(0)
    expect(await runAs(there, () => Task.query().withSchema(schema).resultSize())).to.equal(1)
    expect(await asAnonymous(() => Task.query().withSchema(schema))).to.deep.equal([])
  })

  it('also applies to graphs [promise 71]', async () => {
    const [task] = await runAs(there, () => Task.query().withSchema(schema).withGraphFetched('[project.members, labels]'))
    expect(JSON.parse(JSON.stringify(task ?? null))).to.deep.include({ id: ids.task })
    expect((task as unknown as { project: { members: { userId: string }[] } }).project.members[0]?.userId).to.equal(there.id)
    expect((task as unknown as { labels: unknown[] }).labels).to.have.length(1)
  })

  it('applies to writes and to the queries that check them [promise 71]', async () => {
    const writes: [string, () => PromiseLike<unknown>][] = [
      ['patch', () => Task.query().withSchema(schema).patch({ title: 'changed' })],
      ['patch by id', () => Task.query().withSchema(schema).patchAndFetchById(ids.task, { title: 'changed' }).throwIfNotFound()],
      [
        'patch of what the rule reads',
        () => Task.query().withSchema(schema).findById(ids.task).patch({ title: 'changed', projectId: ids.project }),
      ],
      ['insert', () => Task.query().withSchema(schema).insert({ title: 'new', projectId: ids.project })],
      ['delete', () => Task.query().withSchema(schema).delete()],
    ]
    for (const [name, write] of writes) {
      const titles = async () => (await other('task').select('title')).map(({ title }: { title: string }) => title).sort()
      const result = await runAs(here, write).catch((error: unknown) => error)
      expect(await titles(), name).to.deep.equal(['t'])
      if (result instanceof Error)
        expect([ForbiddenError, MissingReferenceError, Error].some((cls) => result instanceof cls)).to.equal(true)
      await runAs(there, write)
      expect(await titles(), name).not.to.deep.equal(['t'])
      expect(await db.knex('task').select('title'), name).to.deep.equal([{ title: 't' }])
      await other('task').delete()
      await other('task').insert({ id: ids.task, title: 't', project_id: ids.project, created_at: new Date(), updated_at: new Date() })
    }
  })

  it('does not change the schema from which the library reads users [promise 71]', async () => {
    expect(await asAnonymous(() => Badge.query().withSchema(schema))).to.have.length(1)
    await asSystem(() => User.query().findById(there.id).patch({ isEnabled: false }))
    expect(await asAnonymous(() => Badge.query().withSchema(schema))).to.deep.equal([])
    expect(await asAnonymous(() => Badge.query())).to.have.length(1)
    await asSystem(() => User.query().findById(there.id).patch({ isEnabled: true }))
    const error = await rejection(runAs(here, () => User.query().withSchema(schema).findById(here.id).patch({ email: 'x@example.com' })))
    expect(error).to.be.instanceOf(ConfigurationError)
    expect(error.message).to.contain("the library reads from the connection's own schema")
  })

  it('is refused on the Knex query alone, since the rules would use another schema [promise 71]', async () => {
    for (const way of [
      () => Task.query().onBuildKnex((built) => built.withSchema(schema) as never),
      () =>
        Task.query()
          .onBuildKnex((built) => built.withSchema(schema) as never)
          .patch({ title: 'x' }),
      () =>
        Task.query()
          .withSchema(schema)
          .onBuildKnex((built) => built.withSchema('elsewhere') as never),
    ] as (() => PromiseLike<unknown>)[])
      expect(await rejection(runAs(there, way)), String(way)).to.be.instanceOf(ConfigurationError)
  })

  it('may be part of tableName: rules read the tables of the relations [promise 71]', async () => {
    const { Far } = farModels(schema)
    expect(await runAs(there, () => Far.query())).to.have.length(1)
    expect(await runAs(here, () => Far.query())).to.have.length(0)
    expect(await runAs(there, () => Far.query().findById(ids.task))).to.be.an('object')
  })

  it('works as in Objection when no rule applies [promise 71]', async () => {
    expect(await asSystem(() => Task.query().withSchema(schema).patch({ title: 'system' }))).to.equal(1)
    expect(await db.knex('task').select('title')).to.deep.equal([{ title: 't' }])
    expect(await asSystem(() => Project.query().withSchema(schema).where({ name: 'p' }))).to.have.length(1)
  })
})

eachDatabase("A searchPath of Knex's", (db) => {
  if (db.dialect !== 'pg') return
  it('is also the schema from which rules read [promise 71]', async function () {
    this.timeout(20_000)
    await db.knex.raw('create schema tenant')
    const knex = db.connect({ searchPath: ['tenant', 'public'] })
    const perms = initPerms({ knex, passwordHasher: testHasher() })
    try {
      await createTables(knex, [User, UserRole, Domain, Token, UserSetting, Task, Project, Member, Label])
      await createTables(db.knex, [Task, Project, Member])
      const ada = await asSystem(async () => {
        const user = await User.create({ email: 'ada@example.com' } as never)
        const project = await Project.create({ name: 'p' } as never)
        await Task.create({ title: 't', projectId: project.id } as never)
        await Member.create({ projectId: project.id, userId: user.id } as never)
        return user
      })
      expect(await runAs(ada, () => Task.query())).to.have.length(1)
      expect(await runAs(ada, () => Task.query().withSchema('tenant'))).to.have.length(1)
      expect(await runAs(ada, () => Task.query().withSchema('public'))).to.have.length(0)
      await db.knex('member').delete()
      expect(await runAs(ada, () => Task.query())).to.have.length(1)
    } finally {
      await perms.close()
    }
  })
})
