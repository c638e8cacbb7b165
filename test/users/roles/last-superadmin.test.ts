import { expect } from 'chai'
import {
  asSystem,
  ConfigurationError,
  ConflictError,
  Domain,
  initPerms,
  type Perms,
  Role,
  runAs,
  SoftDeleteMixin,
  transaction,
  User,
  UserRole,
} from '../../../src/index.js'
import { testHasher } from '../../../src/testing/hasher.js'
import { eachDatabase } from '../../helpers/databases.js'
import { rejection } from '../../helpers/errors.js'
import { migrateAtOnce } from '../../helpers/library-tables-at-once.js'
import { repetitions } from '../../helpers/repetitions.js'

class Member extends SoftDeleteMixin(User) {}

eachDatabase('The last superadmin', (db) => {
  let perms: Perms
  let ada: Member
  let bob: Member
  before(async () => {
    perms = initPerms({ knex: db.knex, user: Member, passwordHasher: testHasher() })
    await migrateAtOnce(perms)
  })
  after(() => perms.close())
  beforeEach(async () => {
    for (const table of ['user_role', 'member', 'domain']) await db.knex(table).delete()
    ada = await Member.create({ email: 'ada@example.com' })
    bob = await Member.create({ email: 'bob@example.com' })
    await UserRole.create({ user: ada, role: Role.SUPERADMIN } as never)
    await UserRole.create({ user: bob, role: Role.ADMIN } as never)
  })

  const living = async () =>
    (
      await asSystem(() =>
        UserRole.query()
          .joinRelated('user')
          .where('role', Role.SUPERADMIN)
          .whereNull('domainId')
          .where('user.isEnabled', true)
          .whereNull('user.deletedAt'),
      )
    ).length

  const grantOf = (user: Member, role: string = Role.SUPERADMIN) => UserRole.getByOr404({ userId: user.id, role })

  const ways: Record<string, () => PromiseLike<unknown>> = {
    'user.delete()': () => ada.delete(),
    'user.hardDelete()': () => ada.hardDelete(),
    'user.softDelete()': () => ada.softDelete(),
    'update({ isEnabled: false })': () => ada.update({ isEnabled: false }),
    'isEnabled = false and save()': () => Object.assign(ada, { isEnabled: false }).save(),
    'update({ deletedAt })': () => ada.update({ deletedAt: new Date() }),
    'query().delete() of all': () => Member.query().delete(),
    'query().deleteById()': () => Member.query().deleteById(ada.id),
    'query().patch() of all': () => Member.query().patch({ isEnabled: false }),
    'query().patch() with raw SQL': async () =>
      Member.query().patch({ isEnabled: (await import('objection')).raw('?', [db.dialect === 'sqlite' ? 0 : false]) as never }),
    '$query().patch()': () => ada.$query().patch({ isEnabled: false }),
    "a row with the column's name": () =>
      Member.query()
        .findById(ada.id)
        .patch(Object.assign(new Member(), { is_enabled: false })),
    "a grant with the column's name": async () =>
      UserRole.query()
        .findById((await grantOf(ada)).id)
        .patch(Object.assign(new UserRole(), { ROLE: Role.ADMIN })),
    'patchAndFetchById()': () => Member.query().patchAndFetchById(ada.id, { isEnabled: false }),
    'the query of a class that shares the table': () =>
      class Sharing extends Member {}.query().findById(ada.id).patch({ isEnabled: false }),
    'upsertGraph()': () => Member.query().upsertGraph({ id: ada.id, isEnabled: false } as never),
    'upsertGraph() without the grant': () => Member.query().upsertGraph({ id: ada.id, roles: [] } as never),
    'insert().onConflict().merge()': () =>
      Member.query()
        .insert({ id: ada.id, email: ada.email, isEnabled: false })
        .onConflict('id')
        .merge(['isEnabled'] as never),
    'revokeRole()': () => ada.revokeRole(Role.SUPERADMIN),
    'grant.delete()': async () => (await grantOf(ada)).delete(),
    'grant.update({ role })': async () => (await grantOf(ada)).update({ role: Role.ADMIN }),
    'grant.update({ userId }) to one who is disabled': async () => {
      await bob.update({ isEnabled: false })
      await (await grantOf(ada)).update({ userId: bob.id })
    },
    'grant.update({ domainId })': async () => {
      const domain = await Domain.create({ name: 'press' })
      await (await grantOf(ada)).update({ domainId: domain.id })
    },
    'UserRole.query().delete()': () => UserRole.query().delete().where('role', Role.SUPERADMIN),
    '$relatedQuery("roles").delete()': () => ada.$relatedQuery<UserRole>('roles').delete(),
    'relatedQuery().unrelate()': () => Member.relatedQuery('roles').for(ada.id).unrelate(),
  }

  for (const [name, way] of Object.entries(ways)) {
    it(`stays when ${name} would remove it, in a script and asSystem [promise 39]`, async () => {
      const inScript = await rejection(way())
      expect(await living()).to.equal(1)
      const asTheSystem = await rejection(asSystem(way))
      expect(await living()).to.equal(1)
      if (!name.includes('unrelate')) for (const error of [inScript, asTheSystem]) expect(error).to.be.instanceOf(ConflictError)
      expect(inScript.message).not.to.match(/select|update|delete from/i)
    })
  }

  it('cannot be removed by any caller [promise 39]', async () => {
    expect(await rejection(runAs(ada, () => ada.update({ isEnabled: false })))).to.be.instanceOf(Error)
    expect(await rejection(runAs(ada, () => ada.revokeRole(Role.SUPERADMIN)))).to.be.instanceOf(ConflictError)
    expect(await rejection(runAs(ada, () => ada.delete()))).to.be.instanceOf(ConflictError)
    expect(await rejection(runAs(bob, () => ada.delete()))).to.be.instanceOf(Error)
    expect(await living()).to.equal(1)
  })

  it('[promise 39] stays because its tables cannot be truncated, not even asSystem', async () => {
    for (const cls of [Member, UserRole])
      expect(await rejection(asSystem(() => (cls as typeof User).query().truncate()))).to.be.instanceOf(ConfigurationError)
    expect(await living()).to.equal(1)
  })

  it('is unchanged in the object after a refusal', async () => {
    await rejection(ada.update({ isEnabled: false }))
    expect(ada.isEnabled).to.equal(true)
    await rejection(ada.softDelete())
    expect(ada.isDeleted).to.equal(false)
    await ada.update({ email: 'ada.l@example.com' })
    expect((await Member.getOr404(ada.id)).email).to.equal('ada.l@example.com')
  })

  it('may be removed when there is another', async () => {
    await UserRole.create({ user: bob, role: Role.SUPERADMIN } as never)
    await ada.update({ isEnabled: false })
    expect(await living()).to.equal(1)
    expect(await rejection(bob.delete())).to.be.instanceOf(ConflictError)
    await ada.update({ isEnabled: true })
    await bob.delete()
    expect(await living()).to.equal(1)
  })

  it('is not a user who is disabled, deleted, or superadmin only in a domain', async () => {
    const domain = await Domain.create({ name: 'press' })
    await UserRole.create({ user: bob, role: Role.SUPERADMIN, domain } as never)
    expect(await rejection(ada.delete())).to.be.instanceOf(ConflictError)
    await UserRole.create({ user: bob, role: Role.SUPERADMIN } as never)
    await bob.delete()
    expect(await rejection(ada.hardDelete())).to.be.instanceOf(ConflictError)
    await bob.restore()
    await bob.update({ isEnabled: false })
    expect(await rejection(ada.revokeRole(Role.SUPERADMIN))).to.be.instanceOf(ConflictError)
  })

  it('is not checked while there is no superadmin', async () => {
    await db.knex('user_role').delete()
    await Member.query().patch({ isEnabled: false })
    await ada.delete()
    await bob.hardDelete()
    expect(await Member.query()).to.deep.equal([])
  })

  it('does not block changes of other users', async () => {
    await bob.update({ isEnabled: false })
    await bob.revokeRole(Role.ADMIN)
    await bob.hardDelete()
    await ada.grantRole('editor')
    await ada.revokeRole('editor')
    await ada.update({ email: 'ada.l@example.com' })
    expect(await Member.query().resultSize()).to.equal(1)
  })

  it('stays inside a transaction, whose other work is kept', async () => {
    await transaction(async () => {
      await bob.update({ email: 'bob.b@example.com' })
      expect(await rejection(ada.delete())).to.be.instanceOf(ConflictError)
    })
    expect((await Member.getOr404(bob.id)).email).to.equal('bob.b@example.com')
    expect(await living()).to.equal(1)
  })

  it('may hand over within one transaction', async () => {
    await transaction(async () => {
      await UserRole.create({ user: bob, role: Role.SUPERADMIN } as never)
      await ada.revokeRole(Role.SUPERADMIN)
    })
    expect((await Member.getOr404(bob.id)).isSuperadmin).to.equal(true)
    expect(await living()).to.equal(1)
  })

  it('stays when two leave at once: one succeeds [promise 39]', async function () {
    if (db.dialect === 'sqlite') this.skip()
    this.timeout(60_000)
    const bobsGrant = await UserRole.create({ user: bob, role: Role.SUPERADMIN } as never)
    const leaving: [string, (user: Member) => Promise<unknown>, (user: Member) => Promise<unknown>][] = [
      ['disable', (user) => user.update({ isEnabled: false }), (user) => user.update({ isEnabled: true })],
      ['soft-delete', (user) => user.softDelete(), (user) => user.restore()],
      ['revoke', (user) => user.revokeRole(Role.SUPERADMIN), (user) => UserRole.create({ user, role: Role.SUPERADMIN } as never)],
    ]
    for (let i = 0; i < repetitions(50); i += 1) {
      const [a, b] = [leaving[i % 3], leaving[Math.floor(i / 3) % 3]]
      if (!a || !b) throw new Error()
      const results = await Promise.allSettled([
        i % 2 ? transaction(() => a[1](ada)) : a[1](ada),
        i % 5 ? b[1](bob) : transaction(() => b[1](bob)),
      ])
      const label = `${i}: ${a[0]} and ${b[0]}: ${results.map((one) => (one.status === 'rejected' ? String(one.reason) : 'done')).join(', ')}`
      expect(await living(), label).to.equal(1)
      expect(results.filter(({ status }) => status === 'fulfilled').length, label).to.equal(1)
      const [first] = results
      for (const one of results) if (one.status === 'rejected') expect(one.reason, label).to.be.instanceOf(ConflictError)
      await (first?.status === 'fulfilled' ? a[2](ada) : b[2](bob))
      expect(await living(), label).to.equal(2)
    }
    expect(bobsGrant.role).to.equal(Role.SUPERADMIN)
  })
})
