import { setTimeout as pause } from 'node:timers/promises'
import { expect } from 'chai'
import { BaseModel, ConfigurationError, column, createTables, initPerms, type Perms, transaction } from '../../src/index.js'
import { inTransaction, outsideTransaction } from '../../src/model/transaction.js'
import { countQueries, eachDatabase } from '../helpers/databases.js'
import { rejection } from '../helpers/errors.js'

class Account extends BaseModel.withColumns({
  name: column.string({ maxLength: 20 }).unique(),
  balance: column.integer().default(0),
}) {}

eachDatabase('transaction()', (db) => {
  let perms: Perms
  before(async () => {
    perms = initPerms({ knex: db.knex, passwords: { cost: 10 } })
    await createTables(db.knex, [Account])
  })
  after(() => perms.close())
  beforeEach(() => db.knex('account').delete())

  const names = async () => ((await db.knex('account').select('name').orderBy('name')) as { name: string }[]).map(({ name }) => name)

  it('gives back what fn returned, once committed', async () => {
    expect(await transaction(async () => (await Account.create({ name: 'a' })).name)).to.equal('a')
    expect(await names()).to.deep.equal(['a'])
    expect(await transaction(() => 5)).to.equal(5)
  })

  it('awaits a builder that fn returns inside', async () => {
    const made = await transaction(() => Account.query().insert({ name: 'a' }) as unknown as Promise<Account>)
    expect(made.name).to.equal('a')
    expect(await names()).to.deep.equal(['a'])
  })

  it('undoes all where fn throws, and throws the same error', async () => {
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

  it('inside another one is a savepoint: what it undoes ends there', async () => {
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

  it('inside another one is undone with it', async () => {
    await rejection(
      transaction(async () => {
        await transaction(() => Account.create({ name: 'inner' }))
        throw new Error('no')
      }),
    )
    expect(await names()).to.deep.equal([])
  })

  it('goes on after an error that was caught, where a savepoint stood around it', async () => {
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
    const single = initPerms({ knex, passwords: { cost: 10 } })
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
      perms = initPerms({ knex: db.knex, passwords: { cost: 10 } })
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

  it('is not joined by what is left over when it has ended', async () => {
    let later: (() => Promise<unknown>) | undefined
    await transaction(async () => {
      const { AsyncResource } = await import('node:async_hooks')
      later = AsyncResource.bind(() => Account.create({ name: 'later' }) as Promise<unknown>)
    })
    await later?.()
    expect(await names()).to.deep.equal(['later'])
  })

  it('[promise 52] rolled back, takes what still runs with it', async () => {
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

  it('has what outlives an inner one join the outer one', async () => {
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

  it('[promise 52] leaves its connection fit for the next one, whatever ran at once inside', async () => {
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

  it('is left by outsideTransaction(): what is written there stays', async function () {
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

  it('is tried again after a deadlock, and both come through', async function () {
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

  it('is tried again as often as said, and not for other errors', async () => {
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

  it('is tried again as a whole, not by its inner part, where the lock was lost inside', async () => {
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

  it('undone leaves rows as they were before, to be saved again', async () => {
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

  it('tried again saves what was built outside again', async () => {
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

  it('says what is missing where there is no database yet', async () => {
    await perms.close()
    try {
      expect(await rejection(transaction(() => 1))).to.be.instanceOf(ConfigurationError)
    } finally {
      perms = initPerms({ knex: db.knex, passwords: { cost: 10 } })
    }
  })
})
