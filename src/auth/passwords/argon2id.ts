import { availableParallelism } from 'node:os'
import { ConfigurationError } from '../../core/errors.js'
import { assertKnownOptions, type OptionNames } from '../../core/known-options.js'
import type { PasswordHasher } from '../../users/account/password-hasher.js'
import { type Argon2, type Argon2Cost, loadArgon2 } from './argon2-implementation.js'
import { canonicalPassword, settablePassword } from './password-text.js'
import { WorkQueue } from './work-queue.js'

export interface Argon2idOptions {
  /**
   * KiB of memory for one hash, at least 19456.
   *
   * @defaultValue 19456
   */
  readonly memoryCost?: number | undefined
  /**
   * Passes over the memory, at least 2.
   *
   * @defaultValue 2
   */
  readonly timeCost?: number | undefined
  /**
   * Lanes of one hash.
   *
   * @defaultValue 1
   */
  readonly parallelism?: number | undefined
  /**
   * Hashes that run at once.
   *
   * @defaultValue the number of processors, at most 3 of the 4 threads of libuv
   */
  readonly threads?: number | undefined
  /** Hashes that may wait, at least 64. Further ones throw ServiceUnavailableError (503). */
  readonly maxQueue?: number | undefined
  /** The hasher of the hashes that are already stored, such as `bcryptHasher()`. They still verify, and sign-in replaces them. */
  readonly previous?: PasswordHasher | undefined
}

const optionNames: OptionNames<Argon2idOptions> = {
  memoryCost: true,
  timeCost: true,
  parallelism: true,
  threads: true,
  maxQueue: true,
  previous: true,
}

const STORED = /^\$argon2id\$v=19\$m=(\d{1,7}),t=(\d{1,3}),p=(\d{1,2})\$[A-Za-z0-9+/]{11,86}\$[A-Za-z0-9+/]{16,86}$/

/** The highest cost that a stored hash may have. */
const MAX: Argon2Cost = { memoryCost: 1_048_576, timeCost: 64, parallelism: 16 }

/**
 * Returns a password hasher with argon2id (RFC 9106) that runs in the threads of libuv. It uses the package `@node-rs/argon2` if that is
 * installed, and otherwise `crypto.argon2` of Node 24.7 and later.
 * Passwords are hashed in NFKC form, up to 4096 bytes. `verify` takes the time of one hash at the configured cost in every case;
 * with `previous`, of one hash of each kind.
 *
 * @throws ConfigurationError for an option out of range, or when neither the package nor `crypto.argon2` is there
 * @example initPerms({ knex, passwordHasher: argon2idHasher({ previous: bcryptHasher() }) })
 */
export function argon2idHasher(options: Argon2idOptions = {}): PasswordHasher & { close(): Promise<void> } {
  return argon2idHasherWith(loadArgon2, options)
}

/** Does the same with an implementation of argon2id, which is loaded after the options were checked. */
export function argon2idHasherWith(load: () => Argon2, options: Argon2idOptions = {}): PasswordHasher & { close(): Promise<void> } {
  assertKnownOptions(options, optionNames, 'argon2idHasher')
  const cost: Argon2Cost = {
    memoryCost: assertIntegerBetween('memoryCost', options.memoryCost ?? 19_456, 19_456, MAX.memoryCost),
    timeCost: assertIntegerBetween('timeCost', options.timeCost ?? 2, 2, MAX.timeCost),
    parallelism: assertIntegerBetween('parallelism', options.parallelism ?? 1, 1, MAX.parallelism),
  }
  const threads = assertIntegerBetween('threads', options.threads ?? Math.min(3, availableParallelism()), 1, 64)
  const queue = new WorkQueue(threads, assertIntegerBetween('maxQueue', options.maxQueue ?? Math.max(64, threads * 32), 64, 100_000))
  const argon2 = load()
  const { previous } = options

  /** Returns whether the password matches, after the work of one hash at the configured cost. */
  async function verifyOwn(text: string | undefined, stored: Argon2Cost | undefined, hashed: string): Promise<boolean> {
    if (!stored) {
      await argon2.hash(text ?? '', cost)
      return false
    }
    const isRight = await argon2.verify(hashed, text ?? '').catch(() => false)
    // Adds work for a hash of lower cost, so that every answer takes the same time.
    const passes = Math.round((workOf(cost) - workOf(stored)) / cost.memoryCost)
    if (passes > 0) await argon2.hash('', { ...cost, timeCost: passes })
    return isRight && text !== undefined
  }

  return {
    async hash(password) {
      const text = settablePassword(password)
      return await queue.run(() => argon2.hash(text, cost))
    },

    async verify(password, stored) {
      const canonical = typeof password === 'string' ? canonicalPassword(password) : undefined
      const text = canonical !== undefined && 'text' in canonical ? canonical.text : undefined
      const parsed = parse(stored)
      const isRight = await queue.run(() => verifyOwn(text, parsed, stored ?? ''))
      const wasRight = (await previous?.verify(password, parsed ? null : stored)) ?? false
      return parsed ? isRight : wasRight
    },

    needsRehash(stored) {
      const parsed = parse(stored)
      if (!parsed) return true
      const isWeaker = cost.memoryCost < parsed.memoryCost || workOf(cost) < workOf(parsed)
      return !isWeaker && (cost.memoryCost > parsed.memoryCost || workOf(cost) > workOf(parsed))
    },

    recognises: (stored) => parse(stored) !== undefined || (previous !== undefined && (previous.recognises?.(stored) ?? true)),

    async close() {
      await queue.close()
      await previous?.close?.()
    },
  }
}

/** Returns the cost of a stored hash; undefined for other text and for a cost above MAX. */
function parse(stored: unknown): Argon2Cost | undefined {
  const match = typeof stored === 'string' ? STORED.exec(stored) : null
  if (!match) return undefined
  const [memoryCost = 0, timeCost = 0, parallelism = 0] = match.slice(1).map(Number)
  const isBearable = memoryCost <= MAX.memoryCost && timeCost <= MAX.timeCost && parallelism <= MAX.parallelism
  return isBearable && timeCost >= 1 && parallelism >= 1 && memoryCost >= 8 * parallelism
    ? { memoryCost, timeCost, parallelism }
    : undefined
}

const workOf = ({ memoryCost, timeCost }: Argon2Cost) => memoryCost * timeCost

function assertIntegerBetween(name: string, value: number, least: number, most: number): number {
  if (Number.isInteger(value) && value >= least && value <= most) return value
  throw new ConfigurationError(`argon2idHasher({ ${name}: ${value} }): ${name} must be a whole number from ${least} to ${most}.`)
}
