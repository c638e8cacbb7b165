import { createHash } from 'node:crypto'
import type { Knex } from 'knex'
import { RateLimiterMemory, type RateLimiterRes } from 'rate-limiter-flexible'
import { ConfigurationError, PermsError, ServiceUnavailableError, TooManyAttemptsError } from '../../core/errors.js'
import type { Emit } from '../events.js'
import { clientNetwork } from './client-network.js'
import { KnexLimiter, LIMIT_MARK } from './throttle-store.js'

/** What is limited. */
export type ThrottledAction = 'signIn' | 'registration' | 'refresh' | 'mail' | 'mailToken'

/** Who is limited: the address as the adapter vouches for it, and the account as it was named. */
export interface ThrottledWho {
  readonly account?: string | undefined
  readonly address?: string | undefined
  /** The id of the signed-in user who causes it. */
  readonly caller?: string | undefined
}

/** One try, counted as a failure until its end is known: so a hundred at once get no further than a hundred in a row. */
export interface Attempt {
  /** It was none: the failures of this account from this address are forgotten. */
  succeeded(): Promise<void>
  /** It came to no answer (the database went away): it does not count. */
  withdrawn(): Promise<void>
}

/** Limits tries. Asked before any hash is made. */
export interface Throttle {
  /** @throws TooManyAttemptsError */
  begin(action: ThrottledAction, who: ThrottledWho): Promise<Attempt>
}

/** Limits nothing. */
export const unlimited: Throttle = {
  begin: async () => ({ succeeded: async () => {}, withdrawn: async () => {} }),
}

/** One limit, in the words of rate-limiter-flexible. */
export interface Limit {
  readonly keyPrefix: string
  /** How many tries. */
  readonly points: number
  /** Seconds, from the first try on. */
  readonly duration: number
}

/** What counts: a limiter of rate-limiter-flexible, seen from here. */
export interface Limiter {
  consume(key: string, points?: number): Promise<RateLimiterRes>
  reward(key: string, points?: number): Promise<RateLimiterRes>
  delete(key: string): Promise<boolean>
}

export interface ThrottleOptions {
  /**
   * Where is counted: in this process when not said; `'database'` where several processes serve; or any limiter of
   * rate-limiter-flexible, for one with Redis. Where it cannot be reached, nobody gets in uncounted: 503.
   *
   * @example store: (limit) => new RateLimiterRedis({ storeClient: redis, ...limit })
   */
  readonly store?: 'memory' | 'database' | ((limit: Limit) => Limiter) | undefined
  /** Failed sign-ins, and wrong old passwords, in `window` seconds (900): 10 by account and address together, 100 by either. */
  readonly signIn?: { pair?: number; address?: number; account?: number; window?: number } | undefined
  /** Registrations in `window` seconds (3600): 200 by address. */
  readonly registration?: { address?: number; window?: number } | undefined
  /** Failed refreshes in `window` seconds (900): 100 by address. */
  readonly refresh?: { address?: number; window?: number } | undefined
  /**
   * Mails in `window` seconds (3600): 10 to one mailbox, whatever they are about and whoever caused them; 100 caused from one client
   * address; 100 caused by one signed-in user, such as invitations.
   */
  readonly mail?: { account?: number; address?: number; caller?: number; window?: number } | undefined
  /** Mailed tokens that were none, in `window` seconds (900): 100 by address. */
  readonly mailToken?: { address?: number; window?: number } | undefined
}

type Dimension = 'pair' | 'address' | 'account' | 'caller'

interface Counter {
  readonly dimension: Dimension
  readonly points: number
  readonly limiter: Limiter
}

/**
 * Limits failed sign-ins and refreshes, and registrations. A try is counted before it is made and taken back when it
 * succeeds: whatever comes at once, no more get through than in a row. A locked account and address answer 429; the account's
 * owner, at another address, is shut out only by the far higher limit by account.
 *
 * @param context `scope`: a name that keeps the counts of several runtimes apart in a store of the application's own
 * @throws ConfigurationError for a limit that is no whole number from 1
 * @example createThrottle({ store: 'database' }, { knex, emit })
 */
