import { expect } from 'chai'
import { Model, type Pojo, snakeCaseMappers } from 'objection'
import {
  Api,
  ConfigurationError,
  CrudResource,
  everyone,
  initPerms,
  MissingTableError,
  nobody,
  type Perms,
  PermsMixin,
  type ServedRow,
  where,
} from '../../../src/index.js'
import { testHasher } from '../../../src/testing/index.js'
import { countQueries, eachDatabase } from '../../helpers/databases.js'
import { rejection } from '../../helpers/errors.js'
import { type Client, clientOf } from '../client.js'

const open = { read: everyone(), create: everyone(), update: everyone(), delete: everyone() }

class AppModel extends Model {}

class Shelf extends PermsMixin(AppModel) {
  declare id: number
  static override tableName = 'shelves'
  static override policy = open
  static override relationMappings = () => ({
    books: { relation: Model.HasManyRelation, modelClass: Book, join: { from: 'shelves.id', to: 'books.shelf_id' } },
  })
}

class Book extends PermsMixin(AppModel) {
  declare id: number
  static override tableName = 'books'
  static override policy = { ...open, read: where({ is_secret: false }) }
  static override relationMappings = () => ({
    shelf: { relation: Model.BelongsToOneRelation, modelClass: Shelf, join: { from: 'books.shelf_id', to: 'shelves.id' } },
  })
}

/** Properties in camelCase over columns in snake_case, as Objection's mappers give them. */
class Mapped extends PermsMixin(AppModel) {
  static override tableName = 'books'
  static override columnNameMappers = snakeCaseMappers()
  static override policy = open
}

class Formatted extends PermsMixin(AppModel) {
  static override tableName = 'books'
  static override policy = open
  override $formatJson(json: Pojo): Pojo {
    const { price, ...shown } = super.$formatJson(json)
    return shown
  }
}

/** A jsonSchema that leaves the id to the database. */
class Listed extends PermsMixin(AppModel) {
  static override tableName = 'books'
  static override jsonSchema = { type: 'object', properties: { title: { type: 'string' } } }
  static override policy = open
}

class Absent extends PermsMixin(AppModel) {
  static override tableName = 'absent_things'
  static override policy = open
}

const allMethods = {
  list: { public: true },
  get: { public: true },
  create: { public: true },
  update: { public: true },
  delete: { public: true },
}

