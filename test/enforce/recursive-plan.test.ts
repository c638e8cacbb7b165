import { expect } from 'chai'
import { FlatFolder, Folder, fillFolders, TREE } from '../../bench/hierarchies-world.js'
import { initPerms, type Perms } from '../../src/index.js'
import { type Actor, runAsActor } from '../../src/policy/context.js'
import { eachDatabase } from '../helpers/databases.js'

const trees = 100
const tree = 7
const caller: Actor = { id: tree as never, user: {}, grants: [], sessionId: null, abilities: null, impersonatorId: null }

eachDatabase('The plan of related() with recursive', (db) => {
  let perms: Perms
  before(async function () {
    this.timeout(120_000)
    perms = initPerms({ knex: db.knex, models: [Folder, FlatFolder] })
    await fillFolders(db.knex, trees)
  })
  after(() => perms.close())

  async function planOf(build: () => object): Promise<string> {
    const { sql, bindings } = await runAsActor(caller, () =>
      Promise.resolve((build() as { toKnexQuery(): { toSQL(): { sql: string; bindings: unknown[] } } }).toKnexQuery().toSQL()),
    )
    const explained: unknown = await db.knex.raw(`${db.dialect === 'sqlite' ? 'explain query plan' : 'explain'} ${sql}`, bindings as never)
    return JSON.stringify(explained)
  }

  /** Names of indexes in the plan. */
  const userIndex = /user_id/
  const parentIndex = /parent_id/

  it('[promise 209] finds rows from those that satisfy the rule, by indexes of the owner and of the parent', async () => {
    const plan = await planOf(() => Folder.query().select('id'))
    expect(plan).to.match(userIndex).and.match(parentIndex)
    if (db.dialect === 'pg') expect(plan).not.to.match(/Seq Scan/)
    if (db.dialect === 'sqlite') expect(plan).not.to.match(/SCAN (perms_1|bench_folder)/)
    const rows = await runAsActor(caller, () => Folder.query().resultSize())
    expect(rows).to.equal(TREE - 1)
  })

  it('[promise 209] looks a row up by its id, and the rows above by theirs', async () => {
    const plan = await planOf(() =>
      Folder.query()
        .select('id')
        .findById((tree + 1) * TREE),
    )
    expect(plan).not.to.match(userIndex)
    if (db.dialect === 'pg') expect(plan).not.to.match(/Seq Scan/)
    if (db.dialect === 'sqlite') expect(plan).not.to.match(/SCAN (perms_1|bench_folder)/)
    expect(await runAsActor(caller, () => Folder.query().findById((tree + 1) * TREE))).to.be.an('object')
    expect(await runAsActor(caller, () => Folder.query().findById((tree + 2) * TREE))).to.equal(undefined)
  })
})
