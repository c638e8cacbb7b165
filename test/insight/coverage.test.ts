import { execFileSync } from 'node:child_process'
import { once } from 'node:events'
import { mkdirSync, mkdtempSync, readdirSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { expect } from 'chai'
import { policyEnforcer } from '../../src/enforce/enforcer.js'
import { policyObserver } from '../../src/enforce/policy-observer.js'
import {
  Api,
  allOf,
  anyOf,
  asAnonymous,
  asSystem,
  authenticated,
  BasePermsModel,
  belongsTo,
  CrudResource,
  check,
  column,
  createTables,
  HasUserMixin,
  initPerms,
  nobody,
  not,
  owner,
  type Perms,
  type Policy,
  before as previously,
  related,
  role,
  runAs,
  transaction,
  type User,
  where,
} from '../../src/index.js'
import { reportOfFolder } from '../../src/insight/coverage/files.js'
import {
  createUser,
  expectAllowed,
  expectRefused,
  type PolicyCoverage,
  policyCoverage,
  signInAs,
  testHasher,
} from '../../src/testing/index.js'
import { countQueries, eachDatabase } from '../helpers/databases.js'
import { rejection, thrown } from '../helpers/errors.js'
import { clientOf } from '../http/client.js'

class Shelf extends HasUserMixin(BasePermsModel).withColumns({ isOpen: column.boolean().default(true) }) {
  static override tableName = 'coverage_shelf'
  static override policy: Policy<Shelf> = { read: authenticated() }
}

class Book extends HasUserMixin(BasePermsModel).withColumns({
  title: column.string({ maxLength: 50 }),
  status: column.enum(['draft', 'done']).default('draft'),
  shelfId: column.uuid().references('coverage_shelf.id').nullable(),
}) {
  static override tableName = 'coverage_book'
  declare shelf?: Shelf | null
  static override relationMappings = { shelf: belongsTo(() => Shelf, 'shelfId') }
  static override policy: Policy<Book> = {
    read: anyOf(where({ status: 'done' }), owner(), related<Book>('shelf', where<Shelf>({ isOpen: true }))),
    create: { own: authenticated(), others: role('editor') },
    update: { from: owner(), to: anyOf(where({ status: 'draft' }), previously(where({ title: 'ready' }))) },
    delete: nobody(),
    publish: allOf(
      not(role('banned')),
      check((row: object) => (row as { title: string }).title !== 'bad'),
    ),
  }
}

const models = [Shelf, Book]

eachDatabase('policyCoverage()', (db) => {
  let perms: Perms
  let coverage: PolicyCoverage
  let users: { ann: User; bob: User; editor: User; banned: User; admin: User }
  let book: Book

  before(async () => {
    perms = initPerms({ knex: db.knex, passwordHasher: testHasher(), models, jwt: { secret: 'a secret of the tests, 32 bytes long' } })
    await perms.migrate()
    await createTables(db.knex, models)
    users = {
      ann: await createUser(),
      bob: await createUser(),
      editor: await createUser({}, { role: 'editor' }),
      banned: await createUser({}, { role: 'banned' }),
      admin: await createUser({}, { role: 'admin' }),
    }
  })
  after(() => perms.close())
  beforeEach(async () => {
    await asSystem(() => Book.query().delete())
    book = await asSystem(() => Book.create({ title: 'a', userId: users.ann.id }))
    coverage = policyCoverage({ models })
  })
  afterEach(() => coverage.stop())

  /** The outcomes that were seen, such as 'Book.read anyOf[1].owner true'. */
  const seen = () =>
    coverage
      .report()
      .leaves.flatMap((leaf) =>
        (['true', 'false'] as const)
          .filter((outcome) => leaf.seen[outcome] > 0)
          .map((outcome) => `${leaf.model}.${leaf.action} ${leaf.path} ${outcome}`),
      )
      .sort()

  it('lists each leaf of each action with its possible outcomes, seen or not [promise 232]', () => {
    const { leaves, total, missing } = coverage.report()
    expect(leaves.map(({ model, action, path, outcomes }) => `${model}.${action} ${path} ${outcomes}`)).to.deep.equal([
      'Shelf.read authenticated true,false',
      'Shelf.create constant false',
      'Shelf.update constant false',
      'Shelf.delete constant false',
      'Book.read anyOf[0].where true,false',
      'Book.read anyOf[1].owner true,false',
      "Book.read anyOf[2].related('shelf') true,false",
      "Book.read anyOf[2].related('shelf').where true,false",
      'Book.create.own authenticated true,false',
      'Book.create.others role true,false',
      'Book.update owner true,false',
      'Book.update.to anyOf[0].where true,false',
      'Book.update.to anyOf[1].before.where true,false',
      'Book.delete constant false',
      'Book.publish allOf[0].not.role true,false',
      'Book.publish allOf[1].check true,false',
    ])
    expect(total).to.deep.equal({ seen: 0, possible: 28, percent: 0 })
    expect(missing).to.have.length(28)
  })

  it('counts what a read finds, and what it refuses [promise 232]', async () => {
    await asSystem(() => Book.create({ title: 'b', status: 'done', userId: users.bob.id }))
    const found = await runAs(users.ann, () => Book.query())
    expect(found).to.have.length(2)
    expect(seen()).to.deep.equal([
      'Book.read anyOf[0].where false',
      'Book.read anyOf[0].where true',
      'Book.read anyOf[1].owner false',
      'Book.read anyOf[1].owner true',
      "Book.read anyOf[2].related('shelf') false",
    ])
  })

  it('counts only the rows that the query names [promise 232]', async () => {
    await asSystem(() => Book.create({ title: 'b', status: 'done', userId: users.bob.id }))
    await runAs(users.ann, () => Book.query().findById(book.id))
    expect(seen()).to.include('Book.read anyOf[1].owner true').and.not.include('Book.read anyOf[1].owner false')
    await runAs(users.bob, () => Book.query().where({ title: 'a' }).orderBy('title').limit(1))
    expect(seen()).to.include('Book.read anyOf[1].owner false').and.not.include('Book.read anyOf[0].where true')
  })

  it('counts both outcomes inside related() for different related rows [promise 232]', async () => {
    const open = await asSystem(() => Shelf.create({ userId: users.bob.id }))
    const shut = await asSystem(() => Shelf.create({ userId: users.bob.id, isOpen: false }))
    for (const { id } of [open, shut]) await asSystem(() => Book.create({ title: 'b', userId: users.bob.id, shelfId: id }))
    await runAs(users.ann, () => Book.query().withGraphFetched('shelf'))
    expect(seen()).to.include.members([
      "Book.read anyOf[2].related('shelf') true",
      "Book.read anyOf[2].related('shelf').where false",
      "Book.read anyOf[2].related('shelf').where true",
      'Shelf.read authenticated true',
    ])
  })

  it('counts writes by the row before, and update.to by the row after, allowed or refused [promise 232]', async () => {
    await runAs(users.ann, () => book.update({ title: 'b' }))
    expect(seen()).to.include.members(['Book.update owner true', 'Book.update.to anyOf[1].before.where false'])
    const refused = await rejection(runAs(users.ann, () => book.update({ status: 'done' })))
    expect(refused).to.include({ status: 403 })
    expect(seen()).to.include('Book.update.to anyOf[0].where false')
    await runAs(users.ann, () => book.update({ title: 'ready' }))
    await runAs(users.ann, () => book.update({ status: 'done' }))
    expect(seen()).to.include.members(['Book.update.to anyOf[0].where false', 'Book.update.to anyOf[1].before.where true'])
    expect(await runAs(users.bob, () => Book.query().patch({ title: 'c' }))).to.equal(0)
    expect(seen()).to.include('Book.update owner false')
    expect(await rejection(runAs(users.ann, () => book.delete()))).to.include({ status: 403 })
    expect(seen()).to.include('Book.delete constant false')
  })

  it('counts new rows by the rule for their owner [promise 232]', async () => {
    const shared = { title: 'b', userId: users.ann.id }
    await runAs(users.bob, () => Book.create({ title: 'b' }))
    expect(seen().filter((one) => one.startsWith('Book.create'))).to.deep.equal(['Book.create.own authenticated true'])
    expect(await rejection(runAs(users.bob, () => Book.create(shared)))).to.include({ status: 403 })
    expect(await Book.canCreate(shared, users.editor)).to.equal(false)
    expect(await asAnonymous(() => Book.canCreate({ title: 'b' }))).to.equal(false)
    expect(seen().filter((one) => one.startsWith('Book.create'))).to.deep.equal([
      'Book.create.others role false',
      'Book.create.others role true',
      'Book.create.own authenticated false',
      'Book.create.own authenticated true',
    ])
  })

  it('counts questions with can(), expectAllowed() and expectRefused(), and calls check() [promise 232]', async () => {
    const bad = await asSystem(() => Book.create({ title: 'bad', status: 'done', userId: users.ann.id }))
    expect(await book.can('publish', users.ann)).to.equal(true)
    expect(seen()).to.deep.equal(['Book.publish allOf[0].not.role false', 'Book.publish allOf[1].check true'])
    await expectRefused(users.banned, 'publish', bad)
    expect(seen()).to.include.members(['Book.publish allOf[0].not.role true', 'Book.publish allOf[1].check false'])
    await expectAllowed(users.ann, 'update', book)
    expect(seen()).to.include('Book.update owner true')
  })

  it('leaves out asSystem(), admins who bypass the rule, and other models [promise 232]', async () => {
    await asSystem(() => Book.query())
    await runAs(users.admin, () => Book.query())
    await runAs(users.admin, () => book.update({ title: 'z' }))
    await runAs(users.ann, () => perms.models.user.query())
    expect(seen()).to.deep.equal([])
    expect(coverage.report().failures).to.equal(0)
  })

  it('works in transactions, in subqueries and with joins, whose results stay the same [promise 232]', async () => {
    const shelf = await asSystem(() => Shelf.create({ userId: users.ann.id }))
    await asSystem(() => Book.create({ title: 'b', userId: users.bob.id, shelfId: shelf.id }))
    const questions = () =>
      runAs(users.ann, async () => [
        await Book.query().whereExists(Book.relatedQuery('shelf')).resultSize(),
        (await Book.query().withGraphJoined('shelf')).length,
        (await Book.query().select('status').count('* as n').groupBy('status')).length,
        (await Book.query().distinct('status')).length,
        (await Book.query().joinRelated('shelf').where('shelf.isOpen', true)).length,
        (await Book.query().where('title', 'b').first())?.title,
        await transaction(async (trx) => {
          await Book.create({ title: 'in', status: 'done' }, trx)
          return (await Book.query(trx).where({ title: 'in' })).length
        }),
        await Book.query().delete(),
      ])
    const measured = await questions()
    expect(coverage.report().failures).to.equal(0)
    expect(seen()).to.include('Book.read anyOf[0].where true')
    coverage.stop()
    await asSystem(() => Book.query().delete().where({ title: 'in' }))
    expect(await questions()).to.deep.equal(measured)
    expect(measured.at(-1)).to.equal(0)
  })

  it('counts actions over HTTP and questions inside transactions, which neither wait for each other nor fail [promise 232]', async () => {
    const books = new CrudResource({ model: Book })
    books.action('publish', { handler: ({ row }) => row })
    const ask = clientOf(new Api({ resources: [books] }), perms)
    const tokenOf = async (user: User) => (await signInAs(user, { perms })).accessToken
    const done = await asSystem(() => Book.create({ title: 'c', status: 'done', userId: users.ann.id }))
    expect((await ask('POST', `/books/${done.id}/publish`, await tokenOf(users.bob))).status).to.equal(200)
    expect((await ask('POST', `/books/${done.id}/publish`, await tokenOf(users.banned))).status).to.equal(403)
    expect(seen()).to.include.members(['Book.publish allOf[0].not.role false', 'Book.publish allOf[0].not.role true'])
    expect((await ask('POST', '/books', await tokenOf(users.bob), { body: { title: 'd' } })).status).to.equal(201)
    const isAllowed = await runAs(users.ann, () =>
      transaction(async (trx) => (await book.can('update')) && (await Book.query(trx)).length > 0),
    )
    expect(isAllowed).to.equal(true)
    expect(coverage.report().failures).to.equal(0)
  })

  it('adds no statement and no hook when it is off [promise 232]', async () => {
    coverage.stop()
    const functions = { ...policyEnforcer }
    const ask = () =>
      countQueries(db.knex, () =>
        runAs(users.ann, async () => [await Book.query(), await book.can('update'), await book.update({ title: 'q' })]),
      )
    const { statements } = await ask()
    expect(policyObserver.asked).to.equal(undefined)
    policyCoverage({ models })
    expect(policyEnforcer.restrict).to.not.equal(functions.restrict)
    expect((await ask()).statements.length).to.be.greaterThan(statements.length)
    coverage.stop()
    expect({ ...policyEnforcer }).to.deep.equal(functions)
    expect(policyObserver.asked).to.equal(undefined)
    expect((await ask()).statements).to.deep.equal(statements)
  })

  it('fails below a threshold, with the outcomes that are missing [promise 232]', async () => {
    coverage.expectAtLeast(0)
    await runAs(users.ann, () => Book.query())
    const error = thrown(() => coverage.expectAtLeast(50)) as Error
    expect(error).to.include({ name: 'AssertionError' })
    expect(error.message).to.match(/^The tests have seen 10\.71 % of the outcomes of policies, less than 50 %\.\n/)
    expect(error.message).to.contain('- Book.update: the owner (userField) was never true (owner)')
    expect(coverage.toText()).to.match(/^Policy +\| Outcomes \| +%\n-+\|-/)
  })
})

describe('policyCoverage() across processes', () => {
  // Programs import packages from the folders above them.
  const root = fileURLToPath(new URL('../../', import.meta.url))
  let folder: string
  let counts: string
  before(() => {
    mkdirSync(join(root, '.tmp'), { recursive: true })
    folder = mkdtempSync(join(root, '.tmp', 'coverage-'))
    counts = join(folder, 'counts')
  })
  const program = (body: string) => `
    import Knex from 'knex'
    import { authenticated, BasePermsModel, asAnonymous, column, createTables, initPerms, runAs, User, where } from ${JSON.stringify(new URL('../../src/index.ts', import.meta.url).href)}
    import { testHasher } from ${JSON.stringify(new URL('../../src/testing/index.ts', import.meta.url).href)}
    class Page extends BasePermsModel.withColumns({ isPublic: column.boolean() }) {
      static policy = { read: where({ isPublic: true }), create: authenticated() }
    }
    const knex = Knex({ client: 'sqlite3', connection: { filename: ':memory:' }, useNullAsDefault: true })
    const perms = initPerms({ knex, models: [Page], passwordHasher: process.env.NODE_ENV === 'production' ? undefined : testHasher() })
    await perms.migrate()
    await createTables(knex, [Page])
    const user = await User.create({ email: 'a@example.com' })
    ${body}
    await perms.close()
    await knex.destroy()`
  const run = (body: string, env: Record<string, string> = {}) => {
    const file = join(folder, `program-${Math.random().toString(36).slice(2)}.mts`)
    writeFileSync(file, program(body))
    const given = { ...process.env, OBJECTION_PERMS_COVERAGE: counts, ...env }
    execFileSync(process.execPath, ['--import', 'tsx', file], { env: given, stdio: 'pipe' })
  }
  const cli = (...args: string[]) => {
    const main = new URL('../../src/cli/main.ts', import.meta.url).pathname
    try {
      return {
        code: 0,
        text: execFileSync(process.execPath, ['--import', 'tsx', main, 'coverage', ...args], { encoding: 'utf8', stdio: 'pipe' }),
      }
    } catch (error) {
      const { status, stdout, stderr } = error as { status: number; stdout: string; stderr: string }
      return { code: status, text: stdout + stderr }
    }
  }
  after(() => rmSync(folder, { recursive: true, force: true }))

  it('adds up the files of all processes, which the command reports against a threshold [promise 232]', function () {
    this.timeout(60_000)
    run(`await runAs(user, () => Page.create({ isPublic: true }))`)
    run(`await asAnonymous(() => Page.canCreate({ isPublic: true }))`)
    run(`await runAs(user, () => Page.create({ isPublic: true }))`, { NODE_ENV: 'production' })
    expect(readdirSync(counts)).to.have.length(2)
    const coverage = cli('--folder', counts, '--threshold', '30')
    expect(coverage.text)
      .to.contain('Page.create |   2 of 2 | 100.00')
      .and.contain('- Page.read: rows where {"isPublic":true} was never true (where)')
    expect(coverage.code).to.equal(0)
    const low = cli('--folder', counts, '--threshold', '80')
    expect(low.code).to.equal(1)
    expect(low.text).to.contain('is less than the threshold of 80 %.')
    const json = JSON.parse(cli('--folder', counts, '--json').text)
    expect(JSON.stringify(json)).to.contain('"missing"')
  })

  it('warns when the counts cannot be written, and makes a folder that was deleted [promise 232]', async () => {
    const own = join(folder, 'own')
    const coverage = policyCoverage({ models, folder: own })
    try {
      coverage.report()
      rmSync(own, { recursive: true })
      expect(coverage.report().leaves).to.have.length(16)
      rmSync(own, { recursive: true })
      writeFileSync(own, 'a file')
      const warning = once(process, 'warning')
      expect(thrown(() => coverage.report())).to.be.instanceOf(Error)
      expect(String((await warning)[0])).to.contain('The coverage of policies could not be written')
    } finally {
      rmSync(own, { force: true })
      coverage.stop()
    }
  })

  it('refuses wrong options, empty folders and files of other versions [promise 232]', function () {
    this.timeout(60_000)
    for (const wrong of ['101', 'x']) expect(cli('--folder', counts, `--threshold=${wrong}`).code, wrong).to.equal(2)
    const none = cli('--folder', join(folder, 'none'))
    expect(none.code).to.not.equal(0)
    expect(none.text).to.contain('Run the tests with OBJECTION_PERMS_COVERAGE=')
    expect(cli('--folder', counts, '--clean').text).to.contain('Deleted 2 files')
    expect(readdirSync(counts)).to.deep.equal([])
    for (const content of ['{', '[]', '{"version":2,"leaves":[],"failures":0}', '{"version":1,"leaves":[{}],"failures":0}', 'null']) {
      writeFileSync(join(counts, 'policies-1-a.json'), content)
      expect((thrown(() => reportOfFolder(counts)) as Error).message).to.contain('is not a file of this version')
    }
    expect(cli('--folder', counts).code).to.not.equal(0)
  })
})
