import { types } from 'node:util'
import { expect } from 'chai'
import { ConfigurationError, InvalidTokenError, initPerms, type Perms, SoftDeleteMixin, User } from '../../src/index.js'
import { createUser, type FakeClock, fakeClock, signInAs, testHasher } from '../../src/testing/index.js'
import { eachDatabase } from '../helpers/databases.js'
import { rejection } from '../helpers/errors.js'

const RealDate = Date

describe('fakeClock', () => {
  let clock: FakeClock | undefined
  afterEach(() => clock?.restore())

  it('shifts new Date(), Date.now() and Date(), and continues to run', async () => {
    clock = fakeClock('2030-01-01T00:00:00Z')
    const start = RealDate.parse('2030-01-01T00:00:00Z')
    expect(Date.now()).to.be.closeTo(start, 1000)
    const made = new Date()
    expect(made.getTime()).to.be.closeTo(start, 1000)
    expect(clock.now.getTime()).to.be.closeTo(start, 1000)
    expect(Date()).to.contain('Jan 01 2030')
    clock.advance(90)
    expect(Date.now()).to.be.closeTo(start + 90_000, 1000)
    clock.advance(-30.5)
    expect(Date.now()).to.be.closeTo(start + 59_500, 1000)
    const before = Date.now()
    await new Promise((resolve) => setTimeout(resolve, 20))
    expect(Date.now()).to.be.greaterThan(before)
  })

  it('starts now, or at a Date, text or milliseconds', () => {
    for (const start of [undefined, new Date(86_400_000), '1970-01-02', 86_400_000]) {
      const one = fakeClock(start)
      expect(Date.now()).to.be.closeTo(start === undefined ? RealDate.now() : 86_400_000, 1000)
      one.restore()
    }
  })

  it('keeps dates instances of Date', () => {
    const old = new Date(5)
    clock = fakeClock(0)
    const made = new Date()
    expect(old).to.be.instanceOf(Date)
    expect(made).to.be.instanceOf(RealDate)
    expect(types.isDate(made)).to.equal(true)
    expect(new Date(7).getTime()).to.equal(7)
    expect(new Date(2020, 1, 3).getMonth()).to.equal(1)
    expect(Date.UTC(1970, 0, 2)).to.equal(86_400_000)
    expect(Date.parse('1970-01-01T00:00:01Z')).to.equal(1000)
    class Day extends Date {
      isSunday = () => this.getUTCDay() === 0
    }
    expect(new Day(0).isSunday()).to.equal(false)
    expect(new Day()).to.be.instanceOf(Day)
    expect(new Day().getTime()).to.be.closeTo(0, 1000)
  })

  it('restores the real clock once', () => {
    clock = fakeClock(0)
    clock.restore()
    expect(Date).to.equal(RealDate)
    const other = fakeClock(0)
    clock.restore()
    expect(Date.now()).to.be.lessThan(10_000)
    other.restore()
    expect(Date).to.equal(RealDate)
  })

  it('refuses a second fake clock and invalid arguments', () => {
    clock = fakeClock()
    expect(() => fakeClock()).to.throw(ConfigurationError, 'restore()')
    expect(() => clock?.advance(Number.NaN)).to.throw(ConfigurationError)
    clock.restore()
    expect(() => fakeClock('never')).to.throw(ConfigurationError, "'never'")
    expect(Date).to.equal(RealDate)
  })

  it('does not change timers', async () => {
    clock = fakeClock()
    let hasRung = false
    const timer = setTimeout(() => {
      hasRung = true
    }, 60_000)
    clock.advance(3600)
    await new Promise((resolve) => setTimeout(resolve, 5))
    clearTimeout(timer)
    expect(hasRung).to.equal(false)
  })
})

class Member extends SoftDeleteMixin(User) {}

eachDatabase('fakeClock moves what the library reads', (db) => {
  let perms: Perms
  let clock: FakeClock
  before(async () => {
    perms = initPerms({
      knex: db.knex,
      user: Member,
      jwt: { secret: 'a secret of this test, 32 bytes or more' },
      passwordHasher: testHasher(),
    })
    await perms.migrate()
  })
  after(() => perms.close())
  beforeEach(() => {
    clock = fakeClock()
  })
  afterEach(() => clock.restore())

  it('access tokens and refresh tokens expire, limits end, and rows get the time of the fake clock', async () => {
    const { accessToken, refreshToken, user } = await signInAs()
    clock.advance(890)
    expect((await perms.authenticate(accessToken)).id).to.equal(user.id)
    clock.advance(20)
    expect(await rejection(perms.authenticate(accessToken))).to.be.instanceOf(InvalidTokenError)
    const later = await perms.auth.refresh(refreshToken)
    expect((await perms.authenticate(later.accessToken)).id).to.equal(user.id)
    clock.advance(2_592_000 + 1)
    expect(await rejection(perms.auth.refresh(later.refreshToken))).to.be.instanceOf(InvalidTokenError)
    const young = await createUser()
    expect(young.createdAt.getTime()).to.be.closeTo(clock.now.getTime(), 5000)
    expect((await Member.getOr404(young.id)).createdAt).to.deep.equal(young.createdAt)
  })

  it('limits on wrong passwords end', async () => {
    const { email } = await createUser({ password: 'correct horse battery' })
    const guess = (password: string) => perms.auth.signIn({ email, password })
    for (let i = 0; i < 10; i += 1) expect((await rejection(guess('wrong'))).name).to.equal('InvalidCredentialsError')
    expect((await rejection(guess('correct horse battery'))).name).to.equal('TooManyAttemptsError')
    clock.advance(3601)
    expect((await guess('correct horse battery')).status).to.equal('signedIn')
  })
})
