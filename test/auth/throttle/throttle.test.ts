import { expect } from 'chai'
import { Redis } from 'ioredis'
import { RateLimiterRedis, type RateLimiterRes } from 'rate-limiter-flexible'
import { clientNetwork } from '../../../src/auth/throttle/client-network.js'
import { createThrottle, type Limit, type Limiter, type ThrottleOptions } from '../../../src/auth/throttle/throttle.js'
import { throttleTable } from '../../../src/auth/throttle/throttle-store.js'
import { createTablesFromSpecs } from '../../../src/database/tables/tables.js'
import { ConfigurationError, ServiceUnavailableError, type TooManyAttemptsError } from '../../../src/index.js'
import { runAsActor } from '../../../src/policy/context.js'
import { fakeClock } from '../../../src/testing/index.js'
import { toActor } from '../../../src/users/caller/actor.js'
import { countQueries, eachDatabase } from '../../helpers/databases.js'
import { rejection } from '../../helpers/errors.js'
import { openDatabaseProxy } from '../database-proxy.js'
import type { OneFactorAuth as Auth } from '../set-up.js'
import { member, outcome, password, type SetUp, setUp } from '../set-up.js'

const from = <T>(address: string, fn: () => Promise<T>) => runAsActor(null, fn, { address })

const redisUrl = process.env['REDIS_URL']
/** As the document says it: what is asked while Redis is away fails at once. */
const redisOptions = { enableOfflineQueue: false, commandTimeout: 2000, lazyConnect: true } as const

