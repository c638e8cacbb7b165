import { readFileSync, unlinkSync, writeFileSync } from 'node:fs'
import { expect } from 'chai'
import { BaseModel, column } from '../../src/index.js'
import type { MadeMigration } from '../../src/migrate/make.js'
import { modelClass } from '../../src/schema/model-class.js'
import { eachDatabase } from '../helpers/databases.js'
import { rejection } from '../helpers/errors.js'
import { Application } from './application.js'

class Item extends BaseModel.withColumns({ code: column.string().nullable(), state: column.enum(['a', 'b', 'c']) }) {
  static override tableName = 'item'
}
const first = [modelClass(Item)]

class StrictItem extends BaseModel.withColumns({
  code: column.string().unique(),
  state: column.enum(['a', 'b', 'd']),
  slug: column.string(),
}) {
  static override tableName = 'item'
}
const second = [modelClass(StrictItem)]

eachDatabase('A migration whose rows do not fit', (db) => {
  let app: Application
  let made: MadeMigration

  before(async function () {
    this.timeout(180_000)
    app = new Application(db.knex)
    await app.change(first)
    const row = {
      created_at: db.dialect === 'sqlite' ? 1 : '2024-01-01 00:00:00',
      updated_at: db.dialect === 'sqlite' ? 1 : '2024-01-01 00:00:00',
    }
    for (const [i, code] of [null, 'same', 'same'].entries())
      await db.knex('item').insert({ ...row, id: `00000000-0000-4000-8000-00000000000${i}`, code, state: i === 0 ? 'c' : 'a' })
    made = (await app.make(second)) as MadeMigration
  })
  after(() => app.remove())

  it('refuses NULL, repeated and other values with a sentence each, and goes on after the developer has changed them', async function () {
    this.timeout(120_000)
    const before = await app.dump()
    expect((await rejection(app.up())).message).to.match(/item\.code: rows without a value exist\. Fill them in/)
    await db.knex('item').whereNull('code').update({ code: 'other' })
    expect((await rejection(app.up())).message).to.match(/item\.code: several rows have the same value/)
    await db.knex('item').where({ code: 'same' }).whereNot('id', '00000000-0000-4000-8000-000000000001').update({ code: 'third' })
    expect((await rejection(app.up())).message).to.match(/rows without a value exist|rows have other values than a, b, d/)
    // MariaDB keeps the steps before the error.
    if (db.dialect !== 'mysql') expect((await app.dump())['item']?.types).to.deep.equal(before['item']?.types)
    const text = readFileSync(made.file, 'utf8')
    const filled = text
      .replace(/\/\/ (await \w+\('item'\)\.whereNull\('slug'\)\.update\(\{ slug: )'\.\.\.'/, "$1'slug'")
      .replaceAll(/\/\/ (await trx\.raw\('pragma ignore_check_constraints = o\w+'\))/g, '$1')
      .replace(/\/\/ (await \w+\('item'\)\.where\('state', )'\.\.\.'(\)\.update\('state', )'\.\.\.'/, "$1'c'$2'd'")
    expect(filled).to.not.equal(text)
    // Node has loaded the file already, so that the edited one needs another name.
    unlinkSync(made.file)
    writeFileSync(made.file.replace('_change', '_changed'), filled)
    await app.up()
    expect(await app.drift(second)).to.deep.equal([])
    expect((await db.knex('item').orderBy('id')).map(({ code, state, slug }) => [code, state, slug])).to.deep.equal([
      ['other', 'd', 'slug'],
      ['same', 'a', 'slug'],
      ['third', 'a', 'slug'],
    ])
  })
})

eachDatabase(
  'A migration that stopped on MariaDB',
  (db) => {
    it('runs from its beginning again', async function () {
      this.timeout(180_000)
      const app = new Application(db.knex)
      try {
        class One extends BaseModel.withColumns({ a: column.string({ maxLength: 10 }).index(), parentId: column.uuid().nullable() }) {
          static override tableName = 'one'
        }
        class Two extends BaseModel.withColumns({ b: column.integer().nullable() }) {
          static override tableName = 'two'
        }
        class NewOne extends BaseModel.withColumns({
          c: column.string({ maxLength: 30 }).unique().renamedFrom('a'),
          parentId: column.uuid().nullable().references('two.id', { onDelete: 'cascade' }),
          more: column.integer().default(1).index(),
          kind: column.enum(['x', 'y']).default('x'),
        }) {
          static override tableName = 'one'
        }
        class Three extends BaseModel.withColumns({ twoId: column.uuid().references('two.id') }) {
          static override tableName = 'three'
        }
        await app.change([One, Two].map(modelClass))
        const last = [NewOne, Two, Three].map(modelClass)
        const { file, text } = (await app.make(last)) as MadeMigration
        const steps = text.split('\n\n').length
        // Each file stops after one more step; the last one is complete.
        for (let stop = 2; stop < steps; stop += 3) {
          const parts = text.split('\n\n')
          const broken = file.replace('_change', `_stopped${stop}`)
          writeFileSync(broken, [...parts.slice(0, stop), "  throw new Error('stopped')", ...parts.slice(stop)].join('\n\n'))
          unlinkSync(stop === 2 ? file : file.replace('_change', `_stopped${stop - 3}`))
          await app.up().catch((error: Error) => expect(error.message).to.equal('stopped'))
          if ((await app.drift(last)).length === 0) break
        }
        expect(await app.drift(last)).to.deep.equal([])
      } finally {
        app.remove()
      }
    })
  },
  process.env['MARIADB_URL'] ? ['mysql2'] : [],
)
