import { expect } from 'chai'
import { type JSONSchema, Model, type Pojo } from 'objection'
import {
  Api,
  asSystem,
  authenticated,
  BasePermsModel,
  ConfigurationError,
  CrudResource,
  column,
  HasUserMixin,
  initPerms,
  owner,
  type Perms,
  PermsMixin,
  related,
  runAs,
  type User,
  UserOwnershipMixin,
} from '../../src/index.js'
import { createUser, signInAs, testHasher } from '../../src/testing/index.js'
import { eachDatabase } from '../helpers/databases.js'
import { thrown } from '../helpers/errors.js'
import { migrateAtOnce } from '../helpers/library-tables-at-once.js'
import { type Client, clientOf } from '../http/client.js'

/** An application's base class with columns in camelCase, as Objection stores them without mappers. */
class CamelBase extends Model {
  override $formatJson(json: Pojo): Pojo {
    const { secretWord, ...shown } = super.$formatJson(json)
    return shown
  }
}

class Project extends PermsMixin(CamelBase) {
  declare id: number
  declare projectName: string
  declare ownerId: string
  declare parentId: number | null
  declare notes?: Note[]
  static override get tableName() {
    return 'projects'
  }
  static override jsonSchema: JSONSchema = {
    type: 'object',
    required: ['projectName', 'ownerId'],
    properties: {
      id: { type: 'integer' },
      projectName: { type: 'string' },
      ownerId: { type: 'string', format: 'uuid' },
      parentId: { type: ['integer', 'null'] },
      secretWord: { type: 'string' },
    },
  }
  static override relationMappings = () => ({
    notes: { relation: Model.HasManyRelation, modelClass: () => Note, join: { from: 'projects.id', to: 'notes.projectId' } },
    parent: { relation: Model.BelongsToOneRelation, modelClass: Project, join: { from: 'projects.parentId', to: 'projects.id' } },
  })
  static override modifiers = { named: (query: { whereNotNull(name: string): unknown }) => void query.whereNotNull('projectName') }
  static override policy = { read: owner('ownerId'), create: owner('ownerId'), update: owner('ownerId'), delete: owner('ownerId') }
}

/** Without any schema: Objection reads the columns from the database. */
class Note extends PermsMixin(CamelBase) {
  declare id: number
  declare projectId: number
  declare noteText: string
  static override tableName = 'notes'
  static override relationMappings = () => ({
    project: { relation: Model.BelongsToOneRelation, modelClass: Project, join: { from: 'notes.projectId', to: 'projects.id' } },
  })
  static override policy = {
    read: related('project', owner('ownerId')),
    create: authenticated(),
    update: related('project', owner('ownerId')),
  }
}

class Paper extends UserOwnershipMixin(HasUserMixin(PermsMixin(CamelBase))) {
  declare id: number
  declare title: string
  static override get tableName() {
    return 'papers'
  }
  static override columnNames = { userId: 'writtenBy' }
  static override jsonSchema: JSONSchema = {
    type: 'object',
    properties: { id: { type: 'integer' }, title: { type: 'string' } },
  }
}

