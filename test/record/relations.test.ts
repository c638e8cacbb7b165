import { expect } from 'chai'
import Knex from 'knex'
import { Model, raw, ref } from 'objection'
import {
  ActiveRecordMixin,
  BaseModel,
  belongsTo,
  ConfigurationError,
  column,
  createTables,
  hasMany,
  initPerms,
  type Perms,
  type Relations,
} from '../../src/index.js'
import { testHasher } from '../../src/testing/hasher.js'
import { eachDatabase } from '../helpers/databases.js'
import { fieldsOf, rejection } from '../helpers/errors.js'

class Author extends BaseModel.withColumns({
  penName: column.string({ maxLength: 50 }),
  mentorId: column.uuid().nullable().references('author.id', { onDelete: 'set null' }),
}) {
  declare books?: Book[]
  declare mentor?: Author | null
  static override relationMappings = () => ({
    books: hasMany(() => Book, 'authorId'),
    mentor: belongsTo(() => Author, 'mentorId'),
  })
}

class Poet extends Author.withColumns({ verseCount: column.integer().default(0) }) {
  declare drafts?: Draft[]
  static override relationMappings = () => ({ drafts: hasMany(() => Draft, 'poetId') }) as never
}

class Draft extends BaseModel.withColumns({ draftTitle: column.string(), poetId: column.uuid() }) {}

class Book extends BaseModel.withColumns({
  bookTitle: column.string({ maxLength: 50 }),
  pageCount: column.integer().default(0),
  authorId: column.uuid().nullable().references('author.id', { onDelete: 'cascade' }),
  details: column.json<{ isbn?: string }>().nullable(),
  publishedAt: column.datetime().nullable(),
}) {
  declare author?: Author | null
  declare genres?: Genre[]
  static override relationMappings = {
    // As Objection's documentation writes them, in property names.
    author: { relation: Model.BelongsToOneRelation, modelClass: Author, join: { from: 'book.authorId', to: 'author.id' } },
    genres: {
      relation: Model.ManyToManyRelation,
      modelClass: () => Genre,
      join: {
        from: 'book.id',
        through: { from: 'book_genre.bookId', to: 'book_genre.genreId', extra: ['isMain'] },
        to: 'genre.id',
      },
    },
  } as never
}

class Genre extends BaseModel.withColumns({ genreName: column.string({ maxLength: 50 }) }) {
  declare isMain?: unknown
}

class Country extends ActiveRecordMixin(Model).withColumns({ code: column.string({ maxLength: 2 }), countryName: column.string() }) {
  static override idColumn = 'code'
  declare towns?: Town[]
  static override relationMappings = () => ({ towns: hasMany(Town, 'countryCode') })
}

class Town extends BaseModel.withColumns({ townName: column.string(), countryCode: column.string({ maxLength: 2 }) }) {
  declare country?: Country
  static override relationMappings = { country: belongsTo(Country, 'countryCode') }
}

