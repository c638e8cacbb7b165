import { expect } from 'chai'
import { EACH, fillSheets, idOf, SharedSheet, Sheet } from '../../bench/shares-world.js'
import { initPerms, type Perms } from '../../src/index.js'
import { type Actor, runAsActor } from '../../src/policy/context.js'
import { eachDatabase } from '../helpers/databases.js'

const users = 2000
const caller: Actor = { id: 7 as never, user: {}, grants: [], sessionId: null, abilities: null, impersonatorId: null }

eachDatabase('The plan of shared()', (db) => {
  let perms: Perms
  before(async function () {
    this.timeout(120_000)
    perms = initPerms({ knex: db.knex, models: [Sheet, SharedSheet] })
    await perms.migrate()
    await fillSheets(db.knex, users)
  })
  after(() => perms.close())

  async function planOf(build: () => object): Promise<string> {
    const { sql, bindings } = await runAsActor(caller, () =>
      Promise.resolve((build() as { toKnexQuery(): { toSQL(): { sql: string; bindings: unknown[] } } }).toKnexQuery().toSQL()),
    )
    const explained: unknown = await db.knex.raw(`${db.dialect === 'sqlite' ? 'explain query plan' : 'explain'} ${sql}`, bindings as never)
    return JSON.stringify(explained)
  }

  /** Fails for a plan that reads a table from its beginning to its end. */
  function expectNoScan(plan: string): void {
    if (db.dialect === 'pg') expect(plan).not.to.match(/Seq Scan/)
    else if (db.dialect === 'sqlite') expect(plan).not.to.match(/SCAN (?:bench_sheet|perms_s0|row_share)/)
    else expect(plan).not.to.match(/"type":"ALL"/)
  }

  it('[promise 240] finds the rows from the shares of the caller, by an index of the subject and by the ids of the rows', async () => {
    const plan = await planOf(() => SharedSheet.query())
    expect(plan).to.match(/row_share_subject_key_row_table/)
    expectNoScan(plan)
    expect(await runAsActor(caller, () => SharedSheet.query().resultSize())).to.equal(EACH)
  })

  it('[promise 240] looks one row up by its id, and its shares by theirs', async () => {
    const plan = await planOf(() => SharedSheet.query().findById(idOf(6 * EACH)))
    expect(plan).to.match(/row_share_row_table_row_id_subject_key|row_share_subject_key/)
    expectNoScan(plan)
    expect(await runAsActor(caller, () => SharedSheet.query().findById(idOf(6 * EACH)))).to.be.an('object')
    expect(await runAsActor(caller, () => SharedSheet.query().findById(idOf(8 * EACH)))).to.equal(undefined)
  })

  it('[promise 240] uses the indexes of both beside owner()', async () => {
    const plan = await planOf(() => Sheet.query())
    expect(plan).to.match(/row_share_subject_key_row_table/)
    if (db.dialect === 'mysql') expect(plan).not.to.match(/"table":"bench_sheet","type":"(?:ALL|index)"/)
    else expectNoScan(plan)
    expect(plan).to.match(/user_id/)
    expect(await runAsActor(caller, () => Sheet.query().resultSize())).to.equal(2 * EACH)
  })
})
