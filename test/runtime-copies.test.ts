import { cpSync, existsSync, mkdtempSync, rmSync, symlinkSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath, pathToFileURL } from 'node:url'
import { expect } from 'chai'
import { VERSION } from '../src/version.js'
import { runNode } from './run-node.js'

const root = fileURLToPath(new URL('..', import.meta.url))

/** The package at a second place, with the same Objection: what `npm ls` shows as a duplicate. It is the built one, which loads faster. */
function secondCopy(): string {
  if (!existsSync(join(root, 'dist/index.js'))) throw new Error('These tests load copies of the built package: npm run build first.')
  const folder = mkdtempSync(join(tmpdir(), 'objection-perms-copy-'))
  const isRun = (path: string) => !/\.(?:d\.ts|map)$/.test(path)
  for (const name of ['dist', 'migrations', 'package.json'])
    cpSync(join(root, name), join(folder, name), { recursive: true, filter: isRun })
  symlinkSync(join(root, 'node_modules'), join(folder, 'node_modules'))
  return folder
}

/** A program that imports `A` and `B`, the two places of the package, and prints one JSON value by `print(value)`. */
async function run(copy: string, body: string, env: NodeJS.ProcessEnv = {}, args: readonly string[] = []): Promise<unknown> {
  const file = join(copy, 'program.mjs')
  const at = (folder: string) => JSON.stringify(pathToFileURL(join(folder, 'dist/index.js')).href)
  writeFileSync(
    file,
    `import Knex from 'knex'
import { register } from 'node:module'
// A reload evaluates the same files under another query, as development servers do.
register('data:text/javascript,' + encodeURIComponent(\`
  export async function resolve(specifier, context, next) {
    const found = await next(specifier, context)
    const query = /[?&](reload=\\\\d+)/.exec(context.parentURL ?? '')?.[1]
    return query && found.url.includes('/dist/') && specifier.startsWith('.') ? { ...found, url: found.url.replace(/[?].*/, '') + '?' + query } : found
  }\`))
const open = () => Knex({ client: 'better-sqlite3', connection: { filename: ${JSON.stringify(join(copy, 'test.db'))} }, useNullAsDefault: true })
const A = await import(${at(root)})
const load = (query) => import(${at(root)} + '?reload=' + query)
const loadB = () => import(${at(copy)})
const print = (value) => console.log(JSON.stringify(value))
const jwt = { secret: 'a secret of at least thirty-two bytes' }
const errorOf = async (fn) => { try { await fn(); return null } catch (error) { return { name: error.name, message: error.message } } }
const notes = ({ BasePermsModel, HasUserMixin, UserOwnershipMixin, column }) =>
  class CopyNote extends UserOwnershipMixin(HasUserMixin(BasePermsModel)).withColumns({ title: column.string({ maxLength: 50 }) }) {}
${body}
`,
  )
  const { output, stdout, failure } = await runNode([...args, file], { cwd: root, timeout: 150_000, env })
  if (failure) throw new Error(`${failure}: ${output}`)
  return JSON.parse(stdout.trim().split('\n').at(-1) as string)
}

