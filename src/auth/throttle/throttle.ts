import { createHash } from 'node:crypto'
import type { Knex } from 'knex'
import { RateLimiterMemory, type RateLimiterRes } from 'rate-limiter-flexible'
import { ConfigurationError, PermsError, ServiceUnavailableError, TooManyAttemptsError } from '../../core/errors.js'
import { message } from '../../core/messages/message.js'
import type { Emit } from '../events.js'
import { clientNetwork } from './client-network.js'
import { KnexLimiter, MAX_EXCESS } from './throttle-store.js'

/** The limited actions. `signInOfUser` counts the sign-ins of a user with several identifiers, whichever of them is given. */
export type ThrottledAction =
  | 'signIn'
  | 'signInOfUser'
  | 'registration'
  | 'refresh'
  | 'mail'
  | 'mailToken'
  | 'provider'
  | 'export'
  | 'passkeyOptions'

/**
 * The properties by which attempts are counted: the client address as the adapter determined it, and the account as the caller
 * named it.
 */
export interface ThrottledWho {
  readonly account?: string | undefined
  readonly address?: string | undefined
  /** The id of the signed-in user who causes the attempt. */
  readonly caller?: string | undefined
}

/** One attempt. It counts as failed until it ends, so that concurrent attempts are limited like successive ones. */
export interface Attempt {
  /** Ends a successful attempt: resets the failures of this account from this address. */
  succeeded(): Promise<void>
  /** Ends an attempt without a result, such as after a database error: it does not count. */
  withdrawn(): Promise<void>
}

/** Limits attempts. It is called before any password is hashed. */
export interface Throttle {
  /** Counts an attempt. @throws TooManyAttemptsError */
  begin(action: ThrottledAction, who: ThrottledWho): Promise<Attempt>
}

/** A throttle without limits. */
export const unlimited: Throttle = {
  begin: async () => ({ succeeded: async () => {}, withdrawn: async () => {} }),
}

/** One limit, with the option names of rate-limiter-flexible. */
export interface Limit {
  readonly keyPrefix: string
  /** The number of attempts. */
  readonly points: number
  /** In seconds, from the first attempt. */
  readonly duration: number
}

/** The methods of a rate-limiter-flexible limiter that the throttle uses. */
export interface Limiter {
  consume(key: string, points?: number): Promise<RateLimiterRes>
  reward(key: string, points?: number): Promise<RateLimiterRes>
  delete(key: string): Promise<boolean>
}

export interface ThrottleOptions {
  /**
   * Where attempts are counted: `'memory'` for one process, `'database'` for several processes, or a function that returns a
   * limiter of rate-limiter-flexible, for example with Redis. While the store is unreachable, attempts throw
   * ServiceUnavailableError (503).
   *
   * @defaultValue 'memory'
   * @example const throttle: ThrottleOptions = { store: (limit) => new RateLimiterRedis({ storeClient: redis, ...limit }) }
   */
  readonly store?: 'memory' | 'database' | ((limit: Limit) => Limiter) | undefined
  /**
   * Failed sign-ins and wrong old passwords in `window` seconds (900): 10 for an account and address together (`pair`), 100 for
   * either.
   */
  readonly signIn?: { pair?: number; address?: number; account?: number; window?: number } | undefined
  /** Registrations in `window` seconds (3600): 200 for an address. */
  readonly registration?: { address?: number; window?: number } | undefined
  /** Failed refreshes in `window` seconds (900): 100 for an address. */
  readonly refresh?: { address?: number; window?: number } | undefined
  /**
   * Mails in `window` seconds (3600): 10 to one mailbox, of any kind and cause; 100 caused by one client address; 100 caused by one
   * signed-in user, such as invitations.
   */
  readonly mail?: { account?: number; address?: number; caller?: number; window?: number } | undefined
  /** Challenges for passkeys in `window` seconds (900): 1000 for an address; 100 for a user who has signed in or given the password. */
  readonly passkeyOptions?: { address?: number; caller?: number; window?: number } | undefined
  /** Invalid mailed tokens in `window` seconds (900): 100 for an address. */
  readonly mailToken?: { address?: number; window?: number } | undefined
  /** Sign-ins with identity providers that begin in `window` seconds (900): 300 for an address. */
  readonly provider?: { address?: number; window?: number } | undefined
  /** Exports of a user's own data in `window` seconds (3600): 10 for a user. */
  readonly export?: { caller?: number; window?: number } | undefined
}

