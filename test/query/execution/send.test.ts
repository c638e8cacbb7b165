import { expect } from 'chai'
import { initPerms, type Perms, transaction } from '../../../src/index.js'
import { send } from '../../../src/query/execution/send.js'
import { countQueries, eachDriver } from '../../helpers/databases.js'
import { rejection } from '../../helpers/errors.js'

eachDriver('send', (db) => {
  let perms: Perms
  before(async () => {
    perms = initPerms({ knex: db.knex })
    await db.knex.schema.createTable('sent', (table) => {
      table.integer('n')
    })
  })
  after(() => perms?.close())

  const rows = (answer: unknown): unknown =>
    db.dialect === 'pg' ? (answer as { rows: unknown }).rows : db.dialect === 'mysql' ? (answer as [unknown])[0] : answer

  it('returns the same response as knex.raw() and emits the same events', async () => {
    const sql = 'select n + ? as n from sent where n = ?'
    await db.knex('sent').insert({ n: 1 })
    const responses: unknown[] = []
    const listen = (response: unknown) => responses.push(response)
    db.knex.on('query-response', listen)
    const { result, statements } = await countQueries(db.knex, () => send(db.knex, sql, [1, 1]))
    db.knex.removeListener('query-response', listen)
    expect(rows(result)).to.deep.equal(rows(await db.knex.raw(sql, [1, 1])))
    expect(statements).to.have.length(1)
    expect(responses).to.have.length(1)
  })

  it('joins the open transaction', async () => {
    const counted = await rejection(
      transaction(async (trx) => {
        await trx('sent').insert({ n: 7 })
        throw Object.assign(new Error('undone'), { seen: rows(await send(db.knex, 'select n from sent where n = ?', [7])) })
      }),
    )
    expect(counted).to.have.deep.property('seen', [{ n: 7 }])
    expect(rows(await send(db.knex, 'select n from sent where n = ?', [7]))).to.deep.equal([])
  })

  it('releases its connection after an error', async () => {
    const knex = db.connect({ pool: { min: 0, max: 1 } })
    for (let i = 0; i < 3; i += 1)
      expect(await rejection(send(knex, 'select nothing from nowhere where 1 = ?', [1])))
        .to.have.property('message')
        .that.includes('nowhere')
    expect(rows(await send(knex, 'select n from sent where n = ?', [99]))).to.deep.equal([])
  })
})
