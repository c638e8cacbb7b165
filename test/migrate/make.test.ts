import { mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs'
import { basename, join } from 'node:path'
import { expect } from 'chai'
import { BaseModel, column } from '../../src/index.js'
import { modelClass } from '../../src/schema/model-class.js'
import { eachDatabase } from '../helpers/databases.js'
import { rejection } from '../helpers/errors.js'
import { Application } from './application.js'

const post = { title: column.string({ maxLength: 100 }), body: column.text().nullable() }
class Post extends BaseModel.withColumns(post) {
  static override tableName = 'post'
}
class LongerPost extends BaseModel.withColumns({ ...post, title: column.string({ maxLength: 200 }), tag: column.string().nullable() }) {
  static override tableName = 'post'
}

eachDatabase('makeMigration()', (db) => {
  let app: Application

  beforeEach(function () {
    this.timeout(60_000)
    app = new Application(db.knex)
  })

  afterEach(async function () {
    this.timeout(60_000)
    await db.knex.schema.dropTableIfExists('post')
    for (const table of ['knex_migrations', 'knex_migrations_lock']) await db.knex.schema.dropTableIfExists(table)
    app.remove()
  })

  it('makes migrations until the tables are those of the models, and returns null then', async function () {
    this.timeout(120_000)
    await app.change([modelClass(Post)])
    expect(await app.make([modelClass(Post)])).to.equal(null)
    await app.change([modelClass(LongerPost)])
    expect(await app.check([modelClass(LongerPost)])).to.deep.equal([])
    expect(await db.knex.schema.hasColumn('post', 'tag')).to.equal(true)
    await app.down()
    expect(await db.knex.schema.hasColumn('post', 'tag')).to.equal(false)
  })

  it('writes nothing to the database of the application', async function () {
    this.timeout(60_000)
    await app.change([modelClass(Post)])
    await db.knex('post').insert({
      id: '00000000-0000-4000-8000-000000000001',
      title: 'x',
      created_at: datetime(db.dialect),
      updated_at: datetime(db.dialect),
    })
    const before = await app.dump()
    const statements: string[] = []
    const listen = ({ sql }: { sql: string }) => void statements.push(sql)
    db.knex.on('query', listen)
    await app.make([modelClass(LongerPost)])
    db.knex.removeListener('query', listen)
    expect(await app.dump()).to.deep.equal(before)
    const writes = statements.filter(
      (sql) => !/^(?:select|begin|commit|(?:create|drop|comment on|grant).* [`"']?objection\\?_perms)/is.test(sql),
    )
    expect(writes).to.deep.equal([])
  })
})

const datetime = (dialect: string): number | string => (dialect === 'sqlite' ? 1_700_000_000_000 : '2024-01-01 00:00:00')

describe('The file of a migration', () => {
  eachDatabase(
    'without a server',
    (db) => {
      let app: Application
      beforeEach(() => {
        app = new Application(db.knex)
      })
      afterEach(() => app.remove())
      const models = [modelClass(Post)]
      const nameOf = async (name: string, files: readonly string[]) => {
        for (const file of files) writeFileSync(join(app.folder, file), 'exports.up = async () => {}\nexports.down = async () => {}\n')
        return basename((await app.make(models, { name }))?.file ?? '')
      }

      it('has a timestamp as Knex makes it, and the words of its name', async () => {
        expect(await nameOf('add title', [])).to.match(/^\d{14}_add_title\.js$/)
      })

      it('continues the numbers and the language of the other files', async () => {
        expect(await nameOf('add_title', ['001_first.cjs', '002_second.cjs'])).to.equal('003_add_title.cjs')
      })

      it('comes after the others when the clock is behind', async () => {
        expect(await nameOf('next', ['99991231235959_far.cjs'])).to.equal('99991231235960_next.cjs')
      })

      for (const name of ['../escape', 'a/b', '', 'a.b', 'a\0b', 'x'.repeat(101)])
        it(`refuses the name ${JSON.stringify(name.slice(0, 12))}`, async () => {
          expect((await rejection(app.make(models, { name }))).message).to.match(/cannot be the name of a migration/)
          expect(readdirSync(app.folder)).to.deep.equal([])
        })

      it('is CommonJS where the package is not a module, and runs', async () => {
        writeFileSync(join(app.folder, 'package.json'), '{}')
        const made = await app.make(models, { language: 'js' })
        expect(readFileSync(made?.file ?? '', 'utf8')).to.include('exports.up = async function up(knex) {')
      })

      it('is never written over an existing one, and nothing is left of it', async () => {
        const { writeNewFile } = await import('../../src/migrate/migration-file.js')
        const file = join(app.folder, '1_x.js')
        writeFileSync(file, 'old')
        expect((await rejection(writeNewFile(file, 'new'))).message).to.match(/exists/)
        expect(readFileSync(file, 'utf8')).to.equal('old')
        expect(readdirSync(app.folder)).to.deep.equal(['1_x.js'])
      })

      it('needs a folder, not a file', async () => {
        mkdirSync(join(app.folder, 'd'))
        writeFileSync(join(app.folder, 'd', 'f'), '')
        expect((await rejection(app.make(models, { directory: join(app.folder, 'd', 'f') }))).message).to.match(
          /cannot be read|cannot be written/,
        )
      })
    },
    ['sqlite3'],
  )
})
