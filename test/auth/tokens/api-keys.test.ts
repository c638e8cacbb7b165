import { expect } from 'chai'
import { currentUser, currentUserId, Domain, Role, runAs, Token, type User, UserRole } from '../../../src/index.js'
import { runAsActor } from '../../../src/policy/context.js'
import { hashToken, isApiKey, newApiKey } from '../../../src/users/api-key-format.js'
import { countQueries, eachDatabase } from '../../helpers/databases.js'
import { Member, member, outcome, type SetUp, setUp } from '../set-up.js'

describe('The form of an API key', () => {
  it('has a prefix, 256 bits and a checksum, of letters and digits alone [promise 25]', () => {
    const keys = Array.from({ length: 200 }, newApiKey)
    for (const key of keys) expect(key).to.match(/^opk_[0-9A-Za-z]{49}$/)
    expect(new Set(keys).size).to.equal(200)
    expect(keys.every(isApiKey)).to.equal(true)
  })

  it('detects every changed, missing or added character', () => {
    const key = newApiKey()
    for (let i = 0; i < key.length; i += 1) {
      const other = key[i] === 'A' ? 'B' : 'A'
      expect(isApiKey(key.slice(0, i) + other + key.slice(i + 1)), `at ${i}`).to.equal(false)
      expect(isApiKey(key.slice(0, i) + key.slice(i + 1))).to.equal(false)
    }
    for (const wrong of [`${key} `, ` ${key}`, key.toUpperCase(), `${key}A`, '', 'opk_', null, undefined, 1, {}, [key]])
      expect(isApiKey(wrong)).to.equal(false)
  })
})

