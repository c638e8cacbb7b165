import { expect } from 'chai'
import { v7 as uuid } from 'uuid'
import {
  Api,
  anyOf,
  asSystem,
  CrudResource,
  check,
  column,
  createTables,
  Domain,
  everyone,
  HasDomainMixin,
  initPerms,
  type Perms,
  Role,
  role,
  runAs,
  SecondFactor,
  SoftDeleteMixin,
  self,
  TimestampMixin,
  Token,
  User,
  UserRole,
  UserSetting,
} from '../../src/index.js'
import { testHasher } from '../../src/testing/hasher.js'
import { signInAs } from '../../src/testing/index.js'
import { countQueries, eachDatabase, type TestDatabase } from '../helpers/databases.js'
import { rejection } from '../helpers/errors.js'
import { clientOf } from '../http/client.js'

const support = () => role('support')

const codeOf = async (promise: PromiseLike<unknown>) => ((await rejection(promise)) as Error & { code?: string }).code

/** The policy lets the role 'support' change every account. */
class RankedUser extends SoftDeleteMixin(TimestampMixin(User)).withColumns({
  isEnabled: column
    .boolean()
    .default(true)
    .writableBy(anyOf(role(Role.ADMIN), role('support'))),
}) {
  static override tableName = 'ranked_user'
  static override policy = { read: everyone(), update: anyOf(self(), support()), delete: support() }
}

class OpenToken extends Token {
  static override policy = { read: everyone(), create: everyone(), update: everyone(), delete: everyone() }
}

class OpenRole extends UserRole {
  static override adminBypass = true
  static override policy = { read: everyone(), create: everyone(), update: everyone(), delete: everyone() }
}

class OpenDomain extends Domain {
  static override policy = { read: everyone(), create: everyone(), update: everyone(), delete: everyone() }
}

const PASSWORD = 'correct horse battery staple'
const ways = [
  'password',
  'hash by query',
  'e-mail',
  'disable',
  'soft delete',
  'delete',
  'graph',
  'verification',
  'raw',
  'many rows',
] as const

type Way = (typeof ways)[number]

/** Takes over an account, or locks its user out, in the given way. */
async function attack(way: Way, id: string): Promise<unknown> {
  const row = await RankedUser.getOr404(id)
  const email = `${uuid()}@example.com`
  switch (way) {
    case 'password':
      return await (await row.setPassword(PASSWORD)).save()
    case 'hash by query':
      return await RankedUser.query().findById(id).patch({ passwordHash: 'x' })
    case 'e-mail':
      return await row.update({ email })
    case 'disable':
      return await RankedUser.query().patchAndFetchById(id, { isEnabled: false })
    case 'soft delete':
      return await row.delete()
    case 'delete':
      return await RankedUser.query().deleteById(id)
    case 'graph':
      return await RankedUser.query().upsertGraph({ id, email } as never)
    case 'verification':
      return await row.$query().patch({ emailVerifiedAt: new Date() })
    case 'raw':
      return await row.$query().patch({ email: RankedUser.raw('?', [email]) } as never)
    case 'many rows':
      return await RankedUser.query().patch({ passwordHash: 'x' }).where('id', id)
  }
}

