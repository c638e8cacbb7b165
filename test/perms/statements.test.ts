import { expect } from 'chai'
import {
  authenticated,
  BasePermsModel,
  belongsTo,
  column,
  createTables,
  Domain,
  HasUserMixin,
  hasMany,
  initPerms,
  owner,
  type Perms,
  Role,
  runAs,
  Token,
  User,
  UserOwnershipMixin,
  UserRole,
  UserSetting,
  where,
} from '../../src/index.js'
import { countQueries, eachDatabase } from '../helpers/databases.js'

class Page extends UserOwnershipMixin(HasUserMixin(BasePermsModel)).withColumns({
  text: column.string(),
  bookId: column.uuid().nullable(),
}) {
  static override tableName = 'counted_page'
  static override relationMappings = { book: belongsTo(() => Book, 'bookId') }
}

class Book extends UserOwnershipMixin(HasUserMixin(BasePermsModel)).withColumns({
  title: column.string(),
  pages: column.integer().default(0),
  isPublic: column.boolean().default(false),
}) {
  static override tableName = 'counted_book'
  static override relationMappings = { leaves: hasMany(() => Page, 'bookId') }
}

/** Its update rule reads a column that may be written: the row has to satisfy it afterwards too. */
class Draft extends HasUserMixin(BasePermsModel).withColumns({ title: column.string(), isOpen: column.boolean().default(true) }) {
  static override tableName = 'counted_draft'
  static override policy = { read: owner(), create: authenticated(), update: where({ isOpen: true }) }
}

eachDatabase('How many statements', (db) => {
  let perms: Perms
  let someone: User
  let admin: User
  let book: Book
  let draft: Draft

  before(async function () {
    this.timeout(30_000)
    perms = initPerms({ knex: db.knex, models: [Book, Page, Draft] })
    await createTables(db.knex, [User, UserRole, Domain, Token, UserSetting, Book, Page, Draft])
    someone = await User.create({ email: 'someone@example.com' })
    admin = await User.create({ email: 'admin@example.com' })
    await UserRole.create({ user: admin, role: Role.ADMIN } as never)
    someone = await User.getOr404(someone.id)
    admin = await User.getOr404(admin.id)
    book = await Book.create({ title: 'One', userId: someone.id, isPublic: true } as never)
    await Book.create({ title: 'Two', userId: someone.id } as never)
    for (const text of ['a', 'b']) await Page.create({ text, bookId: book.id, userId: someone.id } as never)
    draft = await Draft.create({ title: 'Draft', userId: someone.id } as never)
  })
  after(() => perms.close())

  /** The statements of one run, the caller being known already. */
  async function statementsOf(user: User, fn: () => unknown): Promise<string[]> {
    return await runAs(user, async () => (await countQueries(db.knex, async () => await fn())).statements)
  }

  const reads: [string, number, () => unknown][] = [
    ['a find', 1, () => Book.query()],
    ['findById', 1, () => Book.query().findById(book.id)],
    ['getOr404', 1, () => Book.getOr404(book.id)],
    ['a list with where() and orWhere()', 1, () => Book.query().where('isPublic', true).orWhere('pages', '>', 3).orderBy('title')],
    ['resultSize()', 1, () => Book.query().resultSize()],
    ['a count', 1, () => Book.query().count()],
    ['a page, with its total,', 2, () => Book.query().page(0, 10)],
    ['a graph that is fetched', 2, () => Book.query().withGraphFetched('leaves')],
    ['a graph that is joined', 1, () => Book.query().withGraphJoined('leaves')],
    ['a related query', 1, () => book.$relatedQuery('leaves' as never)],
  ]
  for (const [title, count, run] of reads) {
    for (const [who, user] of [
      ['its owner', () => someone],
      ['an admin', () => admin],
    ] as const) {
      it(`${title} by ${who} takes ${count}`, async () => {
        expect(await statementsOf(user(), run)).to.have.lengthOf(count)
      })
    }
  }

  const titled = (title: string) => ({ title }) as never
  const writes: [string, () => unknown][] = [
    ['a patch by id', () => Book.query().findById(book.id).patch(titled('patched'))],
    ['a patch in bulk', () => Book.query().where('isPublic', true).patch(titled('patched too'))],
    ['a patch of the row', () => book.$query().patch(titled('patched once more'))],
    ['a delete of what is not there', () => Book.query().where('title', 'none such').delete()],
    ['an insert', () => Book.query().insert({ title: 'Three' } as never)],
  ]
  for (const [title, run] of writes) {
    for (const [who, user] of [
      ['its owner', () => someone],
      ['an admin', () => admin],
    ] as const) {
      it(`${title} by ${who} takes 1`, async () => {
        const statements = await statementsOf(user(), run)
        expect(statements, statements.join('\n')).to.have.lengthOf(1)
      })
    }
  }

  it('a patch is judged afterwards only where it sets what the rule reads', async () => {
    expect(await statementsOf(someone, () => Draft.query().findById(draft.id).patch(titled('renamed')))).to.have.lengthOf(1)
    const statements = await statementsOf(someone, () =>
      Draft.query()
        .findById(draft.id)
        .patch({ isOpen: true } as never),
    )
    // BEGIN, UPDATE, the row as it is now, COMMIT.
    expect(statements, statements.join('\n')).to.have.lengthOf(4)
    expect(statements[1]).to.match(/^update /i)
  })
})
