import { expect } from 'chai'
import type { Knex } from 'knex'
import pg from 'pg'
import { ConfigurationError } from '../../src/core/errors.js'
import { prepareConnections } from '../../src/database/connections.js'
import { availableDrivers, countQueries, createDatabase, eachDriver, type OwnDatabase } from '../helpers/databases.js'

const scalar = async (knex: Knex, sql: string): Promise<unknown> => {
  const answer = (await knex.raw(sql)) as unknown
  const rows = Array.isArray(answer) ? (Array.isArray(answer[0]) ? answer[0] : answer) : (answer as { rows: unknown[] }).rows
  return Object.values(rows[0] as object)[0]
}

eachDriver('prepareConnections', (db) => {
  it('emits no query event for its own statements', async () => {
    const knex = db.connect()
    prepareConnections(knex)
    expect((await countQueries(knex, () => knex.raw('select 1'))).statements).to.deep.equal(['select 1'])
  })

  it('stops configuring new connections when undone, and can be applied again', async () => {
    const knex = db.connect()
    const own = Object.hasOwn(knex.client, 'acquireConnection')
    prepareConnections(knex)()
    expect(Object.hasOwn(knex.client, 'acquireConnection')).to.equal(own)
    expect(Number(await scalar(knex, 'select 1'))).to.equal(1)
    prepareConnections(knex)
    expect(Number(await scalar(knex, 'select 1'))).to.equal(1)
  })

  it('can be undone after other code has wrapped the same method', async () => {
    const knex = db.connect()
    const undo = prepareConnections(knex)
    const ours = knex.client.acquireConnection
    knex.client.acquireConnection = function (this: unknown, ...args: unknown[]) {
      return ours.apply(this, args)
    }
    undo()
    expect(Number(await scalar(knex, 'select 1'))).to.equal(1)
  })

  if (db.dialect === 'sqlite') {
    it('enforces foreign keys and waits for locks, on a connection in the pool already too [promise 55]', async () => {
      const knex = db.connect()
      await knex.raw('PRAGMA foreign_keys = OFF')
      await knex.raw('PRAGMA busy_timeout = 10')
      prepareConnections(knex)
      expect(await scalar(knex, 'PRAGMA foreign_keys')).to.equal(1)
      expect(await scalar(knex, 'PRAGMA busy_timeout')).to.equal(5000)
      await knex.transaction(async (trx) => expect(await scalar(trx, 'PRAGMA foreign_keys')).to.equal(1))
    })

    it('keeps a longer busy timeout of the application', async () => {
      const knex = db.connect()
      await knex.raw('PRAGMA busy_timeout = 30000')
      prepareConnections(knex)
      expect(await scalar(knex, 'PRAGMA busy_timeout')).to.equal(30000)
    })

    it('does not enable foreign keys again after the application disables them', async () => {
      const knex = db.connect()
      prepareConnections(knex)
      await knex.raw('PRAGMA foreign_keys = OFF')
      expect(await scalar(knex, 'PRAGMA foreign_keys')).to.equal(0)
    })
  }

  if (db.dialect === 'mysql') {
    it('uses UTC in the driver and in the session', async () => {
      const knex = db.connect()
      await knex.raw('select 1')
      prepareConnections(knex)
      expect(await scalar(knex, 'select @@session.time_zone')).to.equal('+00:00')
      const now = (await scalar(knex, 'select now(3)')) as Date
      expect(Math.abs(now.getTime() - Date.now())).to.be.lessThan(60_000)
      await knex.transaction(async (trx) => expect(await scalar(trx, 'select @@session.time_zone')).to.equal('+00:00'))
    })

    it('keeps numbers above 2^53 exact, also in the application’s own queries', async () => {
      const knex = db.connect()
      prepareConnections(knex)
      expect(await scalar(knex, 'select 9007199254740993')).to.equal('9007199254740993')
      expect(await scalar(knex, 'select 12')).to.equal(12)
    })
  }

  if (db.dialect === 'pg') {
    it('returns a Date for a date in the application’s own query', async () => {
      const knex = db.connect()
      prepareConnections(knex)
      expect(await scalar(knex, "select date '2024-02-29'")).to.deep.equal(new Date(2024, 1, 29))
    })
  }

  it('configures the connections of a custom pool', async function () {
    const first = db.connect()
    const { pool } = first.client
    // Knex before 3.3 takes no pool from outside.
    if (!pool) return this.skip()
    const knex = db.connect({ connection: undefined as never, connectionPool: pool } as never)
    prepareConnections(knex)
    if (db.dialect === 'sqlite') {
      await first.raw('PRAGMA foreign_keys = OFF')
      expect(await scalar(knex, 'PRAGMA foreign_keys')).to.equal(1)
    } else if (db.dialect === 'mysql') {
      expect(await scalar(knex, 'select @@session.time_zone')).to.equal('+00:00')
    } else {
      for (let i = 0; i < 3; i += 1) await knex.raw('select ?::int as again', [i])
      expect(Number(await scalar(knex, 'select count(*) from pg_prepared_statements'))).to.equal(1)
    }
  })

  it('discards a connection that it could not configure', async () => {
    const knex = db.connect({ pool: { min: 0, max: 1 } })
    prepareConnections(knex)
    // On PostgreSQL nothing is sent that could fail.
    if (db.dialect === 'pg') return
    const send = knex.client._query
    knex.client._query = () => Promise.reject(new Error('no luck'))
    let failed: unknown
    await knex.raw('select 1').catch((error: unknown) => {
      failed = error
    })
    expect(failed).to.be.an('error').with.property('message', 'no luck')
    knex.client._query = send
    knex.client.logger.warn = () => {}
    expect(Number(await scalar(knex, 'select 1'))).to.equal(1)
    if (db.dialect === 'sqlite') expect(await scalar(knex, 'PRAGMA foreign_keys')).to.equal(1)
  })
})