for (const name of ['memory', 'database', ...(redisUrl ? ['redis' as const] : [])] as const) {
  eachDatabase(`throttle, counting in ${name}`, (db) => {
    // Only the store 'database' uses the database, so the others run beside one.
    if (name !== 'database' && db.name !== 'sqlite3') return
    let all: SetUp
    let redis: Redis
    const prefix = `op_test_${process.pid}_${Date.now()}:`
    const inRedis = (limit: Limit, storeClient = redis) =>
      new RateLimiterRedis({ ...limit, storeClient, keyPrefix: prefix + limit.keyPrefix })
    const store = name === 'redis' ? (limit: Limit) => inRedis(limit) : name
    before(async () => {
      all = await setUp(db.knex)
      await createTablesFromSpecs(db.knex, [throttleTable])
      if (name !== 'redis') return
      redis = new Redis(redisUrl as string, redisOptions)
      await redis.connect()
    })
    after(async () => {
      await all.perms.close()
      if (name !== 'redis') return
      const keys = await redis.keys(`${prefix}*`)
      if (keys.length > 0) await redis.del(...keys)
      await redis.quit()
    })

    /** A new process, which with the store 'memory' has forgotten all. */
    const limited = (options: ThrottleOptions = {}): Auth =>
      all.another({ throttle: { store, ...options }, onEvent: (name, payload) => all.events.push({ name, payload }) })
    const wrong = (auth: Auth, email: string, address = '192.0.2.1') =>
      from(address, () => outcome(auth.signIn({ email, password: 'a wrong password' })))
    const right = (auth: Auth, email: string, address = '192.0.2.1') => from(address, () => outcome(auth.signIn({ email, password })))

    it('answers 429 with Retry-After after ten failures, before it hashes [promise 12]', async () => {
      const auth = limited()
      const { email } = await member()
      for (let i = 0; i < 10; i += 1) expect(await wrong(auth, email)).to.equal('InvalidCredentialsError')
      all.hasher.verified.length = 0
      const error = await from('192.0.2.1', () => rejection(auth.signIn({ email: ` ${email.toUpperCase()}`, password })))
      expect([error.name, (error as TooManyAttemptsError).status]).to.deep.equal(['TooManyAttemptsError', 429])
      expect((error as TooManyAttemptsError).retryAfter).to.be.within(880, 900)
      expect(all.hasher.verified).to.deep.equal([])
    })

    it('allows no more concurrent attempts than consecutive ones [promise 12]', async () => {
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

    it('clears the failures of its own pair after a success, and takes only its own attempt back from the other limits [promise 12]', async () => {
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

    it('does not count attempts that ended without an answer', async () => {
      const auth = limited({ signIn: { pair: 2 } })
      const { email } = await member()
      all.hasher.beforeVerify = () => Promise.reject(new Error('away'))
      for (let i = 0; i < 4; i += 1) expect(await right(auth, email, '192.0.2.60')).to.equal('Error')
      all.hasher.beforeVerify = undefined
      expect(await right(auth, email, '192.0.2.60')).to.equal('fine')
    })

    it('starts again after the window', async () => {
      // Redis has a clock of its own, which does not move.
      const [window, clock] = name === 'redis' ? [1, undefined] : [900, fakeClock()]
      try {
        const auth = limited({ signIn: { pair: 1, window } })
        const { email } = await member()
        expect(await wrong(auth, email, '192.0.2.70')).to.equal('InvalidCredentialsError')
        clock?.advance(890)
        expect(await right(auth, email, '192.0.2.70')).to.equal('TooManyAttemptsError')
        if (clock) clock.advance(11)
        else await new Promise((resolve) => setTimeout(resolve, 1100))
        expect(await right(auth, email, '192.0.2.70')).to.equal('fine')
      } finally {
        clock?.restore()
      }
    })

    it('limits registrations and failed refreshes by address [promise 12]', async () => {
      const auth = limited({ registration: { address: 2 }, refresh: { address: 2 } })
      const register = (email: string) => from('192.0.2.80', () => outcome(auth.register({ email, password })))
      const one = `first.${name}@example.com`
      expect([await register(one), await register(one), await register(`third.${name}@example.com`)]).to.deep.equal([
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

    it('emits one event when a limit is reached', async () => {
      const auth = limited({ signIn: { pair: 2 } })
      const { email } = await member()
      all.events.length = 0
      for (let i = 0; i < 5; i += 1) await wrong(auth, email, '192.0.2.90')
      const locked = all.events.filter(({ name }) => name === 'locked')
      expect(locked.map(({ payload }) => payload)).to.deep.equal([{ action: 'signIn', by: 'pair', account: email, address: '192.0.2.90' }])
    })

    it('does not count refused attempts, so that many successful ones never reach the limit', async () => {
      const auth = limited({ signIn: { pair: 50, account: 50, address: 5 } })
      const { email } = await member()
      for (let round = 0; round < 2; round += 1) {
        const outcomes = await Promise.all(Array.from({ length: 15 }, () => right(auth, email, '192.0.2.95')))
        expect(new Set(outcomes)).to.deep.equal(new Set(['fine', 'TooManyAttemptsError']))
        expect(await right(auth, email, '192.0.2.95'), `after ${round + 1} times 15 at once`).to.equal('fine')
      }
    })

    if (name !== 'memory') {
      it('counts a hundred concurrent attempts of all processes together, emits once, and stores no name [promise 12]', async () => {
        // Each has its own connections, as two processes have.
        const other = name === 'redis' ? redis.duplicate() : undefined
        await other?.connect()
        try {
          const one = limited()
          const two = limited(other ? { store: (limit) => inRedis(limit, other) } : {})
          const { email } = await member()
          all.events.length = 0
          all.hasher.verified.length = 0
          const tries = Array.from({ length: 100 }, (_, i) =>
            from('192.0.2.100', () => rejection((i % 2 ? one : two).signIn({ email, password: 'a wrong password' }))),
          )
          const errors = await Promise.all(tries)
          expect(errors.filter((error) => error.name === 'InvalidCredentialsError')).to.have.length(10)
          const refused = errors.filter((error) => error.name === 'TooManyAttemptsError') as TooManyAttemptsError[]
          expect(refused).to.have.length(90)
          for (const { retryAfter } of refused) expect(retryAfter).to.be.within(880, 900)
          expect(all.hasher.verified).to.have.length(10)
          const locked = all.events.filter((event) => event.name === 'locked')
          expect(locked.map(({ payload }) => payload)).to.deep.equal([
            { action: 'signIn', by: 'pair', account: email, address: '192.0.2.100' },
          ])
          const stored = JSON.stringify(name === 'redis' ? await redis.keys(`${prefix}*`) : await db.knex(throttleTable.name))
          expect(stored).to.contain('signIn.pair:')
          expect(stored).to.not.contain(email)
          expect(stored).to.not.contain('192.0.2.100')
        } finally {
          await other?.quit()
        }
      })
    }

    if (name === 'redis') {
      it('answers 503 before it hashes while Redis is unreachable, and works afterwards [promise 12]', async () => {
        const proxy = await openDatabaseProxy(redisUrl as string)
        const client = new Redis(proxy.url, { ...redisOptions, retryStrategy: () => 20 })
        client.on('error', () => undefined)
        try {
          await client.connect()
          const auth = limited({ store: (limit) => inRedis(limit, client) })
          const { email } = await member()
          expect(await right(auth, email, '192.0.2.110')).to.equal('fine')
          await proxy.shut()
          all.hasher.verified.length = 0
          const begun = Date.now()
          const error = await from('192.0.2.110', () => rejection(auth.signIn({ email, password })))
          expect(error).to.be.instanceOf(ServiceUnavailableError)
          expect((error as ServiceUnavailableError).retryAfter).to.be.greaterThan(0)
          expect(error.message).to.not.match(/redis|stream|connect/i)
          expect(Date.now() - begun).to.be.lessThan(2000)
          expect(all.hasher.verified).to.deep.equal([])
          await proxy.open()
          for (let i = 0; i < 100 && client.status !== 'ready'; i += 1) await new Promise((resolve) => setTimeout(resolve, 20))
          expect(await right(auth, email, '192.0.2.110')).to.equal('fine')
        } finally {
          client.disconnect()
          await proxy.close()
        }
      })
    }

    if (name === 'memory') {
      it('does not count an oldPassword without an answer, and counts a wrong one', async () => {
        const user = await member()
        const change = (oldPassword: string) =>
          from('192.0.2.65', () =>
            runAsActor(toActor(user), () => outcome(user.update({ password: 'another battery staple', oldPassword } as object))),
          )
        all.hasher.beforeVerify = () => Promise.reject(new Error('away'))
        for (let i = 0; i < 11; i += 1) expect(await change(password)).to.equal('Error')
        all.hasher.beforeVerify = undefined
        for (let i = 0; i < 10; i += 1) expect(await change('a wrong password')).to.equal('ValidationError')
        expect(await change(password)).to.equal('TooManyAttemptsError')
      })

      it('sends no statement to the database', async () => {
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

/** A limiter as another copy of rate-limiter-flexible has it: its refusals are of no class that is known here. */
class Alien implements Limiter {
  readonly counts = new Map<string, number>()
  readonly #limit: Limit
  fails: unknown
  msBeforeNext = 5000

  constructor(limit: Limit) {
    this.#limit = limit
  }

  async consume(key: string): Promise<RateLimiterRes> {
    if (this.fails !== undefined) throw this.fails
    const result = this.#add(key, 1)
    if (result.consumedPoints > this.#limit.points) throw result
    return result
  }

  async reward(key: string): Promise<RateLimiterRes> {
    return this.#add(key, -1)
  }

  async delete(key: string): Promise<boolean> {
    return this.counts.delete(key)
  }

  total(): number {
    return [...this.counts.values()].reduce((sum, one) => sum + one, 0)
  }

  #add(key: string, points: number): RateLimiterRes {
    const consumedPoints = (this.counts.get(key) ?? 0) + points
    this.counts.set(key, consumedPoints)
    return { consumedPoints, msBeforeNext: this.msBeforeNext, remainingPoints: 0, isFirstInDuration: false } as RateLimiterRes
  }
}

describe('createThrottle', () => {
  function alienThrottle(options: ThrottleOptions = {}) {
    const limits: Limit[] = []
    const limiters: Record<string, Alien> = {}
    const events: unknown[] = []
    const store = (limit: Limit) => {
      limits.push(limit)
      const limiter = new Alien(limit)
      limiters[limit.keyPrefix] = limiter
      return limiter
    }
    const throttle = createThrottle({ ...options, store }, { knex: null as never, emit: (...event) => events.push(event) })
    return { throttle, limits, limiters: limiters as Record<'signIn.pair' | 'signIn.address' | 'signIn.account', Alien>, events }
  }
  const who = { account: 'ada@example.com', address: '192.0.2.1' }

  it('applies the documented limits by default [promise 12]', () => {
    const [quarter, hour] = [15 * 60, 60 * 60]
    expect(alienThrottle().limits).to.deep.equal([
      { keyPrefix: 'signIn.pair', points: 10, duration: quarter },
      { keyPrefix: 'signIn.address', points: 100, duration: quarter },
      { keyPrefix: 'signIn.account', points: 100, duration: quarter },
      { keyPrefix: 'signInOfUser.pair', points: 10, duration: quarter },
      { keyPrefix: 'signInOfUser.account', points: 100, duration: quarter },
      { keyPrefix: 'registration.address', points: 200, duration: hour },
      { keyPrefix: 'refresh.address', points: 100, duration: quarter },
      { keyPrefix: 'mail.account', points: 10, duration: hour },
      { keyPrefix: 'mail.address', points: 100, duration: hour },
      { keyPrefix: 'mail.caller', points: 100, duration: hour },
      { keyPrefix: 'passkeyOptions.address', points: 1000, duration: quarter },
      { keyPrefix: 'passkeyOptions.caller', points: 100, duration: quarter },
      { keyPrefix: 'mailToken.address', points: 100, duration: quarter },
      { keyPrefix: 'provider.address', points: 300, duration: quarter },
      { keyPrefix: 'export.caller', points: 10, duration: hour },
    ])
  })

  it('recognises the refusal of a limiter from another copy of the package: 429, not 503', async () => {
    const { throttle, events } = alienThrottle({ signIn: { pair: 1 } })
    await throttle.begin('signIn', who)
    const error = await rejection(throttle.begin('signIn', who))
    expect([(error as TooManyAttemptsError).status, (error as TooManyAttemptsError).retryAfter]).to.deep.equal([429, 5])
    expect(events).to.have.length(1)
  })

  it('returns the points that a refused attempt took from narrower limits', async () => {
    const { throttle, limiters } = alienThrottle({ signIn: { account: 1 } })
    await throttle.begin('signIn', { ...who, address: '192.0.2.2' })
    for (let i = 0; i < 5; i += 1) expect((await rejection(throttle.begin('signIn', who))).name).to.equal('TooManyAttemptsError')
    expect([limiters['signIn.pair'].total(), limiters['signIn.address'].total()]).to.deep.equal([1, 1])
  })

  it('returns the points it took if a limit cannot be queried, and answers 503', async () => {
    const { throttle, limiters } = alienThrottle()
    for (const reason of [new Error('ECONNRESET'), undefined, 'down', {}]) {
      limiters['signIn.account'].fails = reason ?? null
      const error = await rejection(throttle.begin('signIn', who))
      expect([error.name, error.message.includes('ECONN')]).to.deep.equal(['ServiceUnavailableError', false])
    }
    expect([limiters['signIn.pair'].total(), limiters['signIn.address'].total()]).to.deep.equal([0, 0])
  })

  it('returns no points to a window that is over, which would allow one more attempt in the next', async () => {
    const { throttle, limiters } = alienThrottle()
    for (const limiter of Object.values(limiters)) limiter.msBeforeNext = 0
    const attempt = await throttle.begin('signIn', who)
    limiters['signIn.address'].counts.clear()
    await attempt.withdrawn()
    expect([...limiters['signIn.address'].counts.values()]).to.deep.equal([])
  })

  it('refuses invalid limits', () => {
    for (const signIn of [{ pair: 0 }, { address: -1 }, { account: 1.5 }, { window: Number.NaN }]) {
      expect(() => createThrottle({ signIn }, { knex: null as never, emit: () => {} })).to.throw(ConfigurationError, /throttle\.signIn\./)
    }
  })
})
