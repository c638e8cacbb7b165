import { readFileSync, writeFileSync } from 'node:fs'
import { expect } from 'chai'
import type { Knex } from 'knex'
import type { MadeMigration } from '../../src/migrate/make.js'
import { definitionOf } from '../../src/schema/definition/definition.js'
import type { ModelClass } from '../../src/schema/model-class.js'
import { encode } from '../../src/schema/storage.js'
import { eachDatabase, type TestDatabase } from '../helpers/databases.js'
import { rejection } from '../helpers/errors.js'
import { Application, type Dump } from './application.js'
import { type ChangeCase, idOf, lossy, reversible } from './schema-change-cases.js'

const namesOf = (cases: readonly ChangeCase[], prefix: string): string[] => cases.map((_, i) => `${prefix}${i + 1}`)
const modelsOf = (cases: readonly ChangeCase[], names: readonly string[], side: 'before' | 'after'): ModelClass[] =>
  cases.flatMap((one, i) => one[side](names[i] as string))

async function fill(db: TestDatabase, cases: readonly ChangeCase[], names: readonly string[]): Promise<void> {
  for (const [i, { rows = {}, before }] of cases.entries()) {
    const models = before(names[i] as string)
    for (const [end, list] of Object.entries(rows)) {
      const model = models.find((one) => one.getTableName() === `${names[i]}${end}`) as ModelClass
      const { specs, columnOf } = definitionOf(model)
      for (const [number, row] of list.entries()) {
        const time = new Date(1_700_000_000_000)
        const full = { id: idOf(number + 1), createdAt: time, updatedAt: time, ...row }
        const encoded = Object.entries(full).map(([property, value]) => {
          const spec = specs[property]
          if (!spec) throw new Error(`${property} is no column.`)
          return [columnOf.get(property) ?? property, encode(spec, value, db.dialect)]
        })
        await db.knex(model.getTableName()).insert(Object.fromEntries(encoded))
      }
    }
  }
}

/** Runs fn in a transaction that is rolled back. */
async function undone<T>(knex: Knex, fn: (trx: Knex) => Promise<T>): Promise<T> {
  const trx = await knex.transaction()
  try {
    return await fn(trx)
  } finally {
    await trx.rollback()
  }
}

/** Returns the rows of the tables of a case, with their columns by name. */
function rowsOf(dump: Record<string, Dump>, name: string): unknown {
  const own = Object.entries(dump).filter(([table]) => table === name || table.startsWith(`${name}_`))
  return own.map(([table, { columns, rows }]) => [
    table,
    rows.map((row) => Object.fromEntries(columns.map((column, i) => [column, row[i]]).sort())),
  ])
}

eachDatabase('A change of a schema', (db) => {
  let app: Application
  let dumps: { before: Record<string, Dump>; back: Record<string, Dump> }
  const names = namesOf(reversible, 'r')
  const results = new Map<string, unknown>()

  before(async function () {
    this.timeout(300_000)
    app = new Application(db.knex)
    await app.change(modelsOf(reversible, names, 'before'))
    await fill(db, reversible, names)
    const before = await app.dump()
    const after = modelsOf(reversible, names, 'after')
    const { file } = (await app.make(after)) as MadeMigration
    const edited = reversible.reduce((text, { edit }, i) => edit?.(text, names[i] as string) ?? text, readFileSync(file, 'utf8'))
    writeFileSync(file, edited)
    await app.up()
    expect(await app.drift(after), 'the database after up()').to.deep.equal([])
    expect(await app.check(after), 'the check after up()').to.deep.equal([])
    for (const [i, { check }] of reversible.entries())
      if (check) results.set(names[i] as string, await undone(db.knex, (trx) => check(trx, names[i] as string)))
    await app.down()
    expect(await app.drift(modelsOf(reversible, names, 'before')), 'the database after down()').to.deep.equal([])
    dumps = { before, back: await app.dump() }
  })
  after(() => app.remove())

  for (const [i, one] of reversible.entries())
    it(`${one.title}, and down() leads back with every row`, () => {
      const name = names[i] as string
      if (one.check) expect(results.get(name)).to.deep.equal(one.expected)
      expect(rowsOf(dumps.back, name)).to.deep.equal(rowsOf(dumps.before, name))
    })
})

eachDatabase('A change of a schema that loses values', (db) => {
  let app: Application
  const names = namesOf(lossy, 'l')
  const last = modelsOf(lossy, names, 'after')
  const texts = { kept: '', lost: '' }
  let rows: unknown
  const results = new Map<string, unknown>()

  before(async function () {
    this.timeout(300_000)
    app = new Application(db.knex)
    await app.change(modelsOf(lossy, names, 'before'))
    await fill(db, lossy, names)
    const before = await app.dump()
    texts.kept = await app.change(last)
    const kept = await app.dump()
    rows = names.map((name) => [rowsOf(kept, name), rowsOf(before, name)])
    texts.lost = await app.change(last, { name: 'lose', allowLoss: true })
    expect(await app.drift(last), 'the database after up()').to.deep.equal([])
    for (const [i, { check }] of lossy.entries()) if (check) results.set(names[i] as string, await check(db.knex, names[i] as string))
  })
  after(() => app.remove())

  it('keeps all rows while it stands in a comment', () => {
    for (const [kept, before] of rows as [unknown, unknown][]) expect(kept).to.deep.equal(before)
  })

  it('refuses down(), which names the loss, before anything is changed', async function () {
    this.timeout(60_000)
    const before = await app.dump()
    expect((await rejection(app.down())).message).to.match(/cannot be undone: up\(\) has lost .*the values of/)
    expect(await app.dump()).to.deep.equal(before)
  })

  for (const [i, one] of lossy.entries())
    it(`${one.title}: the comment names the loss`, () => {
      const name = names[i] as string
      const losses = (text: string) => text.split('\n').filter((line) => line.includes(`${name}.`) && /\/\/ lose[s]/i.test(line))
      expect(losses(texts.kept).join('\n')).to.match(/LOSES/).and.match(one.loss)
      expect(losses(texts.lost).join('\n')).to.match(/Loses/).and.match(one.loss)
      if (one.check) expect(results.get(name)).to.deep.equal(one.expected)
    })
})
