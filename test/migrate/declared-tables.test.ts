import { expect } from 'chai'
import { Model } from 'objection'
import type { TableSchema } from '../../src/database/catalogue/schema-types.js'
import { BasePermsModel, column, HasUserMixin, initPerms, type Perms, PermsMixin, User } from '../../src/index.js'
import { compareSchemas } from '../../src/migrate/compare.js'
import { type DeclaredSchema, declaredSchema } from '../../src/migrate/declared-schema.js'
import { declaredTables } from '../../src/migrate/declared-tables.js'
import { eachDatabase } from '../helpers/databases.js'

const through = (modelClass: () => typeof Model, from: string, joinFrom: string, joinTo: string, to: string, more: object = {}) => ({
  relation: Model.ManyToManyRelation,
  modelClass,
  join: { from, through: { from: joinFrom, to: joinTo, ...more }, to },
})

class Account extends User.withColumns({ id: column.integer() }) {
  static override tableName = 'account'
}
class Tag extends BasePermsModel.withColumns({ id: column.bigint(), name: column.string() }) {}
class Reading extends BasePermsModel.withColumns({ postId: column.uuid(), accountId: column.integer(), page: column.integer() }) {}
class Post extends HasUserMixin(BasePermsModel).withColumns({
  title: column.string(),
  teamId: column.uuid().references('team.id', { onDelete: 'cascade' }),
}) {
  static override relationMappings = {
    tags: through(() => Tag, 'post.id', 'post_tag.postId', 'post_tag.tagId', 'tag.id', { extra: ['sortOrder'] }),
    similar: through(() => Post, 'post.id', 'post_similar.postId', 'post_similar.otherId', 'post.id'),
    readers: through(() => Account, 'post.id', 'reading.postId', 'reading.accountId', 'account.id', { modelClass: Reading }),
  } as never
}
/** Another model over the table of posts. */
class Headline extends BasePermsModel.withColumns({ title: column.string(), subtitle: column.string().nullable() }) {
  static override tableName = 'post'
}
class Device extends PermsMixin(Model) {
  static override tableName = 'devices'
  static override virtualAttributes = ['isOld']
  static override jsonSchema = {
    type: 'object',
    properties: {
      serial: { type: 'string' },
      isOld: { type: 'boolean' },
      notes: { type: 'array' },
      owners: { type: 'array' },
      anything: {},
    },
  }
  static override relationMappings = {
    owners: through(() => Account, 'devices.id', 'owners.device', 'owners.account', 'account.id'),
  } as never
}

eachDatabase('The tables that models declare', (db) => {
  let perms: Perms
  let to: DeclaredSchema
  before(async () => {
    perms = initPerms({ knex: db.knex, user: Account as never, models: [Post, Tag, Headline, Device] })
    to = await declaredSchema(db.knex, declaredTables(perms))
  })
  after(() => perms.close())

  const table = (name: string): TableSchema => {
    const found = to.tables.get(name)
    if (!found) throw new Error(`The table ${name} is not declared.`)
    return found
  }
  const columnsOf = (name: string) => [...table(name).columns.keys()]
  const keysOf = (name: string) =>
    table(name).foreignKeys.map(({ columns, table: target, targetColumns, onDelete }) => [
      columns[0],
      `${target}.${targetColumns[0]}`,
      onDelete,
    ])

  it('include those of the library, of the registered user model and of initPerms({ models })', () => {
    expect([...to.tables.keys()]).to.include.members(['account', 'user_role', 'token', 'audit_log', 'post', 'tag', 'devices'])
    expect([...to.tables.keys()], 'a table that is only referred to').to.not.include('team')
    expect(keysOf('post')).to.have.deep.members([
      ['user_id', 'account.id', 'cascade'],
      ['team_id', 'team.id', 'cascade'],
    ])
  })

  it('include the join tables of relations, with keys of the types that they refer to, and an index for the way back', () => {
    expect(columnsOf('post_tag')).to.have.members(['post_id', 'tag_id', 'sort_order'])
    expect(table('post_tag').primaryKey).to.have.members(['post_id', 'tag_id'])
    expect(keysOf('post_tag')).to.have.deep.members([
      ['post_id', 'post.id', 'cascade'],
      ['tag_id', 'tag.id', 'cascade'],
    ])
    expect(table('post_tag').columns.get('tag_id')?.type).to.equal(table('tag').columns.get('id')?.type)
    expect(table('post_tag').columns.get('tag_id')?.isGenerated).to.equal(undefined)
    expect(table('post_tag').indexes.map(({ columns }) => columns)).to.deep.include(['tag_id'])
    expect(keysOf('post_similar')).to.have.deep.members([
      ['post_id', 'post.id', 'cascade'],
      ['other_id', 'post.id', 'cascade'],
    ])
  })

  it('take a join table from its model', () => {
    expect(columnsOf('reading')).to.have.members(['id', 'created_at', 'updated_at', 'post_id', 'account_id', 'page'])
  })

  it('join the columns of all models over one table', () => {
    expect(columnsOf('post')).to.include.members(['title', 'team_id', 'user_id', 'subtitle'])
    expect(to.rules.get('post')?.isWhole).to.equal(true)
  })

  it('have the columns of a JSON Schema, without virtual attributes, relations and values of any type, and an id', () => {
    expect(columnsOf('devices')).to.have.members(['serial', 'notes', 'id'])
    expect(table('devices').columns.get('id')).to.include({ isGenerated: true })
    expect(to.rules.get('devices')).to.include({ isWhole: false, isCreatedByLibrary: false })
    expect(Object.fromEntries(to.rules.get('devices')?.columns ?? [])).to.deep.equal({ serial: 'family', notes: 'family', id: 'presence' })
    expect(columnsOf('owners')).to.have.members(['device', 'account'])
  })

  it('leave the columns of the library in its own tables to the packaged migrations', () => {
    const { columns, isCreatedByLibrary } = to.rules.get('account') ?? {}
    expect(isCreatedByLibrary).to.equal(true)
    expect(columns?.get('email')).to.equal('presence')
    expect(columns?.get('id'), 'a column that the model declares itself').to.equal('exact')
  })

  it('do not differ from themselves', () => {
    expect(compareSchemas(to, to)).to.deep.equal([])
  })
})