/**
 * Returns the throttle of an option: a custom throttle, one with these options, or one without limits for false.
 *
 * @throws ConfigurationError for invalid options
 */
export function resolveThrottle(option: ThrottleOptions | Throttle | false, context: ThrottleContext): Throttle {
  if (option === false) return unlimited
  return 'begin' in option ? option : createThrottle(option, context)
}

interface ThrottleContext {
  readonly knex: Knex
  readonly emit: Emit
  readonly scope?: () => string | null
}

type Dimension = 'pair' | 'address' | 'account' | 'caller'

interface Counter {
  readonly dimension: Dimension
  readonly points: number
  readonly limiter: Limiter
}

/**
 * Limits failed sign-ins and refreshes, registrations and mails. It counts an attempt before it runs and takes it back on success,
 * so that concurrent attempts cannot exceed a limit. When the limit of an account and address is reached, the owner can still sign
 * in from another address, up to the much higher limit of the account.
 *
 * @param context `scope` separates the counts of several runtimes in a custom store
 * @throws ConfigurationError for a limit that is not a whole number of 1 or more
 * @example createThrottle({ store: 'database' }, { knex, emit })
 */
export function createThrottle(options: ThrottleOptions, { knex, emit, scope = () => null }: ThrottleContext): Throttle {
  const { store = 'memory' } = options
  const make =
    typeof store === 'function' ? store : (limit: Limit) => (store === 'database' ? new KnexLimiter(knex, limit) : inMemory(limit))
  // A custom store may serve several runtimes.
  return new CountingThrottle(countersOf(options, make), emit, typeof store === 'function' ? scope : () => null)
}

type Counters = Readonly<Record<ThrottledAction, readonly Counter[]>>

/** Returns the counters of each action. @throws ConfigurationError for a limit that is not a whole number of 1 or more */
function countersOf(options: ThrottleOptions, make: (limit: Limit) => Limiter): Counters {
  const {
    signIn = {},
    registration = {},
    refresh = {},
    mail = {},
    mailToken = {},
    provider = {},
    export: exported = {},
    passkeyOptions = {},
  } = options
  const counter = (action: ThrottledAction, dimension: Dimension, points: number, duration: number): Counter => {
    assertPositiveInteger(`throttle.${action}.${dimension}`, points)
    assertPositiveInteger(`throttle.${action}.window`, duration)
    return { dimension, points, limiter: make({ keyPrefix: `${action}.${dimension}`, points, duration }) }
  }
  return {
    // The narrowest limit comes first: an attempt that it refuses does not use up the others.
    signIn: [
      counter('signIn', 'pair', signIn.pair ?? 10, signIn.window ?? 900),
      counter('signIn', 'address', signIn.address ?? 100, signIn.window ?? 900),
      counter('signIn', 'account', signIn.account ?? 100, signIn.window ?? 900),
    ],
    // The address has been counted by signIn.
    signInOfUser: [
      counter('signInOfUser', 'pair', signIn.pair ?? 10, signIn.window ?? 900),
      counter('signInOfUser', 'account', signIn.account ?? 100, signIn.window ?? 900),
    ],
    registration: [counter('registration', 'address', registration.address ?? 200, registration.window ?? 3600)],
    refresh: [counter('refresh', 'address', refresh.address ?? 100, refresh.window ?? 900)],
    mail: [
      counter('mail', 'account', mail.account ?? 10, mail.window ?? 3600),
      counter('mail', 'address', mail.address ?? 100, mail.window ?? 3600),
      counter('mail', 'caller', mail.caller ?? 100, mail.window ?? 3600),
    ],
    passkeyOptions: [
      counter('passkeyOptions', 'address', passkeyOptions.address ?? 1000, passkeyOptions.window ?? 900),
      counter('passkeyOptions', 'caller', passkeyOptions.caller ?? 100, passkeyOptions.window ?? 900),
    ],
    mailToken: [counter('mailToken', 'address', mailToken.address ?? 100, mailToken.window ?? 900)],
    provider: [counter('provider', 'address', provider.address ?? 300, provider.window ?? 900)],
    export: [counter('export', 'caller', exported.caller ?? 10, exported.window ?? 3600)],
  }
}

