import { expect } from 'chai'
import { Invitation, type Mail, Role, runAs, SecondFactor, type SignInResult, TrustedDevice, type User } from '../../../../src/index.js'
import { createTables } from '../../../../src/migrations.js'
import { asSystem, runAsActor } from '../../../../src/policy/context.js'
import { capturedMailer, fakeClock } from '../../../../src/testing/index.js'
import { PasskeyChallenge } from '../../../../src/users/passkey-challenge.js'
import { countQueries, eachDatabase } from '../../../helpers/databases.js'
import { type Member, member, outcome, password, type SetUp, setUp } from '../../set-up.js'
import { addFactor, codeOf, type Factor } from './factor.js'

const lifetime = 86_400
const next = 'another battery staple'

eachDatabase('Trusted devices', (db) => {
  const mailer = capturedMailer<Mail>()
  const mail = { mailer, baseUrl: 'https://app.example.com' }
  const options = { mail, secondFactor: { trustedDevices: { lifetime } } }
  let all: SetUp
  let user: Member
  let factor: Factor
  let clock: ReturnType<typeof fakeClock>
  before(async () => {
    all = await setUp(db.knex, options, options)
    await createTables(db.knex, [SecondFactor, TrustedDevice, Invitation, PasskeyChallenge] as never)
  })
  after(() => all.perms.close())
  beforeEach(async () => {
    clock = fakeClock()
    mailer.clear()
    all.events.length = 0
    user = await member({ emailVerifiedAt: new Date() })
    factor = await addFactor({ auth: all.auth as never }, user as unknown as User, password)
  })
  afterEach(async () => {
    await all.auth.settled()
    clock.restore()
  })

  const signIn = (deviceToken?: string, who: Member = user, given = password): Promise<SignInResult> =>
    all.auth.signIn({ email: who.email, password: given, deviceToken })
  let step = 0
  async function trusted(who: Member = user, { secret: shared } = factor): Promise<string> {
    const { challenge = '' } = await signIn(undefined, who)
    // Each code works once.
    clock.advance(60)
    step += 1
    const result = await all.auth.secondFactors.verify(challenge, codeOf(shared), { device: `device ${step}`, trustDevice: true })
    if (result.status !== 'signedIn') throw new Error('not signed in')
    return result.deviceToken as string
  }
  const rows = async (who: Member = user): Promise<Record<string, unknown>[]> => db.knex('trusted_device').where('user_id', who.id)
  const statusWith = async (deviceToken: string, given = password) => (await signIn(deviceToken, user, given)).status
  const asUser = () => user as unknown as User
  const userModel = () => user.constructor as typeof User

  it('skip the second factor after the correct password, for their fixed lifetime [promises 151, 153]', async () => {
    const token = await trusted()
    expect(token).to.match(/^td_[\w-]{43}$/)
    expect(await statusWith(token)).to.equal('signedIn')
    clock.advance(lifetime - 100)
    expect(await statusWith(token)).to.equal('signedIn')
    clock.advance(101)
    expect(await statusWith(token)).to.equal('secondFactor')
  })

  it('start sessions with the method of the password only, which factor() does not accept [promise 152]', async () => {
    const { accessToken } = await signIn(await trusted())
    expect((await all.auth.authenticate(accessToken as string)).amr).to.deep.equal(['pwd'])
  })

  it('are stored as a hash, and no other text is one [promise 153]', async () => {
    const token = await trusted()
    const [row] = await rows()
    expect(JSON.stringify(row)).not.to.contain(token).and.not.to.contain(token.slice(3))
    for (const other of [row?.token as string, `td_${row?.token}`, token.slice(0, -1), `${token}a`, token.slice(3), '', 'td_'])
      expect(await statusWith(other), other).to.equal('secondFactor')
    for (const bad of [0, 1.5, 31_536_001, Number.NaN])
      expect(() => all.another({ secondFactor: { trustedDevices: { lifetime: bad } } })).to.throw(/31536000/)
  })

  it('are worth nothing with a wrong password, and nothing for another user, at the same work [promise 151]', async () => {
    const token = await trusted()
    expect(await outcome(signIn(token, user, 'wrong'))).to.equal('InvalidCredentialsError')
    const other = await member()
    const theirs = await addFactor({ auth: all.auth as never }, other as unknown as User, password)
    const otherToken = await trusted(other, theirs)
    await statusWith(token)
    const workOf = async (deviceToken: string, given = password) => {
      const { statements, result } = await countQueries(db.knex, () => signIn(deviceToken, user, given).catch(() => null))
      return [result?.status, statements]
    }
    const unknown = await workOf(`td_${'0'.repeat(43)}`)
    expect(unknown[0]).to.equal('secondFactor')
    expect(await workOf(otherToken)).to.deep.equal(unknown)
    // The device is looked up after the password only.
    const [, withWrong] = await workOf(token, 'wrong')
    expect(await workOf(`td_${'0'.repeat(43)}`, 'wrong')).to.deep.equal([undefined, withWrong])
    expect(JSON.stringify(withWrong)).not.to.contain('trusted_device')
  })

  it('are made only by a verified second factor of an application that allows them [promise 155]', async () => {
    const { challenge = '' } = await signIn()
    const verify = (code: string, auth = all.auth) => auth.secondFactors.verify(challenge, code, { trustDevice: true })
    expect(await outcome(verify('000000'))).to.equal('InvalidCredentialsError')
    clock.advance(60)
    const without = all.another({ mail })
    expect(await outcome(verify(codeOf(factor.secret), without))).to.equal('ConfigurationError')
    expect(await rows()).to.deep.equal([])
    expect(await all.auth.secondFactors.verify(challenge, codeOf(factor.secret))).not.to.have.property('deviceToken')
    expect(await rows()).to.deep.equal([])
    const token = await trusted()
    expect((await without.signIn({ email: user.email, password, deviceToken: token } as never)).status).to.equal('secondFactor')
  })

  it('cannot be made or ended with an API key or while impersonating [promise 155]', async () => {
    await trusted()
    const { accessToken } = await signIn(await trusted())
    const actor = await all.auth.authenticate(accessToken as string)
    const values = { userId: user.id, token: 'x', passwordMark: 'x', expiresAt: new Date(Date.now() + 1000) }
    const calls: (() => Promise<unknown>)[] = [
      () => all.auth.devices.revokeAll(asUser()),
      () => all.auth.devices.revoke(asUser(), '1'),
      () => TrustedDevice.create(values as never),
    ]
    for (const who of [
      { ...actor, abilities: ['*'] },
      { ...actor, impersonatorId: actor.id },
    ])
      for (const call of calls) expect(await outcome(runAsActor(who as never, call) as Promise<unknown>)).to.equal('ForbiddenError')
    expect(await rows()).to.have.length(2)
  })

  const endings: Record<string, () => Promise<unknown>> = {
    'a changed password': () => asUser().update({ password: next } as never),
    'a password that a process of an earlier version changed': async () => {
      const hash = await all.hasher.hash(next)
      await db.knex('member').where('id', user.id).update({ password_hash: hash })
    },
    'a password reset': async () => {
      await all.auth.mail.requestPasswordReset(user.email)
      await all.auth.settled()
      await all.auth.mail.resetPassword({ token: mailer.tokenFrom(mailer.last('resetPassword')), password: next })
    },
    'signing out everywhere': () => all.auth.signOutEverywhere(user.id),
    'disabling the user': async () => {
      await asSystem(() => asUser().update({ isEnabled: false } as never))
      await asSystem(() => asUser().update({ isEnabled: true } as never))
    },
    'disabling users in bulk': async () => {
      const users = () => userModel().query().whereIn('id', [user.id])
      await asSystem(() => users().patch({ isEnabled: false } as never))
      expect(await rows()).to.deep.equal([])
      await asSystem(() => users().patch({ isEnabled: true } as never))
    },
    'deleting users softly in bulk': async () => {
      await asSystem(() => userModel().query().whereIn('id', [user.id]).delete())
      expect(await rows()).to.deep.equal([])
      await db.knex('member').where('id', user.id).update({ deleted_at: null })
    },
    'deleting the user softly': async () => {
      await asSystem(() => user.delete())
      await db.knex('member').where('id', user.id).update({ deleted_at: null })
    },
    'a factor that is removed and set up again': async () => {
      clock.advance(60)
      await asSystem(() => all.auth.secondFactors.remove(asUser(), codeOf(factor.secret)))
      expect(await rows()).to.deep.equal([])
      await addFactor({ auth: all.auth as never }, asUser(), password)
    },
    'a factor that is reset': async () => {
      await asSystem(() => all.auth.secondFactors.reset(asUser()))
      expect(await rows()).to.deep.equal([])
      await addFactor({ auth: all.auth as never }, asUser(), password)
    },
  }
  for (const [what, end] of Object.entries(endings))
    it(`end with ${what} [promise 154]`, async () => {
      const token = await trusted()
      expect(await statusWith(token)).to.equal('signedIn')
      await end()
      const isNew = await all.auth.checkPassword(user.email, next)
      expect(await statusWith(token, isNew ? next : password)).to.equal('secondFactor')
      expect(await all.auth.devices.list(asUser())).to.deep.equal([])
    })

  it('of other users stay when a user is disabled [promise 154]', async () => {
    const token = await trusted()
    const other = await member()
    await trusted(other, await addFactor({ auth: all.auth as never }, other as unknown as User, password))
    await asSystem(() => other.update({ isEnabled: false } as never))
    expect([await rows(other), await statusWith(token)]).to.deep.equal([[], 'signedIn'])
  })

  it('end with the first proof of the address [promises 66, 154]', async () => {
    await db.knex('member').where('id', user.id).update({ email_verified_at: null })
    await trusted()
    await all.auth.mail.requestMagicLink(user.email)
    await all.auth.settled()
    await all.auth.mail.signInWithMagicLink(mailer.tokenFrom(mailer.last('magicLink')))
    expect(await rows()).to.deep.equal([])
  })

  it('stay when a sign-in hashes the same password again [promise 154]', async () => {
    const token = await trusted()
    all.hasher.version += 1
    expect(await statusWith(token)).to.equal('signedIn')
    expect(await statusWith(token)).to.equal('signedIn')
  })

  it('are listed without tokens, and revoked one by one and all, by their user only [promise 156]', async () => {
    const tokens = [await trusted(), await trusted(), await trusted()]
    const listed = await all.auth.devices.list(asUser())
    expect(listed).to.have.length(3)
    expect(Object.keys(listed[0] as object)).to.have.members(['id', 'description', 'address', 'createdAt', 'lastUsedAt', 'expiresAt'])
    const stranger = await member()
    expect(await all.auth.devices.list(stranger as unknown as User)).to.deep.equal([])
    expect(await all.auth.devices.revoke(stranger as unknown as User, listed[0]?.id as string)).to.equal(false)
    const boss = (await member()) as unknown as User
    await asSystem(() => boss.grantRole(Role.ADMIN))
    const refused = runAs(stranger as unknown as User, () => all.auth.devices.revokeAll(boss)) as Promise<unknown>
    expect(await outcome(refused)).to.equal('ForbiddenError')
    // The newest is listed first.
    expect(await all.auth.devices.revoke(asUser(), listed[0]?.id as string)).to.equal(true)
    expect(await all.auth.devices.revoke(asUser(), listed[0]?.id as string)).to.equal(false)
    expect(await all.auth.devices.revoke(asUser(), 'nope')).to.equal(false)
    expect(await Promise.all(tokens.map((token) => statusWith(token)))).to.deep.equal(['signedIn', 'signedIn', 'secondFactor'])
    expect(await all.auth.devices.revokeAll(asUser())).to.equal(2)
    expect(await statusWith(tokens[0] as string)).to.equal('secondFactor')
    const named = all.events
      .filter(({ name }) => name === 'deviceRevoked')
      .map(({ payload }) => (payload as { deviceIds: unknown }).deviceIds)
    expect(named).to.deep.equal([[listed[0]?.id], 'all'])
    expect(all.events.filter(({ name }) => name === 'deviceTrusted')).to.have.length(3)
  })

  it('are hidden: nobody reads or writes the rows of others, and no column shows a token [promise 156]', async () => {
    await trusted()
    const stranger = await member()
    await asSystem(() => (stranger as unknown as User).grantRole(Role.ADMIN))
    const read = (who: Member) => runAs(who as unknown as User, async () => await TrustedDevice.query())
    expect(await read(stranger)).to.deep.equal([])
    const [mine] = (await read(user)) as TrustedDevice[]
    expect(mine?.toJSON()).not.to.have.any.keys('token', 'passwordMark')
    expect(await outcome(runAs(asUser(), async () => mine?.delete()) as Promise<unknown>)).to.equal('ForbiddenError')
  })

  it('count as none while their table is missing, and a failed look-up refuses the sign-in [promises 61, 157]', async () => {
    const token = await trusted()
    await db.knex.schema.renameTable('trusted_device', 'elsewhere')
    try {
      const fresh = all.another(options)
      expect((await fresh.signIn({ email: user.email, password, deviceToken: token } as never)).status).to.equal('secondFactor')
      await all.auth.signOutEverywhere(user.id)
      expect(await fresh.devices.list(asUser())).to.deep.equal([])
      // This process knows that the table existed.
      expect(await outcome(signIn(token))).to.not.equal('fine')
    } finally {
      await db.knex.schema.renameTable('elsewhere', 'trusted_device')
    }
    expect(await statusWith(token)).to.equal('signedIn')
  })

  it('are deleted by maintenance after their lifetime [promise 153]', async () => {
    await trusted()
    clock.advance(lifetime + 1)
    await all.perms.maintain()
    expect(await rows()).to.deep.equal([])
  })
})