export function createThrottle(
  options: ThrottleOptions,
  { knex, emit, scope = () => null }: { knex: Knex; emit: Emit; scope?: () => string | null },
): Throttle {
  const { store = 'memory', signIn = {}, registration = {}, refresh = {}, mail = {}, mailToken = {} } = options
  // A store of the application's own may serve several runtimes.
  const isShared = typeof store === 'function'
  const make =
    typeof store === 'function' ? store : (limit: Limit) => (store === 'database' ? new KnexLimiter(knex, limit) : inMemory(limit))
  const counter = (action: ThrottledAction, dimension: Dimension, points: number, duration: number): Counter => {
    assertWhole(`throttle.${action}.${dimension}`, points)
    assertWhole(`throttle.${action}.window`, duration)
    return { dimension, points, limiter: make({ keyPrefix: `${action}.${dimension}`, points, duration }) }
  }
  const counters: Readonly<Record<ThrottledAction, readonly Counter[]>> = {
    // The narrowest first: what it refuses does not use up the others.
    signIn: [
      counter('signIn', 'pair', signIn.pair ?? 10, signIn.window ?? 900),
      counter('signIn', 'address', signIn.address ?? 100, signIn.window ?? 900),
      counter('signIn', 'account', signIn.account ?? 100, signIn.window ?? 900),
    ],
    registration: [counter('registration', 'address', registration.address ?? 200, registration.window ?? 3600)],
    refresh: [counter('refresh', 'address', refresh.address ?? 100, refresh.window ?? 900)],
    mail: [
      counter('mail', 'account', mail.account ?? 10, mail.window ?? 3600),
      counter('mail', 'address', mail.address ?? 100, mail.window ?? 3600),
      counter('mail', 'caller', mail.caller ?? 100, mail.window ?? 3600),
    ],
    mailToken: [counter('mailToken', 'address', mailToken.address ?? 100, mailToken.window ?? 900)],
  }

  return {
    async begin(action, who) {
      const taken: Taken[] = []
      for (const one of counters[action]) {
        const key = keyOf(one.dimension, who, isShared ? scope() : null)
        if (key === null) continue
        const begun = Date.now()
        try {
          const { msBeforeNext } = await one.limiter.consume(key)
          taken.push({ counter: one, key, until: begun + msBeforeNext })
        } catch (reason) {
          // It was no try: what it took of the narrower limits is theirs again.
          await giveBack(taken)
          throw await refusal(reason, { action, who, counter: one, key })
        }
      }
      return {
        async succeeded() {
          const [pair, others] = [taken.filter(isPair), taken.filter((one) => !isPair(one))]
          await Promise.all([quietly(pair.map(({ counter, key }) => counter.limiter.delete(key))), giveBack(others)])
        },
        withdrawn: () => giveBack(taken),
      }
    },
  }

  async function refusal(reason: unknown, refused: { action: ThrottledAction; who: ThrottledWho; counter: Counter; key: string }) {
    // The count is unknown, so the try is refused. `cause` tells the operator why: a missing table, say.
    if (reason instanceof PermsError && reason.status !== 500) return reason
    if (!isRefusal(reason)) return new ServiceUnavailableError(undefined, { cause: reason })
    const { action, who, counter, key } = refused
    const { points, dimension, limiter } = counter
    const { consumedPoints, msBeforeNext } = reason
    if (consumedPoints === points + 1) emit('locked', { action, by: dimension, account: who.account, address: who.address })
    // Refused tries do not add up: of many at once that all succeed in the end, those beyond the limit would leave it reached.
    if (consumedPoints > points + LIMIT_MARK) await quietly([limiter.reward(key)])
    return new TooManyAttemptsError('Too many attempts: wait before you try again.', {
      retryAfter: Math.max(1, Math.ceil(msBeforeNext / 1000)),
    })
  }
}

interface Taken {
  readonly counter: Counter
  readonly key: string
  /** When its window is over, in milliseconds: what was counted then is forgotten, and nothing is to be given back. */
  readonly until: number
}

const isPair = ({ counter }: Taken): boolean => counter.dimension === 'pair'

async function giveBack(taken: readonly Taken[]): Promise<void> {
  const now = Date.now()
  await quietly(taken.filter(({ until }) => now < until).map(({ counter, key }) => counter.limiter.reward(key)))
}

// By its shape: the application's limiter may come from another copy of the package.
function isRefusal(reason: unknown): reason is RateLimiterRes {
  return typeof reason === 'object' && reason !== null && typeof (reason as { msBeforeNext?: unknown }).msBeforeNext === 'number'
}

function inMemory(limit: Limit): Limiter {
  return new RateLimiterMemory(limit)
}

// What was done is done: that a count could not be taken back makes nobody's sign-in fail.
async function quietly(work: readonly Promise<unknown>[]): Promise<void> {
  await Promise.allSettled(work)
}

// Only these three values from a request, and hashed: keys are short whatever came, and a list of them names no user.
function keyOf(dimension: Dimension, { account, address, caller }: ThrottledWho, scope: string | null): string | null {
  if (dimension === 'caller')
    return caller === undefined
      ? null
      : createHash('sha256')
          .update(['caller', caller, scope ?? []].flat().join('\n'))
          .digest('hex')
  if (dimension === 'address' && address === undefined) return null
  if (dimension !== 'address' && account === undefined) return null
  const network = dimension === 'account' || address === undefined ? '' : clientNetwork(address)
  const named = dimension === 'address' ? '' : (account ?? '')
  return createHash('sha256')
    .update([network, named, scope ?? []].flat().join('\n'))
    .digest('hex')
}

function assertWhole(name: string, value: number): void {
  if (Number.isInteger(value) && value >= 1) return
  throw new ConfigurationError(`${name}: ${value}: a whole number from 1.`)
}