eachDatabase('Relations and names in queries', (db) => {
  let perms: Perms
  let ada: Author
  let bob: Author
  before(async () => {
    perms = initPerms({ knex: db.knex, passwordHasher: testHasher() })
    await createTables(db.knex, [Author, Poet, Draft, Book, Genre, Country, Town])
    await db.knex.schema.createTable('book_genre', (table) => {
      table.string('book_id', 36)
      table.string('genre_id', 36)
      table.integer('is_main')
    })
    if (db.dialect === 'pg')
      await db.knex.raw('alter table book_genre alter book_id type uuid using book_id::uuid, alter genre_id type uuid using genre_id::uuid')
  })
  after(() => perms.close())
  beforeEach(async () => {
    for (const table of ['book_genre', 'genre', 'book', 'author', 'poet', 'draft']) await db.knex(table).delete()
    ada = await Author.create({ penName: 'Ada' })
    bob = await Author.create({ penName: 'Bob', mentorId: ada.id })
    await Book.create({ bookTitle: 'First', pageCount: 10, authorId: ada.id, publishedAt: new Date(1000) })
    await Book.create({ bookTitle: 'Second', pageCount: 20, authorId: ada.id, details: { isbn: 'x1' } })
    await Book.create({ bookTitle: 'Third', pageCount: 30, authorId: bob.id })
  })

  const titles = (rows: readonly Book[]) => rows.map(({ bookTitle }) => bookTitle)

  it('fills in a required foreign key when a related row is inserted', async () => {
    const poet = await Poet.create({ penName: 'Sappho' })
    await poet.$relatedQuery('drafts').insert({ draftTitle: 'Ode' } as never)
    expect((await Draft.getByOr404({ draftTitle: 'Ode' })).poetId).to.equal(poet.id)
    const error = await rejection(Draft.query().insert({ draftTitle: 'Nobody’s' }))
    expect(fieldsOf(error)).to.deep.equal(['poetId'])
  })

  it('belongsTo() and hasMany() load, and join', async () => {
    const authors = await Author.query().withGraphFetched('[books, mentor]').orderBy('penName')
    expect(authors.map((author) => author.books?.length)).to.deep.equal([2, 1])
    expect(authors.map((author) => author.mentor?.penName ?? null)).to.deep.equal([null, 'Ada'])
    const joined = await Author.query().withGraphJoined('[books, mentor]').orderBy('author.penName')
    expect(joined.map((author) => author.books?.length)).to.deep.equal([2, 1])
    expect(joined[1]?.mentor?.penName).to.equal('Ada')
    expect(joined[0]?.books?.find((book) => book.bookTitle === 'First')?.publishedAt).to.deep.equal(new Date(1000))
  })

  it('belongsTo() and hasMany() take a class, and join by an id column of another name', async () => {
    await Country.create({ code: 'se', countryName: 'Sweden' })
    await Town.create({ townName: 'Lund', countryCode: 'se' })
    const [town] = await Town.query().withGraphJoined('country')
    expect(town?.country?.countryName).to.equal('Sweden')
    const [country] = await Country.query().withGraphFetched('towns')
    expect(country?.towns?.map(({ townName }) => townName)).to.deep.equal(['Lund'])
  })

  it('belongsTo() and hasMany() refuse values that are not models, and composite keys, and name the class and column', () => {
    class Seat extends ActiveRecordMixin(Model).withColumns({ row: column.integer(), number: column.integer(), bookId: column.uuid() }) {
      static override idColumn = ['row', 'number']
    }
    const relationsOf = (relationMappings: () => object) =>
      class Ticket extends BaseModel.withColumns({ seatId: column.uuid() }) {
        static override relationMappings = relationMappings as never
      }.getRelations()
    const missing = undefined as unknown as typeof Book
    for (const make of [
      () => belongsTo(missing, 'bookId'),
      () => belongsTo(() => missing, 'bookId'),
      () => hasMany(missing, 'bookId' as never),
    ])
      expect(() => relationsOf(() => ({ book: make() }))).to.throw(
        ConfigurationError,
        /'bookId'\): the first argument is undefined\. .*\(\(\) => Order/,
      )
    for (const other of ['Book', {}, () => ({}), class Plain {}])
      expect(() => relationsOf(() => ({ book: belongsTo(other as never, 'bookId') }))).to.throw(ConfigurationError, /is not a model/)
    expect(() => relationsOf(() => ({ seat: belongsTo(Seat, 'seatId') }))).to.throw(
      ConfigurationError,
      /Seat has a composite key \(row, number\)/,
    )
    class Reserved extends Seat {
      static override tableName = 'reserved'
      static override relationMappings = () => ({ books: hasMany(Book, 'authorId') }) as never
    }
    expect(() => Reserved.getRelations()).to.throw(ConfigurationError, /hasMany\(\): Reserved has a composite key/)
  })

  it('belongsTo() and hasMany() refuse a misspelled column, list the columns and suggest the nearest', () => {
    class Shelf extends BaseModel.withColumns({ room: column.string() }) {
      static override relationMappings: Relations<Shelf & { reader?: Author }> = { reader: belongsTo(Author, 'readerID' as never) }
    }
    class Stack extends Shelf.withColumns({ readerId: column.uuid() }) {}
    class Club extends BaseModel.withColumns({ clubName: column.string() }) {
      static override relationMappings = { authors: hasMany(() => Author, 'mentorIdd' as never) }
    }
    expect(() => Shelf.getRelations()).to.throw(
      ConfigurationError,
      "belongsTo(..., 'readerID'): Shelf has no column 'readerID'. Its columns are id, createdAt, updatedAt, room.",
    )
    expect(() => Stack.getRelations()).to.throw(ConfigurationError, "room, readerId. Did you mean 'readerId'?")
    expect(() => Club.getRelations()).to.throw(
      ConfigurationError,
      "hasMany(..., 'mentorIdd'): Author has no column 'mentorIdd'. Its columns are id, createdAt, updatedAt, penName, mentorId. Did you mean 'mentorId'?",
    )
    class Known extends BaseModel.withColumns({ readerId: column.uuid() }) {
      static override relationMappings = { reader: belongsTo(Author, 'reader_id' as never) }
    }
    expect(Known.getRelations()['reader']?.ownerProp.props).to.deep.equal(['readerId'])
    // A model over an existing table may have columns that it does not declare.
    class Existing extends ActiveRecordMixin(Model) {
      static override tableName = 'existing'
      static override relationMappings = { reader: belongsTo(Author, 'anyColumn') }
    }
    expect(Object.keys(Existing.getRelations())).to.deep.equal(['reader'])
  })

  it('initPerms() refuses models whose relations name an unknown column, and does not evaluate modules that are still loading', async () => {
    class Wrong extends BaseModel.withColumns({ readerId: column.uuid() }) {
      static override relationMappings = { reader: belongsTo(() => Author, 'raederId') }
    }
    class Early extends BaseModel.withColumns({ readerId: column.uuid() }) {
      static override relationMappings = { late: belongsTo(() => Late, 'readerId') }
    }
    const knex = Knex({ client: 'better-sqlite3', connection: { filename: ':memory:' }, useNullAsDefault: true })
    expect(() => initPerms({ knex, models: [Wrong] })).to.throw(ConfigurationError, "Did you mean 'readerId'?")
    await initPerms({ knex, models: [Early] }).close()
    class Late extends BaseModel.withColumns({ text: column.string() }) {}
    expect(Object.keys(Early.getRelations())).to.deep.equal(['late'])
    await knex.destroy()
  })

  it('relationMappings of a subclass add to its base’s, from the table of its own', async () => {
    const poet = await Poet.create({ penName: 'Sappho', mentorId: ada.id })
    await Draft.create({ draftTitle: 'Ode', poetId: poet.id })
    const read = await Poet.query().findById(poet.id).withGraphFetched('[drafts, mentor, books]')
    expect(read?.drafts?.map(({ draftTitle }) => draftTitle)).to.deep.equal(['Ode'])
    expect(read?.mentor?.penName).to.equal('Ada')
    expect(read?.books).to.deep.equal([])
    expect(Object.keys(Poet.getRelations())).to.have.members(['books', 'mentor', 'drafts'])
    expect(Object.keys(Author.getRelations())).to.have.members(['books', 'mentor'])
  })

  it('many-to-many relations work, with extra columns', async () => {
    const book = await Book.getByOr404({ bookTitle: 'First' })
    const genre = await Genre.create({ genreName: 'Maths' })
    await Book.relatedQuery('genres').for(book.id).relate({ id: genre.id, isMain: 1 })
    const read = await Book.query().findById(book.id).withGraphFetched('genres')
    expect(read?.genres?.map((one) => [one.genreName, Number(one.isMain)])).to.deep.equal([['Maths', 1]])
    const joined = await Book.query().joinRelated('genres').where('genres.genreName', 'Maths').select('book.*')
    expect(titles(joined)).to.deep.equal(['First'])
  })

  it('$relatedQuery and insertGraph write through relations', async () => {
    await Author.relatedQuery('books')
      .for(ada.id)
      .insert({ bookTitle: 'Fourth' } as never)
    await ada.$relatedQuery<Book>('books').insert({ bookTitle: 'Fourth and a half' })
    for (const bookTitle of ['Fourth', 'Fourth and a half']) expect(await Book.getBy({ bookTitle })).to.include({ authorId: ada.id })
    const made = await Author.query().insertGraph({ penName: 'Eve', books: [{ bookTitle: 'Fifth' }] } as never)
    expect((await Book.getByOr404({ bookTitle: 'Fifth' })).authorId).to.equal((made as unknown as Author).id)
  })

  it('a related row given to build() or update() sets the foreign key column', async () => {
    const book = await Book.create({ bookTitle: 'New', author: bob } as never)
    expect(book.authorId).to.equal(bob.id)
    expect(book.author).to.equal(bob)
    await book.update({ author: ada } as never)
    expect((await Book.getOr404(book.id)).authorId).to.equal(ada.id)
  })

  it('a related row that was never saved is refused', async () => {
    expect(
      await rejection((async () => Book.create({ bookTitle: 'New', author: Author.build({ penName: 'No' }) } as never))()),
    ).to.be.instanceOf(Error)
    expect(await Book.getBy({ bookTitle: 'New' })).to.equal(null)
  })

  it('a row with loaded relations is saved without them', async () => {
    const book = (await Book.query().findOne({ bookTitle: 'First' }).withGraphFetched('author')) as Book
    book.pageCount = 11
    await book.save()
    expect((await Book.getOr404(book.id)).pageCount).to.equal(11)
    expect(book.author?.penName).to.equal('Ada')
  })

  describe('property names are understood', () => {
    it('in where(), of all kinds', async () => {
      const some = [
        Book.query().where('bookTitle', 'First'),
        Book.query().where({ bookTitle: 'First' }),
        Book.query().where('book.bookTitle', 'First'),
        Book.query().where((query) => query.where('bookTitle', 'First').orWhere('bookTitle', 'none')),
        Book.query().whereIn('bookTitle', ['First']),
        Book.query().where('bookTitle', 'like', 'Fir%'),
        Book.query().whereBetween('pageCount', [5, 15]),
        Book.query().whereNotNull('publishedAt'),
        Book.query().whereNot('bookTitle', 'Second').whereNot('bookTitle', 'Third'),
        Book.query().whereIn(['bookTitle', 'pageCount'], [['First', 10]] as never),
        Book.query().whereRaw('?? = ?', ['bookTitle', 'First']),
        Book.query().whereRaw('?? = ?', ['book.bookTitle', 'First']),
        Book.query().where(raw('??', ['bookTitle']), 'First'),
        Book.query().where(raw('?? = ?', ['bookTitle', 'First']) as never),
        Book.query().where(ref('bookTitle'), 'First'),
        Book.query().where(ref('book.bookTitle'), '=', 'First'),
        Book.query().whereColumn('pageCount', '=', 'book.pageCount').where('bookTitle', 'First'),
        Book.query().whereExists(Book.relatedQuery('author').where('penName', 'Ada')).where('pageCount', '<', 15),
        Book.query().whereIn('authorId', Author.query().where('penName', 'Ada').select('id')).where('pageCount', '<', 15),
      ]
      for (const [i, query] of some.entries()) expect(titles(await query), `query ${i}`).to.deep.equal(['First'])
    })

    it('in select(), as(), orderBy(), groupBy(), having(), count() and aggregates', async () => {
      expect(await Book.query().select('bookTitle').orderBy('pageCount', 'desc').first()).to.deep.equal({ bookTitle: 'Third' })
      expect(await Book.query().select('book.bookTitle as theTitle').findOne('bookTitle', 'First')).to.deep.equal({ theTitle: 'First' })
      expect(
        await Book.query()
          .select(raw('upper(??)', ['bookTitle']).as('loudTitle'))
          .findOne('bookTitle', 'First'),
      ).to.deep.equal({ loudTitle: 'FIRST' })
      expect(await Book.query().select(ref('bookTitle').as('t')).findOne('bookTitle', 'First')).to.deep.equal({ t: 'First' })
      const groups = (await Book.query()
        .select('authorId')
        .count('bookTitle as howMany')
        .groupBy('authorId')
        .having(raw('count(??)', ['bookTitle']), '>', 1)) as unknown as { authorId: string; howMany: unknown }[]
      expect(groups.map(({ authorId, howMany }) => [authorId, Number(howMany)])).to.deep.equal([[ada.id, 2]])
      expect(Number(((await Book.query().sum('pageCount as total').first()) as unknown as { total: unknown }).total)).to.equal(60)
      expect(titles(await Book.query().orderBy([{ column: 'pageCount', order: 'desc' }]))).to.deep.equal(['Third', 'Second', 'First'])
      expect(await Book.query().max('publishedAt as lastTime').first()).to.have.property('lastTime')
      expect(await Book.query().distinct('authorId')).to.have.length(2)
    })

    it('in joins, joinRelated and their aliases', async () => {
      const by = [
        Book.query().joinRelated('author').where('author.penName', 'Bob').select('book.*'),
        Book.query().joinRelated('author', { alias: 'who' }).where('who.penName', 'Bob').select('book.*'),
        Book.query().alias('b').joinRelated('author').where('b.bookTitle', 'Third').where('author.penName', 'Bob').select('b.*'),
        Book.query().join('author', 'author.id', 'book.authorId').where('author.penName', 'Bob').select('book.*'),
        Book.query().alias('b').join('author as a', 'a.id', 'b.authorId').where('a.penName', 'Bob').select('b.*'),
        Book.query()
          .join('author', (join) => join.on('author.id', '=', 'book.authorId').onIn('author.penName', ['Bob']))
          .select('book.*'),
        Book.query().leftJoinRelated('author.mentor').where('author:mentor.penName', 'Ada').select('book.*'),
        Book.query().withGraphJoined('author').where('author.penName', 'Bob'),
        Book.query()
          .withGraphFetched('author')
          .modifyGraph('author', (query) => query.where('penName', 'Bob'))
          .where('pageCount', 30),
      ]
      for (const [i, query] of by.entries()) expect(titles(await query), `query ${i}`).to.deep.equal(['Third'])
    })

    it('in patch(), increment(), raw values and returning', async () => {
      await Book.query()
        .patch({ pageCount: raw('?? + ?', ['pageCount', 5]) as never })
        .where('bookTitle', 'First')
      await Book.query().increment('pageCount', 1).where('bookTitle', 'First')
      expect((await Book.getByOr404({ bookTitle: 'First' })).pageCount).to.equal(16)
      await Book.query()
        .patch({ bookTitle: ref('book.bookTitle') as never, pageCount: 1 })
        .where('pageCount', 16)
      expect((await Book.getByOr404({ bookTitle: 'First' })).pageCount).to.equal(1)
      if (db.dialect === 'mysql') return
      const [changed] = (await Book.query().patch({ pageCount: 2 }).where('bookTitle', 'First').returning('*')) as unknown as Book[]
      expect(changed).to.include({ bookTitle: 'First', pageCount: 2 })
      expect(changed?.publishedAt).to.deep.equal(new Date(1000))
    })

    it('in paths into json columns, where the database has them', async () => {
      const second = await Book.getByOr404({ bookTitle: 'Second' })
      expect(fieldsOf(await rejection((async () => Book.query().patch({ 'bookTitle:x': 1 } as never))()))).to.deep.equal(['bookTitle:x'])
      if (db.dialect !== 'pg') return
      await second.$query().patch({ 'details:isbn': 'y2' } as never)
      expect((await Book.getOr404(second.id)).details).to.deep.equal({ isbn: 'y2' })
      expect(await Book.query().where(ref('details:isbn').castText(), 'y2').resultSize()).to.equal(1)
    })

    it('in update() of one row with raw and ref values', async () => {
      const book = await Book.getByOr404({ bookTitle: 'First' })
      await book.$query().patch({ pageCount: raw('?? * 2', ['pageCount']) as never })
      expect((await Book.getOr404(book.id)).pageCount).to.equal(20)
      await book.update({ pageCount: raw('?? + 1', ['pageCount']) as never })
      expect((await Book.getOr404(book.id)).pageCount).to.equal(21)
    })

    it('in pages, in findOne, in upsertGraph and in first()', async () => {
      expect((await Book.query().orderBy('bookTitle').page(0, 2)).total).to.equal(3)
      expect((await Book.query().findOne({ bookTitle: 'Second' }))?.details).to.deep.equal({ isbn: 'x1' })
      const second = await Book.getByOr404({ bookTitle: 'Second' })
      await Author.query().upsertGraph({ id: ada.id, penName: 'Ada L.', books: [{ id: second.id, bookTitle: 'Kept' }] } as never)
      expect(titles(await Book.query().where('authorId', ada.id))).to.deep.equal(['Kept'])
      expect(await Book.getOr404(second.id)).to.deep.include({ pageCount: 20, details: { isbn: 'x1' } })
    })

    it('in knexQuery() only as database columns', async () => {
      expect(await Book.knexQuery().where('book_title', 'First')).to.have.length(1)
      expect(await db.knex('book').where({ page_count: 10 })).to.have.length(1)
    })

    it('not outside models on the same Knex instance', async () => {
      await db.knex.schema.createTable('camels', (table) => {
        table.integer('pageCount')
      })
      await db.knex('camels').insert({ pageCount: 5 })
      expect(await db.knex('camels').where('pageCount', 5).select('pageCount')).to.deep.equal([{ pageCount: 5 }])
      await db.knex.schema.dropTable('camels')
    })
  })
})
