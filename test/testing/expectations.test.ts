import { expect } from 'chai'
import { BasePermsModel, column, createTables, HasUserMixin, initPerms, owner, type Perms, role, User, UserRole } from '../../src/index.js'
import { createUser, expectAllowed, expectRefused, factory } from '../../src/testing/index.js'
import { eachDatabase, sqliteAnd } from '../helpers/databases.js'
import { rejection } from '../helpers/errors.js'

class Memo extends HasUserMixin(BasePermsModel).withColumns({ title: column.string() }) {
  static override tableName = 'expect_memo'
  static override policy = { read: owner(), update: role('editor') }
}

eachDatabase(
  'Expectations about permissions',
  (db) => {
    let perms: Perms
    before(async () => {
      perms = initPerms({ knex: db.knex, models: [Memo] })
      await createTables(db.knex, [User, perms.models.domain, UserRole, perms.models.token, Memo])
    })
    after(() => perms.close())

    it('[promise 218] pass for the answer of the policy, and else show its parts', async () => {
      const user = await createUser()
      const memo = await factory(Memo, () => ({ title: 'a', userId: user.id })).create()
      await expectAllowed(user, 'read', memo)
      await expectRefused(user, 'update', memo)
      await expectRefused(null, 'read', memo)
      const refused = await rejection(expectAllowed(user, 'update', memo))
      expect(refused).to.include({ name: 'AssertionError' })
      expect(refused.message).to.match(/^Expected to be allowed\.\n.*: update Memo .*: refused\n/)
      expect(refused.message).to.contain('✗ holders of editor').and.to.contain(`- allowed if ${user.email} had the role editor globally`)
      const allowed = await rejection(expectRefused(user, 'read', memo))
      expect(allowed.message).to.contain('Expected to be refused.').and.to.contain('✓ the owner')
    })
  },
  sqliteAnd('pg'),
)
