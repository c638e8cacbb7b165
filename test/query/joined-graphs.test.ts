import { expect } from 'chai'
import {
  authenticated,
  BaseModel,
  BasePermsModel,
  belongsTo,
  ConfigurationError,
  column,
  createTables,
  everyone,
  hasMany,
  initPerms,
  type Perms,
  runAs,
  User,
  where,
} from '../../src/index.js'
import { eachDatabase } from '../helpers/databases.js'
import { rejection } from '../helpers/errors.js'
import { migrateAtOnce } from '../helpers/library-tables-at-once.js'

const boxRelations = () => ({
  items: hasMany(() => JoinedItem, 'boxId'),
  shelf: belongsTo(() => JoinedShelf, 'shelfId'),
})

class JoinedShelf extends BasePermsModel.withColumns({ name: column.string() }) {
  static override policy = { read: everyone(), create: authenticated() }
  static override relationMappings(): any {
    return { boxes: hasMany(() => JoinedBox, 'shelfId') }
  }
}
class JoinedBox extends BasePermsModel.withColumns({
  name: column.string(),
  isOpen: column.boolean().default(true),
  shelfId: column.uuid().references('joined_shelf.id').nullable(),
}) {
  static override policy = { read: where({ isOpen: true }), create: authenticated() }
  static override relationMappings = boxRelations as never
}
class JoinedItem extends BasePermsModel.withColumns({ name: column.string(), boxId: column.uuid().references('joined_box.id') }) {
  static override policy = { read: everyone(), create: authenticated() }
}
class JoinedPlainBox extends BaseModel.withColumns({ name: column.string(), shelfId: column.uuid().nullable() }) {
  static override relationMappings = boxRelations as never
}

eachDatabase('withGraphJoined()', (db) => {
  let perms: Perms
  let me: User

  before(async () => {
    perms = initPerms({ knex: db.knex, models: [JoinedShelf, JoinedBox, JoinedItem, JoinedPlainBox] })
    await createTables(db.knex, [User, JoinedShelf, JoinedBox, JoinedItem, JoinedPlainBox])
    await migrateAtOnce(perms)
    me = await User.create({ email: 'me@example.com' })
    const shelf = await JoinedShelf.create({ name: 'shelf' })
    for (const name of ['a', 'b', 'c', 'closed']) {
      const box = await JoinedBox.create({ name, shelfId: shelf.id, isOpen: name !== 'closed' })
      if (name !== 'c') for (const item of ['1', '2', '3']) await JoinedItem.create({ name: item, boxId: box.id })
    }
    await JoinedPlainBox.query().insert({ name: 'plain', shelfId: shelf.id })
  })
  after(() => perms?.close())

  const asMe = <T>(fn: () => PromiseLike<T>) => runAs(me, async () => await fn())
  const boxes = () => JoinedBox.query().withGraphJoined('items').orderBy('joined_box.name')

  it('counts rows of the model, not joined rows', async () => {
    expect(await asMe(async () => await boxes().resultSize())).to.equal(3)
    expect(await asMe(async () => await boxes().where('items.name', '>', '1').resultSize())).to.equal(2)
    expect(await asMe(async () => await JoinedShelf.query().withGraphJoined('boxes.items').resultSize())).to.equal(1)
    const { results, total } = await asMe(async () => await boxes().range())
    expect([results.map(({ name }: any) => name), total]).to.deep.equal([['a', 'b', 'c'], 3])
  })

  for (const [what, cut] of Object.entries({
    page: (query: any) => query.page(0, 2),
    range: (query: any) => query.range(0, 1),
    limit: (query: any) => query.limit(2),
    offset: (query: any) => query.limit(10).offset(1),
  })) {
    it(`rejects ${what}() if it joins several rows to one`, async () => {
      const queries = {
        'one level': () => boxes(),
        'two levels': () => JoinedShelf.query().withGraphJoined('boxes.items'),
        'below one row': () => JoinedBox.query().withGraphJoined('shelf.boxes'),
        'an alias': () => JoinedBox.query().withGraphJoined('items as things'),
        'without permissions': () => JoinedPlainBox.query().withGraphJoined('shelf.boxes'),
      }
      for (const [name, query] of Object.entries(queries)) {
        const error = await rejection(asMe(async () => await cut(query())))
        expect(error, name).to.be.instanceOf(ConfigurationError)
        expect(error.message).to.include('withGraphFetched()')
      }
    })

    it(`allows ${what}() if it joins at most one row to each`, async () => {
      const found: any = await asMe(async () => await cut(JoinedBox.query().withGraphJoined('shelf').orderBy('joined_box.name')))
      const rows = found.results ?? found
      expect(rows.map((box: any) => [box.name, box.shelf.name])).to.deep.equal(
        what === 'offset'
          ? [
              ['b', 'shelf'],
              ['c', 'shelf'],
            ]
          : [
              ['a', 'shelf'],
              ['b', 'shelf'],
            ],
      )
      if (found.results) expect(found.total).to.equal(3)
    })
  }

  it('does not affect first() and pages of fetched graphs', async () => {
    const first: any = await asMe(async () => await boxes().first())
    expect([first.name, first.items.length]).to.deep.equal(['a', 3])
    const page: any = await asMe(async () => await JoinedBox.query().withGraphFetched('items').orderBy('name').page(0, 2))
    expect([page.results.map(({ items }: any) => items.length), page.total]).to.deep.equal([[3, 3], 3])
  })
})
