import { expect } from 'chai'
import { Model } from 'objection'
import {
  ActiveRecordMixin,
  anyOf,
  authenticated,
  check,
  column,
  everyone,
  ForbiddenError,
  HasUserMixin,
  initPerms,
  owner,
  type Perms,
  PermsMixin,
  runAs,
  User,
  where,
} from '../../src/index.js'
import { eachDatabase } from '../helpers/databases.js'
import { migrateAtOnce } from '../helpers/library-tables-at-once.js'

const Base = HasUserMixin(PermsMixin(ActiveRecordMixin(Model)))

class IdBook extends Base.withColumns({
  bookCode: column.string({ maxLength: 20 }).unique(),
  title: column.string({ maxLength: 50 }),
  isOpen: column.boolean().default(false),
}) {
  static override tableName = 'id_book'
  static override idColumn = 'book_code'
  static override policy = { read: anyOf(owner(), where({ isOpen: true })), create: authenticated(), update: owner() }
}

class IdReview extends Base.withColumns({ num: column.integer().unique(), stars: column.integer() }) {
  static override tableName = 'id_review'
  static override idColumn = 'num'
  static override policy = { read: everyone(), create: authenticated(), update: check<IdReview>(({ stars }) => stars < 6) }
}

class IdSeat extends Base.withColumns({ line: column.integer(), place: column.integer(), note: column.string({ maxLength: 20 }) }) {
  static override tableName = 'id_seat'
  static override idColumn = ['line', 'place']
  static override policy = {
    read: everyone(),
    create: authenticated(),
    update: { from: owner(), to: check<IdSeat>(({ note }) => note !== 'locked') },
    delete: owner(),
  }
}

eachDatabase('Models with an id of their own', (db) => {
  let perms: Perms
  let ada: User
  let bob: User

  before(async () => {
    perms = initPerms({ knex: db.knex, models: [IdBook, IdReview, IdSeat] })
    await migrateAtOnce(perms)
    const owned = (t: Parameters<Parameters<typeof db.knex.schema.createTable>[1]>[0]) => {
      if (db.dialect === 'pg') t.uuid('user_id')
      else t.string('user_id', 36)
    }
    await db.knex.schema.createTable('id_book', (t) => {
      t.string('book_code', 20).primary()
      t.string('title', 50)
      t.boolean('is_open')
      owned(t)
    })
    await db.knex.schema.createTable('id_review', (t) => {
      t.integer('num').primary()
      t.integer('stars')
      owned(t)
    })
    await db.knex.schema.createTable('id_seat', (t) => {
      t.integer('line')
      t.integer('place')
      t.string('note', 20)
      owned(t)
      t.primary(['line', 'place'])
    })
    ada = await User.create({ email: 'ada@example.com' })
    bob = await User.create({ email: 'bob@example.com' })
  })
  after(() => perms.close())

  it('a row with a text id is created, asked about, changed and deleted by its owner only', async () => {
    const book = await runAs(ada, () => IdBook.create({ bookCode: 'b1', title: 'Otters', isOpen: true }))
    expect(await runAs(ada, () => book.canWrite())).to.equal(true)
    expect((await runAs(ada, () => IdBook.get('b1')))?.title).to.equal('Otters')
    await runAs(bob, async () => {
      const seen = await IdBook.getOr404('b1')
      expect([await seen.canRead(), await seen.canWrite(), await seen.canDelete()]).to.deep.equal([true, false, false])
      await refused(seen.update({ title: 'Mine' }))
      await refused(seen.delete())
      expect(await IdBook.query().delete()).to.equal(0)
    })
    await runAs(ada, () => book.update({ title: 'Seals' }))
    expect(await db.knex('id_book').pluck('title')).to.deep.equal(['Seals'])
    await refused(runAs(ada, () => IdBook.query().findById('b1').patch({ bookCode: 'b2' })))
    await runAs(ada, () => book.delete())
    expect(await db.knex('id_book')).to.deep.equal([])
  })

  it('a row with an integer id is inserted, and check() decides about each row', async () => {
    await runAs(ada, async () => {
      const review = await IdReview.create({ num: 1, stars: 3 })
      await IdReview.query().insert({ num: 2, stars: 9 })
      expect(await review.canWrite()).to.equal(true)
      expect(await IdReview.query().patch({ stars: 4 })).to.equal(1)
      expect(await db.knex('id_review').orderBy('num').pluck('stars')).to.deep.equal([4, 9])
      expect(await IdReview.query().delete()).to.equal(1)
      expect(await db.knex('id_review').pluck('num')).to.deep.equal([2])
    })
  })

  it('a row with a composite id is created, asked about, changed and deleted by its owner only', async () => {
    const seat = await runAs(ada, () => IdSeat.create({ line: 1, place: 1, note: 'free' }))
    await runAs(ada, () => IdSeat.create({ line: 1, place: 2, note: 'free' }))
    await runAs(bob, () => IdSeat.create({ line: 2, place: 1, note: 'free' }))
    expect(await runAs(ada, () => seat.canWrite())).to.equal(true)
    await runAs(ada, async () => {
      expect(await IdSeat.query().patch({ note: 'taken' })).to.equal(2)
      await refused(IdSeat.query().findById([1, 2]).patch({ note: 'locked' }))
      await refused(seat.update({ note: 'locked' }))
      await refused(IdSeat.query().findById([1, 2]).patch({ line: 2 }))
    })
    await runAs(bob, async () => {
      const seen = await IdSeat.query().findById([1, 1]).throwIfNotFound()
      expect([await seen.canRead(), await seen.canWrite(), await seen.canDelete()]).to.deep.equal([true, false, false])
      await refused(seen.update({ note: 'Mine' }))
      await refused(seen.delete())
    })
    expect(await db.knex('id_seat').orderBy(['line', 'place']).pluck('note')).to.deep.equal(['taken', 'taken', 'free'])
    await runAs(ada, () => seat.delete())
    expect(await db.knex('id_seat').orderBy(['line', 'place']).select('line', 'place')).to.deep.equal([
      { line: 1, place: 2 },
      { line: 2, place: 1 },
    ])
  })
})

async function refused(written: PromiseLike<unknown>): Promise<void> {
  const error = await Promise.resolve(written).then(
    () => null,
    (reason: unknown) => reason,
  )
  expect(error).to.be.instanceOf(ForbiddenError)
}