eachDatabase('A resource for a model without a schema', (db) => {
  let perms: Perms
  const errors: unknown[] = []
  const start = () => initPerms({ knex: db.knex, jwt: { secret: 'a secret of the tests, 32 bytes long' }, passwordHasher: testHasher() })
  before(async () => {
    perms = start()
    await db.knex.schema.createTable('shelves', (table) => {
      table.increments('id')
      table.string('label')
      table.boolean('is_full').defaultTo(false)
      table.string('hidden_place').defaultTo('cellar')
    })
    await db.knex.schema.createTable('books', (table) => {
      table.increments('id')
      table.integer('shelf_id')
      table.string('title')
      table.string('slug').unique()
      table.boolean('is_lent').defaultTo(false)
      table.boolean('is_secret').defaultTo(false)
      table.integer('price').defaultTo(7)
      table.specificType('level', db.dialect === 'pg' ? 'smallint' : 'tinyint(1)')
    })
  })
  after(() => perms.close())
  beforeEach(async () => {
    errors.length = 0
    await db.knex('books').delete()
    await db.knex('shelves').delete()
    await db.knex('shelves').insert([
      { id: 1, label: 'A', is_full: true },
      { id: 2, label: 'B', is_full: false },
    ])
    await db.knex('books').insert({ id: 1, shelf_id: 1, title: 'one', slug: 'uno', is_lent: true, level: 3 })
    await db.knex('books').insert({ id: 2, shelf_id: 2, title: 'two', slug: 'dos' })
    await db.knex('books').insert({ id: 3, shelf_id: 1, title: 'three', slug: 'tres', is_secret: true })
    if (db.dialect === 'pg') await db.knex.raw(`select setval(pg_get_serial_sequence('books', 'id'), 100)`)
  })

  const serve = (...resources: CrudResource[]): Client => clientOf(new Api({ resources }), perms, errors)
  const books = (more: object = {}) =>
    new CrudResource({ model: Book, schema: ['id', 'title', 'is_lent'], argSchema: ['title'], methods: allMethods, ...more })
  const shelves = (more: object = {}) =>
    new CrudResource({ model: Shelf, path: 'shelves', schema: ['id', 'label', 'is_full'], methods: allMethods, ...more })

  it('shows included rows with the columns and types of their own resource', async () => {
    const ask = serve(books({ include: ['shelf'] }), shelves({ include: ['books'] }))
    const book = await ask('GET', '/books/1?include=shelf')
    expect(book.body).to.deep.equal({ id: 1, title: 'one', is_lent: true, shelf: { id: 1, label: 'A', is_full: true } })
    const shelf = await ask('GET', '/shelves/1?include=books')
    expect(shelf.body.books).to.deep.equal([{ id: 1, title: 'one', is_lent: true }])
    const listed = await ask('GET', '/books/?include=shelf&sort=-title')
    expect(listed.body.data.map((one: { shelf: object }) => one.shelf)).to.deep.equal([
      { id: 2, label: 'B', is_full: false },
      { id: 1, label: 'A', is_full: true },
    ])
    const { properties } = (await ask('GET', '/openapi.json')).body.components.schemas.Book
    expect(properties.shelf.anyOf[0].properties).to.have.all.keys('id', 'label', 'is_full')
  })

  it('shows included rows without a resource by id, or with the columns that include lists', async () => {
    const bare = serve(books({ include: ['shelf'] }))
    expect((await bare('GET', '/books/1?include=shelf')).body.shelf).to.deep.equal({ id: 1 })
    const ask = serve(books({ include: { shelf: ['label', 'is_full'] } }))
    expect((await ask('GET', '/books/1?include=shelf')).body.shelf).to.deep.equal({ label: 'A', is_full: true })
    expect(JSON.stringify((await ask('GET', '/openapi.json')).body)).not.to.match(/hidden_place|is_secret/)
  })

  it('nests below a parent, whose id sets the column', async () => {
    const ask = serve(books({ parent: { model: Shelf, path: 'shelves', param: 'shelf_id' } }), shelves())
    expect((await ask('GET', '/shelves/1/books/')).body.data).to.deep.equal([{ id: 1, title: 'one', is_lent: true }])
    expect((await ask('GET', '/shelves/2/books/1')).status).to.equal(404)
    expect((await ask('GET', '/shelves/1/books/?shelf_id=1')).status).to.equal(422)
    expect((await ask('GET', '/shelves/1/books/?sort=shelf_id')).status).to.equal(422)
    for (const id of ['9', 'x', '2147483648', '9223372036854775808'])
      expect((await ask('GET', `/shelves/${id}/books/`)).status, id).to.equal(404)
    const made = await ask('POST', '/shelves/2/books/', null, { body: { title: 'new' } })
    expect(made.status, JSON.stringify(made.body)).to.equal(201)
    expect(await db.knex('books').where({ title: 'new' }).first()).to.include({ shelf_id: 2 })
    const moved = await ask('PATCH', `/shelves/2/books/${made.body.id}`, null, { body: { shelf_id: 1 } })
    expect(moved.body.errors).to.deep.equal([{ field: 'shelf_id', message: 'is not known here' }])
  })

  it('finds rows by another column, which the option id names', async () => {
    const ask = serve(books({ id: 'slug' }))
    expect((await ask('GET', '/books/uno')).body).to.deep.equal({ id: 1, title: 'one', is_lent: true })
    expect((await ask('GET', '/books/1')).status).to.equal(404)
    expect((await ask('GET', '/books/?sort=title')).body.data).to.have.length(2)
  })

  it('shows rows that a handler returns as the resource does, without undeclared columns [promise 78]', async () => {
    const resource = books()
    resource.endpoint({ method: 'GET', path: 'all', public: true, handler: async () => ({ rows: await Book.query().orderBy('id') }) })
    resource.endpoint<ServedRow>({ method: 'GET', path: ':id/one', public: true, item: true, handler: ({ row }) => row })
    resource.endpoint({ method: 'GET', path: 'shelf', public: true, handler: async () => await Shelf.query().findById(1) })
    const ask = serve(resource, shelves())
    expect((await ask('GET', '/books/all')).body.rows).to.deep.equal([
      { id: 1, title: 'one', is_lent: true },
      { id: 2, title: 'two', is_lent: false },
    ])
    expect((await ask('GET', '/books/1/one')).body).to.deep.equal({ id: 1, title: 'one', is_lent: true })
    expect((await ask('GET', '/books/shelf')).body).to.deep.equal({ id: 1, label: 'A', is_full: true })
    const alone = books()
    alone.endpoint({ method: 'GET', path: 'shelf', public: true, handler: async () => await Shelf.query().findById(1) })
    expect((await serve(alone)('GET', '/books/shelf')).body).to.deep.equal({ id: 1 })
  })

  it('keeps undeclared columns of a model with a jsonSchema out of the rows that a handler returns [promise 78]', async () => {
    const resource = new CrudResource({ model: Listed, path: 'listed', methods: allMethods })
    resource.endpoint({ method: 'GET', path: 'all', public: true, handler: async () => await Listed.query().orderBy('id') })
    resource.endpoint({ method: 'GET', path: 'whole', public: true, handler: async () => (await Listed.query().findById(1))?.toJSON() })
    const ask = serve(resource)
    expect((await ask('GET', '/listed/all')).body[0]).to.deep.equal({ id: 1, title: 'one' })
    expect((await ask('GET', '/listed/whole')).body).to.include({ price: 7 })
  })

  it('lists a model whose jsonSchema has no id', async () => {
    const ask = serve(new CrudResource({ model: Listed, path: 'listed', methods: allMethods }))
    const listed = await ask('GET', '/listed/?sort=-id&pageSize=2')
    expect(listed.body.data).to.deep.equal([
      { id: 3, title: 'three' },
      { id: 2, title: 'two' },
    ])
    const next = await ask('GET', `/listed/?sort=-id&pageSize=2&cursor=${listed.body.pagination.nextCursor}`)
    expect(next.body.data).to.deep.equal([{ id: 1, title: 'one' }])
    expect((await ask('GET', '/listed/?id__in=1,3&sort=title')).body.data).to.have.length(2)
    const made = await ask('POST', '/listed/', null, { body: { title: 'x' } })
    expect(made.body).to.deep.equal({ id: made.body.id, title: 'x' })
    expect((await ask('PATCH', `/listed/${made.body.id}`, null, { body: { title: 'y' } })).body.title).to.equal('y')
    expect((await ask('POST', '/listed/', null, { body: { title: 'x', price: 1 } })).status).to.equal(422)
  })

  it('uses the names of columnNameMappers', async () => {
    const ask = serve(
      new CrudResource({ model: Mapped, path: 'mapped', schema: ['id', 'isLent', 'shelfId'], argSchema: ['isLent'], methods: allMethods }),
    )
    const shown = { id: 1, isLent: true, shelfId: 1 }
    expect((await ask('GET', '/mapped/1')).body).to.deep.equal(shown)
    expect((await ask('GET', '/mapped/?isLent=true&sort=shelfId')).body.data).to.deep.equal([shown])
    expect((await ask('PATCH', '/mapped/1', null, { body: { isLent: false } })).body).to.deep.equal({ ...shown, isLent: false })
    expect((await ask('GET', '/mapped/?is_lent=true')).status).to.equal(422)
  })

  it('keeps a column that $formatJson() removes out of responses, filters and sorting', async () => {
    const ask = serve(new CrudResource({ model: Formatted, path: 'formatted', schema: ['id', 'price', 'title'], methods: allMethods }))
    expect((await ask('GET', '/formatted/1')).body).to.deep.equal({ id: 1, title: 'one' })
    for (const query of ['price=7', 'sort=price']) expect((await ask('GET', `/formatted/?${query}`)).status, query).to.equal(422)
  })

  it('takes the type that a JSON Schema in the options gives', async () => {
    const schema = { type: 'object', properties: { id: {}, level: { type: 'integer' } } }
    const argSchema = { type: 'object', properties: { level: { type: 'integer', maximum: 5 } }, additionalProperties: false }
    const ask = serve(books({ schema, argSchema }))
    expect((await ask('GET', '/books/1')).body).to.deep.equal({ id: 1, level: 3 })
    expect((await ask('GET', '/books/?level__gt=2')).body.data).to.have.length(1)
    expect((await ask('PATCH', '/books/1', null, { body: { level: 4 } })).body).to.deep.equal({ id: 1, level: 4 })
    expect((await ask('PATCH', '/books/1', null, { body: { level: 6 } })).status).to.equal(422)
  })

  it('serves a view', async () => {
    await db.knex.raw(
      'create view lent_books as select id, title, is_lent, price from books where is_lent = ?'.replace(
        '?',
        db.dialect === 'pg' ? 'true' : '1',
      ),
    )
    class LentBook extends PermsMixin(AppModel) {
      static override tableName = 'lent_books'
      static override policy = { read: everyone() }
    }
    const ask = serve(
      new CrudResource({
        model: LentBook,
        schema: ['id', 'is_lent'],
        methods: { ...allMethods, create: false, update: false, delete: false },
      }),
    )
    expect((await ask('GET', '/lent-books/?is_lent=true')).body.data).to.deep.equal([{ id: 1, is_lent: true }])
    expect((await ask('GET', '/lent-books/1')).body).to.deep.equal({ id: 1, is_lent: true })
    expect((await ask('GET', '/lent-books/?price=7')).status).to.equal(422)
    await db.knex.raw('drop view lent_books')
  })

  it('reads the columns once, also for concurrent requests', async () => {
    const ask = serve(books())
    await Promise.all([ask('GET', '/books/'), ask('GET', '/books/1'), ask('GET', '/books/2')])
    const { statements } = await countQueries(db.knex, () => ask('GET', '/books/'))
    expect(statements).to.have.length(1)
  })

  it('answers 401 and 404 as other resources do, before and after the look-up', async () => {
    const ask = serve(new CrudResource({ model: Book, schema: ['id'] }))
    expect((await ask('GET', '/books/1')).status).to.equal(401)
    expect((await serve(books())('GET', '/books/99')).status).to.equal(404)
  })

  it('refuses an option that names a column that does not exist, with similar names', async () => {
    const wrong: [object, RegExp][] = [
      [{ schema: ['id', 'titel'] }, /schema: the table 'books' of Book has no column 'titel'.* Did you mean 'title'/],
      [{ argSchema: ['titel'] }, /argSchema: .*'titel'.*'title'/],
      [{ methods: { ...allMethods, list: { public: true, argSchema: ['titel'] } } }, /methods.list.argSchema: .*'titel'/],
      [{ methods: { ...allMethods, get: { public: true, schema: ['is_lend'] } } }, /methods.get.schema: .*'is_lend'.*'is_lent'/],
      [{ id: 'slugg' }, /id: .*'slugg'.*'slug'/],
      [{ parent: { model: Shelf, path: 'shelves', param: 'shelfs_id' } }, /parent.field: .*'shelfs_id'.*'shelf_id'/],
      [{ include: { shelf: ['lable'] } }, /include\['shelf'\]: the table 'shelves' of Shelf has no column 'lable'.*'label'/],
    ]
    for (const [options, message] of wrong) {
      perms = start()
      const ask = clientOf(new Api({ resources: [books(options)] }), perms, errors)
      const error = await rejection(perms.ready())
      expect(error).to.be.instanceOf(ConfigurationError)
      expect(String(error)).to.match(message)
      const path = 'parent' in options ? '/shelves/1/books/1' : '/books/1'
      const refused = await ask('GET', path, null)
      expect(refused.status, String(message)).to.equal(500)
      expect(JSON.stringify(refused.body)).not.to.match(/price|hidden_place/)
    }
    perms = start()
  })

  it('leaves keys of argSchema that are not columns to the hooks', async () => {
    let seen: unknown
    const ask = serve(
      books({
        argSchema: ['title', 'reason'],
        hooks: {
          beforeUpdate: (_row: object, { args, input }: { args: object; input: Record<string, unknown> }) => {
            seen = args
            input['price'] = 9
          },
        },
      }),
    )
    const changed = await ask('PATCH', '/books/1', null, { body: { title: 'x', reason: 'y' } })
    expect(changed.body).to.deep.equal({ id: 1, title: 'x', is_lent: true })
    expect(seen).to.deep.equal({ reason: 'y' })
    expect(await db.knex('books').where({ id: 1 }).first()).to.include({ price: 9, title: 'x' })
  })

  it('obeys the policy, and gives a missing table an error of its own', async () => {
    class Closed extends PermsMixin(AppModel) {
      static override tableName = 'books'
      static override policy = { read: nobody() }
    }
    const ask = serve(
      new CrudResource({ model: Closed, schema: ['id', 'title'], methods: allMethods }),
      new CrudResource({ model: Absent, methods: allMethods }),
    )
    expect((await ask('GET', '/closeds/')).body.data).to.deep.equal([])
    expect((await ask('GET', '/closeds/1')).status).to.equal(404)
    expect((await ask('GET', '/absents/')).status).to.equal(500)
    expect(errors[0]).to.be.instanceOf(MissingTableError)
    expect(await rejection(perms.ready())).to.be.instanceOf(MissingTableError)
    await db.knex.schema.createTable('absent_things', (table) => void table.increments('id'))
    expect((await ask('GET', '/absents/')).body.data).to.deep.equal([])
    await perms.ready()
    await db.knex.schema.dropTable('absent_things')
  })
})
