import { existsSync, readFileSync, rmSync } from 'node:fs'
import { join } from 'node:path'
import { expect } from 'chai'
import { eachDatabase, sqliteAnd } from '../helpers/databases.js'
import { createProject, permsModule, type TestProject } from './helpers/project.js'

const migration = (table: string) => `
export const up = (knex) => knex.schema.createTable('${table}', (table) => {
  table.increments('id')
  table.string('title', 100)
})
export const down = (knex) => knex.schema.dropTable('${table}')
`

// test/migrate makes, checks and interrupts migrations on each database; here, each case starts several processes.
eachDatabase(
  'objection-perms migrate',
  (db) => {
    let project: TestProject | undefined
    afterEach(async () => {
      project?.remove()
      project = undefined
      await dropTables()
    })

    async function dropTables(): Promise<void> {
      if (db.dialect === 'pg') await db.knex.raw('drop schema public cascade; create schema public')
      else {
        const names: string[] =
          db.dialect === 'sqlite'
            ? await db.knex('sqlite_master').where({ type: 'table' }).whereNot('name', 'like', 'sqlite_%').pluck('name')
            : (await db.knex.raw('show tables'))[0].map((row: object) => Object.values(row)[0])
        await db.knex.transaction(async (trx) => {
          await trx.raw(db.dialect === 'sqlite' ? 'pragma defer_foreign_keys = on' : 'set foreign_key_checks = 0')
          for (const name of names) await trx.schema.dropTable(name)
          if (db.dialect === 'mysql') await trx.raw('set foreign_key_checks = 1')
        })
      }
    }

    const create = (files: Record<string, string> = {}, perms: Parameters<typeof permsModule>[0] = {}) => {
      project = createProject({ 'perms.js': permsModule({ database: db.name, url: db.url(), ...perms }), ...files })
      return project
    }
    /** On servers, only cases that could differ there run without FULL=1: each starts several processes. */
    const isComplete = db.dialect === 'sqlite' || process.env['FULL'] === '1'
    const hasTable = (name: string) => db.knex.schema.hasTable(name)

    it("up runs the library's migrations and then the application's, once", async () => {
      const { run } = create({ 'migrations/001_note.js': migration('note') })
      const first = await run(['migrate', 'up', '--json'], { ownProcess: true })
      expect(first.code, first.stderr).to.equal(0)
      expect(first.json.ran.at(0)).to.match(/^objection_perms_001/)
      expect(first.json.ran.at(-1)).to.equal('001_note.js')
      expect([await hasTable('user'), await hasTable('note')]).to.deep.equal([true, true])
      expect((await run(['migrate', 'up'])).stdout).to.equal('All migrations have run.\n')
    }).timeout(60_000)

    if (isComplete)
      it('up works without migrations of the application', async () => {
        const { code, json } = await create().run(['migrate', 'up', '--json'])
        expect(code).to.equal(0)
        expect(json.ran).to.have.length.above(0)
        expect(await hasTable('user')).to.equal(true)
      })

    if (isComplete)
      it('up takes the folder of the option migrations in package.json', async () => {
        const { run } = create({
          'package.json': '{ "type": "module", "objection-perms": { "migrations": "db/steps" } }',
          'db/steps/001_note.js': migration('note'),
        })
        expect((await run(['migrate', 'up', '--json'])).json.ran.at(-1)).to.equal('001_note.js')
      })

    if (isComplete)
      it('up runs one history when the source of Knex is permsMigrations({ with })', async () => {
        const module = permsModule({ database: db.name, url: db.url() })
        const { run } = create({
          'migrations/001_note.js': migration('note'),
          'perms.js': module
            .replace('import { initPerms', 'import { permsMigrations, initPerms')
            .replace("client: '", "migrations: { migrationSource: permsMigrations({ with: './migrations' }) }, client: '"),
        })
        const { json, code, stderr } = await run(['migrate', 'up', '--json'])
        expect(code, stderr).to.equal(0)
        expect([json.ran.at(-1), json.ran.length > 1]).to.deep.equal(['001_note.js', true])
        expect(await hasTable('objection_perms_migrations')).to.equal(false)
        const refused = await run(['migrate', 'down'])
        expect(refused.code).to.equal(2)
        expect(refused.problem).to.match(/^The last batch contains objection_perms_001.*Add --library if you mean that\.$/)
        expect([await hasTable('user'), await hasTable('note')]).to.deep.equal([true, true])
        expect((await run(['migrate', 'down', '--library'])).code).to.equal(0)
        expect([await hasTable('user'), await hasTable('note')]).to.deep.equal([false, false])
      }).timeout(60_000)

    if (isComplete)
      it("up leaves the library to a migration that calls permsMigrations().up(), and down refuses to drop the library's tables", async () => {
        const { run } = create({
          'migrations/001_perms.js': `import { permsMigrations } from 'objection-perms'
export const up = (knex) => permsMigrations().up(knex)
export const down = (knex) => permsMigrations().down(knex)`,
        })
        const { json, code, stderr } = await run(['migrate', 'up', '--json'])
        expect(code, stderr).to.equal(0)
        expect(json.ran).to.deep.equal(['001_perms.js'])
        expect(await hasTable('user')).to.equal(true)
        expect((await run(['migrate', 'down'])).problem).to.match(/^The last batch contains 001_perms\.js: /)
        expect(await hasTable('user')).to.equal(true)
      }).timeout(60_000)

    it('several processes that run up at the same time apply each migration once', async () => {
      const { run } = create({ 'migrations/001_note.js': migration('note') })
      // SQLite has no lock for migrations: its first process must have created the histories.
      const ran =
        db.dialect === 'sqlite'
          ? [await run(['migrate', 'up', '--json'])]
          : await Promise.all([1, 2, 3].map(() => run(['migrate', 'up', '--json'], { ownProcess: true })))
      for (const { code, stderr } of ran) expect(code, stderr).to.equal(0)
      const names = ran.flatMap(({ json }) => json.ran as string[])
      expect(names.filter((name) => name === '001_note.js')).to.have.length(1)
    }).timeout(60_000)

    it("down rolls back the application's last batch, and keeps the library's tables", async () => {
      const { run, write } = create({ 'migrations/001_note.js': migration('note') })
      await run(['migrate', 'up'])
      write({ 'migrations/002_task.js': migration('task') })
      await run(['migrate', 'up'])
      expect((await run(['migrate', 'down', '--json'], { ownProcess: true })).json).to.deep.equal({ rolledBack: ['002_task.js'] })
      expect([await hasTable('user'), await hasTable('note'), await hasTable('task')]).to.deep.equal([true, true, false])
      await run(['migrate', 'down'])
      expect((await run(['migrate', 'down'])).stdout).to.equal('Nothing to roll back.\n')
      expect([await hasTable('user'), await hasTable('note')]).to.deep.equal([true, false])
    }).timeout(60_000)

    it('status lists both histories, exits with 1 while migrations are pending, and writes nothing', async () => {
      const { run, write } = create({ 'migrations/001_note.js': migration('note') })
      const fresh = await run(['migrate', 'status', '--json'], { ownProcess: true })
      expect(fresh.code, fresh.stderr).to.equal(1)
      expect(fresh.json.migrations.at(-1)).to.deep.equal({ history: 'application', state: 'pending', name: '001_note.js' })
      expect(await hasTable('knex_migrations')).to.equal(false)
      await run(['migrate', 'up'])
      const done = await run(['migrate', 'status'])
      expect(done.code).to.equal(0)
      expect(done.stdout)
        .to.match(/^library +applied +objection_perms_001/m)
        .and.to.match(/^application +applied +001_note\.js$/m)
      write({ 'migrations/002_task.js': migration('task') })
      const behind = await run(['migrate', 'status'])
      expect(behind.code).to.equal(1)
      expect(behind.stdout).to.match(/^application +pending +002_task\.js$/m)
    }).timeout(60_000)

    if (isComplete)
      it('status reports a migration that ran and has no file', async () => {
        const { run, folder } = create({ 'migrations/001_note.js': migration('note'), 'migrations/002_task.js': migration('task') })
        await run(['migrate', 'up'])
        rmSync(`${folder}/migrations/002_task.js`)
        const { code, stdout } = await run(['migrate', 'status'])
        expect(code).to.equal(1)
        expect(stdout).to.match(/^application +missing +002_task\.js$/m)
      }).timeout(60_000)

    const withNote = (columns: string) =>
      permsModule({
        database: db.name,
        url: db.url(),
        before: `import { BasePermsModel, column } from 'objection-perms'\nclass Note extends BasePermsModel.withColumns({ ${columns} }) {}`,
        options: 'models: [Note]',
      })

    it('make writes the migration from the models, check finds no difference then, and the real database stays unchanged until up', async () => {
      const { run } = create({ 'perms.js': withNote('title: column.string({ maxLength: 100 })') })
      const missing = await run(['migrate', 'check', '--json'], { ownProcess: true })
      expect([missing.code, missing.json]).to.deep.equal([1, { changes: ['note: the table does not exist.'] }])
      const { code, json, stderr } = await run(['migrate', 'make', 'notes', '--json'], { ownProcess: true })
      expect(code, stderr).to.equal(0)
      expect(json.file).to.match(/\/migrations\/\d{14}_notes\.js$/)
      expect(json.changes).to.deep.equal(['note: the table does not exist.'])
      expect(await hasTable('user')).to.equal(false)
      expect((await run(['migrate', 'check'])).code).to.equal(0)
      expect((await run(['migrate', 'up'])).code).to.equal(0)
      await db.knex('note').select('title')
      expect((await run(['migrate', 'make', 'again'])).stdout).to.contain('nothing to write')
    }).timeout(120_000)

    it('up reports a migration that fails in one sentence, and records nothing of it', async () => {
      const { run } = create({
        'migrations/001_broken.js':
          "export const up = (knex) => knex.schema.renameTable('nothing', 'something')\nexport const down = () => undefined",
      })
      const { code, problem, stderr } = await run(['migrate', 'up'])
      expect(code).to.equal(2)
      expect(problem).to.match(/^A migration failed: .*nothing.* Correct it, and run the command again\.$/)
      expect(stderr)
        .to.contain('001_broken.js')
        .and.not.to.match(/^\s+at /m)
      const { json } = await run(['migrate', 'status', '--json'])
      expect(json.migrations.at(-1)).to.include({ state: 'pending', name: '001_broken.js' })
    }).timeout(60_000)
  },
  sqliteAnd('pg'),
)