eachDatabase('API keys', (db) => {
  let all: SetUp
  let user: Member
  before(async () => {
    all = await setUp(db.knex)
  })
  after(() => all.perms.close())
  beforeEach(async () => {
    user = await member()
    all.events.length = 0
  })

  const issue = (options: object = {}) => Token.issue(user as unknown as User, { kind: 'api', abilities: ['members:read'], ...options })

  it('are issued once, and only their hash is stored [promises 20, 25]', async () => {
    const { token, plain } = await issue({ description: 'CI', expiresIn: 3600 })
    expect(isApiKey(plain)).to.equal(true)
    expect(JSON.stringify(token)).not.to.contain(plain).and.not.to.contain(hashToken(plain))
    const [row] = await db.knex('token').where('id', token.id)
    expect(row.token).to.equal(hashToken(plain))
    expect(JSON.stringify(row)).not.to.contain(plain)
    expect(token).to.deep.include({ kind: 'api', description: 'CI', abilities: ['members:read'] })
    expect((await Token.getOr404(token.id)).abilities).to.deep.equal(['members:read'])
  })

  it('load their user with roles in one statement', async () => {
    await UserRole.create({ user: user as unknown as User, role: 'editor' })
    const { token, plain } = await issue()
    await all.auth.authenticate(plain)
    await all.auth.settled()
    const { result: actor, statements } = await countQueries(db.knex, () => all.auth.authenticate(plain))
    expect(statements).to.have.length(1)
    expect(actor).to.deep.include({ id: user.id, sessionId: token.id, abilities: ['members:read'], impersonatorId: null })
    expect(actor.grants.map(({ role }) => role)).to.deep.equal(['editor'])
  })

  it('without abilities give no access', async () => {
    const { plain } = await issue({ abilities: undefined })
    expect((await all.auth.authenticate(plain)).abilities).to.deep.equal([])
  })

  it('are invalid once revoked or expired, or their user is disabled or deleted [promises 22, 23, 25]', async () => {
    const revoked = await issue()
    await revoked.token.revoke()
    expect(await outcome(all.auth.authenticate(revoked.plain))).to.equal('InvalidTokenError')
    const expired = await issue({ expiresIn: 60 })
    await db.knex('token').where('id', expired.token.id).update({ expires_at: '2020-01-01 00:00:00' })
    expect(await outcome(all.auth.authenticate(expired.plain))).to.equal('InvalidTokenError')
    expect(await Token.verify(expired.plain)).to.equal(null)
    const { plain } = await issue()
    await user.update({ isEnabled: false } as never)
    expect(await outcome(all.auth.authenticate(plain))).to.equal('InvalidTokenError')
    await user.update({ isEnabled: true } as never)
    expect((await all.auth.authenticate(plain)).id).to.equal(user.id)
    await user.delete()
    expect(await outcome(all.auth.authenticate(plain))).to.equal('InvalidTokenError')
  })

  it('stay valid when the user changes the password [promise 25]', async () => {
    const { plain } = await issue()
    await user.update({ password: 'quite another one' } as never)
    expect((await all.auth.authenticate(plain)).id).to.equal(user.id)
  })

  it('end when another user sets the password, as with a reset [promise 66]', async () => {
    const { plain } = await issue()
    const admin = (await member()) as unknown as User
    await admin.grantRole(Role.ADMIN)
    await runAs(admin, async () => {
      const row = (await all.perms.models.user.query().findById(user.id)) as unknown as User
      await row.update({ email: `renamed-${user.email}` } as never)
      expect((await all.auth.authenticate(plain)).id).to.equal(user.id)
      await row.update({ password: 'set by an administrator' } as never)
    })
    expect(await outcome(all.auth.authenticate(plain))).to.equal('InvalidTokenError')
  })

  for (const [where, domain] of [
    ['everywhere', undefined],
    ['in a domain', 'press'],
  ] as const) {
    it(`do not gain an admin role granted to their user ${where}; new keys have it [promise 25]`, async () => {
      await Domain.query().delete()
      await Domain.create({ name: 'press' })
      const other = await member()
      const before = await issue({ abilities: ['*'] })
      // Later by more than the clock's resolution.
      await new Promise((resolve) => setTimeout(resolve, 5))
      await (user as unknown as User).grantRole(Role.ADMIN, domain ? { domain } : {})
      await (user as unknown as User).grantRole('editor', domain ? { domain } : {})
      const old = await all.auth.authenticate(before.plain)
      expect(old.grants.map(({ role }) => role)).to.deep.equal(['editor'])
      expect((old.user as User).hasRole(Role.ADMIN, { domain: 'any' })).to.equal(false)
      expect((await runAs(old, () => currentUser()?.hasRole(Role.ADMIN, { domain: 'any' }))) as boolean).to.equal(false)
      const { plain } = await issue({ abilities: ['*'] })
      const fresh = await all.auth.authenticate(plain)
      expect(fresh.grants.map(({ role }) => role)).to.have.members(['admin', 'editor'])
      if (domain) return
      const rename = (actor: typeof old) =>
        runAsActor(
          actor,
          async () =>
            await Member.query()
              .findById(other.id)
              .patch({ level: '3.00' } as never),
        )
      expect(await rename(old)).to.equal(0)
      expect(await rename(fresh)).to.equal(1)
      expect(await runAs(old, () => Member.query().findById(other.id))).to.equal(undefined)
    })
  }

  it('do not follow a role that is changed into an admin role, and keep one that was held before [promise 25]', async () => {
    const grant = await (user as unknown as User).grantRole('editor')
    await new Promise((resolve) => setTimeout(resolve, 5))
    const { plain } = await issue({ abilities: ['*'] })
    expect((await all.auth.authenticate(plain)).grants.map(({ role }) => role)).to.deep.equal(['editor'])
    await new Promise((resolve) => setTimeout(resolve, 5))
    await UserRole.query().findById(grant.id).patch({ role: Role.ADMIN })
    expect((await all.auth.authenticate(plain)).grants).to.deep.equal([])
    await new Promise((resolve) => setTimeout(resolve, 5))
    const later = await issue({ abilities: ['*'] })
    expect((await all.auth.authenticate(later.plain)).grants.map(({ role }) => role)).to.deep.equal(['admin'])
    // A user that loadUser() returns is limited in the same way, and the object itself does not change.
    const own = await (await Member.getOr404(user.id)).loadRoles()
    const another = all.another({ loadUser: () => own as never })
    expect((await another.authenticate(plain)).grants).to.deep.equal([])
    expect(own.roles).to.have.length(1)
  })

  it('are refused without a query when the checksum is wrong', async () => {
    const { plain } = await issue()
    const wrong = plain.slice(0, -1) + (plain.endsWith('0') ? '1' : '0')
    const { statements } = await countQueries(db.knex, async () => {
      expect(await outcome(all.auth.authenticate(wrong))).to.equal('InvalidTokenError')
      expect(await Token.verify(wrong)).to.equal(null)
    })
    expect(statements).to.deep.equal([])
  })

  it('are the only tokens that API key authentication accepts [promise 17]', async () => {
    const { plain } = await Token.issue(user as unknown as User, { kind: 'custom' })
    expect(await outcome(all.auth.authenticate(plain))).to.equal('InvalidTokenError')
    const key = await issue()
    await db.knex('token').where('id', key.token.id).update({ kind: 'custom' })
    expect(await outcome(all.auth.authenticate(key.plain))).to.equal('InvalidTokenError')
    expect(await outcome(all.auth.refresh(key.plain))).to.equal('InvalidTokenError')
  })

  it('record their last use once a minute in the background [promise 25]', async () => {
    const { token, plain } = await issue()
    await all.auth.authenticate(plain)
    await all.auth.settled()
    const first = (await Token.getOr404(token.id)).lastUsedAt
    expect(first).to.be.instanceOf(Date)
    const { statements } = await countQueries(db.knex, async () => {
      await all.auth.authenticate(plain)
      await all.another().authenticate(plain)
      await all.auth.settled()
    })
    expect(statements.filter((sql) => /^update/i.test(sql))).to.deep.equal([])
    const before = new Date(Date.now() - 61_000)
    await Token.query().findById(token.id).patch({ lastUsedAt: before })
    // Two at once write it once.
    const other = all.another()
    await Promise.all([all.auth.authenticate(plain), other.authenticate(plain)])
    await Promise.all([all.auth.settled(), other.settled()])
    expect((await Token.getOr404(token.id)).lastUsedAt?.getTime()).to.be.above(before.getTime() + 60_000)
  })

  it('need valid abilities and a future expiry, and accept no custom token', async () => {
    for (const options of [
      { abilities: 'x' },
      { abilities: [''] },
      { abilities: ['a b'] },
      { abilities: [1] },
      { expiresIn: -1 },
      { token: 'x'.repeat(40) },
    ])
      expect(await outcome(issue(options)), JSON.stringify(options)).to.equal('ValidationError')
    expect(await outcome(Token.issue(user as unknown as User, { kind: 'custom', abilities: ['a'] }))).to.equal('ValidationError')
    expect(await outcome(Token.issue(user as unknown as User, { token: newApiKey() }))).to.equal('ValidationError')
  })

  it('cannot create keys or change passwords, addresses or sessions [promise 25]', async () => {
    const { plain } = await issue({ abilities: ['*'] })
    const actor = await all.auth.authenticate(plain)
    await all.auth.settled()
    await runAsActor(actor, async () => {
      expect(currentUserId()).to.equal(user.id)
      expect(await outcome(Token.issue(user as unknown as User, { kind: 'api' }))).to.equal('ForbiddenError')
      expect(await outcome(Token.issue(user as unknown as User))).to.equal('ForbiddenError')
      expect(await Token.query()).to.deep.equal([])
      expect(await outcome(Token.query().patch({ revoked: true }))).to.equal('ForbiddenError')
      expect(await outcome(Token.query().delete())).to.equal('ForbiddenError')
      const own = await all.perms.models.user.query().findById(user.id)
      const row = own as unknown as Member
      expect(await outcome(row.update({ password: 'quite another one', oldPassword: 'correct horse battery' } as never))).to.equal(
        'ForbiddenError',
      )
      expect(await outcome(row.update({ email: 'new@example.com', oldPassword: 'correct horse battery' } as never))).to.equal(
        'ForbiddenError',
      )
      expect(
        await outcome(
          all.perms.models.user
            .query()
            .findById(user.id)
            .patch({ email: 'new@example.com' } as never),
        ),
      ).to.equal('ForbiddenError')
    })
    expect((await all.auth.authenticate(plain)).id).to.equal(user.id)
  })

  it('are listed and revoked through perms.auth.apiKeys, each by its user [promise 25]', async () => {
    const { key, plain } = await all.auth.apiKeys.issue(user as unknown as User, { description: 'CI', abilities: ['*'], expiresIn: 60 })
    expect(await all.auth.apiKeys.list(user.id)).to.deep.equal([{ ...key, lastUsedAt: null }])
    expect(all.events).to.deep.equal([{ name: 'apiKeyCreated', payload: { userId: user.id, keyId: key.id, abilities: ['*'] } }])
    const other = await member()
    expect(await all.auth.apiKeys.revoke(other.id, key.id)).to.equal(false)
    expect(await all.auth.apiKeys.revoke(user.id, 'nonsense')).to.equal(false)
    expect(await all.auth.apiKeys.revoke(user.id, key.id)).to.equal(true)
    expect(await all.auth.apiKeys.revoke(user.id, key.id)).to.equal(false)
    expect(await all.auth.apiKeys.list(user.id)).to.deep.equal([])
    expect(await outcome(all.auth.authenticate(plain))).to.equal('InvalidTokenError')
    expect(JSON.stringify(all.events)).not.to.contain(plain)
  })

  it('are limited to a hundred for each user', async () => {
    const rows = Array.from({ length: 100 }, (_, i) => ({ i }))
    for (const { i } of rows) await issue({ description: `key ${i}` })
    expect(await outcome(all.auth.apiKeys.issue(user as unknown as User, { abilities: ['*'] }))).to.equal('ValidationError')
  })

  it('write nothing more once revoked during a request [promise 35]', async () => {
    const { token, plain } = await issue({ abilities: ['*'] })
    const actor = await all.auth.authenticate(plain)
    await token.revoke()
    const change = runAsActor(actor, async () => {
      const row = (await all.perms.models.user.query().findById(user.id)) as unknown as Member
      await row.update({ level: '1.00' } as never)
    })
    expect(await outcome(change)).to.equal('UnauthorizedError')
    expect(
      await runAs(user as unknown as User, async () => (await all.perms.models.user.query().findById(user.id)) !== undefined),
    ).to.equal(true)
  })
})
