import { expect } from 'chai'
import { planFiles } from '../../../src/cli/init/plan.js'
import { chooseFor, readProject, type Wishes } from '../../../src/cli/init/project.js'
import { createFolder, type Folder } from './generated.js'

describe('init in an existing project', () => {
  const folders: Folder[] = []
  after(() => {
    for (const folder of folders) folder.remove()
  })

  async function chosen(files: Record<string, string>, wishes: Wishes = {}) {
    const folder = createFolder(files)
    folders.push(folder)
    const project = await readProject(folder.path)
    const choices = chooseFor(project, wishes)
    const plan = planFiles(project, choices, new Date('2030-01-02T03:04:05Z'))
    const text = (path: string) => plan.files.find((file) => file.path === path)?.text
    return { ...choices, plan, text, paths: plan.files.map(({ path }) => path), manifest: JSON.parse(text('package.json') ?? '{}') }
  }
  const manifest = (value: object) => ({ 'package.json': JSON.stringify(value) })

  it('uses Express, TypeScript and SQLite when nothing suggests otherwise', async () => {
    expect(await chosen({})).to.include({ framework: 'express', language: 'ts', database: 'sqlite', client: 'sqlite3', isModule: true })
    expect(await chosen(manifest({ dependencies: { 'objection-perms': '^0.2.0' } }))).to.include({ language: 'ts', isModule: true })
  })

  it('uses the framework and the driver of package.json', async () => {
    expect(await chosen(manifest({ dependencies: { koa: '^3.0.0', pg: '^8.0.0' } }))).to.include({ framework: 'koa', database: 'pg' })
    expect(await chosen(manifest({ devDependencies: { fastify: '^5.0.0', mysql2: '^3.0.0' } }))).to.include({
      framework: 'fastify',
      client: 'mysql2',
    })
  })

  it('uses better-sqlite3 where it is installed instead of sqlite3', async () => {
    const { client, manifest: merged, text } = await chosen(manifest({ dependencies: { 'better-sqlite3': '^12.0.0' } }))
    expect(client).to.equal('better-sqlite3')
    expect(merged.dependencies).to.include({ 'better-sqlite3': '^12.0.0' }).and.not.to.have.property('sqlite3')
    expect(text('src/perms.ts')).to.contain("client: 'better-sqlite3'")
  })

  it('uses the client of the knexfile', async () => {
    expect(await chosen({ 'knexfile.js': "module.exports = { development: { client: 'mysql2' } }" })).to.include({ database: 'mariadb' })
    expect(await chosen({ 'knexfile.ts': 'export default { "client": "pg" }' })).to.include({ database: 'pg' })
  })

  it('uses JavaScript where the project has JavaScript only', async () => {
    expect(await chosen({ ...manifest({ type: 'module' }), 'src/index.js': '' })).to.include({ language: 'js' })
    expect(await chosen({ ...manifest({ type: 'module' }), 'src/index.js': '', 'tsconfig.json': '{}' })).to.include({ language: 'ts' })
  })

  it('prefers the options of the command line', async () => {
    const files = { ...manifest({ dependencies: { koa: '^3.0.0', pg: '^8.0.0' } }), 'tsconfig.json': '{}' }
    const wishes = { framework: 'hono', language: 'js', database: 'sqlite' } as const
    expect(await chosen(files, wishes)).to.include(wishes)
  })

  it('writes .mjs files into a CommonJS project, and does not make it an ES module', async () => {
    for (const files of [{ ...manifest({}), 'index.js': 'module.exports = 1' }, manifest({ type: 'commonjs' })]) {
      const { paths, manifest: merged, text } = await chosen(files, { language: 'js' })
      expect(merged.type).to.not.equal('module')
      expect(paths).to.include.members(['src/app.mjs', 'test/api.test.mjs', 'migrations/20300102030405_first_tables.mjs'])
      expect(text('src/perms.mjs')).to.contain("from './models.mjs'").and.to.contain("loadExtensions: ['.mjs']")
    }
  })

  it('keeps everything that package.json has, in its order and indentation', async () => {
    const present = {
      name: '@acme/Shop',
      version: '3.0.0',
      type: 'module',
      custom: { a: [1] },
      scripts: { start: 'node old.js', lint: 'eslint .' },
      dependencies: { express: '~4.18.0', knex: '^3.1.0' },
      allowScripts: { esbuild: false },
      'objection-perms': { app: 'lib/perms.js' },
    }
    const { text, manifest: merged, plan } = await chosen({ 'package.json': JSON.stringify(present, null, '\t') })
    expect(Object.keys(merged).slice(0, 8)).to.deep.equal(Object.keys(present))
    expect(merged).to.deep.include({ name: '@acme/Shop', version: '3.0.0', custom: { a: [1] } })
    expect(merged.scripts).to.include({ start: 'node old.js', lint: 'eslint .', migrate: 'objection-perms migrate up' })
    expect(merged.dependencies).to.include({ express: '~4.18.0', knex: '^3.1.0', objection: '^3.1.5' })
    expect(merged.allowScripts).to.deep.equal({ esbuild: false, sqlite3: true })
    expect(merged['objection-perms']).to.deep.equal({ app: 'lib/perms.js', api: 'src/app.ts' })
    expect(text('package.json')).to.contain('\n\t"custom": {\n\t\t"a"')
    expect(plan.keptScripts).to.deep.equal(['start'])
  })

  it('keeps Windows line ends of package.json', async () => {
    const { text } = await chosen({ 'package.json': '{\r\n  "name": "shop"\r\n}\r\n' })
    expect(text('package.json')?.replaceAll('\r\n', ''))
      .to.match(/^\{ {2}"name": "shop",/)
      .and.not.to.contain('\n')
  })

  it('replaces the test script that npm init writes', async () => {
    const scripts = { test: 'echo "Error: no test specified" && exit 1' }
    const { manifest: merged, plan } = await chosen(manifest({ scripts }))
    expect(merged.scripts.test).to.equal('node --import tsx --test test/*.test.ts')
    expect(plan.keptScripts).to.deep.equal([])
  })

  it('does not add a package that is a development dependency already', async () => {
    const { manifest: merged } = await chosen(manifest({ devDependencies: { knex: '3.2.9' } }))
    expect(merged.dependencies).not.to.have.property('knex')
    expect(merged.devDependencies.knex).to.equal('3.2.9')
  })

  it('adds only the missing lines to .gitignore and .env.example', async () => {
    const { text } = await chosen({ '.gitignore': '/node_modules\n.env', '.env.example': 'PORT=8080\n# JWT_SECRET=' })
    expect(text('.gitignore')).to.equal('/node_modules\n.env\n*.db\n*.db-journal\n*.db-shm\n*.db-wal\n')
    expect(text('.env.example')).to.equal('PORT=8080\n# JWT_SECRET=\nDATABASE_URL=\nHOST=\n')
  })

  it('leaves tsconfig.json and complete files as they are', async () => {
    const first = await chosen({})
    const files = Object.fromEntries(['package.json', '.gitignore', '.env.example'].map((path) => [path, first.text(path) ?? '']))
    const { paths } = await chosen({ ...files, 'tsconfig.json': '{}' })
    expect(paths.filter((path) => !path.includes('/'))).to.deep.equal([])
  })

  it('escapes the name of the package in the title of the API', async () => {
    const { text } = await chosen(manifest({ name: 'it\'s \\ "quoted"\n' }))
    expect(text('src/app.ts')).to.contain(`title: 'it\\'s \\\\ "quoted"\\n',`)
  })
})