describe('objection-perms migrate', () => {
  it('up runs TypeScript migrations of a JavaScript application', async () => {
    const project = createProject({
      'perms.js': permsModule(),
      'migrations/001_note.ts': `import type { Knex } from 'knex'
export const up = (knex: Knex): Promise<void> => knex.schema.createTable('note', (table) => { table.increments('id') })
export const down = (knex: Knex): Promise<void> => knex.schema.dropTable('note')`,
    })
    try {
      const { code, json, stderr } = await project.run(['migrate', 'up', '--json'])
      expect(code, stderr).to.equal(0)
      expect(json.ran.at(-1)).to.equal('001_note.ts')
    } finally {
      project.remove()
    }
  })

  it('make writes the first migration in the language of the application, and later ones in that of the others', async () => {
    const model = (columns: string) =>
      permsModule({
        before: `import { BasePermsModel, column } from 'objection-perms'\nclass Note extends BasePermsModel.withColumns({ ${columns} }) {}`,
        options: 'models: [Note]',
      })
    const project = createProject({ 'src/perms.ts': model('title: column.string()') })
    try {
      expect((await project.run(['migrate', 'make', 'notes', '--json'])).json.file).to.match(/_notes\.ts$/)
      expect((await project.run(['migrate', 'up'])).code).to.equal(0)
      project.write({ 'src/perms.ts': model('title: column.string(), body: column.text().nullable()') })
      expect((await project.run(['migrate', 'make', 'body', '--language', 'js', '--json'])).json.file).to.match(/_body\.js$/)
    } finally {
      project.remove()
    }
  }).timeout(60_000)

  it("leaves out the warning of initPerms({ checkTables: 'warn' }), since up changes the tables", async () => {
    const project = createProject({ 'perms.js': permsModule({ options: "checkTables: 'warn'" }) })
    try {
      for (const args of [['status'], ['up']])
        expect((await project.run(['migrate', ...args])).stderr).not.to.contain('differ from the models')
    } finally {
      project.remove()
    }
  })

  it('make leaves out steps that lose values, unless --allow-loss or --drop-table is given', async () => {
    const note = (length: number) => `class Note extends BasePermsModel.withColumns({ title: column.string({ maxLength: ${length} }) }) {}`
    const model = (classes: string, models: string) =>
      permsModule({ before: `import { BasePermsModel, column } from 'objection-perms'\n${classes}`, options: `models: [${models}]` })
    const project = createProject({
      'perms.js': model(`${note(100)}\nclass Task extends BasePermsModel.withColumns({}) {}`, 'Note, Task'),
    })
    try {
      expect((await project.run(['migrate', 'make', 'first'])).code).to.equal(0)
      project.write({ 'perms.js': model(note(10), 'Note') })
      const made = async (...args: string[]) => (await project.run(['migrate', 'make', ...args, '--json'])).json
      const [careful, bold] = [await made('careful'), await made('bold', '--allow-loss', '--drop-table', 'task')]
      expect(careful.changes).to.have.length(1)
      expect(bold.changes).to.include('task: no model declares the table.')
      const up = (file: string) => readFileSync(file, 'utf8').replaceAll(/^ *\/\/.*$/gm, '')
      expect(up(careful.file)).not.to.contain('varchar(10)')
      expect(up(bold.file)).to.contain('varchar(10)')
    } finally {
      project.remove()
    }
  }).timeout(120_000)

  const refused: readonly [title: string, args: readonly string[], problem: RegExp][] = [
    ['make without a name', ['make'], /^migrate make needs NAME: /],
    ['a name that is a path', ['make', '../notes'], /^'\.\.\/notes' cannot be the name of a migration/],
    ['an unknown language', ['make', 'notes', '--language', 'coffee'], /^--language coffee: must be ts or js\.$/],
    ['--against on SQLite', ['check', '--against', 'other.db'], /^--against is for PostgreSQL and MariaDB/],
    ['a folder of migrations that is a file', ['make', 'notes'], /migrations/],
  ]
  for (const [title, args, problem] of refused) {
    it(`refuses ${title} with one sentence, and writes no file`, async () => {
      const before = `import { BasePermsModel, column } from 'objection-perms'\nclass Note extends BasePermsModel.withColumns({ title: column.string() }) {}`
      const isFile = title.includes('is a file')
      const project = createProject({
        'perms.js': permsModule({ before, options: 'models: [Note]' }),
        ...(isFile ? { migrations: 'text' } : {}),
      })
      try {
        const ran = await project.run(['migrate', ...args])
        expect([ran.code, ran.stdout]).to.deep.equal([2, ''])
        expect(ran.problem).to.match(problem)
        expect(ran.stderr).not.to.match(/^\s+at /m)
        expect(existsSync(join(project.folder, 'migrations'))).to.equal(isFile)
      } finally {
        project.remove()
      }
    })
  }

  it('up reports progress on stderr after two seconds, and keeps stdout for the result', async () => {
    const project = createProject({
      'perms.js': permsModule(),
      'migrations/001_slow.js':
        'export const up = () => new Promise((done) => setTimeout(done, 3000))\nexport const down = () => undefined',
    })
    try {
      const { code, json, stderr } = await project.run(['migrate', 'up', '--json'])
      expect(code, stderr).to.equal(0)
      expect(json.ran.at(-1)).to.equal('001_slow.js')
      expect(stderr).to.contain("Running the application's migrations ...\n")
    } finally {
      project.remove()
    }
  })

  it('names the words that follow migrate when they are missing or wrong', async () => {
    const project = createProject()
    try {
      expect((await project.run(['migrate'])).problem).to.match(/^migrate needs one more word\. The commands are migrate up, /)
      expect((await project.run(['migrate', 'upp'])).problem).to.match(/^There is no command 'migrate upp'\..*Did you mean 'migrate up'\?$/)
      expect((await project.run(['migrate', '--help'])).stdout).to.match(/^ {2}migrate down /m)
    } finally {
      project.remove()
    }
  })
})