/** The throttle of `createThrottle()`. */
class CountingThrottle implements Throttle {
  readonly #counters: Counters
  readonly #emit: Emit
  readonly #scope: () => string | null

  constructor(counters: Counters, emit: Emit, scope: () => string | null) {
    this.#counters = counters
    this.#emit = emit
    this.#scope = scope
  }

  async begin(action: ThrottledAction, who: ThrottledWho): Promise<Attempt> {
    const taken: Taken[] = []
    let refusal: unknown
    for (const one of this.#counters[action]) {
      const key = keyOf(one.dimension, who, this.#scope())
      if (key === null) continue
      const begun = Date.now()
      try {
        const { msBeforeNext } = await one.limiter.consume(key)
        taken.push({ counter: one, key, until: begun + msBeforeNext })
      } catch (reason) {
        const error = this.#errorFor(reason, { action, who, counter: one })
        // Sign-in answers as if nothing were refused, so the refusal sends the same statements.
        if (action === 'signInOfUser' && error instanceof TooManyAttemptsError) {
          refusal ??= error
          continue
        }
        // The attempt is refused: return the points that it took from the earlier limits.
        await giveBack(taken)
        await limitExcess(reason, one, key)
        throw error
      }
    }
    if (refusal) throw refusal
    return {
      async succeeded() {
        const [pair, others] = [taken.filter(isPair), taken.filter((one) => !isPair(one))]
        await Promise.all([ignoreErrors(pair.map(({ counter, key }) => counter.limiter.delete(key))), giveBack(others)])
      },
      withdrawn: () => giveBack(taken),
    }
  }

  #errorFor(reason: unknown, refused: { action: ThrottledAction; who: ThrottledWho; counter: Counter }): Error {
    // The count is unknown: refuse the attempt. `cause` tells the operator the reason, such as a missing table.
    if (reason instanceof PermsError && reason.status !== 500) return reason
    if (!isRefusal(reason)) return new ServiceUnavailableError(undefined, { cause: reason })
    const { action, who, counter } = refused
    const { points, dimension } = counter
    const { consumedPoints, msBeforeNext } = reason
    if (consumedPoints === points + 1) this.#emit('locked', { action, by: dimension, account: who.account, address: who.address })
    return new TooManyAttemptsError(message('attempts.tooMany'), {
      retryAfter: Math.max(1, Math.ceil(msBeforeNext / 1000)),
    })
  }
}

/**
 * Takes a refused attempt back: with many concurrent attempts that succeed in the end, the refused ones would leave the limit
 * reached.
 */
async function limitExcess(reason: unknown, { points, limiter }: Counter, key: string): Promise<void> {
  if (isRefusal(reason) && reason.consumedPoints > points + MAX_EXCESS) await ignoreErrors([limiter.reward(key)])
}

interface Taken {
  readonly counter: Counter
  readonly key: string
  /** When the window ends, in milliseconds. Afterwards the count is gone and nothing can be taken back. */
  readonly until: number
}

const isPair = ({ counter }: Taken): boolean => counter.dimension === 'pair'

async function giveBack(taken: readonly Taken[]): Promise<void> {
  const now = Date.now()
  await ignoreErrors(taken.filter(({ until }) => now < until).map(({ counter, key }) => counter.limiter.reward(key)))
}

// Checks the shape, not the class: the application's limiter may come from another copy of the package.
function isRefusal(reason: unknown): reason is RateLimiterRes {
  return typeof reason === 'object' && reason !== null && typeof (reason as { msBeforeNext?: unknown }).msBeforeNext === 'number'
}

function inMemory(limit: Limit): Limiter {
  return new RateLimiterMemory(limit)
}

// The result of the attempt stands: a count that cannot be updated must not fail a sign-in.
async function ignoreErrors(work: readonly Promise<unknown>[]): Promise<void> {
  await Promise.allSettled(work)
}

// Uses only these three values of a request and hashes them: keys stay short, and a list of keys names no user.
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

function assertPositiveInteger(name: string, value: number): void {
  if (Number.isInteger(value) && value >= 1) return
  throw new ConfigurationError(`${name}: ${value}: must be a whole number, 1 or more.`)
}
