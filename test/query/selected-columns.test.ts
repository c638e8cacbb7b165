import { expect } from 'chai'
import { Model } from 'objection'
import { BaseModel, belongsTo, column, createTables, hasMany, initPerms, type Perms } from '../../src/index.js'
import { testHasher } from '../../src/testing/hasher.js'
import { countQueries, eachDatabase } from '../helpers/databases.js'

class Shelf extends BaseModel.withColumns({ label: column.string({ maxLength: 20 }) }) {
  static override relationMappings = () => ({
    volumes: hasMany(() => Volume, 'shelfId'),
    strays: { relation: Model.HasManyRelation, modelClass: Stray, join: { from: 'shelf.id', to: 'stray.place' } },
  })
}
class Volume extends BaseModel.withColumns({ title: column.string({ maxLength: 50 }), shelfId: column.uuid().references('shelf.id') }) {
  static override relationMappings = () => ({ shelf: belongsTo(() => Shelf, 'shelfId') })
}
/** Its table has a column that it does not declare, but that a relation uses. */
class Stray extends BaseModel.withColumns({ name: column.string({ maxLength: 20 }) }) {}
/** Has a relation from a column that it does not declare. */
class Loose extends BaseModel.withColumns({ name: column.string({ maxLength: 20 }) }) {
  static override relationMappings = () => ({
    shelf: { relation: Model.BelongsToOneRelation, modelClass: Shelf, join: { from: 'loose.place', to: 'shelf.id' } },
  })
}

eachDatabase('A query that selects nothing in particular', (db) => {
  let perms: Perms
  let shelf: Shelf
  before(async () => {
    perms = initPerms({ knex: db.knex, passwordHasher: testHasher() })
    await createTables(db.knex, [Shelf, Volume, Stray, Loose])
    for (const name of ['stray', 'loose']) await db.knex.schema.alterTable(name, (table) => table.string('place', 36))
    shelf = await Shelf.create({ label: 'a' })
    await Volume.create({ title: 't', shelfId: shelf.id })
    for (const Class of [Stray, Loose]) await Class.create({ name: 'n' })
    for (const name of ['stray', 'loose']) await db.knex(name).update({ place: shelf.id })
  })
  after(() => perms.close())

  const sqlOf = async (query: () => PromiseLike<unknown>) => (await countQueries(db.knex, query)).statements.join('; ')

  it('lists the columns of its model', async () => {
    const sql = await sqlOf(() => Volume.query().where('title', 't'))
    expect(sql)
      .to.match(/"volume"\."title"|`volume`\.`title`/)
      .and.not.contain('*')
    expect(await sqlOf(() => Volume.query().alias('v').findById(shelf.id))).to.match(/"v"\."title"|`v`\.`title`/)
    expect((await Volume.query())[0]).to.include({ title: 't', shelfId: shelf.id })
  })

  it('lists the columns in relations, unions, subqueries and counts', async () => {
    expect(await sqlOf(() => Shelf.query().withGraphFetched('volumes'))).not.to.contain('*')
    expect((await Shelf.query().withGraphFetched('volumes'))[0]).to.have.nested.property('volumes[0].title', 't')
    expect(await Volume.query().union(Volume.query())).to.have.length(1)
    expect(await Volume.query().resultSize()).to.equal(1)
    expect((await Volume.query().page(0, 5)).total).to.equal(1)
    expect(await Volume.query().with('v', Volume.query()).whereExists(Volume.query().where('title', 't'))).to.have.length(1)
    expect(await shelf.$relatedQuery('volumes')).to.have.length(1)
  })

  it('does not change queries with a select() or another source', async () => {
    expect(await sqlOf(() => Volume.query().select('title'))).not.to.match(/shelf_id/)
    expect(await sqlOf(() => Volume.query().count())).to.match(/count\(\*\)/i)
    const own = Volume.query().onBuildKnex((builder) => builder.select('title'))
    expect(await sqlOf(() => own)).to.match(/title/)
    expect(await Volume.query().from(Volume.query().select('id', 'title').as('volume'))).to.have.length(1)
  })

  it('keeps a key that is selected by its property if a relation needs it too', async () => {
    const plain = (rows: unknown) => JSON.parse(JSON.stringify(rows))
    const text = (row: { select(...names: string[]): unknown }) => void row.select('title', 'shelfId')
    for (const key of ['shelfId', 'volume.shelfId', 'shelf_id', 'shelf_id as shelfId']) {
      const rows = plain(await Volume.query().select('title', key).withGraphFetched('shelf'))
      expect(rows, key).to.have.length(1)
      expect(rows[0], key).to.have.keys('title', 'shelfId', 'shelf')
    }
    expect(plain(await Volume.query().select('title').withGraphFetched('shelf'))[0]).to.have.keys('title', 'shelf')
    expect(plain(await Volume.query().alias('v').select('title', 'v.shelfId').withGraphFetched('shelf'))[0]).to.have.property('shelfId')
    const [fetched] = plain(await Shelf.query().select('id').withGraphFetched('volumes').modifyGraph('volumes', text))
    expect(fetched.volumes).to.deep.equal([{ title: 't', shelfId: shelf.id }])
    const [joined] = plain(await Shelf.query().select('shelf.id').withGraphJoined('volumes').modifyGraph('volumes', text))
    expect(joined.volumes).to.deep.equal([{ title: 't', shelfId: shelf.id }])
  })

  it('selects all columns if a relation needs an undeclared column', async () => {
    const found = await Shelf.query().withGraphFetched('strays')
    expect(found[0]).to.have.nested.property('strays[0].name', 'n')
    expect((await Loose.query().withGraphFetched('shelf'))[0]).to.have.nested.property('shelf.label', 'a')
  })
})