eachDatabase('Accounts of admins', (db) => {
  let perms: Perms
  const users = new Map<string, User>()
  const of = (name: string): User => users.get(name) as User
  const names = ['superadmin', 'superadmin2', 'admin', 'admin2', 'press admin', 'press admin2', 'support', 'ada', 'editor'] as const

  before(async function () {
    this.timeout(30_000)
    perms = initPerms({
      knex: db.knex,
      user: RankedUser as never,
      token: OpenToken,
      userRole: OpenRole,
      passwordHasher: testHasher(),
      jwt: { secret: 'x'.repeat(32) },
    })
    await createTables(db.knex, [RankedUser, OpenRole, Domain, OpenToken, UserSetting, SecondFactor] as never)
    await Domain.create({ name: 'press' })
  })
  after(() => perms.close())
  beforeEach(async () => {
    for (const table of ['token', 'user_role', 'ranked_user']) await db.knex(table).delete()
    for (const name of names) users.set(name, (await RankedUser.create({ email: `${name.replace(' ', '-')}@example.com` })) as User)
    await of('superadmin').grantRole(Role.SUPERADMIN)
    await of('superadmin2').grantRole(Role.SUPERADMIN)
    await of('admin').grantRole(Role.ADMIN)
    await of('admin2').grantRole(Role.ADMIN)
    await of('press admin').grantRole(Role.ADMIN, { domain: 'press' })
    await of('press admin2').grantRole(Role.ADMIN, { domain: 'press' })
    await of('press admin2').grantRole('support')
    await of('support').grantRole('support')
    await of('editor').grantRole('editor')
  })

  const stored = async (name: string) => JSON.stringify(await db.knex('ranked_user').where('id', of(name).id))

  /** Returns whether the attack changed the row. A refused attack throws 'forbidden' or changes 0 rows. */
  async function succeeds(way: Way, by: string, on: string): Promise<boolean> {
    const before = await stored(on)
    let error: unknown
    await runAs(of(by), () => attack(way, of(on).id)).catch((thrown: unknown) => {
      error = thrown
    })
    const isChanged = (await stored(on)) !== before
    if (error !== undefined) expect((error as { code?: string }).code, `${way} by ${by} on ${on}`).to.equal('forbidden')
    return isChanged
  }

  for (const way of ways) {
    it(`${way}: support cannot change the account of an admin, whatever the policy allows [promise 68]`, async () => {
      for (const on of ['superadmin', 'admin', 'press admin']) expect(await succeeds(way, 'support', on), on).to.equal(false)
      expect(await succeeds(way, 'support', 'editor'), 'editor').to.equal(true)
      expect(await succeeds(way, 'support', 'ada'), 'ada').to.equal(true)
    })

    it(`${way}: admins can change only accounts of a lower rank, superadmins also those of superadmins [promise 68]`, async () => {
      expect(await succeeds(way, 'admin', 'superadmin')).to.equal(false)
      expect(await succeeds(way, 'admin', 'admin2')).to.equal(false)
      expect(await succeeds(way, 'press admin2', 'press admin'), 'an admin of the same domain').to.equal(false)
      expect(await succeeds(way, 'admin', 'ada')).to.equal(true)
      if (way !== 'soft delete' && way !== 'delete') expect(await succeeds(way, 'superadmin', 'superadmin2')).to.equal(true)
    })
  }

  it('only the policy decides about columns that neither give access to an account nor lock it [promise 68]', async () => {
    const { updatedAt } = await RankedUser.getOr404(of('admin').id)
    await runAs(of('support'), () => RankedUser.query().findById(of('admin').id).patch({ lastLoginAt: new Date() }))
    expect((await RankedUser.getOr404(of('admin').id)).lastLoginAt).to.be.instanceOf(Date)
    expect(updatedAt).to.be.instanceOf(Date)
  })

  it('a user may change their own account if the policy allows it [promise 68]', async () => {
    const count = await runAs(of('admin'), () => RankedUser.query().findById(of('admin').id).patch({ email: 'own@example.com' }))
    expect(count).to.equal(1)
  })

  it('the check and the write are one statement [promises 35, 68]', async () => {
    const { statements } = await countQueries(db.knex, () =>
      runAs(of('support'), async () => {
        await RankedUser.query().findById(of('ada').id).patch({ email: 'new@example.com' })
      }),
    )
    const writes = statements.filter((sql) => /^update/i.test(sql))
    expect(writes).to.have.lengthOf(1)
    expect(writes[0]).to.match(/not exists|is not true/)
    const { statements: other } = await countQueries(db.knex, () =>
      runAs(of('support'), async () => {
        await RankedUser.query().findById(of('ada').id).patch({ lastLoginAt: new Date() })
      }),
    )
    expect(statements.length).to.equal(other.length)
    expect(other.filter((sql) => /^update/i.test(sql)).join()).not.to.contain('perms_k')
  })

  it('the error names the rank that the change requires [promise 68]', async () => {
    const row = await RankedUser.getOr404(of('superadmin').id)
    const error = await runAs(of('support'), () => rejection(row.update({ email: 'taken-over@example.com' })))
    expect(error.message).to.match(/higher rank than all of their admin roles/)
  })

  it('a lower rank cannot create, change or delete tokens of an admin, whatever their policy allows [promise 68]', async () => {
    const { token } = await Token.issue.call(OpenToken as never, of('admin'))
    const values = { userId: of('admin').id, token: 'x'.repeat(64), kind: 'api' }
    await runAs(of('support'), async () => {
      expect(await codeOf(OpenToken.create(values as never))).to.equal('forbidden')
      await rejection((await OpenToken.getOr404((token as Token).id)).revoke())
      await OpenToken.query().delete().where('userId', of('admin').id)
      await OpenToken.query()
        .patch({ revoked: true, revokedAt: new Date() } as never)
        .where('userId', of('admin').id)
    })
    const own = (await runAs(of('support'), () => Token.issue.call(OpenToken as never, of('support')))) as unknown as { token: Token }
    await runAs(of('support'), () =>
      rejection(
        OpenToken.query()
          .findById(own.token.id)
          .patch({ userId: of('admin').id } as never),
      ),
    )
    const rows = (await OpenToken.query().where('userId', of('admin').id)) as unknown as Token[]
    expect(rows.map(({ id, revoked }) => [id, revoked])).to.deep.equal([[(token as Token).id, false]])
  })

  it('callers can grant and revoke only roles below their rank, whatever the policy of roles allows [promises 39, 68]', async () => {
    const grants = async () => await db.knex('user_role').select('user_id', 'role', 'domain_id').orderBy('id')
    const before = await grants()
    const press = await Domain.query().findOne({ name: 'press' })
    for (const by of ['ada', 'support', 'press admin', 'admin']) {
      const own = of(by).id
      await runAs(of(by), async () => {
        expect(await codeOf(UserRole.create({ userId: own, role: Role.SUPERADMIN }))).to.equal('forbidden')
        if (by !== 'admin') expect(await codeOf(UserRole.create({ userId: own, role: 'editor' }))).to.equal('forbidden')
        await OpenRole.query().patch({ role: Role.SUPERADMIN }).where('userId', own)
        await OpenRole.query().delete().where('userId', of('superadmin').id)
        await OpenRole.query().delete().where('role', Role.ADMIN).whereNull('domainId')
      }).catch((error: { code: string }) => expect(error.code, by).to.equal('forbidden'))
    }
    expect(await grants()).to.deep.equal(before)
    // A caller cannot move their own grant to another user.
    await runAs(of('press admin'), () => UserRole.create({ userId: of('press admin').id, role: 'writer', domain: 'press' }))
    const moved = await runAs(of('press admin'), () =>
      OpenRole.query()
        .patch({ userId: of('ada').id })
        .where({ role: 'writer', domainId: press?.id } as never),
    )
    expect(moved).to.equal(0)
  })

  it('the methods for sessions, keys and factors of another user require a higher rank [promise 68]', async () => {
    const { auth } = perms
    await asSystem(() => auth.createRefreshToken(of('admin')))
    const [session] = await auth.sessions(of('admin'))
    const { key } = await auth.apiKeys.issue(of('admin'), { abilities: ['*'] })
    const calls = [
      () => auth.signOutEverywhere(of('admin')),
      () => auth.endSession(of('admin'), session?.id ?? ''),
      () => auth.apiKeys.revoke(of('admin').id, key.id),
      () => auth.apiKeys.issue(of('admin'), { abilities: ['*'] }),
      () => auth.secondFactors.reset(of('admin')),
      () => auth.secondFactors.begin(of('admin')),
    ]
    for (const call of calls) {
      for (const by of ['support', 'press admin', 'admin2', 'ada'])
        expect(await runAs(of(by), () => codeOf(call())), `${call} by ${by}`).to.equal('forbidden')
    }
    expect(await auth.sessions(of('admin'))).to.have.lengthOf(1)
    expect(await runAs(of('superadmin'), () => auth.secondFactors.reset(of('admin')))).to.equal(false)
    expect(await runAs(of('superadmin'), () => auth.apiKeys.revoke(of('admin').id, key.id))).to.equal(true)
    expect(await runAs(of('support'), () => auth.signOutEverywhere(of('ada')))).to.equal(0)
  })

  it('a caller cannot change a user who has become an admin during the request [promises 35, 68]', async () => {
    await runAs(of('admin'), async () => {
      await db.knex('user_role').where('user_id', of('ada').id).delete()
      await asSystem(() => of('ada').grantRole(Role.ADMIN))
      const row = await RankedUser.getOr404(of('ada').id)
      expect(await codeOf(row.update({ email: 'late@example.com' }))).to.equal('forbidden')
    })
  })
})

