import { expect } from 'chai'
import {
  AccountDeletion,
  asSystem,
  ConfigurationError,
  column,
  initPerms,
  type Perms,
  runAs,
  SecondFactor,
  SoftDeleteMixin,
  TimestampMixin,
  Token,
  User,
} from '../../../src/index.js'
import { createUser, signInAs, testHasher } from '../../../src/testing/index.js'
import { eachDatabase } from '../../helpers/databases.js'
import { rejection } from '../../helpers/errors.js'
import { migrateAtOnce } from '../../helpers/library-tables-at-once.js'

class Member extends SoftDeleteMixin(TimestampMixin(User)).withColumns({
  username: column.string({ maxLength: 40 }).unique(),
  nickname: column.string({ maxLength: 10 }).nullable().unique(),
}) {
  static identifiers = ['email', 'username', 'nickname']
  static override freesEmail: boolean | 'recoverable' = true
}

eachDatabase('static freesEmail', (db) => {
  let perms: Perms
  const jwt = { secret: 'a secret of the tests, 32 bytes long' }
  before(async function () {
    this.timeout(30_000)
    perms = initPerms({ knex: db.knex, user: Member, jwt, passwordHasher: testHasher(), secondFactor: { issuer: 'Zoo' }, throttle: false })
    await migrateAtOnce(perms)
  })
  after(() => perms.close())
  beforeEach(async () => {
    Member.freesEmail = true
    for (const table of ['account_deletion', 'second_factor', 'token', 'user_role', 'member']) await db.knex(table).delete()
  })

  const identifiers = { email: 'ada@example.com', username: 'ada', nickname: 'a' }
  const ada = () => createUser<Member>(identifiers as never)
  const stored = async ({ id }: Member) => (await asSystem(() => Member.withDeleted().findById(id))) as Member

  const ways: Readonly<Record<string, (user: Member) => Promise<unknown>>> = {
    'softDelete()': (user) => user.softDelete(),
    'delete()': (user) => user.delete(),
    'query().delete()': (user) => Member.query().delete().where('username', user.username).execute(),
    'query().patch({ deletedAt })': (user) => Member.query().findById(user.id).patch({ deletedAt: new Date() }).execute(),
  }
  for (const [way, remove] of Object.entries(ways)) {
    it(`frees every identifier with ${way}: a new account may have them [promise 171]`, async () => {
      const user = await ada()
      await asSystem(() => remove(user))
      const row = await stored(user)
      expect(row.email).to.match(/^deleted-[0-9a-f]{24}@deleted\.invalid$/)
      expect(row.username).to.match(/^deleted-[0-9a-f]{24}$/)
      expect(row).to.include({ nickname: null, emailVerifiedAt: null, isDeleted: true })
      expect((await ada()).id).to.not.equal(user.id)
      expect(await asSystem(() => AccountDeletion.query().resultSize()), 'nothing recoverable').to.equal(0)
    })
  }

  it('ends sessions, keys and factors, so that none of them comes back with the user [promise 172]', async () => {
    const { user, accessToken, refreshToken } = await signInAs<Member>({ ...identifiers, password: 'correct horse battery' } as never)
    const { plain } = await asSystem(() => perms.auth.apiKeys.issue(user, { abilities: ['*'] }))
    await asSystem(() => perms.auth.secondFactors.begin(user, { password: 'correct horse battery' }))
    await asSystem(() => user.softDelete())
    await asSystem(() => user.restore())
    expect(await asSystem(() => SecondFactor.query().resultSize())).to.equal(0)
    expect(await asSystem(() => Token.query().where('revoked', false).resultSize())).to.equal(0)
    for (const token of [accessToken, plain]) expect((await rejection(perms.auth.authenticate(token))).name).to.equal('InvalidTokenError')
    expect((await rejection(perms.auth.refresh(refreshToken))).name).to.equal('InvalidTokenError')
  })

  it("gives the identifiers back with 'recoverable', once [promise 173]", async () => {
    Member.freesEmail = 'recoverable'
    const user = await ada()
    await asSystem(() => user.softDelete())
    await asSystem(() => Member.query().delete().where('id', user.id).execute())
    await asSystem(() => user.restore())
    expect(await stored(user)).to.include({ ...identifiers, isDeleted: false })
    expect(await asSystem(() => AccountDeletion.query().resultSize())).to.equal(0)
  })

  it('refuses to restore a user whose address was taken meanwhile [promise 173]', async () => {
    Member.freesEmail = 'recoverable'
    const user = await ada()
    await asSystem(() => user.softDelete())
    await createUser<Member>({ email: 'ada@example.com', username: 'other', nickname: 'o' } as never)
    const error = await rejection(asSystem(() => user.restore()))
    expect(error.name).to.equal('UniqueViolationError')
    expect((await stored(user)).isDeleted).to.equal(true)
  })

  it('does nothing when the caller may not delete the user', async () => {
    const [user, stranger] = [await ada(), await createUser<Member>({ nickname: 's' } as never)]
    await rejection(runAs(stranger, () => user.softDelete()))
    expect(await stored(user)).to.include({ ...identifiers, isDeleted: false })
  })

  it('leaves the address taken without the option', async () => {
    Member.freesEmail = false
    const user = await ada()
    await asSystem(() => user.softDelete())
    expect((await stored(user)).email).to.equal('ada@example.com')
  })

  it('refuses a model whose identifiers cannot hold a placeholder', async () => {
    class Short extends SoftDeleteMixin(User).withColumns({ username: column.string({ maxLength: 12 }).unique() }) {
      static identifiers = ['username']
      static override freesEmail = true
    }
    class Lasting extends User.withColumns({}) {
      static override freesEmail = true
    }
    await perms.close()
    const knex = db.connect()
    expect(() => initPerms({ knex, user: Short as never, jwt })).to.throw(ConfigurationError, /username cannot hold a placeholder/)
    expect(() => initPerms({ knex, user: Lasting as never, jwt })).to.throw(ConfigurationError, /needs SoftDeleteMixin/)
  })
})
