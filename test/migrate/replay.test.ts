import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { expect } from 'chai'
import type { Knex } from 'knex'
import { select } from '../../src/database/tables/existing-tables.js'
import { eachDatabase } from '../helpers/databases.js'
import { rejection } from '../helpers/errors.js'
import { Application } from './application.js'

declare global {
  var applicationKnex: Knex | undefined
}

eachDatabase('The replay of migrations', (db) => {
  let app: Application

  before(async function () {
    this.timeout(60_000)
    await db.knex.schema.createTable('real', (table) => table.integer('id'))
    globalThis.applicationKnex = db.knex
  })
  beforeEach(() => {
    app = new Application(db.knex)
  })
  afterEach(async () => {
    expect(await db.knex('real'), 'the rows of the application').to.deep.equal([])
    app.remove()
  })
  after(() => {
    globalThis.applicationKnex = undefined
  })

  const check = async (up: string) => {
    writeFileSync(join(app.folder, '1_first.cjs'), `exports.up = async (knex) => { ${up} }\nexports.down = async () => {}\n`)
    return await rejection(app.check([]))
  }

  it("refuses a migration that uses the application's Knex instance, with its name and the way out", async function () {
    this.timeout(60_000)
    const error = await check("await globalThis.applicationKnex('real').insert({ id: 1 })")
    expect(error.message).to.match(/another Knex instance.*Use the argument of up\(knex\)/)
  })

  it("refuses a transaction of the application's instance, and schema statements", async function () {
    this.timeout(60_000)
    expect((await check("await globalThis.applicationKnex.transaction((trx) => trx('real').insert({ id: 1 }))")).message).to.match(
      /another Knex/,
    )
    expect((await check("await globalThis.applicationKnex.schema.dropTable('real')")).message).to.match(/another Knex/)
  })

  it('refuses an instance that the migration makes itself', async function () {
    this.timeout(60_000)
    const make = `const { default: Knex } = await import(${JSON.stringify(import.meta.resolve('knex'))})
      const other = Knex({ ...globalThis.applicationKnex.client.config })
      try { await other('real').insert({ id: 1 }) } finally { await other.destroy() }`
    expect((await check(make)).message).to.match(/another Knex/)
  })

  it('lets the application connect again afterwards', async function () {
    this.timeout(60_000)
    await check('throw new Error("no")')
    expect(await db.knex('real')).to.deep.equal([])
  })

  it('names the migration that failed', async function () {
    this.timeout(60_000)
    expect((await check('throw new Error("of the migration")')).message).to.match(/^The migration 1_first\.cjs failed .*of the migration/)
  })

  if (db.dialect === 'mysql')
    it('cannot write to the database of the application by its name', async function () {
      this.timeout(60_000)
      const [[real] = []] = await select(db.knex, 'select database()', [])
      expect((await check(`await knex.raw('insert into \`${real}\`.\`real\` values (1)')`)).message).to.match(/denied/)
    })

  if (db.dialect === 'sqlite')
    it('cannot open the file of the application', async () => {
      expect((await check(`await knex.raw("attach '${db.url()}' as real_one")`)).message).to.match(/ATTACH/)
    })
})
