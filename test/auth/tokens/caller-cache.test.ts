import { expect } from 'chai'
import { ConfigurationError, type Mail, SecondFactor, type User } from '../../../src/index.js'
import { createTables } from '../../../src/migrations.js'
import { runAsActor } from '../../../src/policy/context.js'
import { type FakeClock, fakeClock } from '../../../src/testing/clock.js'
import { capturedMailer } from '../../../src/testing/index.js'
import { countQueries, eachDatabase } from '../../helpers/databases.js'
import { rejection, thrown } from '../../helpers/errors.js'
import { type Member, member, outcome, password, type SetUp, setUp } from '../set-up.js'

eachDatabase('cacheCallers', (db) => {
  let all: SetUp
  let clock: FakeClock
  before(async () => {
    clock = fakeClock()
    const mail = { mailer: capturedMailer<Mail>(), baseUrl: 'https://app.example.com' }
    all = await setUp(db.knex, { mail, cacheCallers: 60 }, { mail, cacheCallers: 60 })
    await createTables(db.knex, [SecondFactor] as never)
  })
  after(async () => {
    clock.restore()
    await all.perms.close()
  })

  it('queries the database once in its lifetime, and again afterwards', async () => {
    const token = await all.auth.createAccessToken(await member())
    const first = await countQueries(db.knex, () => all.auth.authenticate(token))
    const second = await countQueries(db.knex, () => all.auth.authenticate(token))
    expect([first.statements.length, second.statements.length]).to.deep.equal([1, 0])
    expect(second.result).to.deep.include({ id: first.result.id, sessionId: first.result.sessionId, grants: [] })
    clock.advance(60)
    expect((await countQueries(db.knex, () => all.auth.authenticate(token))).statements).to.have.length(1)
  })

  it('gives each request its own user object, with roles', async () => {
    const user = await member()
    await user.grantRole('editor')
    const token = await all.auth.createAccessToken(user)
    const [one, two, three] = [await all.auth.authenticate(token), await all.auth.authenticate(token), await all.auth.authenticate(token)]
    for (const { user: own } of [one, two]) Object.assign(own, { email: 'changed@example.com', roles: [] })
    expect((three.user as typeof user).email).to.equal(user.email)
    expect((three.user as typeof user).hasRole('editor')).to.equal(true)
    expect((await all.auth.authenticate(token)).grants.map(({ role }) => role)).to.deep.equal(['editor'])
  })

  it('drops callers at once when their session ends in this process, and in time when it ends in another [promise 22]', async () => {
    const user = await member()
    const end = [async (id: string) => await all.auth.endSession(user, id), async () => await all.auth.signOutEverywhere(user)]
    for (const sign of end) {
      const token = await all.auth.createAccessToken(user)
      const { sessionId } = await all.auth.authenticate(token)
      await sign(sessionId as string)
      expect(await outcome(all.auth.authenticate(token))).to.equal('InvalidTokenError')
    }
    const token = await all.auth.createAccessToken(user)
    await all.auth.authenticate(token)
    await all.another().signOutEverywhere(user)
    clock.advance(60)
    expect(await outcome(all.auth.authenticate(token))).to.equal('InvalidTokenError')
  })

  it('drops callers at once when their password or role changes in this process [promise 22]', async () => {
    const { auth } = all.perms
    for (const [change, expected] of [
      [(user: Member) => user.update({ password: 'changed here' } as never), 'InvalidTokenError'],
      [(user: Member) => user.grantRole('editor'), 'editor'],
    ] as const) {
      const user = await member()
      const token = await auth.createAccessToken(user as unknown as User)
      await auth.authenticate(token)
      await change(user)
      const after = auth.authenticate(token).then(({ grants }) => grants[0]?.role)
      expect(await after.catch((error: Error) => error.constructor.name)).to.equal(expected)
    }
  })

  const proofs: Record<string, (own: Member, given: string) => Promise<unknown>> = {
    'a mailed change of the address': (own, oldPassword) =>
      all.auth.mail.requestEmailChange(own as unknown as User, { email: `moved-${own.email}`, oldPassword }),
    'a second factor': (own, given) => all.auth.secondFactors.begin(own as unknown as User, { password: given }),
    'update()': (own, oldPassword) => own.update({ password: 'a third battery', oldPassword } as never),
    'updateFrom()': (own, oldPassword) => own.updateFrom({ email: `other-${own.email}`, oldPassword }),
    'isPasswordCorrect()': async (own, given) => {
      await own.isPasswordCorrect(given)
      return await (await own.setPassword('a third battery')).save()
    },
  }
  for (const [what, prove] of Object.entries(proofs)) {
    it(`checks passwords against the stored hash, not against a cached one: ${what} [promise 7]`, async () => {
      const user = await member()
      const token = await all.auth.createAccessToken(user)
      await all.auth.authenticate(token)
      // The same session changes the password, so it stays active.
      const elsewhere = await all.another().authenticate(token)
      await runAsActor(elsewhere, () =>
        (elsewhere.user as Member).update({ password: 'changed elsewhere', oldPassword: password } as never),
      )
      const actor = await all.auth.authenticate(token)
      const own = actor.user as unknown as Member
      const refused = await runAsActor(actor, () => rejection(prove(own, password)))
      expect((refused as { errors?: unknown[] }).errors).to.have.length(1)
      // A repeated request loads the caller again.
      const again = await all.auth.authenticate(token)
      await runAsActor(again, () => prove(again.user as unknown as Member, 'changed elsewhere'))
    })
  }

  const lasting: Record<string, (own: User) => Promise<unknown>> = {
    'an API key': (own) => all.auth.apiKeys.issue(own, { abilities: ['*'] }),
    'a session': (own) => all.auth.createRefreshToken(own),
    'an access token': (own) => all.auth.createAccessToken(own),
    'a second factor': (own) => all.auth.secondFactors.begin(own, { password }),
  }
  for (const [what, make] of Object.entries(lasting)) {
    it(`refuses to create ${what} for a session that ended in another process [promises 22, 35]`, async () => {
      const user = await member()
      const token = await all.auth.createAccessToken(user)
      const remembered = async () => {
        const actor = await all.auth.authenticate(token)
        return await runAsActor(actor, () => make(actor.user as unknown as User))
      }
      await remembered()
      await all.another().signOutEverywhere(user)
      const before = await db.knex('token').where({ user_id: user.id, revoked: false })
      expect(await outcome(remembered())).to.equal('UnauthorizedError')
      expect(await db.knex('token').where({ user_id: user.id, revoked: false })).to.deep.equal(before)
    })
  }

  it('caches no password hash', async () => {
    const token = await all.auth.createAccessToken(await member())
    await all.auth.authenticate(token)
    const { user } = await all.auth.authenticate(token)
    expect((user as Member).passwordHash).to.equal(undefined)
    expect(await (user as Member).isPasswordCorrect(password)).to.equal(true)
    await runAsActor(await all.auth.authenticate(token), () => (user as Member).update({ level: '1.50' }))
    expect(
      await ((await all.perms.models.user.query().findById((user as Member).id)) as unknown as Member).isPasswordCorrect(password),
    ).to.equal(true)
  })

  it('is not used when a token is refreshed', async () => {
    const user = await member()
    const refreshToken = await all.auth.createRefreshToken(user)
    await all.auth.authenticate(await all.auth.createAccessToken(user, { refreshToken }))
    await all.another().signOutEverywhere(user)
    expect(await outcome(all.auth.refresh(refreshToken))).to.equal('InvalidTokenError')
  })

  it('accepts 1 to 300 seconds', () => {
    for (const cacheCallers of [0, -1, 1.5, 301, Number.NaN])
      expect(
        thrown(() => all.another({ cacheCallers })),
        String(cacheCallers),
      ).to.be.instanceOf(ConfigurationError)
  })
})
