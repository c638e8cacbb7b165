import { expect } from 'chai'
import {
  asSystem,
  Domain,
  initPerms,
  type Perms,
  Role,
  RolesNotLoadedError,
  runAs,
  transaction,
  User,
  UserRole,
  ValidationError,
} from '../../../src/index.js'
import { testHasher } from '../../../src/testing/hasher.js'
import { eachDatabase } from '../../helpers/databases.js'
import { fieldsOf, rejection, thrown } from '../../helpers/errors.js'
import { migrateAtOnce } from '../../helpers/library-tables-at-once.js'

enum Job {
  EDITOR = 'editor',
  CHIEF = 'editor-in-chief',
}

eachDatabase('Roles', (db) => {
  let perms: Perms
  let ada: User
  let press: Domain
  let radio: Domain
  before(async () => {
    perms = initPerms({ knex: db.knex, passwordHasher: testHasher() })
    await migrateAtOnce(perms)
  })
  after(() => perms.close())
  beforeEach(async () => {
    for (const table of ['user_role', 'user', 'domain']) await db.knex(table).delete()
    ada = await User.create({ email: 'ada@example.com' })
    press = await Domain.create({ name: 'press', displayName: 'The press' })
    radio = await Domain.create({ name: 'radio' })
  })

  const grants = async () => ((await db.knex('user_role')) as unknown[]).length
  const fresh = () => User.getOr404(ada.id)

  it('are held once granted, and no longer once revoked', async () => {
    expect(ada.hasRole(Role.USER)).to.equal(false)
    await UserRole.create({ user: ada, role: Role.USER })
    expect(ada.hasRole(Role.USER)).to.equal(true)
    expect((await fresh()).hasRole(Role.USER)).to.equal(true)
    expect(await ada.revokeRole(Role.USER)).to.equal(true)
    expect(ada.hasRole(Role.USER)).to.equal(false)
    expect((await fresh()).hasRole(Role.USER)).to.equal(false)
    expect(await ada.revokeRole(Role.USER)).to.equal(false)
  })

  it('may be strings or string enums of the application', async () => {
    await ada.grantRole(Job.EDITOR)
    await ada.grantRole('Größter Löwe 🦁')
    expect([ada.hasRole(Job.EDITOR), ada.hasRole(Job.CHIEF), ada.hasRole('editor'), ada.hasRole('Größter Löwe 🦁')]).to.deep.equal([
      true,
      false,
      true,
      true,
    ])
    expect([ada.hasRole('EDITOR'), ada.hasRole('editor ')]).to.deep.equal([false, false])
  })

  it('that are granted twice give one grant', async () => {
    const first = await UserRole.create({ user: ada, role: 'editor' })
    const again = await UserRole.create({ user: ada, role: 'editor' })
    expect(again.id).to.equal(first.id)
    const there = await UserRole.create({ user: ada, role: 'editor', domain: press })
    expect(there.id).not.to.equal(first.id)
    expect((await UserRole.create({ user: ada, role: 'editor', domain: 'press' })).id).to.equal(there.id)
    expect((await ada.grantRole('editor')).id).to.equal(first.id)
    expect(await grants()).to.equal(2)
  })

  for (const [where, options] of Object.entries({ everywhere: {}, 'in a domain': { domain: 'press' } })) {
    it(`granted at the same moment, ${where}, give one grant`, async () => {
      const made = await Promise.all(Array.from({ length: 8 }, () => ada.grantRole('editor', options)))
      expect(new Set(made.map(({ id }) => id)).size).to.equal(1)
      expect(await grants()).to.equal(1)
      expect((await fresh()).roles).to.have.length(1)
    })
  }

  it('that are granted twice inside a transaction leave it usable', async () => {
    await ada.grantRole('editor')
    await transaction(async (trx) => {
      await ada.grantRole('editor')
      await ada.grantRole('writer')
      await UserRole.create({ user: ada, role: 'editor' }, trx)
      await UserRole.create({ user: ada, role: 'reader' }, trx)
    })
    const trx = await db.knex.transaction()
    await UserRole.create({ user: ada, role: 'editor' }, trx)
    await UserRole.create({ user: ada, role: 'other' }, trx)
    await trx.commit()
    expect((await fresh()).roles?.map(({ role }) => role).sort()).to.deep.equal(['editor', 'other', 'reader', 'writer'])
  })

  it('that are granted or revoked in a rolled-back transaction are unchanged, also in the given user', async () => {
    await ada.grantRole('kept')
    await ada.grantRole('also kept')
    await rejection(
      transaction(async () => {
        await ada.grantRole('editor')
        await ada.revokeRole('kept')
        await (await UserRole.getByOr404({ userId: ada.id, role: 'also kept' })).delete()
        expect([ada.hasRole('editor'), ada.hasRole('kept')]).to.deep.equal([true, false])
        throw new Error('no')
      }),
    )
    expect([ada.hasRole('editor'), ada.hasRole('kept'), ada.hasRole('also kept')]).to.deep.equal([false, true, true])
    expect(await grants()).to.equal(2)
  })

  for (const role of [
    'ADMIN',
    'Admin',
    'admin ',
    ' admin',
    '\u00e1dmin',
    'a\u0301dmin',
    '\uff41dmin',
    'ad\u200bmin',
    'adm\u00adin',
    'SuperAdmin',
    'super admin',
    'superadmin\n',
    'USER',
    'us\u00e9r',
    'user\u00a0',
    '\u24d0dmin',
    '\u{1d41a}dmin',
  ]) {
    it(`that look like a reserved one are refused: ${JSON.stringify(role)}`, async () => {
      expect(fieldsOf(await rejection(UserRole.create({ user: ada, role })))).to.deep.equal(['role'])
      expect(fieldsOf(await rejection((async () => UserRole.query().insert({ userId: ada.id, role }))()))).to.deep.equal(['role'])
      const grant = await ada.grantRole('editor')
      expect(fieldsOf(await rejection(grant.update({ role })))).to.deep.equal(['role'])
      expect(await grants()).to.equal(1)
    })
  }

  for (const role of ['', ' ', null, undefined, 5, {}, ['admin'], 'x'.repeat(101), 'a\0']) {
    it(`that are not names are refused: ${JSON.stringify(role)?.slice(0, 20)}`, async () => {
      expect(await rejection((async () => UserRole.create({ user: ada, role } as never))())).to.be.instanceOf(ValidationError)
      expect(await grants()).to.equal(0)
    })
  }

  it('are found and deleted as rows of UserRole', async () => {
    await UserRole.create({ user: ada, role: Role.ADMIN })
    await (await UserRole.query().findOne({ userId: ada.id, role: Role.ADMIN }))?.delete()
    expect((await fresh()).hasRole(Role.ADMIN)).to.equal(false)
  })

  it('that are deleted through a grant with a loaded user disappear from that user', async () => {
    const grant = await UserRole.create({ user: ada, role: 'editor' })
    expect(ada.hasRole('editor')).to.equal(true)
    await grant.delete()
    expect(ada.hasRole('editor')).to.equal(false)
  })

  describe('hasRole()', () => {
    let inactive: Domain
    beforeEach(async () => {
      inactive = await Domain.create({ name: 'closed' })
      await ada.grantRole('global')
      await ada.grantRole('local', { domain: press })
      await ada.grantRole('shut', { domain: inactive })
      await inactive.update({ active: false })
      ada = await fresh()
    })

    it('answers according to the table', () => {
      const of = (domain: Domain) => ({ name: domain.name, id: domain.id, upperId: domain.id.toUpperCase(), itself: domain })
      const cases: [string | undefined, undefined | string | Domain, boolean][] = [
        ['global', undefined, true],
        ['local', undefined, false],
        ['shut', undefined, false],
        ['none', undefined, false],
        [undefined, undefined, true],
        ...Object.values(of(press)).map((domain): [string, string | Domain, boolean] => ['local', domain, true]),
        ...Object.values(of(press)).map((domain): [string, string | Domain, boolean] => ['global', domain, true]),
        ...Object.values(of(radio)).map((domain): [string, string | Domain, boolean] => ['local', domain, false]),
        ...Object.values(of(radio)).map((domain): [string, string | Domain, boolean] => ['global', domain, true]),
        ...Object.values(of(inactive)).map((domain): [string, string | Domain, boolean] => ['shut', domain, false]),
        ['local', 'any', true],
        ['global', 'any', true],
        ['shut', 'any', false],
        ['none', 'any', false],
        ['local', '*', false],
        ['global', '*', true],
        ['local', 'no such domain', false],
        ['local', 'Press', false],
        [undefined, 'any', true],
        [undefined, press, true],
      ]
      for (const [role, domain, expected] of cases) {
        const label = `hasRole(${String(role)}, ${typeof domain === 'object' ? domain.name : String(domain)})`
        expect(ada.hasRole(role, domain === undefined ? {} : { domain }), label).to.equal(expected)
      }
    })

    it('without a role counts only active domains', async () => {
      const bob = await User.create({ email: 'bob@example.com' })
      expect(bob.hasRole()).to.equal(false)
      await bob.grantRole('shut', { domain: inactive })
      expect(bob.hasRole()).to.equal(false)
      await bob.grantRole('local', { domain: press })
      expect([bob.hasRole(), bob.hasRole(undefined, { domain: press }), bob.hasRole(undefined, { domain: radio })]).to.deep.equal([
        true,
        true,
        false,
      ])
    })

    it('knows that a superadmin is an admin, not the other way round', async () => {
      const bob = await User.create({ email: 'bob@example.com' })
      await bob.grantRole(Role.SUPERADMIN)
      expect([bob.hasRole(Role.ADMIN), bob.hasRole(Role.SUPERADMIN), bob.hasRole(Role.USER), bob.isAdmin, bob.isSuperadmin]).to.deep.equal([
        true,
        true,
        false,
        true,
        true,
      ])
      await ada.grantRole(Role.ADMIN)
      expect([ada.hasRole(Role.SUPERADMIN), ada.isAdmin, ada.isSuperadmin]).to.deep.equal([false, true, false])
    })

    it('does not treat an admin of a domain as a global admin [promise 38]', async () => {
      await ada.grantRole(Role.ADMIN, { domain: press })
      expect([
        ada.isAdmin,
        ada.hasRole(Role.ADMIN),
        ada.hasRole(Role.ADMIN, { domain: press }),
        ada.hasRole(Role.ADMIN, { domain: radio }),
      ]).to.deep.equal([false, false, true, false])
    })

    it('throws when the roles or their domains are not loaded', async () => {
      const plain = (await User.query().findById(ada.id)) as User
      for (const ask of [
        () => plain.hasRole('global'),
        () => plain.hasRole(),
        () => plain.isAdmin,
        () => plain.domainIds,
        () => plain.hasDomainAccess(press),
      ])
        expect(thrown(ask)).to.be.instanceOf(RolesNotLoadedError)
      expect(thrown(() => User.build({ email: 'x@example.com' }).hasRole('x'))).to.be.instanceOf(RolesNotLoadedError)
      const half = (await User.query().findById(ada.id).withGraphFetched('roles')) as User
      expect(half.hasRole('global')).to.equal(true)
      expect(thrown(() => half.hasRole('local', { domain: press }))).to.be.instanceOf(RolesNotLoadedError)
      expect(await plain.loadRoles()).to.equal(plain)
      expect(plain.hasRole('global')).to.equal(true)
      const whole = (await User.query().findById(ada.id).withGraphFetched('roles.domain')) as User
      expect(whole.hasRole('local', { domain: press })).to.equal(true)
    })

    it('sees all roles, whatever the caller may read', async () => {
      const bob = await User.create({ email: 'bob@example.com' })
      const admin = await User.create({ email: 'admin@example.com' })
      await admin.grantRole(Role.ADMIN)
      const seen = await runAs(admin, () => User.getOr404(ada.id))
      expect(seen.hasRole('local', { domain: press })).to.equal(true)
      await runAs(bob, async () => {
        await ada.loadRoles()
        expect(ada.hasRole('global')).to.equal(true)
      })
    })
  })

  it('determine domainIds and hasDomainAccess()', async () => {
    await ada.grantRole('global')
    await ada.grantRole('one', { domain: press })
    await ada.grantRole('two', { domain: press })
    const closed = await Domain.create({ name: 'closed' })
    await ada.grantRole('three', { domain: closed })
    await closed.update({ active: false })
    ada = await fresh()
    expect(ada.domainIds).to.deep.equal([press.id])
    for (const domain of [press, press.id, 'press']) expect(ada.hasDomainAccess(domain)).to.equal(true)
    for (const domain of [radio, radio.id, 'radio', closed, 'closed', 'nowhere']) expect(ada.hasDomainAccess(domain)).to.equal(false)
    await ada.grantRole(Role.ADMIN)
    expect(ada.hasDomainAccess(radio)).to.equal(true)
  })

  it('are granted in a domain given by name, id or object, and globally with "*"', async () => {
    const made = [
      await UserRole.create({ user: ada, role: 'a', domain: 'press' }),
      await UserRole.create({ user: ada, role: 'b', domain: press.id }),
      await UserRole.create({ user: ada, role: 'c', domain: press }),
      await UserRole.create({ userId: ada.id, role: 'd', domainId: press.id }),
      await UserRole.create({ user: ada, role: 'e', domain: '*' }),
      await UserRole.create({ user: ada, role: 'f', domain: null }),
      await UserRole.create({ user: ada, role: 'g' }),
    ]
    expect(made.map(({ domainId }) => domainId)).to.deep.equal([press.id, press.id, press.id, press.id, null, null, null])
    expect(fieldsOf(await rejection(UserRole.create({ user: ada, role: 'x', domain: 'nowhere' })))).to.deep.equal(['domain'])
    const missing = await rejection(UserRole.create({ user: ada, role: 'x', domain: '0198c0de-0000-7000-8000-00000000000a' }))
    expect(missing).to.have.property('status', 422)
    expect(await ada.revokeRole('a', { domain: 'press' })).to.equal(true)
    expect(await ada.revokeRole('b')).to.equal(false)
    expect(await ada.revokeRole('b', { domain: press })).to.equal(true)
    expect(await ada.revokeRole('e', { domain: '*' })).to.equal(true)
  })

  it('are deleted with their domain', async () => {
    await ada.grantRole('one', { domain: press })
    await ada.grantRole('two')
    await press.delete()
    expect((await fresh()).roles?.map(({ role }) => role)).to.deep.equal(['two'])
  })

  it('are refused for a user who does not exist', async () => {
    const error = await rejection(UserRole.create({ userId: '0198c0de-0000-7000-8000-00000000000a', role: 'x' }))
    expect(error).to.have.property('status', 422)
    expect(fieldsOf(error)).to.include('userId')
  })

  it('stay unique when a grant moves to another domain', async () => {
    const here = await ada.grantRole('x', { domain: press })
    await ada.grantRole('x')
    expect(await rejection(here.update({ domainId: null }))).to.have.property('status', 409)
    await here.update({ domainId: radio.id })
    expect((await ada.grantRole('x', { domain: radio })).id).to.equal(here.id)
  })

  it('are written in the transaction that is passed to grantRole() and revokeRole()', async () => {
    const trx = await db.knex.transaction()
    await ada.grantRole('editor', {}, trx)
    await ada.grantRole('writer', { domain: 'press' }, trx)
    expect(await ada.revokeRole('editor', {}, trx)).to.equal(true)
    await trx.rollback()
    expect(await grants()).to.equal(0)
  })

  it('must name a domain or "*" with domains: "required"', async () => {
    await perms.close()
    perms = initPerms({ knex: db.knex, passwordHasher: testHasher(), domains: 'required' })
    try {
      expect(fieldsOf(await rejection(UserRole.create({ user: ada, role: 'x' })))).to.deep.equal(['domain'])
      expect(fieldsOf(await rejection(ada.grantRole('x')))).to.deep.equal(['domain'])
      expect(await rejection((async () => UserRole.query().insert({ userId: ada.id, role: 'x' }))())).to.be.instanceOf(ValidationError)
      expect(await rejection((async () => UserRole.build({ userId: ada.id, role: 'x' }).save())())).to.be.instanceOf(ValidationError)
      expect(await grants()).to.equal(0)
      expect((await ada.grantRole('x', { domain: '*' })).domainId).to.equal(null)
      expect((await UserRole.create({ user: ada, role: 'x', domain: press })).domainId).to.equal(press.id)
      expect((await UserRole.create({ userId: ada.id, role: 'y', domainId: press.id })).domainId).to.equal(press.id)
    } finally {
      await perms.close()
      perms = initPerms({ knex: db.knex, passwordHasher: testHasher() })
    }
    await ada.grantRole('free')
  })

  it('belong to domains with unique names', async () => {
    const error = await rejection(Domain.create({ name: 'press' }))
    expect(fieldsOf(error)).to.deep.equal(['name'])
    expect((await asSystem(() => Domain.create({ name: 'PRESS' }))).active).to.equal(true)
  })

  it('belong to domains whose names are not "*", "any" or an id [promise 38]', async () => {
    const boss = await User.create({ email: 'boss@example.com' })
    await boss.grantRole(Role.ADMIN)
    for (const name of ['*', 'any', radio.id, radio.id.toUpperCase()]) {
      expect(fieldsOf(await rejection(Domain.create({ name }))), name).to.deep.equal(['name'])
      const own = await Domain.getOr404(press.id)
      expect(fieldsOf(await runAs(boss, () => rejection(own.updateFrom({ name })))), name).to.deep.equal(['name'])
    }
    for (const name of ['anything', '**', `${radio.id} `]) await runAs(boss, () => press.updateFrom({ name }))
  })

  it('do not affect numTokens, which counts loaded tokens', async () => {
    expect(ada.numTokens).to.equal(0)
    const read = (await User.query().findById(ada.id).withGraphFetched('tokens')) as User
    expect(read.numTokens).to.equal(0)
  })
})

eachDatabase('Roles in tables that another process has created', (db) => {
  it('name the field when the user does not exist [promise 48]', async () => {
    const earlier = initPerms({ knex: db.knex, passwordHasher: testHasher() })
    await earlier.migrate()
    await earlier.close()
    const perms = initPerms({ knex: db.knex, passwordHasher: testHasher() })
    try {
      const error = await rejection(UserRole.create({ userId: '0198c0de-0000-7000-8000-00000000000a', role: 'x' }))
      expect(error).to.have.property('status', 422)
      expect(fieldsOf(error)).to.include('userId')
    } finally {
      await perms.close()
    }
  })
})
