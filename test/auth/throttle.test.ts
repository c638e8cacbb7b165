import { expect } from 'chai'
import { clientNetwork } from '../../src/auth/client-network.js'
import { createThrottle, type ThrottleOptions } from '../../src/auth/throttle.js'
import { throttleTable } from '../../src/auth/throttle-store.js'
import { ConfigurationError, type TooManyAttemptsError } from '../../src/index.js'
import { createTables } from '../../src/model/tables.js'
import { runAsActor } from '../../src/perms/context.js'
import { countQueries, eachDatabase } from '../helpers/databases.js'
import { rejection } from '../helpers/errors.js'
import type { OneFactorAuth as Auth } from './set-up.js'
import { member, outcome, password, type SetUp, setUp } from './set-up.js'

const from = <T>(address: string, fn: () => Promise<T>) => runAsActor(null, fn, { address })

for (const store of ['memory', 'database'] as const) {
  eachDatabase(`throttle, counting in ${store}`, (db) => {
    let all: SetUp
    before(async () => {
      all = await setUp(db.knex)
      await createTables(db.knex, [throttleTable])
    })
    after(() => all.perms.close())

    /** A new process, which with the store 'memory' has forgotten all. */
    const limited = (options: ThrottleOptions = {}): Auth =>
      all.another({ throttle: { store, ...options }, onEvent: (name, payload) => all.events.push({ name, payload }) })
    const wrong = (auth: Auth, email: string, address = '192.0.2.1') =>
      from(address, () => outcome(auth.signIn({ email, password: 'a wrong password' })))
    const right = (auth: Auth, email: string, address = '192.0.2.1') => from(address, () => outcome(auth.signIn({ email, password })))

    it('answers 429 after ten failures, before any hash is made, and says how long [promise 12]', async () => {
      const auth = limited()
      const { email } = await member()
      for (let i = 0; i < 10; i += 1) expect(await wrong(auth, email)).to.equal('InvalidCredentialsError')
      all.hasher.verified.length = 0
      const error = await from('192.0.2.1', () => rejection(auth.signIn({ email: ` ${email.toUpperCase()}`, password })))
      expect([error.name, (error as TooManyAttemptsError).status]).to.deep.equal(['TooManyAttemptsError', 429])
      expect((error as TooManyAttemptsError).retryAfter).to.be.within(880, 900)
      expect(all.hasher.verified).to.deep.equal([])
    })

    it('lets no more through at once than in a row [promise 12]', async () => {
      const auth = limited()
      const { email } = await member()
      all.hasher.verified.length = 0
      const outcomes = await Promise.all(Array.from({ length: 100 }, () => wrong(auth, email, '198.51.100.1')))
      expect(outcomes.filter((one) => one === 'InvalidCredentialsError')).to.have.length(10)
      expect(outcomes.filter((one) => one === 'TooManyAttemptsError')).to.have.length(90)
      expect(all.hasher.verified).to.have.length(10)
    })

    it('does not lock the owner out at another address, until the limit by account [promise 12]', async () => {
      const auth = limited({ signIn: { pair: 3, account: 8, address: 100 } })
      const { email } = await member()
      for (let i = 0; i < 4; i += 1) await wrong(auth, email, '203.0.113.1')
      expect(await right(auth, email, '203.0.113.1')).to.equal('TooManyAttemptsError')
      expect(await right(auth, email, '203.0.113.2')).to.equal('fine')
      for (let i = 3; i < 9; i += 1) await wrong(auth, email, `203.0.113.${i}`)
      expect(await right(auth, email, '203.0.113.99')).to.equal('TooManyAttemptsError')
    })

    it('limits one address over many accounts, and IPv6 by its /64 [promise 12]', async () => {
      const auth = limited({ signIn: { address: 5 } })
      for (let i = 0; i < 5; i += 1)
        expect(await wrong(auth, `nobody${i}@example.com`, `2001:db8::${i}`)).to.equal('InvalidCredentialsError')
      expect(await wrong(auth, 'nobody6@example.com', '2001:db8:0:0:ffff::1')).to.equal('TooManyAttemptsError')
      expect(await wrong(auth, 'nobody6@example.com', '2001:db8:0:1::1')).to.equal('InvalidCredentialsError')
    })

    it('forgets failures of its own pair with a success, and takes its own count back elsewhere [promise 12]', async () => {
      const auth = limited({ signIn: { pair: 3, account: 6, address: 6 } })
      const { email } = await member()
      for (let round = 0; round < 2; round += 1) {
        for (let i = 0; i < 2; i += 1) await wrong(auth, email, '192.0.2.50')
        expect(await right(auth, email, '192.0.2.50')).to.equal('fine')
      }
      // Four failures stand by address and by account, and none by both together.
      expect(await wrong(auth, email, '192.0.2.50')).to.equal('InvalidCredentialsError')
      expect(await right(auth, email, '192.0.2.50')).to.equal('fine')
      expect(await wrong(auth, email, '192.0.2.50')).to.equal('InvalidCredentialsError')
      expect(await wrong(auth, 'nobody@example.com', '192.0.2.50')).to.equal('TooManyAttemptsError')
    })

    it('does not count what came to no answer', async () => {
      const auth = limited({ signIn: { pair: 2 } })
      const { email } = await member()
      all.hasher.beforeVerify = () => Promise.reject(new Error('away'))
      for (let i = 0; i < 4; i += 1) expect(await right(auth, email, '192.0.2.60')).to.equal('Error')
      all.hasher.beforeVerify = undefined
      expect(await right(auth, email, '192.0.2.60')).to.equal('fine')
    })

    it('begins anew when the window is over', async () => {
      const auth = limited({ signIn: { pair: 1, window: 1 } })
      const { email } = await member()
      expect(await wrong(auth, email, '192.0.2.70')).to.equal('InvalidCredentialsError')
      expect(await right(auth, email, '192.0.2.70')).to.equal('TooManyAttemptsError')
      await new Promise((resolve) => setTimeout(resolve, 1100))
      expect(await right(auth, email, '192.0.2.70')).to.equal('fine')
    })

    it('limits registrations and failed refreshes by address [promise 12]', async () => {
      const auth = limited({ registration: { address: 2 }, refresh: { address: 2 } })
      const register = (email: string) => from('192.0.2.80', () => outcome(auth.register({ email, password })))
      const one = `first.${store}@example.com`
      expect([await register(one), await register(one), await register(`third.${store}@example.com`)]).to.deep.equal([
        'fine',
        'UniqueViolationError',
        'TooManyAttemptsError',
      ])
      const { email } = await member()
      let { refreshToken } = await auth.signIn({ email, password })
      for (let i = 0; i < 4; i += 1) refreshToken = (await from('192.0.2.80', () => auth.refresh(refreshToken))).refreshToken
      const refresh = () => from('192.0.2.80', () => outcome(auth.refresh('rt_nonsense')))
      expect([await refresh(), await refresh(), await refresh()]).to.deep.equal([
        'InvalidTokenError',
        'InvalidTokenError',
        'TooManyAttemptsError',
      ])
    })

    it('tells once when a limit is reached', async () => {
      const auth = limited({ signIn: { pair: 2 } })
      const { email } = await member()
      all.events.length = 0
      for (let i = 0; i < 5; i += 1) await wrong(auth, email, '192.0.2.90')
      const locked = all.events.filter(({ name }) => name === 'locked')
      expect(locked.map(({ payload }) => payload)).to.deep.equal([{ action: 'signIn', by: 'pair', account: email, address: '192.0.2.90' }])
    })

    if (store === 'database') {
      it('counts for all processes together, and stores nobody by name [promise 12]', async () => {
        const [one, two] = [limited({ signIn: { pair: 4 } }), limited({ signIn: { pair: 4 } })]
        const { email } = await member()
        const outcomes = await Promise.all(Array.from({ length: 12 }, (_, i) => wrong(i % 2 ? one : two, email, '192.0.2.100')))
        expect(outcomes.filter((each) => each === 'InvalidCredentialsError')).to.have.length(4)
        const rows = JSON.stringify(await db.knex(throttleTable.name))
        expect(rows).to.not.contain(email)
        expect(rows).to.not.contain('192.0.2.100')
      })
    } else {
      it('asks the database for nothing', async () => {
        const auth = limited({ signIn: { pair: 1 } })
        await wrong(auth, 'nobody@example.com', '192.0.2.101')
        const { statements } = await countQueries(db.knex, () => wrong(auth, 'nobody@example.com', '192.0.2.101'))
        expect(statements).to.deep.equal([])
      })
    }
  })
}

describe('clientNetwork', () => {
  it('is an IPv4 address, or the /64 of an IPv6 address', () => {
    for (const [address, network] of [
      ['192.0.2.1', '192.0.2.1'],
      ['::ffff:192.0.2.1', '192.0.2.1'],
      ['::FFFF:c000:201', '192.0.2.1'],
      ['2001:db8:1:2:3:4:5:6', '2001:db8:1:2::/64'],
      ['2001:DB8:1:2::', '2001:db8:1:2::/64'],
      ['2001:db8::1', '2001:db8:0:0::/64'],
      ['::1', '0:0:0:0::/64'],
      ['fe80::1%eth0', 'fe80:0:0:0::/64'],
      ['64:ff9b::192.0.2.1', '64:ff9b:0:0::/64'],
      ['unix', 'unix'],
    ] as const) {
      expect(clientNetwork(address), address).to.equal(network)
    }
  })
})

describe('createThrottle', () => {
  it('refuses limits that are none', () => {
    for (const signIn of [{ pair: 0 }, { address: -1 }, { account: 1.5 }, { window: Number.NaN }]) {
      expect(() => createThrottle({ signIn }, { knex: null as never, emit: () => {} })).to.throw(ConfigurationError, /throttle\.signIn\./)
    }
  })
})
