import { setTimeout as pause } from 'node:timers/promises'
import { expect } from 'chai'
import type { Knex } from 'knex'
import { inTransaction, outsideTransaction } from '../../src/database/transaction.js'
import { BaseModel, ConfigurationError, column, createTables, initPerms, type Perms, transaction } from '../../src/index.js'
import { testHasher } from '../../src/testing/hasher.js'
import { countQueries, eachDriver } from '../helpers/databases.js'
import { rejection } from '../helpers/errors.js'

class Account extends BaseModel.withColumns({
  name: column.string({ maxLength: 20 }).unique(),
  balance: column.integer().default(0),
}) {}

eachDriver('transaction()', (db) => {
  let perms: Perms
  before(async () => {
    perms = initPerms({ knex: db.knex, passwordHasher: testHasher() })
    await createTables(db.knex, [Account])
  })
  after(() => perms.close())
  beforeEach(() => db.knex('account').delete())

  const names = async () => ((await db.knex('account').select('name').orderBy('name')) as { name: string }[]).map(({ name }) => name)

  it('returns the result of fn after the commit', async () => {
    expect(await transaction(async () => (await Account.create({ name: 'a' })).name)).to.equal('a')
    expect(await names()).to.deep.equal(['a'])
    expect(await transaction(() => 5)).to.equal(5)
  })

  it('awaits a builder that fn returns inside', async () => {
    const made = await transaction(() => Account.query().insert({ name: 'a' }) as unknown as Promise<Account>)
    expect(made.name).to.equal('a')
    expect(await names()).to.deep.equal(['a'])
  })

  it('rolls back when fn throws, and throws the same error', async () => {
    const mine = new Error('mine')
    const error = await rejection(
      transaction(async () => {
        await Account.create({ name: 'a' })
        throw mine
      }),
    )
    expect(error).to.equal(mine)
    expect(await names()).to.deep.equal([])
  })

  it('gives fn the knex transaction, which is the one that queries join', async () => {
    await transaction(async (trx) => {
      await Account.create({ name: 'a' })
      expect(await trx('account').count({ n: '*' })).to.satisfy((rows: { n: unknown }[]) => Number(rows[0]?.n) === 1)
      expect(await Account.query(trx).resultSize()).to.equal(1)
    })
  })

  it('inside another one is a savepoint that is rolled back alone', async () => {
    await transaction(async () => {
      await Account.create({ name: 'outer' })
      await rejection(
        transaction(async () => {
          await Account.create({ name: 'inner' })
          throw new Error('no')
        }),
      )
      await transaction(() => Account.create({ name: 'second' }))
    })
    expect(await names()).to.deep.equal(['outer', 'second'])
  })

  it('inside another one is rolled back with it', async () => {
    await rejection(
      transaction(async () => {
        await transaction(() => Account.create({ name: 'inner' }))
        throw new Error('no')
      }),
    )
    expect(await names()).to.deep.equal([])
  })

  it('continues after a caught error inside a savepoint', async () => {
    await transaction(async () => {
      await Account.create({ name: 'a' })
      await rejection(transaction(() => Account.create({ name: 'a' })))
      await Account.create({ name: 'b' })
    })
    expect(await names()).to.deep.equal(['a', 'b'])
  })

  it('takes one connection, however many queries are inside, so that a pool of one never waits for itself', async function () {
    this.timeout(5000)
    await perms.close()
    const knex = db.connect({ pool: { min: 0, max: 1 }, acquireConnectionTimeout: 1500 })
    const single = initPerms({ knex, passwordHasher: testHasher() })
    try {
      await transaction(async () => {
        await Account.create({ name: 'a' })
        await transaction(async () => {
          const account = await Account.getByOr404({ name: 'a' })
          account.balance = 3
          await account.save()
          await account.update({ balance: 4 })
          await Account.query().patch({ balance: 5 }).where('name', 'a')
        })
        await Promise.all(['b', 'c', 'd'].map((name) => Account.create({ name })))
      })
      expect(await Account.query().resultSize()).to.equal(4)
    } finally {
      await single.close()
      await knex.destroy()
      perms = initPerms({ knex: db.knex, passwordHasher: testHasher() })
    }
  })

  it('does not reach code that runs at the same time', async () => {
    let release = () => {}
    const waiting = new Promise<void>((resolve) => {
      release = resolve
    })
    const inside = transaction(async () => {
      expect(inTransaction()).to.equal(true)
      await waiting
    })
    expect(inTransaction()).to.equal(false)
    release()
    await inside
    expect(inTransaction()).to.equal(false)
  })

  it('is not joined by code that runs after the commit', async () => {
    let later: (() => Promise<unknown>) | undefined
    await transaction(async () => {
      const { AsyncResource } = await import('node:async_hooks')
      later = AsyncResource.bind(() => Account.create({ name: 'later' }) as Promise<unknown>)
    })
    await later?.()
    expect(await names()).to.deep.equal(['later'])
  })

  it('[promise 52] refuses statements of code that runs after the rollback', async () => {
    let left: Promise<unknown> | undefined
    await rejection(
      transaction(async () => {
        await Account.create({ name: 'a' })
        left = rejection(
          pause(20).then(async () => {
            await Account.create({ name: 'left over' })
            await transaction(() => Account.create({ name: 'left over too' }))
          }),
        )
        throw new Error('no')
      }),
    )
    expect(await left).to.be.an('error')
    expect(await names()).to.deep.equal([])
  })

  it('is joined by code that outlives its savepoint', async () => {
    await rejection(
      transaction(async () => {
        let left: Promise<unknown> | undefined
        await transaction(async () => {
          left = pause(20).then(() => Account.create({ name: 'left over' }))
        })
        await left
        throw new Error('no')
      }),
    )
    expect(await names()).to.deep.equal([])
  })

  it('[promise 52] leaves a usable connection after concurrent statements inside', async () => {
    for (let i = 0; i < 60; i += 1) {
      const all = transaction(async () => {
        const parts = [1, 2, 3].map((n) => transaction(() => Account.create({ name: `inner ${n}` })))
        await Promise.all([transaction(() => Account.create({ name: 'inner 2' })), ...parts, Account.create({ name: 'inner 3' })])
      })
      expect(await rejection(all)).to.have.property('name', 'UniqueViolationError')
    }
    await pause(20)
    expect(await names()).to.deep.equal([])
  })

  it('does not undo writes inside outsideTransaction()', async function () {
    // SQLite has one writer, and by default one connection.
    if (db.dialect === 'sqlite') this.skip()
    await rejection(
      transaction(async () => {
        await Account.create({ name: 'inside' })
        await outsideTransaction(async () => await Account.create({ name: 'outside' }))
        throw new Error('no')
      }),
    )
    expect(await names()).to.deep.equal(['outside'])
  })

  it('runs again after a deadlock, and both transactions succeed', async function () {
    if (db.dialect === 'sqlite') this.skip()
    const [a, b] = [await Account.create({ name: 'a' }), await Account.create({ name: 'b' })]
    let runs = 0
    let arrived = 0
    let open = () => {}
    const both = new Promise<void>((resolve) => {
      open = resolve
    })
    const move = (first: Account, second: Account) =>
      transaction(async () => {
        runs += 1
        await Account.query().findById(first.id).increment('balance', 1)
        arrived += 1
        if (arrived === 2) open()
        await both
        await Account.query().findById(second.id).increment('balance', 1)
      })
    await Promise.all([move(a, b), move(b, a)])
    expect(runs).to.be.greaterThan(2)
    expect(await Account.query().orderBy('name').select('balance')).to.deep.equal([{ balance: 2 }, { balance: 2 }])
  })

  describe('that the database has ended at an error', () => {
    let ballast: Account[] = []
    beforeEach(async () => {
      if (db.dialect === 'sqlite') {
        await db.knex.raw('create table if not exists once (n integer unique on conflict rollback)')
        await db.knex('once').delete()
        await db.knex('once').insert({ n: 1 })
      } else if (db.dialect === 'mysql') {
        await db.knex.raw('create table if not exists ballast (n integer)')
        ballast = [await Account.create({ name: 'p' }), await Account.create({ name: 'q' })]
      }
    })

    /** Has the database end the transaction: with a lost lock, or on SQLite, which has none, with a value that is taken. */
    async function end(trx: Knex.Transaction, meanwhile = () => {}): Promise<unknown> {
      const send = async (statement: PromiseLike<unknown>) => {
        const sent = statement.then((result) => result)
        meanwhile()
        return await sent
      }
      if (db.dialect === 'sqlite') return await send(trx('once').insert({ n: 1 }))
      if (db.dialect === 'pg') return await send(trx.raw("do $$ begin raise exception 'deadlock detected' using errcode = '40P01'; end $$"))
      const [p, q] = ballast.map(({ id }) => id)
      const other = await outsideTransaction(() => db.knex.transaction())
      try {
        // The one that has done less falls.
        await other('ballast').insert(Array.from({ length: 50 }, (_, n) => ({ n })))
        await other('account').where({ id: q }).update({ balance: 1 })
        await trx('account').where({ id: p }).update({ balance: 1 })
        const [mine] = await Promise.allSettled([
          send(trx('account').where({ id: q }).update({ balance: 2 })),
          pause(50).then(() => other('account').where({ id: p }).update({ balance: 2 })),
        ])
        if (mine.status === 'rejected') throw mine.reason
        return undefined
      } finally {
        await other.rollback()
      }
    }
    const kept = async () => (await names()).filter((name) => !['p', 'q'].includes(name))
    const expected = db.dialect === 'sqlite' ? 'UniqueViolationError' : 'RetryableDatabaseError'

    it('refuses later statements and the commit, even if fn caught the error [promise 52]', async () => {
      const later: string[] = []
      const error = await rejection(
        transaction(
          async (trx) => {
            await Account.create({ name: 'before' })
            await rejection(end(trx))
            later.push((await rejection(Account.create({ name: 'after' }))).name)
            later.push((await rejection(Account.query().resultSize())).name)
            later.push((await rejection(transaction(() => Account.create({ name: 'in a savepoint' })))).name)
            later.push((await rejection(trx.transaction((inner) => Account.create({ name: 'in Knex’s' }, inner)))).name)
          },
          { retries: 0 },
        ),
      )
      expect([error.name, ...later]).to.deep.equal(Array(5).fill(expected))
      expect(await kept()).to.deep.equal([])
      await transaction(() => Account.create({ name: 'next' }))
      expect(await kept()).to.deep.equal(['next'])
    })

    it('runs no statement that was sent together with the failing one [promise 52]', async () => {
      const given: Promise<Error>[] = []
      const all = transaction((trx) => rejection(end(trx, () => given.push(rejection(Account.create({ name: 'at once' }))))), {
        retries: 0,
      })
      expect((await rejection(all)).name).to.equal(expected)
      expect((await Promise.all(given)).map(({ name }) => name)).to.deep.equal([expected])
      expect(await kept()).to.deep.equal([])
    })

    it('rejects with another error that fn throws', async () => {
      const mine = new Error('mine')
      const error = await rejection(
        transaction((trx) =>
          rejection(end(trx)).then(() => {
            throw mine
          }),
        ),
      )
      expect(error).to.equal(mine)
    })

    it('runs again completely after a retryable error [promise 53]', async function () {
      if (db.dialect === 'sqlite') this.skip()
      let runs = 0
      await transaction(async (trx) => {
        runs += 1
        await Account.create({ name: `run ${runs}` })
        if (runs === 1) await rejection(end(trx))
      })
      expect([runs, await kept()]).to.deep.equal([2, ['run 2']])
    })

    it('in a savepoint is lost completely, except on PostgreSQL [promise 52]', async () => {
      const both = transaction(
        async () => {
          await Account.create({ name: 'outer' })
          const inner = await rejection(
            transaction(async (trx) => {
              await Account.create({ name: 'inner' })
              await rejection(end(trx))
            }),
          )
          expect(inner.name).to.equal(expected)
          await Account.create({ name: 'after' })
        },
        { retries: 0 },
      )
      if (db.dialect === 'pg') await both
      else expect((await rejection(both)).name).to.equal(expected)
      expect(await kept()).to.deep.equal(db.dialect === 'pg' ? ['after', 'outer'] : [])
    })

    it('is also detected in a transaction that the application began with Knex [promise 52]', async () => {
      const made = Account.build({ name: 'before' })
      const error = await rejection(
        db.knex.transaction(async (trx) => {
          await made.save(trx)
          await rejection(end(trx))
          await rejection(trx('account').insert({ id: 'x', name: 'after', balance: 0, created_at: null, updated_at: null }))
          await rejection(Account.create({ name: 'after' }, trx))
        }),
      )
      expect([error.name, await kept()]).to.deep.equal([expected, []])
      expect(made.isNew).to.equal(true)
    })
  })

  it('[promise 52] does not report success after a caught error at which the database rolled back', async () => {
    const all = transaction(async () => {
      await Account.create({ name: 'a' })
      await rejection(Account.create({ name: 'a' }))
    })
    if (db.dialect !== 'pg') await all
    else expect(await rejection(all)).to.include({ name: 'UniqueViolationError', message: 'This is already taken: name.' })
    expect(await names()).to.deep.equal(db.dialect === 'pg' ? [] : ['a'])
  })

  it('continues after a lock timeout if the server has undone only the statement [promise 52]', async function () {
    if (db.dialect !== 'mysql') this.skip()
    const row = await Account.create({ name: 'locked' })
    const client = Object.getPrototypeOf(db.knex.client) as { _query(connection: object, query: { sql: string }): Promise<unknown> }
    const { _query: query } = client
    const caught = (retries: number) =>
      transaction(
        async (trx) => {
          await trx.raw('set session innodb_lock_wait_timeout = 1')
          await Account.create({ name: 'before' })
          const other = await outsideTransaction(() => db.knex.transaction())
          await other('account').where({ id: row.id }).update({ balance: 1 })
          expect((await rejection(row.update({ balance: 2 }))).name).to.equal('RetryableDatabaseError')
          await other.rollback()
          await Account.create({ name: 'after' })
        },
        { retries },
      )
    await caught(0)
    expect(await names()).to.deep.equal(['after', 'before', 'locked'])
    await db.knex('account').whereNot({ name: 'locked' }).delete()
    try {
      // A server that undoes it all is one that was started so.
      client._query = function (connection, given) {
        const sql = given.sql.replace('select @@innodb_rollback_on_timeout', 'select 1')
        return query.call(this, connection, Object.assign(given, { sql }))
      }
      expect((await rejection(caught(0))).name).to.equal('RetryableDatabaseError')
    } finally {
      client._query = query
    }
    expect(await names()).to.deep.equal(['locked'])
  })

  it('[promise 52] does not call fn when BEGIN fails', async () => {
    const client = Object.getPrototypeOf(db.knex.client) as { _query(connection: object, query: { sql: string }): Promise<unknown> }
    const { _query: query } = client
    client._query = function (connection, given) {
      return given.sql === 'BEGIN;' ? Promise.reject(new Error('no beginning')) : query.call(this, connection, given)
    }
    let runs = 0
    const run = () => {
      runs += 1
    }
    try {
      expect((await rejection(transaction(run))).message).to.contain('no beginning')
    } finally {
      client._query = query
    }
    expect(runs).to.equal(0)
  })

  it('[promise 52] leaves no open transaction when COMMIT fails', async function () {
    if (db.dialect !== 'sqlite') this.skip()
    await perms.close()
    const [knex, reader] = [db.connect(), db.connect()]
    const mine = initPerms({ knex, passwordHasher: testHasher() })
    try {
      await knex.raw('select 1')
      await knex.raw('pragma busy_timeout = 20')
      const reading = await reader.transaction()
      await reading('account').select()
      const error = await rejection(transaction(() => Account.create({ name: 'lost' }), { retries: 0 }))
      expect(error.name).to.equal('RetryableDatabaseError')
      await reading.rollback()
      await Account.create({ name: 'alone' })
      await transaction(() => Account.create({ name: 'next' }))
      expect((await reader('account').select('name').orderBy('name')).map(({ name }) => name)).to.deep.equal(['alone', 'next'])
    } finally {
      await mine.close()
      await knex.destroy()
      perms = initPerms({ knex: db.knex, passwordHasher: testHasher() })
    }
  })

  it('runs again as often as `retries`, and not for other errors', async () => {
    const deadlock = Object.assign(new Error('deadlock'), { code: '40P01' })
    const count = async (error: Error, retries?: number) => {
      let runs = 0
      const thrown = await rejection(
        transaction(
          () => {
            runs += 1
            throw error
          },
          { retries },
        ),
      )
      expect(thrown).to.equal(error)
      return runs
    }
    expect(await count(deadlock)).to.equal(4)
    expect(await count(deadlock, 1)).to.equal(2)
    expect(await count(deadlock, 0)).to.equal(1)
    expect(await count(new Error('mine'))).to.equal(1)
  })

  it('runs again as a whole when a nested transaction loses its lock', async () => {
    let outer = 0
    let inner = 0
    await transaction(async () => {
      outer += 1
      await Account.create({ name: 'a' })
      await transaction(() => {
        inner += 1
        if (inner === 1) throw Object.assign(new Error('deadlock'), { code: 'ER_LOCK_DEADLOCK' })
      })
    })
    expect([outer, inner]).to.deep.equal([2, 2])
    expect(await names()).to.deep.equal(['a'])
  })

  it('restores rows in memory after a rollback, so that they can be saved again', async () => {
    const kept = await Account.create({ name: 'kept' })
    for (const undo of ['transaction()', 'a nested one within', 'knex.transaction()', 'one given last'] as const) {
      const made = Account.build({ name: undo })
      const write = async (trx?: Parameters<typeof made.save>[0]) => {
        await made.save(trx)
        await made.update({ balance: 3 }, trx)
        await kept.update({ balance: 9 }, trx)
        expect([made.isNew, kept.balance]).to.deep.equal([false, 9])
      }
      const fail = () => {
        throw new Error('no')
      }
      if (undo === 'transaction()') await rejection(transaction(() => write().then(fail)))
      else if (undo === 'a nested one within') await rejection(transaction(() => transaction(() => write()).then(fail)))
      else if (undo === 'knex.transaction()') await rejection(db.knex.transaction((trx) => write(trx).then(fail)))
      else {
        const trx = await db.knex.transaction()
        await write(trx)
        await trx.rollback()
      }
      expect([made.isNew, made.balance, kept.balance], undo).to.deep.equal([true, 0, 0])
      await made.save()
      expect((await Account.getByOr404({ name: undo })).balance).to.equal(0)
    }
    await transaction(() => kept.update({ balance: 4 }))
    expect([kept.balance, (await Account.getOr404(kept.id)).balance]).to.deep.equal([4, 4])
  })

  it('saves rows that were built outside again when it runs again', async () => {
    const made = Account.build({ name: 'a' })
    let runs = 0
    await transaction(async () => {
      await made.save()
      runs += 1
      if (runs === 1) throw Object.assign(new Error('deadlock'), { code: '40P01' })
    })
    expect([runs, await names()]).to.deep.equal([2, ['a']])
  })

  it('takes an isolation level', async function () {
    if (db.dialect === 'sqlite') this.skip()
    const { statements } = await countQueries(db.knex, () =>
      transaction(() => Account.query().resultSize(), { isolationLevel: 'serializable' }),
    )
    expect(statements.join('\n')).to.match(/serializable/i)
  })

  it('throws a ConfigurationError before initPerms()', async () => {
    await perms.close()
    try {
      expect(await rejection(transaction(() => 1))).to.be.instanceOf(ConfigurationError)
    } finally {
      perms = initPerms({ knex: db.knex, passwordHasher: testHasher() })
    }
  })
})
