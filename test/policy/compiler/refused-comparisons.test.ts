import { expect } from 'chai'
import { asAnonymous, BasePermsModel, ConfigurationError, column, createTables, initPerms, type Perms, where } from '../../../src/index.js'
import { eachDatabase } from '../../helpers/databases.js'
import { rejection } from '../../helpers/errors.js'
import { migrateAtOnce } from '../../helpers/library-tables-at-once.js'

class Measure extends BasePermsModel.withColumns({ exact: column.decimal(20, 4), count: column.integer() }) {
  static override policy = { read: where({ exact: { gt: '1234567890123456.0000' } }) }
}

class Counted extends BasePermsModel.withColumns({ exact: column.decimal(20, 4), count: column.integer() }) {
  static override tableName = 'measure'
  static override policy = { read: where({ count: { like: '1%' } }) }
}

eachDatabase('Comparisons that SQL and memory would not agree on', (db) => {
  let perms: Perms
  before(async () => {
    perms = initPerms({ knex: db.knex })
    await migrateAtOnce(perms)
    await createTables(db.knex, [Measure])
    await Measure.create({ exact: '1234567890123456.0001', count: 10 })
  })
  after(async () => {
    await perms.close()
  })

  it('[promise 30] orders long decimals exactly, or refuses to', async () => {
    const read = asAnonymous(() => Measure.query().select('exact'))
    if (db.dialect !== 'sqlite') expect((await read).map(({ exact }) => exact)).to.deep.equal(['1234567890123456.0001'])
    else expect((await rejection(read)).message).to.include('only up to 15 digits')
  })

  it('[promise 30] refuses like on a column that is not text, when the policy is defined', async () => {
    const error = await rejection((async () => await asAnonymous(() => Counted.query()))())
    expect(error).to.be.instanceOf(ConfigurationError)
    expect(error.message).to.include('Counted.policy.read').and.to.include('count is a integer column')
  })
})
