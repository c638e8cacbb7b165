import { expect } from 'chai'
import { createProject, permsModule, type RunOptions, type TestProject } from './helpers/project.js'

const perms = permsModule()

/** A module that starts a server, does work in the background, and prints. */
const server = `${perms}
import { createServer } from 'node:http'
import { expressAdapter } from 'objection-perms/express'
expressAdapter(perms)
setInterval(() => undefined, 1000)
const server = createServer().listen(Number(process.env.TAKEN), '0.0.0.0', () => console.log('listening', server.address()?.address))
`

describe("The application's module", () => {
  let project: TestProject | undefined
  afterEach(() => {
    project?.remove()
    project = undefined
  })

  /** Runs a command that needs the application but no database. */
  function run(files: Record<string, string>, args: readonly string[] = [], options: RunOptions = {}, without: readonly string[] = []) {
    project = createProject(files, { without })
    return project.run(['migrate', 'status', '--json', ...args], options)
  }
  async function expectLoaded(files: Record<string, string>, args: readonly string[] = [], options: RunOptions = {}) {
    const { code, json, stderr } = await run(files, args, options)
    expect(json.migrations, stderr).to.have.length.above(0)
    expect(code).to.equal(1)
  }
  async function problemOf(files: Record<string, string>, args: readonly string[] = [], options: RunOptions = {}, without: string[] = []) {
    const ran = await run(files, args, options, without)
    expect(ran.code, ran.stderr).to.equal(2)
    expect(ran.stderr).not.to.match(/^\s+at /m)
    return ran.problem
  }

  describe('is found', () => {
    it('as src/perms.ts, in TypeScript', () => expectLoaded({ 'src/perms.ts': `const text: string = 'typed'\n${perms}` }))

    it('as TypeScript in a CommonJS project', () =>
      expectLoaded({ 'package.json': '{}', 'perms.ts': `const text: string = 'typed'\n${perms}` }))

    it('as a CommonJS module', () =>
      expectLoaded({
        'package.json': '{}',
        'app.js': `const Knex = require('knex')
const { initPerms } = require('objection-perms')
const knex = Knex({ client: 'better-sqlite3', connection: { filename: 'app.db' }, useNullAsDefault: true })
module.exports = { perms: initPerms({ knex }) }`,
      }))

    it('by --app, relative to the folder of the command', () =>
      expectLoaded({ 'lib/db/set-up.js': perms, 'lib/x': '' }, ['--app', 'db/set-up.js'], { cwd: 'lib' }))

    it('by the option app in package.json', () =>
      expectLoaded({
        'package.json': '{ "type": "module", "objection-perms": { "app": "lib/set-up.js" } }',
        'lib/set-up.js': perms,
        'app.js': 'throw 1',
      }))

    it('by the option app in objection-perms.config.ts', () =>
      expectLoaded({ 'objection-perms.config.ts': "const app: string = 'lib/set-up.js'\nexport default { app }", 'lib/set-up.js': perms }))

    it('from a folder below the project, whose relative paths stay those of the project', async () => {
      await expectLoaded({ 'perms.js': perms, 'deep/er/x': '' }, [], { cwd: 'deep/er' })
      expect(project?.read('app.db')).to.be.a('string')
    })
  })

  describe('gives the result of initPerms', () => {
    it('as its default export', () => expectLoaded({ 'perms.js': perms.replace('export const perms =', 'export default') }))

    it('from an exported function without parameters', () =>
      expectLoaded({ 'perms.js': perms.replace('export const perms =', 'export default async () =>') }))

    it('without exporting it', () => expectLoaded({ 'perms.js': perms.replaceAll('export ', '') }))

    it('later, from a function that the module calls without awaiting it', () =>
      expectLoaded({ 'main.js': `${perms.replace('export const perms =', 'setTimeout(() =>').trimEnd()}, 100)` }))
  })

  describe('may', () => {
    it('start a server: the command uses another port of this machine, ends, and prints only its result on stdout', async () => {
      const { createServer } = await import('node:net')
      const taken = createServer().listen(0, '127.0.0.1')
      try {
        await new Promise((done) => taken.once('listening', done))
        const { port } = taken.address() as { port: number }
        const { code, json, stderr } = await run({ 'server.js': server }, [], { env: { TAKEN: String(port) }, ownProcess: true })
        expect([code, json.migrations.length > 0]).to.deep.equal([1, true])
        expect(stderr).to.contain('listening 127.0.0.1')
      } finally {
        taken.close()
      }
    })

    it('read variables of the file .env, unless the environment has them', async () => {
      const files = {
        '.env': 'GREETING=from the file\nOTHER=from the file',
        'perms.js': `console.log(process.env.GREETING, '+', process.env.OTHER)\n${perms}`,
      }
      expect((await run(files, [], { env: { OTHER: 'from outside' } })).stderr).to.contain('from the file + from outside')
    })

    it('read variables of the file that --env names', async () => {
      const files = {
        '.env': 'GREETING=no',
        'test.env': 'GREETING=yes',
        'perms.js': `console.log('greeting:', process.env.GREETING)\n${perms}`,
      }
      expect((await run(files, ['--env', 'test.env'])).stderr).to.contain('greeting: yes')
    })
  })

  describe('is refused with one sentence', () => {
    it('when there is none', async () =>
      expect(await problemOf({})).to.match(/^There is no module that calls initPerms\(\) in .*--app FILE/))

    it('when --app names no file', async () =>
      expect(await problemOf({}, ['--app', 'x.js'])).to.match(/x\.js does not exist, or is no module/))

    it('when --env names no file', async () =>
      expect(await problemOf({ 'perms.js': perms }, ['--env', 'x.env'])).to.match(/x\.env does not exist \(--env\)/))

    it('when it never calls initPerms', async () =>
      expect(await problemOf({ 'app.js': 'export const answer = 42' })).to.match(
        /^app\.js does not call initPerms\(\)\. Name the module .*--app FILE/,
      ))

    it('when it throws', async () =>
      expect(await problemOf({ 'app.js': "throw new Error('no secret here')" })).to.equal(
        'app.js failed while it was loaded: no secret here.',
      ))

    it('when it has a syntax error', async () =>
      expect(await problemOf({ 'app.js': 'const = 2' })).to.equal(
        "app.js failed while it was loaded: Unexpected token '='. `node --check FILE` shows the line.",
      ))

    it('when its TypeScript has a syntax error, with the line', async () =>
      expect(await problemOf({ 'app.ts': 'const fine = 1\nconst = 2' })).to.match(
        /^app\.ts failed while it was loaded: .*app\.ts:2:\d+: ERROR: Expected/,
      ))

    it('when it imports a package that is not installed', async () =>
      expect(await problemOf({ 'app.js': "import 'no-such-package'" })).to.contain("Cannot find package 'no-such-package'"))

    it('when a promise of it is rejected', async () =>
      expect(
        await problemOf({ 'app.js': "Promise.reject(new Error('too late'))\nawait new Promise((done) => setTimeout(done, 500))" }),
      ).to.equal('app.js failed while it was loaded: too late.'))

    it('when it ends the process', async () =>
      expect(await problemOf({ 'app.js': 'process.exit(7)' }, [], { ownProcess: true })).to.match(
        /^app\.js ended the process with exit code 7 while it was loaded/,
      ))

    it('when it ends the process, as JSON too', async () => {
      const { json, problem } = await run({ 'app.js': 'process.exit(7)' }, [], { ownProcess: true })
      expect(json.error.message).to.equal(problem)
    })

    it('when it waits for a promise that nothing settles', async () =>
      expect(await problemOf({ 'app.js': 'await new Promise(() => undefined)' }, [], { ownProcess: true })).to.match(
        /^app\.js ended before it was loaded\./,
      ))

    it('when a model has an error', async () => {
      const wrong = permsModule({
        before: `import { BasePermsModel, column } from 'objection-perms'\nclass Note extends BasePermsModel.withColumns({ title: column.string() }) { title = '' }`,
        options: 'models: [Note]',
      })
      expect(await problemOf({ 'perms.js': wrong })).to.match(/^perms\.js failed while it was loaded: .*Note/)
    })

    it('when its secret is short', async () =>
      expect(await problemOf({ 'perms.js': perms }, [], { env: { JWT_SECRET: 'short' } })).to.match(
        /^perms\.js failed while it was loaded: .*secret/,
      ))

    it('when it sets up several databases and exports none', async () => {
      const two = `${perms.replaceAll('export ', '')}\ninitPerms({ knex: Knex({ client: 'better-sqlite3', connection: { filename: 'b.db' }, useNullAsDefault: true }) })`
      expect(await problemOf({ 'perms.js': two })).to.match(/^perms\.js calls initPerms\(\) for several databases\. Export one/)
    })

    it('when it is TypeScript and nothing can run it', async function () {
      if (Reflect.get(process.features, 'typescript')) this.skip()
      expect(await problemOf({ 'perms.ts': perms }, [], {}, ['tsx'])).to.match(/perms\.ts is TypeScript, .*npm install --save-dev tsx/)
    })

    it('when the folder of the SQLite file does not exist', async () =>
      expect(await problemOf({ 'perms.js': permsModule({ url: 'no/app.db' }) })).to.contain(
        'Cannot open database because the directory does not exist.',
      ))

    it('when the database does not answer', async () => {
      const files = { 'perms.js': permsModule({ database: 'pg', url: 'postgres://ada@127.0.0.1:1/zoo' }) }
      expect(await problemOf(files)).to.equal(
        'The database at 127.0.0.1:1 cannot be reached (ECONNREFUSED). Start it, or correct the connection of Knex.',
      )
    })

    it('when it uses a database that does not answer while it is loaded', async () => {
      const files = { 'perms.js': permsModule({ database: 'mysql2', url: 'mysql://ada@127.0.0.1:1/zoo', after: 'await perms.migrate()' }) }
      expect(await problemOf(files)).to.equal(
        'perms.js failed while it was loaded: The database at 127.0.0.1:1 cannot be reached (ECONNREFUSED). Start it, or correct the connection of Knex.',
      )
    })
  })

  describe('has a configuration that is refused with one sentence', () => {
    it('when package.json is not valid JSON', async () =>
      expect(await problemOf({ 'package.json': '{' })).to.match(/package\.json is not valid JSON/))

    it('when an option is unknown', async () =>
      expect(await problemOf({ 'package.json': '{ "objection-perms": { "aap": "x.js" } }' })).to.equal(
        "package.json: 'aap' is no option of objection-perms. The options are app, api, migrations.",
      ))

    it('when it is no object, or an option is no path', async () => {
      expect(await problemOf({ 'package.json': '{ "objection-perms": "x.js" }' })).to.match(
        /^package\.json: the configuration of objection-perms must be an object/,
      )
      project?.remove()
      expect(await problemOf({ 'objection-perms.config.js': 'export default { app: 1 }' })).to.equal(
        "objection-perms.config.js: 'app' of objection-perms must be a path.",
      )
    })

    it('when it throws', async () =>
      expect(await problemOf({ 'objection-perms.config.js': "throw new Error('broken')" })).to.equal(
        'objection-perms.config.js failed while it was loaded: broken.',
      ))

    it('when there are two', async () =>
      expect(
        await problemOf({
          'package.json': '{ "type": "module", "objection-perms": {} }',
          'objection-perms.config.js': 'export default {}',
        }),
      ).to.equal('package.json and objection-perms.config.js both configure objection-perms. Keep one of them.'))

    it('when it names a module that does not exist', async () =>
      expect(await problemOf({ 'package.json': '{ "objection-perms": { "app": "x.js" } }' })).to.match(
        /x\.js does not exist, or is no module \(the option 'app'/,
      ))
  })
})
