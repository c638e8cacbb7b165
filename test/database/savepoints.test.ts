import { setTimeout as pause } from 'node:timers/promises'
import { expect } from 'chai'
import type { Knex } from 'knex'
import {
  asSystem,
  authenticated,
  BasePermsModel,
  column,
  createTables,
  everyone,
  ForbiddenError,
  initPerms,
  type Perms,
  runAs,
  transaction,
  User,
  where,
} from '../../src/index.js'
import { eachDatabase } from '../helpers/databases.js'
import { rejection } from '../helpers/errors.js'
import { migrateAtOnce } from '../helpers/library-tables-at-once.js'

/** Stays open: a patch that closes one is undone after its statement, in a savepoint. */
class SavepointNote extends BasePermsModel.withColumns({
  title: column.string(),
  state: column.string(),
}) {
  static override policy = { read: everyone(), create: authenticated(), update: where({ state: 'open' }), delete: everyone() }
}
const Note = SavepointNote

const rounds = 20

eachDatabase('Statements next to a savepoint of their transaction', (db) => {
  let perms: Perms
  let [me, other]: User[] = []
  let note: SavepointNote

  before(async () => {
    perms = initPerms({ knex: db.knex, models: [Note] })
    await createTables(db.knex, [User, Note])
    await migrateAtOnce(perms)
    ;[me, other] = [await User.create({ email: 'me@example.com' }), await User.create({ email: 'other@example.com' })]
  })
  after(() => perms?.close())

  beforeEach(async () => {
    await db.knex('savepoint_note').delete()
    note = await Note.create({ title: 'mine', state: 'open' })
  })

  const refused = () => Note.query().patch({ state: 'closed' }).where('id', note.id)
  const plain = (title: string) => Note.query().insert({ title, state: 'open' })
  const titles = async () => ((await db.knex('savepoint_note').orderBy('title')) as { title: string }[]).map(({ title }) => title)
  const asMe = <T>(fn: () => T) => runAs(me as User, fn)
  const statuses = (results: readonly PromiseSettledResult<unknown>[]) => results.map(({ status }) => status)

  it('[promise 72] a write that succeeds next to a refused one is kept', async () => {
    for (let round = 0; round < rounds; round += 1) {
      const results = await asMe(() => transaction(() => Promise.allSettled([refused(), plain(`a${round}`), plain(`b${round}`)])))
      expect(statuses(results)).to.deep.equal(['rejected', 'fulfilled', 'fulfilled'])
    }
    expect(await titles()).to.have.length(1 + 2 * rounds)
    expect(await db.knex('savepoint_note').where({ state: 'closed' })).to.have.length(0)
  })

  it('[promise 72] a write that was sent before a refused one is kept', async () => {
    await asMe(() => transaction(() => Promise.allSettled([plain('first'), refused(), plain('second'), refused(), plain('third')])))
    expect(await titles()).to.deep.equal(['first', 'mine', 'second', 'third'])
  })

  it('[promise 72] a write that succeeds next to a transaction() that fails is kept', async () => {
    const fails = () =>
      transaction(async () => {
        await plain('undone')
        await pause(5)
        await plain('undone too')
        throw new Error('mine')
      })
    await asMe(() => transaction(() => Promise.allSettled([fails(), plain('kept'), fails(), refused(), plain('kept too')])))
    expect(await titles()).to.deep.equal(['kept', 'kept too', 'mine'])
  })

  it('[promise 72] a write of another caller in the same transaction is kept', async () => {
    await transaction(() =>
      Promise.allSettled([
        asMe(refused),
        runAs(other as User, () => plain('of another')),
        asSystem(() => plain('of the system')),
        asMe(() => Note.query().insertGraph({ title: 'graph', state: 'open' })),
      ]),
    )
    expect(await titles()).to.deep.equal(['graph', 'mine', 'of another', 'of the system'])
  })

  it('[promise 72] a read next to a refused write does not see that write', async () => {
    const states = async () => (await Note.query()).map(({ state }) => state)
    const [, seen] = await asMe(() => transaction(() => Promise.allSettled([refused(), states(), plain('kept')])))
    expect(seen).to.deep.equal({ status: 'fulfilled', value: ['open'] })
  })

  it('[promise 72] a statement of Knex next to a savepoint of Knex is kept', async () => {
    const row = (title: string) => ({ id: crypto.randomUUID(), title, state: 'open', created_at: new Date(), updated_at: new Date() })
    await db.knex.transaction(async (trx) => {
      const fails = trx.transaction(async (inner) => {
        await inner('savepoint_note').insert(row('undone'))
        await pause(5)
        throw new Error('mine')
      })
      const results = await Promise.allSettled([fails, trx('savepoint_note').insert(row('kept'))])
      expect(statuses(results)).to.deep.equal(['rejected', 'fulfilled'])
    })
    expect(await titles()).to.deep.equal(['kept', 'mine'])
  })

  it('code inside a savepoint may use the transaction around it', async () => {
    await transaction(async (outer) => {
      await transaction(async (inner) => {
        await Note.query(outer).insert({ title: 'by the outer', state: 'open' })
        await inner.transaction(async () => {
          await Note.query(outer).insert({ title: 'two levels up', state: 'open' })
        })
      })
      await outer('savepoint_note').where({ title: 'mine' }).delete()
    })
    expect(await titles()).to.deep.equal(['by the outer', 'two levels up'])
  })

  it('a savepoint that the application ends itself blocks no statement', async () => {
    await transaction(async (outer) => {
      const inner: Knex.Transaction = await outer.transaction()
      await Note.query(outer).insert({ title: 'inside', state: 'open' })
      await inner.rollback()
      await Note.query(outer).insert({ title: 'after', state: 'open' })
    })
    expect(await titles()).to.deep.equal(['after', 'mine'])
  })

  it('[promise 34] a refused write that is not awaited is undone before its transaction commits', async () => {
    let refusal: Promise<Error> | undefined
    await asMe(() =>
      transaction(async () => {
        refusal = rejection(refused())
        await plain('kept')
      }),
    )
    expect(await refusal).to.be.instanceOf(ForbiddenError)
    expect(await titles()).to.deep.equal(['kept', 'mine'])
    expect(await db.knex('savepoint_note').where({ state: 'closed' })).to.have.length(0)
  })

  it('[promise 72] a refused relate, graph or delete undoes no other write', async () => {
    const graph = () => Note.query().upsertGraph({ id: note.id, state: 'closed' })
    const deep = () => transaction(() => Promise.allSettled([refused(), plain('deep')]))
    const results = await asMe(() => transaction(() => Promise.allSettled([graph(), plain('beside a graph'), deep(), refused()])))
    expect(statuses(results)).to.deep.equal(['rejected', 'fulfilled', 'fulfilled', 'rejected'])
    expect(await titles()).to.deep.equal(['beside a graph', 'deep', 'mine'])
  })
})
