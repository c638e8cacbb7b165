import { expect } from 'chai'
import { ConfigurationError } from '../../src/index.js'
import { type FakeClock, fakeClock } from '../../src/testing/clock.js'
import { countQueries, eachDatabase } from '../helpers/databases.js'
import { thrown } from '../helpers/errors.js'
import { member, outcome, type SetUp, setUp } from './set-up.js'

eachDatabase('cacheCallers', (db) => {
  let all: SetUp
  let clock: FakeClock
  before(async () => {
    clock = fakeClock()
    all = await setUp(db.knex, {}, { cacheCallers: 60 })
  })
  after(async () => {
    clock.restore()
    await all.perms.close()
  })

  it('asks the database once in its seconds, and again after', async () => {
    const token = await all.auth.createAccessToken(await member())
    const first = await countQueries(db.knex, () => all.auth.authenticate(token))
    const second = await countQueries(db.knex, () => all.auth.authenticate(token))
    expect([first.statements.length, second.statements.length]).to.deep.equal([1, 0])
    expect(second.result).to.deep.include({ id: first.result.id, sessionId: first.result.sessionId, grants: [] })
    clock.advance(60)
    expect((await countQueries(db.knex, () => all.auth.authenticate(token))).statements).to.have.length(1)
  })

  it('gives each request a user of its own, with roles', async () => {
    const user = await member()
    await user.grantRole('editor')
    const token = await all.auth.createAccessToken(user)
    const [one, two, three] = [await all.auth.authenticate(token), await all.auth.authenticate(token), await all.auth.authenticate(token)]
    for (const { user: own } of [one, two]) Object.assign(own, { email: 'changed@example.com', roles: [] })
    expect((three.user as typeof user).email).to.equal(user.email)
    expect((three.user as typeof user).hasRole('editor')).to.equal(true)
    expect((await all.auth.authenticate(token)).grants.map(({ role }) => role)).to.deep.equal(['editor'])
  })

  it('forgets at once what ends here, and in its seconds what ends elsewhere [promise 22]', async () => {
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

  it('is not asked where a token is refreshed', async () => {
    const user = await member()
    const refreshToken = await all.auth.createRefreshToken(user)
    await all.auth.authenticate(await all.auth.createAccessToken(user, { refreshToken }))
    await all.another().signOutEverywhere(user)
    expect(await outcome(all.auth.refresh(refreshToken))).to.equal('InvalidTokenError')
  })

  it('takes 1 to 300 seconds', () => {
    for (const cacheCallers of [0, -1, 1.5, 301, Number.NaN])
      expect(
        thrown(() => all.another({ cacheCallers })),
        String(cacheCallers),
      ).to.be.instanceOf(ConfigurationError)
  })
})