eachDatabase('Models over an existing base class with columns in camelCase', (db) => {
  let perms: Perms
  let ada: User
  let bob: User
  let ask: Client
  let tokens: { ada: string; bob: string }
  before(async () => {
    perms = initPerms({ knex: db.knex, jwt: { secret: 'a secret of the tests, 32 bytes long' }, passwordHasher: testHasher() })
    await migrateAtOnce(perms)
    const owned = (table: import('knex').Knex.CreateTableBuilder, name: string) =>
      db.dialect === 'pg' ? table.uuid(name).notNullable() : table.string(name, 36).notNullable()
    await db.knex.schema.createTable('projects', (table) => {
      table.increments('id')
      table.string('projectName')
      owned(table, 'ownerId')
      table.integer('parentId')
      table.string('secretWord')
    })
    await db.knex.schema.createTable('notes', (table) => {
      table.increments('id')
      table.integer('projectId')
      table.string('noteText')
    })
    await db.knex.schema.createTable('papers', (table) => {
      table.increments('id')
      owned(table, 'writtenBy')
      table.string('title')
    })
    ;[ada, bob] = await asSystem(async () => [
      await createUser({ email: 'ada@example.com' }),
      await createUser({ email: 'bob@example.com' }),
    ])
    tokens = { ada: (await signInAs(ada)).accessToken, bob: (await signInAs(bob)).accessToken }
    ask = clientOf(
      new Api({ resources: [new CrudResource({ model: Project, include: ['parent'] }), new CrudResource({ model: Paper })] }),
      perms,
    )
  })
  after(() => perms.close())
  beforeEach(async () => {
    for (const table of ['projects', 'notes', 'papers']) await db.knex(table).delete()
  })

  const project = (user: User, more: object = {}) =>
    runAs(user, () => Project.query().insertAndFetch({ projectName: `of ${user.email}`, ownerId: user.id, ...more } as never))

  it('read and write the columns that exist, each user their own rows', async () => {
    const made = await project(ada, { secretWord: 'xyzzy' })
    await project(bob)
    expect(await db.knex('projects').where({ id: made.id }).first()).to.include({ projectName: 'of ada@example.com', ownerId: ada.id })
    const rows = await runAs(ada, () => Project.query().where('projectName', 'like', 'of%').modify('named').orderBy('ownerId'))
    expect(rows.map(({ projectName }) => projectName)).to.deep.equal(['of ada@example.com'])
    expect(
      await runAs(bob, () =>
        Project.query()
          .where({ id: made.id })
          .patch({ projectName: 'his' } as never),
      ),
    ).to.equal(0)
    expect(JSON.parse(JSON.stringify(rows[0]))).not.to.have.property('secretWord')
  })

  it('without a schema obey policies over relations', async () => {
    const mine = await project(ada)
    await runAs(ada, () => Note.query().insert({ projectId: mine.id, noteText: 'hello' } as never))
    const [note] = await runAs(ada, () => Note.query())
    expect(note).to.include({ noteText: 'hello', projectId: mine.id })
    expect(await runAs(bob, () => Note.query())).to.deep.equal([])
    expect(await runAs(bob, () => Note.query().patch({ noteText: 'his' } as never))).to.equal(0)
    const [withNotes] = await runAs(ada, () => Project.query().withGraphFetched('notes'))
    expect(withNotes?.notes?.map(({ noteText }) => noteText)).to.deep.equal(['hello'])
    const [joined] = await runAs(ada, () => Project.query().withGraphJoined('notes'))
    expect(joined?.notes?.map(({ noteText }) => noteText)).to.deep.equal(['hello'])
  })

  it('serve their rows over HTTP with the application’s $formatJson()', async () => {
    const parent = await project(ada)
    const made = await ask('POST', '/projects/', tokens.ada, {
      body: { projectName: 'p', ownerId: ada.id, parentId: parent.id, secretWord: 'xyzzy' },
    })
    expect(made.status, JSON.stringify(made.body)).to.equal(201)
    expect(made.body).to.include({ projectName: 'p', parentId: parent.id }).and.not.have.property('secretWord')
    const listed = await ask('GET', `/projects/?parentId=${parent.id}&sort=-projectName&include=parent`, tokens.ada)
    expect(listed.body.data.map((one: any) => one.parent.id)).to.deep.equal([parent.id])
    expect(JSON.stringify(listed.body)).not.to.match(/xyzzy/)
    for (const query of ['secretWord=xyzzy', 'secretWord__like=x%25', 'sort=secretWord'])
      expect((await ask('GET', `/projects/?${query}`, tokens.ada)).status, query).to.equal(422)
    expect((await ask('GET', '/projects/', tokens.bob)).body.data).to.deep.equal([])
    expect((await ask('PATCH', `/projects/${made.body.id}`, tokens.bob, { body: { projectName: 'his' } })).status).to.equal(404)
  })

  it('take HasUserMixin and UserOwnershipMixin', async () => {
    const made = await ask('POST', '/papers/', tokens.ada, { body: { title: 't' } })
    expect(made.status, JSON.stringify(made.body)).to.equal(201)
    expect(made.body).to.include({ title: 't', userId: ada.id })
    expect((await ask('GET', `/papers/${made.body.id}`, tokens.bob)).status).to.equal(404)
    expect((await ask('GET', '/papers/', tokens.ada)).body.data).to.have.length(1)
    expect(await db.knex('papers').first()).to.include({ title: 't', writtenBy: ada.id })
  })
})

describe('The table of a model', () => {
  it('is not derived from a class name that a minifier made', () => {
    const t1 = { t1: class extends BasePermsModel.withColumns({ title: column.string() }) {} }.t1
    const anonymous = (() => class extends BasePermsModel.withColumns({ title: column.string() }) {})()
    for (const cls of [t1, anonymous])
      expect(thrown(() => cls.tableName))
        .to.be.instanceOf(ConfigurationError)
        .with.property('message')
        .that.match(/static tableName/)
    const named = class extends BasePermsModel.withColumns({ title: column.string() }) {
      static override tableName = 'things'
    }
    expect(named.tableName).to.equal('things')
  })
})
