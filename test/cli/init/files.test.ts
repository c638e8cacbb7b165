import { randomBytes } from 'node:crypto'
import { readFileSync } from 'node:fs'
import { isBuiltin } from 'node:module'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { expect } from 'chai'
import ts from 'typescript-5.9'
import { databases, frameworks } from '../../../src/cli/init/choices.js'
import { versions } from '../../../src/cli/init/dependencies.js'
import { availableDatabases, createDatabase, type OwnDatabase } from '../../helpers/databases.js'
import { runNode } from '../../run-node.js'
import { allCombinations, type Combination, createFolder, type Folder, generate, packagesOf, root, titleOf } from './generated.js'

const clients = { sqlite: 'sqlite3', pg: 'pg', mariadb: 'mysql2' } as const
const bin = (path: string) => join(root, 'node_modules', path)
const sources = (folder: Folder) => Object.entries(folder.files()).filter(([path]) => /\.(?:ts|js|mjs)$/.test(path))

/** Each framework with one database. With FULL=1: all combinations. A compiler or linter takes half a second for each. */
const isChecked = ({ framework, database }: Combination) =>
  process.env['FULL'] === '1' || databases.indexOf(database) === frameworks.indexOf(framework) % databases.length

describe('The files that init writes', function () {
  this.timeout(120_000)
  const folders = new Map<Combination, Folder>()

  before(async () => {
    for (const combination of allCombinations) {
      const folder = createFolder()
      folders.set(combination, folder)
      await generate(folder, combination)
    }
  })
  after(() => {
    for (const folder of folders.values()) folder.remove()
  })

  it('are 11 in TypeScript and 10 in JavaScript, in an empty folder', () => {
    for (const [{ language }, folder] of folders) {
      const paths = Object.keys(folder.files()).filter((path) => !path.endsWith('/'))
      expect(paths).to.have.length(language === 'ts' ? 11 : 10)
      expect(paths.filter((path) => path.startsWith('src/'))).to.have.members(
        ['app', 'models', 'perms', 'server'].map((name) => `src/${name}.${language}`),
      )
    }
  })

  it('import only packages that package.json names', () => {
    for (const [combination, folder] of folders) {
      const imported = sources(folder).flatMap(([, text]) =>
        ts.preProcessFile(text, true, true).importedFiles.map(({ fileName }) => fileName),
      )
      const external = imported.filter((name) => !name.startsWith('.') && !isBuiltin(name))
      const names = external.map((name) => /^(?:@[^/]+\/)?[^/]+/.exec(name)?.[0])
      expect(names).to.include.members(['knex', 'objection-perms'])
      expect(packagesOf(folder), titleOf(combination)).to.include.members(names)
    }
  })

  it('contain no credentials', () => {
    for (const [, folder] of folders) {
      const example = folder.read('.env.example')
      expect(example).to.match(/^JWT_SECRET=$/m)
      expect(example.match(/^\w+=.+$/gm)).to.equal(null)
      for (const [path, text] of Object.entries(folder.files())) {
        expect(text, path).not.to.match(/[A-Za-z0-9_-]{32,}/)
        expect(text, path).not.to.match(/(?:password|secret)\s*[:=]\s*['"]/i)
        expect(text, path).not.to.match(/:\/\/\w+:\w+@/)
      }
    }
  })

  it('let git ignore .env and database files', () => {
    for (const [{ database }, folder] of folders) {
      const lines = folder.read('.gitignore').split('\n')
      expect(lines).to.include.members(['node_modules/', '.env', ...(database === 'sqlite' ? ['*.db'] : [])])
    }
  })

  it('satisfy the default rules of Biome', async () => {
    const checked = [...folders].filter(([combination]) => isChecked(combination)).map(([, { path }]) => path)
    const { output, failure } = await runNode([bin('@biomejs/biome/bin/biome'), 'lint', '--error-on-warnings', ...checked], {
      cwd: tmpdir(),
      timeout: 60_000,
    })
    expect(failure, output).to.equal(undefined)
    expect(output).to.match(/Checked [1-9]\d+ files/)
  })

  for (const compiler of ['typescript', 'typescript-5.9'])
    it(`have no type errors in strict mode (${compiler})`, async () => {
      for (const [combination, folder] of folders) {
        if (combination.language === 'js' || !isChecked(combination)) continue
        if (compiler !== 'typescript' && combination.framework !== 'express') continue
        const { output, failure } = await runNode([bin(`${compiler}/bin/tsc`), '--pretty', 'false'], { cwd: folder.path, timeout: 60_000 })
        expect(failure, `${titleOf(combination)}\n${output}`).to.equal(undefined)
      }
    })

  it('name the versions that this package is tested with', () => {
    const { devDependencies } = JSON.parse(readFileSync(join(root, 'package.json'), 'utf8')) as { devDependencies: Record<string, string> }
    for (const [name, range] of Object.entries(versions)) expect(devDependencies[name], name).to.be.oneOf([range, undefined])
    expect(Object.keys(versions).filter((name) => devDependencies[name] === undefined)).to.deep.equal([])
  })

  it('refuse to start without a secret, and without the address of a database server', async () => {
    const messageOf = async (combination: string, env: NodeJS.ProcessEnv) => {
      const [, folder] = [...folders].find(([one]) => titleOf(one) === combination) as [Combination, Folder]
      const { output, failure } = await runNode(['src/server.js'], { cwd: folder.path, timeout: 30_000, env: { DATABASE_URL: '', ...env } })
      expect(failure).to.equal('ended with 1')
      return output
    }
    const secret = { JWT_SECRET: randomBytes(32).toString('base64url') }
    expect(await messageOf('hono, js, sqlite', { JWT_SECRET: '' })).to.contain(
      'Error: JWT_SECRET is not set. Run `npx objection-perms secret`',
    )
    expect(await messageOf('hono, js, sqlite', { JWT_SECRET: 'short' })).to.match(
      /ConfigurationError: jwt\.secret has 5 bytes, and HS256 needs 32/,
    )
    for (const database of ['pg', 'mariadb'])
      expect(await messageOf(`koa, js, ${database}`, secret)).to.contain('Error: DATABASE_URL is not set. Write it into the file .env')
  })

  it('refuse to test in the database of the application', async () => {
    const [, folder] = [...folders].find(([one]) => titleOf(one) === 'koa, js, pg') as [Combination, Folder]
    const address = 'postgres://127.0.0.1:1/app'
    for (const TEST_DATABASE_URL of ['', address]) {
      const env = { DATABASE_URL: address, TEST_DATABASE_URL }
      const { output, failure } = await runNode(['--test', 'test/api.test.js'], { cwd: folder.path, timeout: 30_000, env })
      expect(failure).to.equal('ended with 1')
      expect(output).to.contain('TEST_DATABASE_URL must name another database than DATABASE_URL')
    }
  })

  describe('create the tables that their models declare', () => {
    for (const combination of allCombinations.filter(
      ({ framework, language, database }) => framework === 'koa' && (language === 'js' || database === 'sqlite'),
    )) {
      const client = clients[combination.database]
      if (!availableDatabases.includes(client)) continue
      it(`on ${combination.database}, in ${combination.language}`, async () => {
        const folder = folders.get(combination) as Folder
        const database = await createDatabase(client)
        try {
          const env = { DATABASE_URL: database.url, JWT_SECRET: randomBytes(32).toString('base64url') }
          folder.write({ 'migrations.mjs': migrations(combination.language) })
          const { output, failure } = await runNode([...(combination.language === 'ts' ? ['--import', 'tsx'] : []), 'migrations.mjs'], {
            cwd: folder.path,
            timeout: 60_000,
            env,
          })
          expect(failure, output).to.equal(undefined)
          expect(output.trim().split('\n').at(-1)).to.equal(
            '{"changes":[],"up":["first_tables"],"down":["first_tables"],"again":["first_tables"]}',
          )
        } finally {
          await database.destroy()
        }
      })
    }

    // Compares the migration with the models, and runs it up, down and up again.
    const migrations = (extension: string) => `
      import { checkMigrations } from ${JSON.stringify(join(root, 'dist/migrate/make.js'))}
      import { knex, perms } from './src/perms.${extension}'
      const changes = await checkMigrations(perms)
      await perms.migrate()
      const ran = ([, files]) => files.map((file) => /\\d{14}_(\\w+)\\./.exec(file)?.[1])
      const [up, down, again] = [ran(await knex.migrate.latest()), ran(await knex.migrate.rollback()), ran(await knex.migrate.latest())]
      console.log(JSON.stringify({ changes, up, down, again }))
      await perms.close()
      await knex.destroy()
    `
  })

  describe('pass their own test', () => {
    // Each framework once, each database and both languages among them. Without FULL=1, test/toolchains/init.check.ts runs two
    // of them from the packed package, and commonjs.test.ts runs one here.
    const chosen = allCombinations.filter((_, index) => process.env['FULL'] === '1' && [0, 9, 16, 19].includes(index))
    const databases: OwnDatabase[] = []
    after(async () => {
      for (const database of databases) await database.destroy()
    })

    for (const combination of chosen) {
      const client = clients[combination.database]
      if (!availableDatabases.includes(client)) continue
      it(`with ${titleOf(combination)}`, async () => {
        const folder = folders.get(combination) as Folder
        const database = await createDatabase(client)
        databases.push(database)
        const { scripts } = JSON.parse(folder.read('package.json')) as { scripts: { test: string } }
        const extension = combination.language
        const args = scripts.test
          .replace(/^node /, '')
          .replace('*', 'api')
          .split(' ')
        expect(args.at(-1)).to.equal(`test/api.test.${extension}`)
        const env = { DATABASE_URL: '', TEST_DATABASE_URL: database.url, JWT_SECRET: '' }
        const { output, failure } = await runNode(args, { cwd: folder.path, timeout: 90_000, env })
        expect(failure, output).to.equal(undefined)
        expect(output).to.match(/^[#ℹ] pass 5$/m)
      })
    }
  })
})