describe('Copies and reloads of the package', function () {
  // Each program loads the package anew. On a busy machine that takes ten times as long.
  this.timeout(180_000)
  let copy: string

  before(() => {
    copy = secondCopy()
  })
  afterEach(() => rmSync(join(copy, 'test.db'), { force: true }))
  after(() => rmSync(copy, { recursive: true, force: true }))

  it('a second copy refuses every query while the first one is in use, and names both versions [promise 73]', async () => {
    const { open, initialise, plain } = (await run(
      copy,
      `const B = await loadB()
       const knex = open()
       const perms = A.initPerms({ knex, jwt })
       await perms.migrate()
       const NoteA = notes(A), NoteB = notes(B)
       await A.createTables(knex, [NoteA])
       const ada = await A.User.create({ email: 'ada@example.com' })
       await A.runAs(ada, () => NoteA.create({ title: 'of ada' }))
       NoteB.knex(knex)
       const bob = await A.User.create({ email: 'bob@example.com' })
       print({
         open: await errorOf(() => A.runAs(bob, () => NoteB.query())),
         plain: await errorOf(() => NoteB.query().delete()),
         initialise: await errorOf(() => B.initPerms({ knex: open(), jwt })),
       })
       await perms.close(); await knex.destroy()`,
    )) as Record<string, { name: string; message: string } | null>
    for (const error of [open, plain, initialise]) {
      expect(error?.name).to.equal('ConfigurationError')
      expect(error?.message).to.contain('npm ls objection-perms')
      expect(error?.message).to.contain(`${VERSION} and ${VERSION}`)
    }
  })

  it('a second copy works once the first one is closed', async () => {
    const result = await run(
      copy,
      `const B = await loadB()
       const knex = open()
       const perms = A.initPerms({ knex, jwt })
       await perms.migrate()
       await perms.close()
       const second = B.initPerms({ knex, jwt })
       const ada = await B.User.create({ email: 'ada@example.com' })
       print({ email: ada.email, first: await errorOf(() => A.User.query()) })
       await second.close(); await knex.destroy()`,
    )
    expect(result).to.have.property('email', 'ada@example.com')
    expect(result).to.have.nested.property('first.name', 'ConfigurationError')
  })

  const reload = `
    const knex = open()
    const first = A.initPerms({ knex, jwt, cacheCallers: 30, passwords: { cost: 10 } })
    await first.migrate()
    await A.createTables(knex, [notes(A)])
    const ada = await A.User.create({ email: 'ada@example.com', password: 'correct horse battery' })
    await A.runAs(ada, () => notes(A).create({ title: 'of ada' }))
    const depth = () => [knex.client.acquireConnection, knex.client.config.wrapIdentifier, knex.client.transaction, knex.client._query].map(String).join()
    const layers = depth()`

  it('a reload outside production replaces the earlier runtime, with the same Knex and with an equal one [promise 73]', async () => {
    const result = (await run(
      copy,
      `${reload}
       const seen = []
       for (let i = 1; i <= 5; i++) {
         const R = await load(i)
         const used = i % 2 ? knex : open()
         const perms = R.initPerms({ knex: used, jwt })
         const Note = notes(R)
         const bob = await R.User.create({ email: 'bob' + i + '@example.com' })
         seen.push([
           await R.runAs(ada.id, () => Note.query().resultSize()),
           await R.runAs(bob, () => Note.query().resultSize()),
           R.User === A.User,
           (await errorOf(() => A.User.query()))?.name,
         ])
         if (used !== knex) { await perms.close(); await used.destroy(); R.initPerms({ knex, jwt }) }
       }
       print({ seen, same: layers === depth() })
       await (await load(5)).initPerms({ knex, jwt }).close()
       await knex.destroy()`,
    )) as { seen: unknown[][]; same: boolean }
    for (const one of result.seen) expect(one).to.deep.equal([1, 0, false, 'ConfigurationError'])
    expect(result.same, 'no layer was added to the methods of Knex').to.equal(true)
  })

  it('a reload ends the workers of the earlier runtime, so the program ends by itself', async () => {
    const result = await run(
      copy,
      `const workers = () => process.report.getReport().workers.length
       const before = workers()
       ${reload}
       const during = workers()
       const R = await load(1)
       const perms = R.initPerms({ knex, jwt })
       for (let i = 0; i < 50 && workers() > before; i++) await new Promise((resolve) => setTimeout(resolve, 100))
       print({ started: during > before, left: workers() - before })
       await perms.close(); await knex.destroy()`,
    )
    expect(result).to.deep.equal({ started: true, left: 0 })
  })

  it('a reload in production counts as a second copy and is refused [promise 73]', async () => {
    const result = await run(
      copy,
      `${reload}
       const R = await load(1)
       const error = await errorOf(() => R.initPerms({ knex, jwt }))
       print({ error, still: (await A.User.query()).length })
       await first.close(); await knex.destroy()`,
      { NODE_ENV: 'production' },
    )
    expect(result).to.have.nested.property('error.name', 'ConfigurationError')
    expect(result).to.have.property('still', 1)
  })

  const applications = process.env['FULL'] === '1' ? 100 : 50
  it(`${applications} applications that open and close in one process leave nothing behind`, async () => {
    const result = (await run(
      copy,
      `const { testHasher } = await import(${JSON.stringify(pathToFileURL(join(root, 'dist/testing/index.js')).href)})
       const early = [], late = [], answers = [], kept = []
       for (let i = 0; i < ${applications}; i++) {
         const knex = Knex({ client: 'better-sqlite3', connection: { filename: ':memory:' }, useNullAsDefault: true })
         // Models of the same names and tables, of another shape each time. Worker threads, which hash passwords, start slowly.
         class Note extends A.UserOwnershipMixin(A.HasUserMixin(A.BasePermsModel)).withColumns({
           title: A.column.string({ maxLength: 50 }),
           ...(i % 2 ? { taxID: A.column.string({ maxLength: 9 }).nullable().hidden() } : { rank: A.column.integer().default(i) }),
         }) { static tableName = 'note'; static userBackref = 'notes' }
         class Person extends A.User.withColumns({ nick: A.column.string({ maxLength: 20 }).nullable() }) { static tableName = 'person' }
         const perms = A.initPerms({ knex, jwt, user: Person, models: [Note], ...(i % 10 ? { passwordHasher: testHasher() } : { passwords: { cost: 10 } }), domains: i % 2 ? 'required' : 'optional', outsideContext: i % 3 ? 'allow' : undefined })
         await perms.migrate()
         await A.createTables(knex, [Note])
         const ada = await Person.create({ email: 'ada@example.com' })
         const bob = await Person.create({ email: 'bob@example.com' })
         await A.runAs(ada, () => Note.create({ title: 'of ada' }))
         answers.push(JSON.stringify([
           await A.runAs(bob, () => Note.query().resultSize()),
           await A.runAs(ada, async () => Object.keys((await Note.query())[0].toJSON()).filter((name) => name === 'taxID').length),
           (await errorOf(() => A.runAs(bob, () => Person.query().joinRaw('cross join note')))).name,
           (await errorOf(() => A.User.query(knex).findById(ada.id)))?.name ?? null,
         ]))
         kept.push(...[perms, knex, Note, Person].map((one) => new WeakRef(one)))
         await perms.close()
         await knex.destroy()
         const sizes = i >= ${applications - 5} ? late : i >= 15 && i < 20 ? early : null
         if (sizes === null) continue
         globalThis.gc()
         await new Promise((resolve) => setImmediate(resolve))
         globalThis.gc()
         sizes.push(process.memoryUsage().heapUsed)
       }
       print({ answers: [...new Set(answers)], alive: kept.filter((one) => one.deref() !== undefined).length, growth: Math.min(...late) / Math.min(...early) })`,
      {},
      ['--expose-gc'],
    )) as { answers: string[]; alive: number; growth: number }
    expect(result.answers, 'every application answers like the first').to.have.length(1)
    expect(result.alive, 'objects kept of closed applications (the last two may wait for the next collection)').to.be.at.most(8)
    // A class, or its compiled schemas, kept for each application would raise it further.
    expect(result.growth, 'heap after the last applications, by that after 20').to.be.below(1.12)
  })
})