class TenantUser extends HasDomainMixin(User) {
  static override tableName = 'tenant_user'
  static override policy = {
    read: everyone(),
    update: anyOf(
      self(),
      role(['support', Role.ADMIN]),
      check((_row, actor) => actor?.grants.some((grant) => grant.role === 'auditor') === true),
    ),
  }
}

eachDatabase('Accounts in domains', (db: TestDatabase) => {
  let perms: Perms
  const users = new Map<string, User>()
  const of = (name: string): User => users.get(name) as User
  let press: Domain
  let radio: Domain

  before(async function () {
    this.timeout(30_000)
    perms = initPerms({
      knex: db.knex,
      user: TenantUser as never,
      domain: OpenDomain,
      passwordHasher: testHasher(),
      jwt: { secret: 'x'.repeat(32) },
      outsideContext: 'allow',
    })
    await createTables(db.knex, [OpenDomain, TenantUser, UserRole, Token, UserSetting] as never)
    press = await Domain.create({ name: 'press' })
    radio = await Domain.create({ name: 'radio' })
    const make = async (name: string, ...grants: [string, Domain | null][]) => {
      const user = (await TenantUser.create({ email: `${name.replaceAll(' ', '-')}@example.com`, domainId: press.id } as never)) as User
      for (const [granted, domain] of grants) await user.grantRole(granted, domain ? { domain } : {})
      users.set(name, user)
    }
    await make('admin', [Role.ADMIN, press])
    await make('support', ['support', press])
    await make('global support', ['support', null], ['writer', press])
    await make('auditor', ['auditor', press])
    await make('peer', [Role.ADMIN, press])
    await make('member', ['writer', press])
    await make('newcomer')
    await make('radio admin', ['writer', press], [Role.ADMIN, radio])
    await make('radio writer', ['writer', press], ['writer', radio])
    await make('global writer', ['writer', press], ['writer', null])
    await make('superadmin', [Role.SUPERADMIN, null])
    await make('global admin', [Role.ADMIN, null])
  })
  after(() => perms.close())

  const canTake = async (by: string, on: string): Promise<boolean> => {
    const before = JSON.stringify(await db.knex('tenant_user').where('id', of(on).id))
    await runAs(of(by), async () => {
      const row = await TenantUser.getOr404(of(on).id)
      await row.update({ email: `${uuid()}@example.com` } as never)
    }).catch((error: { code: string }) => expect(error.code, `${by} on ${on}`).to.equal('forbidden'))
    return JSON.stringify(await db.knex('tenant_user').where('id', of(on).id)) !== before
  }

  for (const by of ['admin', 'support', 'global support', 'auditor']) {
    it(`the user '${by}' changes accounts of users without roles in other domains, but no account of an admin [promise 68]`, async () => {
      for (const on of ['member', 'newcomer']) expect(await canTake(by, on), on).to.equal(true)
      for (const on of ['peer', 'radio admin', 'radio writer', 'global writer', 'superadmin', 'global admin'])
        expect(await canTake(by, on), on).to.equal(false)
    })
  }

  it('a global admin changes accounts of users with roles in several domains [promise 68]', async () => {
    for (const on of ['member', 'peer', 'radio admin', 'radio writer', 'global writer'])
      expect(await canTake('global admin', on), on).to.equal(true)
    expect(await canTake('global admin', 'superadmin')).to.equal(false)
  })

  it('only global admins rename, activate and deactivate domains, on every path [promise 70]', async () => {
    const changes = [{ name: 'hq' }, { active: false }, { name: 'hq', displayName: 'Headquarters' }]
    const stored = async () => JSON.stringify(await db.knex('domain').orderBy('id').select('id', 'name', 'active', 'display_name'))
    const before = await stored()
    for (const by of ['admin', 'member']) {
      for (const change of changes) {
        const paths = [
          async () => (await OpenDomain.getOr404(press.id)).update(change as never),
          async () => {
            const row = await OpenDomain.getOr404(press.id)
            Object.assign(row, change)
            return await row.save()
          },
          async () => (await OpenDomain.getOr404(press.id)).updateFrom(change as never),
          () =>
            OpenDomain.query()
              .findById(press.id)
              .patch(change as never),
          () => OpenDomain.query().patch(change as never),
          () =>
            OpenDomain.query()
              .findById(press.id)
              .patch({ name: OpenDomain.raw("'hq'") } as never),
          () => OpenDomain.query().upsertGraph({ id: press.id, ...change } as never),
          () => TenantUser.query().upsertGraph({ id: of(by).id, domain: { id: press.id, ...change } } as never),
          () =>
            TenantUser.relatedQuery('domain')
              .for(of(by).id)
              .patch(change as never),
          () =>
            OpenDomain.query()
              .insert({ id: press.id, name: 'hq' } as never)
              .onConflict('id')
              .merge(),
        ]
        for (const path of paths) {
          await runAs(of(by), async () => await (path() as PromiseLike<unknown>)).catch(() => undefined)
          expect(await stored(), `${path} by ${by}`).to.equal(before)
        }
      }
    }
    await runAs(of('admin'), async () => (await OpenDomain.getOr404(press.id)).update({ displayName: 'The press' } as never))
    await runAs(of('global admin'), async () => (await OpenDomain.getOr404(press.id)).update({ name: 'newspaper' } as never))
    expect(await db.knex('domain').where('id', press.id).select('name', 'display_name')).to.deep.equal([
      { name: 'newspaper', display_name: 'The press' },
    ])
  })

  it('an admin of a domain grants roles to its members and to its own users only; a global admin to all [promise 38]', async () => {
    const stranger = (await TenantUser.create({ email: 'stranger@example.com', domainId: radio.id } as never)) as User
    const grant = (by: string, user: User) => runAs(of(by), () => user.grantRole('columnist', { domain: press }))
    expect(await codeOf(grant('admin', stranger))).to.equal('forbidden')
    await grant('admin', of('member'))
    await grant('admin', of('newcomer'))
    expect(await runAs(of('admin'), () => UserRole.canCreate({ userId: stranger.id, role: 'x', domainId: press.id } as never))).to.equal(
      false,
    )
    const moved = runAs(of('admin'), () =>
      UserRole.query()
        .patch({ userId: stranger.id } as never)
        .where({ role: 'columnist', domainId: press.id } as never),
    )
    await moved.catch((error: { code: string }) => expect(error.code).to.equal('forbidden'))
    const ask = clientOf(new Api({ resources: [new CrudResource({ model: UserRole, path: 'grants' })] }), perms)
    const post = async (by: string) =>
      (
        await ask('POST', '/grants', (await signInAs(of(by))).accessToken, {
          body: { userId: stranger.id, role: 'columnist', domainId: press.id },
        })
      ).status
    expect(await post('admin')).to.equal(403)
    expect(await db.knex('user_role').where('user_id', stranger.id)).to.deep.equal([])
    expect(await post('global admin')).to.equal(201)
    await grant('global admin', stranger)
    expect(await db.knex('user_role').where('user_id', stranger.id)).to.have.lengthOf(1)
  })
})
