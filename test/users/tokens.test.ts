import { createHash } from 'node:crypto'
import { expect } from 'chai'
import { initPerms, type Perms, Role, runAs, SoftDeleteMixin, Token, User, ValidationError } from '../../src/index.js'
import { testHasher } from '../../src/testing/hasher.js'
import { fakeClock } from '../../src/testing/index.js'
import { eachDatabase } from '../helpers/databases.js'
import { fieldsOf, rejection } from '../helpers/errors.js'
import { migrateAtOnce } from '../helpers/library-tables-at-once.js'

class Member extends SoftDeleteMixin(User) {}

eachDatabase('Tokens', (db) => {
  let perms: Perms
  let ada: Member
  let bob: Member
  before(async () => {
    perms = initPerms({ knex: db.knex, user: Member, passwordHasher: testHasher() })
    await migrateAtOnce(perms)
  })
  after(() => perms.close())
  beforeEach(async () => {
    for (const table of ['user_role', 'token', 'member']) await db.knex(table).delete()
    ada = await Member.create({ email: 'ada@example.com' })
    bob = await Member.create({ email: 'bob@example.com' })
  })

  it('are shown once, and only their hash is stored [promise 20]', async () => {
    const { token, plain } = await Token.issue(ada, { description: 'mine' })
    expect(Buffer.from(plain, 'base64url').length).to.be.at.least(16)
    const row = await db.knex('token').first()
    expect(row.token).to.equal(createHash('sha256').update(plain).digest('hex'))
    expect(JSON.stringify(row)).not.to.include(plain)
    for (const shown of [token, await Token.getOr404(token.id)]) {
      expect(JSON.stringify(shown)).not.to.include(plain)
      expect(Object.keys(shown.toJSON())).not.to.include('token')
    }
    expect(new Set(await Promise.all(Array.from({ length: 20 }, async () => (await Token.issue(ada)).plain))).size).to.equal(20)
  })

  it('are verified to the token with its user', async () => {
    const { token, plain } = await Token.issue(ada, { kind: 'cli' })
    const found = await Token.verify(plain)
    expect(found?.id).to.equal(token.id)
    expect(found?.user).to.be.instanceOf(Member)
    expect(found?.user?.email).to.equal('ada@example.com')
    expect(found?.user?.hasRole(Role.ADMIN)).to.equal(false)
    expect((await Token.verify(plain, { kind: 'cli' }))?.id).to.equal(token.id)
    expect(await Token.verify(plain, { kind: 'session' })).to.equal(null)
    expect((await runAs(bob, () => Token.verify(plain)))?.id).to.equal(token.id)
  })

  it('may be chosen by the application when they have at least 22 characters', async () => {
    const plain = 'a-token-of-my-own-that-is-long'
    await Token.issue(ada, { token: plain })
    expect((await Token.verify(plain))?.userId).to.equal(ada.id)
    expect(fieldsOf(await rejection(Token.issue(ada, { token: 'too-short' })))).to.deep.equal(['token'])
    expect(fieldsOf(await rejection(Token.issue(bob, { token: plain })))).to.deep.equal(['token'])
  })

  it('are not verified when they are unknown, empty or not strings [promise 27]', async () => {
    const { plain } = await Token.issue(ada)
    const hash = (await db.knex('token').first()).token
    for (const bad of [
      '',
      ' ',
      'x',
      plain.slice(1),
      `${plain} `,
      plain.toUpperCase(),
      hash,
      null,
      undefined,
      5,
      {},
      [plain],
      { token: plain },
      'x'.repeat(10_000),
      'a\0b',
      '\ud800',
    ])
      expect(await Token.verify(bad as never), String(bad).slice(0, 20)).to.equal(null)
  })

  it('are invalid once revoked [promise 23]', async () => {
    for (const how of ['revoke', 'update'] as const) {
      const { token, plain } = await Token.issue(ada)
      const before = Date.now()
      await (how === 'revoke' ? token.revoke() : token.update({ revoked: true }))
      expect(token.revoked).to.equal(true)
      expect(token.revokedAt?.getTime()).to.be.within(before, Date.now())
      expect((await Token.getOr404(token.id)).revokedAt).to.deep.equal(token.revokedAt)
      expect(await Token.verify(plain)).to.equal(null)
    }
  })

  it('stay revoked with the first date', async () => {
    const { token } = await Token.issue(ada)
    await token.revoke()
    const at = token.revokedAt
    await new Promise((resolve) => setTimeout(resolve, 5))
    await token.revoke()
    expect((await Token.getOr404(token.id)).revokedAt).to.deep.equal(at)
    expect(fieldsOf(await rejection(token.update({ revoked: false })))).to.deep.equal(['revoked'])
    token.revoked = false
    expect(fieldsOf(await rejection(token.save()))).to.deep.equal(['revoked'])
    expect((await Token.getOr404(token.id)).revoked).to.equal(true)
  })

  it('are active until they are revoked, also by the earlier name of isActive', async () => {
    const { token } = await Token.issue(ada)
    expect([token.isActive, token.isLive]).to.deep.equal([true, true])
    await token.revoke()
    expect([token.isActive, token.isLive]).to.deep.equal([false, false])
  })

  it('are revoked in bulk, and through a fresh copy', async () => {
    const { token, plain } = await Token.issue(ada)
    const copy = await Token.getOr404(token.id)
    await copy.revoke()
    expect(await Token.verify(plain)).to.equal(null)
    const second = await Token.issue(ada)
    await Token.query().patch({ revoked: true }).where('userId', ada.id).where('revoked', false)
    expect((await Token.getOr404(second.token.id)).revokedAt).to.be.instanceOf(Date)
  })

  it('are invalid from the millisecond in which they expire', async () => {
    const clock = fakeClock()
    try {
      const { plain, token } = await Token.issue(ada, { expiresIn: 3600 })
      expect(token.expiresAt?.getTime()).to.be.closeTo(Date.now() + 3_600_000, 2000)
      clock.advance(3590)
      expect(await Token.verify(plain)).not.to.equal(null)
      clock.advance(10)
      expect(await Token.verify(plain)).to.equal(null)
      await token.update({ expiresAt: new Date(Date.now() + 60_000) })
      expect(await Token.verify(plain)).not.to.equal(null)
      await token.update({ expiresAt: new Date(Date.now() - 1) })
      expect(await Token.verify(plain)).to.equal(null)
      expect((await Token.issue(ada)).token.expiresAt).to.equal(null)
    } finally {
      clock.restore()
    }
  })

  for (const options of [
    { expiresIn: 0 },
    { expiresIn: -5 },
    { expiresIn: Number.NaN },
    { expiresAt: new Date(0) },
    { expiresAt: new Date(Number.NaN) },
  ]) {
    it(`are not issued with a past or invalid expiry: ${JSON.stringify(options)}`, async () => {
      expect(await rejection(Token.issue(ada, options))).to.be.instanceOf(ValidationError)
      expect(await Token.query()).to.deep.equal([])
    })
  }

  it('are invalid while their user is disabled, soft-deleted or deleted [promise 56]', async () => {
    const { plain } = await Token.issue(ada)
    await ada.update({ isEnabled: false })
    expect(await Token.verify(plain)).to.equal(null)
    await ada.update({ isEnabled: true })
    expect(await Token.verify(plain)).not.to.equal(null)
    await ada.softDelete()
    expect(await Token.verify(plain)).to.equal(null)
    await ada.hardDelete()
    expect(await Token.verify(plain)).to.equal(null)
    expect(await Token.query()).to.deep.equal([])
  })

  it('are deleted by deleteExpired() only when they have expired', async () => {
    const [past, future, never] = await Promise.all([
      Token.issue(ada, { expiresIn: 60 }),
      Token.issue(ada, { expiresIn: 60 }),
      Token.issue(ada),
    ])
    await past.token.update({ expiresAt: new Date(Date.now() - 1000) })
    expect(await Token.deleteExpired()).to.equal(1)
    expect((await Token.query()).map(({ id }) => id)).to.have.members([future.token.id, never.token.id])
    const trx = await db.knex.transaction()
    await Token.query(trx).patch({ expiresAt: new Date(0) })
    expect(await Token.deleteExpired(trx)).to.equal(2)
    await trx.rollback()
    expect(await Token.query().resultSize()).to.equal(2)
  })

  it('are read and revoked only by their owner, not by admins [promise 39]', async () => {
    const { token, plain } = await Token.issue(ada)
    await bob.grantRole(Role.SUPERADMIN)
    expect(await runAs(bob, () => Token.query())).to.deep.equal([])
    expect(await runAs(bob, () => rejection(Token.issue(ada)))).to.have.property('status', 403)
    expect(await runAs(bob, () => rejection(token.revoke()))).to.have.property('status', 404)
    expect(await runAs(ada, () => Token.query())).to.have.length(1)
    await runAs(ada, () => token.revoke())
    expect(await Token.verify(plain)).to.equal(null)
  })

  it('are counted by numTokens', async () => {
    await Token.issue(ada)
    await Token.issue(ada)
    expect((await Member.query().findById(ada.id).withGraphFetched('tokens'))?.numTokens).to.equal(2)
  })

  it('are written in the transaction that is passed as the last argument', async () => {
    const trx = await db.knex.transaction()
    const { plain } = await Token.issue(ada, {}, trx)
    expect(await Token.verify(plain, {}, trx)).not.to.equal(null)
    await trx.rollback()
    expect(await Token.verify(plain)).to.equal(null)
  })
})
