import { expect } from 'chai'
import Knex, { type Knex as KnexInstance } from 'knex'
import { prepareConnections } from '../../src/database/connections.js'

interface Connection {
  prepare(sql: string): { pluck(): { all(): unknown[] }; iterate(): IterableIterator<unknown> }
}

describe('Cached statements (better-sqlite3)', () => {
  let knex: KnexInstance
  let undo: () => void
  let prepared: string[]

  beforeEach(async () => {
    knex = Knex({ client: 'better-sqlite3', connection: { filename: ':memory:' }, useNullAsDefault: true, pool: { min: 1, max: 1 } })
    prepared = []
    const connection = await raw()
    // Underneath ours: what really is prepared.
    const prepare = connection.prepare
    connection.prepare = function (this: Connection, sql) {
      prepared.push(sql)
      return prepare.call(this, sql)
    }
    undo = prepareConnections(knex)
    await knex.schema.createTable('thing', (table) => {
      table.integer('id').primary()
      table.bigInteger('size')
    })
    await knex('thing').insert([
      { id: 1, size: 10 },
      { id: 2, size: 20 },
    ])
  })
  afterEach(async () => {
    undo()
    await knex.destroy()
  })

  async function raw(): Promise<Connection> {
    const client = knex.client as { acquireConnection(): Promise<Connection>; releaseConnection(connection: Connection): Promise<void> }
    const connection = await client.acquireConnection()
    await client.releaseConnection(connection)
    return connection
  }
  const find = (id: number) => knex('thing').where({ id }).first()
  const timesPrepared = (part: string) => prepared.filter((sql) => sql.includes(part)).length

  it('are prepared twice at most, however often they run', async () => {
    for (let i = 0; i < 10; i += 1) expect(await find(1 + (i % 2))).to.include({ id: 1 + (i % 2) })
    expect(timesPrepared('where `id`')).to.equal(2)
  })

  it('see a column that was added later', async () => {
    for (let i = 0; i < 3; i += 1) await find(1)
    await knex.schema.alterTable('thing', (table) => table.string('name').defaultTo('new'))
    expect(await find(1)).to.deep.equal({ id: 1, size: 10, name: 'new' })
    expect(await find(2)).to.deep.equal({ id: 2, size: 20, name: 'new' })
  })

  it('notice a dropped column', async () => {
    for (let i = 0; i < 3; i += 1) await find(1)
    await knex.schema.alterTable('thing', (table) => table.dropColumn('size'))
    expect(await find(1)).to.deep.equal({ id: 1 })
  })

  it('reset an option of one query', async () => {
    const big = () => knex('thing').where({ id: 1 }).first().options({ safeIntegers: true })
    for (let i = 0; i < 3; i += 1) expect(await big()).to.deep.equal({ id: 1n, size: 10n })
    expect(await find(1)).to.deep.equal({ id: 1, size: 10 })
  })

  it('do not include those that the application prepares itself', async () => {
    const text = 'select * from `thing` where `id` = ? limit ?'
    for (let i = 0; i < 3; i += 1) await find(1)
    expect((await raw()).prepare('select id from thing').pluck().all()).to.deep.equal([1, 2])
    const before = timesPrepared(text)
    ;(await raw()).prepare(text).pluck()
    expect(timesPrepared(text)).to.equal(before + 1)
    expect(await find(1)).to.deep.equal({ id: 1, size: 10 })
  })

  it('work again after an error', async () => {
    const insert = () => knex('thing').insert({ id: 1, size: 1 })
    for (let i = 0; i < 4; i += 1) {
      const error = await insert().catch((caught: Error) => caught)
      expect(error).to.match(/UNIQUE constraint/)
    }
    expect(await knex('thing').insert({ id: 3, size: 1 })).to.deep.equal([3])
  })

  it('are the 300 that were used last, however many rare ones clients make it send [promise 83]', async () => {
    const ask = (i: number) => knex.raw(`select ${i} as n`)
    for (let i = 0; i < 310; i += 1) {
      await ask(i)
      await ask(i)
      await find(1)
    }
    const before = timesPrepared('select 309 ')
    await ask(309)
    expect(timesPrepared('select 309 ')).to.equal(before)
    // The frequent one stays. One of the first has been dropped, and is prepared again.
    expect(timesPrepared('where `id`')).to.equal(2)
    const first = timesPrepared('select 0 ')
    await ask(0)
    expect(timesPrepared('select 0 ')).to.equal(first + 1)
  })

  it('are not used after undo', async () => {
    for (let i = 0; i < 3; i += 1) await find(1)
    undo()
    const before = timesPrepared('where `id`')
    for (let i = 0; i < 3; i += 1) await find(1)
    expect(timesPrepared('where `id`')).to.equal(before + 3)
  })
})
