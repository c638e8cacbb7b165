import { expect } from 'chai'
import { Model, raw } from 'objection'
import {
  asAnonymous,
  BasePermsModel,
  ConfigurationError,
  column,
  createTables,
  HasUserMixin,
  initPerms,
  type Perms,
  type PermsOptions,
  runAs,
  User,
  UserOwnershipMixin,
} from '../src/index.js'
import { testHasher } from '../src/testing/index.js'
import { eachDatabase } from './helpers/databases.js'
import { rejection } from './helpers/errors.js'
import { migrateAtOnce } from './helpers/library-tables-at-once.js'

const jwt = { secret: 'a secret of at least thirty-two bytes' }
const password = 'correct horse battery'

class Clerk extends User.withColumns({ desk: column.string().default('none') }) {}
class Memo extends UserOwnershipMixin(HasUserMixin(BasePermsModel)).withColumns({ title: column.string() }) {}
class Closed extends BasePermsModel.withColumns({ title: column.string() }) {
  // A rule that reads a column which the model lacks is refused at definition.
  static override policy = { read: { missing: true } as never }
}
class PlainMemo extends Model {
  static override tableName = 'memo'
}

/** Options with which initPerms() fails, at different points of its work. */
const failing: Record<string, Partial<PermsOptions>> = {
  'a short secret': { jwt: { secret: 'short' } },
  'a broken policy': { user: Clerk as never, models: [Closed] },
  'invalid limits': { throttle: { signIn: { pair: -1 } } },
  'an unknown class of the audit log': { user: Clerk as never, auditLog: class {} as never },
  'an invalid time': { jwt: { ...jwt, accessTokenExpires: -1 } },
  'invalid mail options': { mail: { mailer: {}, baseUrl: 'nowhere' } as never },
}

eachDatabase('A second initPerms() call that fails', (db) => {
  let perms: Perms
  before(async () => {
    perms = initPerms({ knex: db.knex, jwt, passwordHasher: testHasher(), models: [Memo] })
    await migrateAtOnce(perms)
    await createTables(db.knex, [Memo])
    await User.create({ email: 'ada@example.com', password })
  })
  after(() => perms.close())

  for (const [name, options] of Object.entries(failing))
    it(`leaves the running application in effect after ${name} [promise 72]`, async () => {
      const { accessToken } = (await perms.auth.signIn({ email: 'ada@example.com', password })) as { accessToken: string }
      const ada = await User.getByOr404({ email: 'ada@example.com' })
      await runAs(ada, () => Memo.create({ title: name }))

      expect(() => initPerms({ knex: db.knex, jwt, passwordHasher: testHasher(), ...options })).to.throw(ConfigurationError)

      expect((await perms.authenticate(accessToken)).id).to.equal(ada.id)
      expect((await perms.run(() => User.getByOr404({ email: 'ada@example.com' }))).constructor.name).to.equal('User')
      const memos = await runAs(ada, () => Memo.query().where('title', name).withGraphFetched('user'))
      expect(memos.map((memo) => (memo as unknown as { user: User }).user.email)).to.deep.equal(['ada@example.com'])
      expect(await asAnonymous(() => Memo.query())).to.deep.equal([])
      expect((await rejection(asAnonymous(() => Memo.query().where(raw('1 = (select count(*) from memo)'))))).name).to.match(/Error$/)
      expect((await rejection(asAnonymous(() => PlainMemo.query(db.knex)))).name).to.match(/Error$/)
    })

  it('leaves it to close and start again', async () => {
    expect(() => initPerms({ knex: db.knex, jwt: { secret: 'short' } })).to.throw(ConfigurationError)
    await perms.close()
    expect((await rejection((async () => await perms.run(() => User.query()))())).name).to.equal('RuntimeClosedError')
    perms = initPerms({ knex: db.knex, jwt, passwordHasher: testHasher(), models: [Memo] })
    expect(await User.query().resultSize()).to.equal(1)
  })

  it('that succeeds replaces the first one, whose close() then changes nothing', async () => {
    const first = perms
    perms = initPerms({ knex: db.knex, jwt, passwordHasher: testHasher(), models: [Memo] })
    expect((await rejection((async () => await first.run(() => User.query()))())).name).to.equal('RuntimeClosedError')
    perms.noteAdapter()
    await first.close()
    expect((await rejection((async () => await Memo.query())())).name).to.match(/Error$/)
    expect(await perms.run(() => asAnonymous(() => Memo.query()))).to.deep.equal([])
  })
})
