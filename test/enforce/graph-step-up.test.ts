import { expect } from 'chai'
import {
  allOf,
  authenticated,
  BasePermsModel,
  column,
  createTables,
  Domain,
  ForbiddenError,
  HasUserMixin,
  InsufficientUserAuthenticationError,
  initPerms,
  owner,
  type Perms,
  type Policy,
  recent,
  runAs,
  SoftDeleteMixin,
  Token,
  User,
  UserRole,
  where,
} from '../../src/index.js'
import { asSystem } from '../../src/policy/context.js'
import { testHasher } from '../../src/testing/hasher.js'
import { eachDatabase } from '../helpers/databases.js'
import { rejection } from '../helpers/errors.js'

const shelfId = column.uuid().references('fresh_shelf.id').nullable()

class FreshBook extends HasUserMixin(BasePermsModel).withColumns({ state: column.string().default('open'), shelfId }) {
  static override policy: Policy<FreshBook> = {
    read: owner(),
    create: owner(),
    update: allOf(owner(), recent(300), where({ state: 'open' })),
    delete: allOf(owner(), recent(60), where({ state: 'open' })),
  }
}
class FreshNote extends HasUserMixin(SoftDeleteMixin(BasePermsModel)).withColumns({ shelfId }) {
  static override policy: Policy<FreshNote> = { read: owner(), create: owner(), update: owner(), delete: allOf(owner(), recent(60)) }
}
class FreshTag extends BasePermsModel.withColumns({ name: column.string() }) {
  static override policy: Policy<FreshTag> = { read: authenticated(), create: authenticated() }
}
class FreshLink extends BasePermsModel.withColumns({ shelfId: column.uuid(), tagId: column.uuid() }) {
  static override policy: Policy<FreshLink> = { read: authenticated(), create: authenticated(), delete: recent(60) }
}

const tags = (table: string, more: object = {}) => ({
  relation: BasePermsModel.ManyToManyRelation,
  modelClass: FreshTag,
  join: { from: 'fresh_shelf.id', through: { from: `${table}.shelfId`, to: `${table}.tagId`, ...more }, to: 'fresh_tag.id' },
})
const rows = (modelClass: typeof FreshBook | typeof FreshNote, table: string) => ({
  relation: BasePermsModel.HasManyRelation,
  modelClass,
  join: { from: 'fresh_shelf.id', to: `${table}.shelfId` },
})

class FreshShelf extends HasUserMixin(BasePermsModel).withColumns({ state: column.string().default('open') }) {
  static override relationMappings = {
    books: rows(FreshBook, 'fresh_book'),
    notes: rows(FreshNote, 'fresh_note'),
    tags: tags('fresh_bare_link', { extra: ['rank'] }),
    firmTags: tags('fresh_link', { modelClass: FreshLink }),
  }
  declare books?: FreshBook[]
  static override policy: Policy<FreshShelf> = {
    read: owner(),
    create: owner(),
    update: allOf(owner(), recent(300), where({ state: 'open' })),
  }
}

eachDatabase('A graph that leaves rows out', (db) => {
  let perms: Perms
  let ada: User
  let shelf: FreshShelf
  let tag: FreshTag
  const models = [FreshShelf, FreshBook, FreshNote, FreshTag, FreshLink]
  before(async () => {
    perms = initPerms({ knex: db.knex, passwordHasher: testHasher(), models, outsideContext: 'allow' })
    await createTables(db.knex, [Domain, User, UserRole, Token, ...models])
    await db.knex.schema.createTable('fresh_bare_link', (table) => {
      table.uuid('shelf_id')
      table.uuid('tag_id')
      table.integer('rank')
    })
    ada = await asSystem(() => User.create({ email: 'ada@example.com' }))
  })
  after(() => perms.close())
  beforeEach(async () => {
    const userId = ada.id
    await asSystem(async () => {
      shelf = await FreshShelf.create({ userId })
      tag = await FreshTag.create({ name: 'red' })
      await FreshLink.create({ shelfId: shelf.id, tagId: tag.id })
    })
    await db.knex('fresh_bare_link').insert({ shelf_id: shelf.id, tag_id: tag.id, rank: 1 })
  })

  const books = (...states: string[]) =>
    asSystem(() => Promise.all(states.map((state) => FreshBook.create({ userId: ada.id, shelfId: shelf.id, state }))))
  /** Sends the graph of a session that is `age` seconds old, and returns the required age, 403 or 'done'. */
  const send = async (graph: object, options: object, age: number): Promise<unknown> => {
    const proof = { authTime: new Date(Date.now() - age * 1000), amr: ['pwd'] }
    const work = () => FreshShelf.query().upsertGraph({ id: shelf.id, ...graph } as never, options)
    const error = await rejection(runAs(ada, work, proof)).catch(() => null)
    if (error === null) return 'done'
    if (error instanceof InsufficientUserAuthenticationError) return error.maxAge
    if (!(error instanceof ForbiddenError)) throw error
    return 403
  }
  const without = { books: { books: [] }, notes: { notes: [] }, tags: { tags: [] }, firmTags: { firmTags: [] } }
  const unrelate = { unrelate: true }

  it('asks for a fresh session where only that is missing to delete a row [promise 88]', async () => {
    await books('open')
    await asSystem(() => FreshNote.create({ userId: ada.id, shelfId: shelf.id }))
    for (const graph of [without.books, without.notes]) {
      expect(await send(graph, {}, 90)).to.equal(60)
      expect(await send(graph, {}, 1)).to.equal('done')
    }
  })

  it('asks for a fresh session where only that is missing to unlink a row [promise 88]', async () => {
    await books('open')
    expect(await send(without.books, unrelate, 400)).to.equal(300)
    expect(await send(without.tags, unrelate, 400)).to.equal(300)
    expect(await send(without.firmTags, unrelate, 90)).to.equal(60)
    for (const graph of Object.values(without)) expect(await send(graph, unrelate, 1)).to.equal('done')
  })

  it('asks for a fresh session where only that is missing to change a link [promise 88]', async () => {
    const graph = { tags: [{ id: tag.id, rank: 2 }] }
    expect(await send(graph, {}, 400)).to.equal(300)
    expect(await send(graph, {}, 1)).to.equal('done')
    expect(await db.knex('fresh_bare_link').where({ shelf_id: shelf.id })).to.deep.include({ shelf_id: shelf.id, tag_id: tag.id, rank: 2 })
  })

  it('gives 403 where a fresh session would remove only some of the rows, or none, and removes nothing [promise 88]', async () => {
    await books('open', 'closed')
    expect(await send(without.books, {}, 400)).to.equal(403)
    expect(await send(without.books, unrelate, 400)).to.equal(403)
    await asSystem(() => shelf.update({ state: 'closed' }))
    expect(await send(without.tags, unrelate, 400)).to.equal(403)
    expect(await send({ tags: [{ id: tag.id, rank: 2 }] }, {}, 400)).to.equal(403)
    expect(await asSystem(() => FreshBook.query().where({ shelfId: shelf.id }))).to.have.length(2)
    expect(await db.knex('fresh_bare_link').where({ shelf_id: shelf.id, rank: 1 })).to.have.length(1)
  })
})
