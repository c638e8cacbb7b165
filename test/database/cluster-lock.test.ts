import { expect } from 'chai'
import { isClusterNode, noteClusterNode } from '../../src/database/cluster-lock.js'
import { lockRow } from '../../src/database/lock-row.js'
import { initPerms, type Perms, transaction, User } from '../../src/index.js'
import { availableDatabases, countQueries, eachDatabase } from '../helpers/databases.js'
import { migrateAtOnce } from '../helpers/library-tables-at-once.js'

// test/clusters runs races on the nodes of a cluster.
const mariadb = availableDatabases.filter((name) => name === 'mysql2')

eachDatabase(
  'lockRow() in a Galera cluster',
  (db) => {
    let perms: Perms
    let user: User
    before(async () => {
      perms = initPerms({ knex: db.knex })
      await migrateAtOnce(perms)
      user = await User.create({ email: 'ada@example.com' })
    })
    after(() => perms.close())
    const lock = async () =>
      (await countQueries(db.knex, () => transaction((trx) => lockRow(trx, User, user.id)))).statements.filter((sql) =>
        /perms_throttle/.test(sql),
      )

    it('is a lock of the row only on a server that is not a node', async () => {
      expect(isClusterNode(db.knex.client)).to.equal(false)
      expect(await lock()).to.deep.equal([])
    })

    it('writes a row that the nodes compare, and leaves none behind', async () => {
      noteClusterNode(db.knex.client, true)
      try {
        expect((await lock()).map((sql) => sql.split(' ')[0])).to.deep.equal(['insert', 'delete'])
        expect(await db.knex('perms_throttle')).to.deep.equal([])
      } finally {
        noteClusterNode(db.knex.client, false)
      }
    })

    it('lets transaction() run more often', async () => {
      const runs = async () => {
        let count = 0
        const failing = () => {
          count += 1
          throw Object.assign(new Error('a deadlock of this test'), { code: 'ER_LOCK_DEADLOCK' })
        }
        await transaction(failing).catch(() => undefined)
        return count
      }
      expect(await runs()).to.equal(4)
      noteClusterNode(db.knex.client, true)
      try {
        expect(await runs()).to.equal(11)
      } finally {
        noteClusterNode(db.knex.client, false)
      }
    })
  },
  mariadb,
)