describe('prepareConnections', () => {
  it('refuses a client that is not supported', () => {
    expect(() => prepareConnections({ client: { driverName: 'mssql' } } as unknown as Knex)).to.throw(ConfigurationError)
  })
})

if (availableDrivers.includes('pg')) {
  describe('statements prepared by name (pg)', () => {
    let own: OwnDatabase
    let knex: Knex
    let undo: () => void

    beforeEach(async () => {
      own = await createDatabase('pg')
      knex = own.connect({ pool: { min: 1, max: 1 } })
      await knex.schema.createTable('thing', (table) => {
        table.integer('id').primary()
        table.text('name')
      })
      await knex('thing').insert([1, 2, 3].map((id) => ({ id, name: `thing ${id}` })))
      undo = prepareConnections(knex)
    })
    afterEach(async () => {
      undo()
      await own.destroy()
    })

    const names = async (on: Knex = knex): Promise<string[]> =>
      ((await on.raw('select name from pg_prepared_statements order by prepare_time')) as { rows: { name: string }[] }).rows.map(
        (row) => row.name,
      )
    const byId = (id: number, on: Knex = knex) => on('thing').select('id', 'name').where({ id })
    const often = async (fn: () => PromiseLike<unknown>) => {
      for (let i = 0; i < 3; i += 1) await fn()
    }

    it('plans a SELECT with a list of more than 100 values each time, and names other statements of that length', async () => {
      const ids = (count: number) => Array.from({ length: count }, (_, i) => i)
      await often(() => knex('thing').select('id').whereIn('id', ids(101)))
      expect(await names()).to.deep.equal([])
      await often(() => knex('thing').select('id').whereIn('id', ids(100)))
      expect(await names()).to.have.length(1)
      await often(() => knex('thing').update({ name: 'other' }).whereIn('id', ids(101)))
      expect(await names()).to.have.length(2)
    })

    it('names a statement at its second use, also in a transaction', async () => {
      await byId(1)
      expect(await names()).to.deep.equal([])
      await byId(2)
      expect(await byId(3)).to.deep.equal([{ id: 3, name: 'thing 3' }])
      const made = await names()
      expect(made).to.have.length(1)
      expect(made[0]).to.match(/^op_[\w-]{22}$/)
      await knex.transaction(async (trx) => expect(await byId(1, trx)).to.have.length(1))
      expect(await names()).to.deep.equal(made)
    })

    it('names writes, and counts', async () => {
      await often(() => knex('thing').where({ id: 1 }).update({ name: 'new' }))
      await often(() => knex('thing').where({ id: 1 }).count('*'))
      let id = 10
      await often(() => knex('thing').insert({ id: id++, name: 'x' }))
      await often(() => knex('thing').where({ id: 99 }).del())
      expect(await names()).to.have.length(4)
    })

    it('does not name statements with an asterisk, without parameters, or that are not queries', async () => {
      await often(() => knex('thing').where({ id: 1 }))
      await often(() => knex('thing').where({ id: 1 }).select('thing.*'))
      await often(() => knex('thing').where({ id: 1 }).update({ name: 'x' }, '*'))
      await often(() => knex('thing').select('id'))
      await often(() => knex.raw('set application_name = here'))
      expect(await names()).to.deep.equal([])
    })

    it('does not change the application’s own names and query objects with submit()', async () => {
      await often(() => byId(1).options({ name: 'mine' }))
      expect(await names()).to.deep.equal(['mine'])
      const connection = await knex.client.acquireConnection()
      for (let i = 0; i < 3; i += 1) {
        await new Promise((resolve, reject) => {
          const query = new pg.Query({ text: 'select id from thing where id = $1', values: [1] })
          expect(connection.query(query, (error: unknown, rows: unknown) => (error ? reject(error) : resolve(rows)))).to.equal(query)
        })
      }
      await knex.client.releaseConnection(connection)
      expect(await names()).to.deep.equal(['mine'])
    })

    it('names nothing when it is disabled or undone', async () => {
      undo()
      await often(() => byId(1))
      undo = prepareConnections(knex, { namedStatements: false })
      await often(() => byId(1))
      expect(await names()).to.deep.equal([])
    })

    it('sends a statement again, unnoticed by the caller, when its table has changed [promise 60]', async () => {
      const read = () => byId(1)
      await often(read)
      const before = await names()
      await own.knex.schema.alterTable('thing', (table) => table.specificType('name', 'varchar(20)').alter())
      expect(await read()).to.deep.equal([{ id: 1, name: 'thing 1' }])
      expect(await read()).to.have.length(1)
      // Fast again: prepared anew, by another name.
      expect(await names())
        .to.include.members(before)
        .and.to.have.length(before.length + 1)
      await own.knex.schema.alterTable('thing', (table) => table.text('more'))
      expect(await read()).to.deep.equal([{ id: 1, name: 'thing 1' }])
      expect(await names()).to.have.length(before.length + 1)
    })

    it('writes once when it has to send a write again [promise 60]', async () => {
      await own.knex.schema.createTable('log', (table) => table.integer('n'))
      const write = () => knex('log').insert({ n: 1 }).returning('n')
      await often(write)
      await own.knex.schema.alterTable('log', (table) => table.bigInteger('n').alter())
      expect(await write()).to.have.length(1)
      expect(await knex('log').count('* as n').first()).to.deep.equal({ n: '4' })
    })

    it('sends a statement again when the server has lost it, or knows the name already [promise 60]', async () => {
      await often(() => byId(1))
      const [name] = await names()
      await knex.raw('deallocate all')
      expect(await byId(2)).to.deep.equal([{ id: 2, name: 'thing 2' }])
      // As with a pooler: another server connection, on which another client has prepared that name.
      await knex.raw(`prepare "${name}_1" as select 1`)
      expect(await byId(3)).to.deep.equal([{ id: 3, name: 'thing 3' }])
      expect(await names()).to.deep.equal([`${name}_1`])
      await byId(1)
      expect(await names()).to.deep.equal([`${name}_1`, `${name}_2`])
    })

    it('stops naming on all connections when one repeatedly loses its statements, and warns once', async () => {
      undo()
      const two = own.connect({ pool: { min: 2, max: 2 } })
      undo = prepareConnections(two)
      const { warn } = console
      const warnings: string[] = []
      console.warn = (text: string) => void warnings.push(text)
      try {
        const loser = await two.client.acquireConnection()
        for (let i = 0; i < 10; i += 1) {
          expect(await byId(1, two).connection(loser)).to.have.length(1)
          await two.raw('deallocate all').connection(loser)
        }
        await often(() => byId(1, two))
        expect(await names(two)).to.deep.equal([])
        await two.client.releaseConnection(loser)
      } finally {
        console.warn = warn
      }
      expect(warnings).to.have.length(1)
      expect(warnings[0]).to.match(/pooler such as PgBouncer.* Set initPerms\(\{ namedStatements: false \}\)/)
    })

    it('fails with a stale plan inside a transaction, and the next attempt succeeds', async () => {
      const read = (on: Knex) => on('thing').where({ id: 1 }).select('name')
      await often(() => read(knex))
      await own.knex.schema.alterTable('thing', (table) => table.specificType('name', 'varchar(20)').alter())
      const attempt = () => knex.transaction(async (trx) => await read(trx))
      let code: unknown
      await attempt().catch((error: { code?: unknown }) => {
        code = error.code
      })
      expect(code).to.equal('0A000')
      expect(await attempt()).to.have.length(1)
    })

    it('throws the first error in a transaction that Knex does not know of', async () => {
      const read = () => knex('thing').where({ id: 1 }).select('name')
      await often(read)
      await own.knex.schema.alterTable('thing', (table) => table.specificType('name', 'varchar(20)').alter())
      await knex.raw('begin')
      let code: unknown
      await read().catch((error: { code?: unknown }) => {
        code = error.code
      })
      expect(code).to.equal('0A000')
      await knex.raw('rollback')
      expect(await read()).to.have.length(1)
    })

    it('passes other errors on as they are', async () => {
      const bad = () => knex('thing').select('id').where('id', 'no number')
      for (let i = 0; i < 3; i += 1) {
        let code: unknown
        await bad().catch((error: { code?: unknown }) => {
          code = error.code
        })
        expect(code).to.equal('22P02')
      }
      expect(await byId(1)).to.have.length(1)
    })

    it('keeps the 500 statements that were used last, however many rare ones clients make it send [promise 83]', async () => {
      const shape = (i: number, on: Knex = knex) => on.raw(`select ?::int + ${i} as n`, [1]).then(({ rows }) => rows[0].n as number)
      await often(() => byId(1))
      const [frequent] = await names()
      for (let i = 0; i < 510; i += 1) {
        await shape(i)
        expect(await shape(i)).to.equal(i + 1)
        if (i % 100 === 0) await byId(1)
      }
      const kept = await names()
      expect(kept).to.have.length(500).and.to.include(frequent)
      const isPrepared = async (i: number) =>
        Number(await scalar(knex, `select count(*) from pg_prepared_statements where statement like '%+ ${i} as n'`)) === 1
      expect([await isPrepared(0), await isPrepared(509)]).to.deep.equal([false, true])
      // The first ones are prepared again when they are used again, also in a failed transaction.
      expect(await shape(0)).to.equal(1)
      await knex
        .transaction(async (trx) => {
          await trx.raw('select 1 / 0').catch(() => undefined)
          await shape(1, trx)
        })
        .catch(() => undefined)
      expect(await shape(1)).to.equal(2)
      expect(await names())
        .to.have.length(500)
        .and.to.include(frequent)
    })

    it('gives no name to a statement of more than 16,384 characters [promise 83]', async () => {
      const padded = (length: number) => {
        const sql = 'select ?::int as n /* */'
        return knex.raw(sql.replace('/* */', `, '${'x'.repeat(length - sql.length)}'`), [1])
      }
      await often(() => padded(16_500))
      expect(await names()).to.deep.equal([])
      await often(() => padded(16_300))
      expect(await names()).to.have.length(1)
    })
  })
}
