import { availableParallelism } from 'node:os'
import { ConfigurationError } from '../../core/errors.js'
import { assertKnownOptions, type OptionNames } from '../../core/known-options.js'
import { loadOptionalPackage } from '../../core/optional-package.js'
import type { PasswordHasher } from '../../users/account/password-hasher.js'
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

/** The part of @node-rs/argon2 that is used here. */
interface Argon2 {
  hash(password: string, options: Cost & { algorithm: number }): Promise<string>
  verify(hash: string, password: string): Promise<boolean>
}

interface Cost {
  readonly memoryCost: number
  readonly timeCost: number
  readonly parallelism: number
}

const ARGON2ID = 2
const STORED = /^\$argon2id\$v=19\$m=(\d{1,7}),t=(\d{1,3}),p=(\d{1,2})\$[A-Za-z0-9+/]{11,86}\$[A-Za-z0-9+/]{16,86}$/

/** The highest cost that a stored hash may have. */
const MAX: Cost = { memoryCost: 1_048_576, timeCost: 64, parallelism: 16 }

/**
 * Returns a password hasher with argon2id (RFC 9106) that runs in the threads of libuv. It needs the package `@node-rs/argon2`.
 * Passwords are hashed in NFKC form, up to 4096 bytes. `verify` takes the time of one hash at the configured cost in every case;
 * with `previous`, of one hash of each kind.
 *
 * @throws ConfigurationError for an option out of range, or when the package is not installed
 * @example initPerms({ knex, passwordHasher: argon2idHasher({ previous: bcryptHasher() }) })
 */
export function argon2idHasher(options: Argon2idOptions = {}): PasswordHasher & { close(): Promise<void> } {
  assertKnownOptions(options, optionNames, 'argon2idHasher')
  const cost: Cost = {
    memoryCost: assertIntegerBetween('memoryCost', options.memoryCost ?? 19_456, 19_456, MAX.memoryCost),
    timeCost: assertIntegerBetween('timeCost', options.timeCost ?? 2, 2, MAX.timeCost),
    parallelism: assertIntegerBetween('parallelism', options.parallelism ?? 1, 1, MAX.parallelism),
  }
  const threads = assertIntegerBetween('threads', options.threads ?? Math.min(3, availableParallelism()), 1, 64)
  const queue = new WorkQueue(threads, assertIntegerBetween('maxQueue', options.maxQueue ?? Math.max(64, threads * 32), 64, 100_000))
  const argon2 = loadOptionalPackage<Argon2>('@node-rs/argon2', 'argon2idHasher()')
  const { previous } = options
  const hash = (text: string, made: Cost) => argon2.hash(text, { ...made, algorithm: ARGON2ID })

  /** Returns whether the password matches, after the work of one hash at the configured cost. */
  async function verifyOwn(text: string | undefined, stored: Cost | undefined, hashed: string): Promise<boolean> {
    if (!stored) {
      await hash(text ?? '', cost)
      return false
    }
    const isRight = await argon2.verify(hashed, text ?? '').catch(() => false)
    // Adds work for a hash of lower cost, so that every answer takes the same time.
    const passes = Math.round((workOf(cost) - workOf(stored)) / cost.memoryCost)
    if (passes > 0) await hash('', { ...cost, timeCost: passes })
    return isRight && text !== undefined
  }

  return {
    async hash(password) {
      const text = settablePassword(password)
      return await queue.run(() => hash(text, cost))
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
function parse(stored: unknown): Cost | undefined {
  const match = typeof stored === 'string' ? STORED.exec(stored) : null
  if (!match) return undefined
  const [memoryCost = 0, timeCost = 0, parallelism = 0] = match.slice(1).map(Number)
  const isBearable = memoryCost <= MAX.memoryCost && timeCost <= MAX.timeCost && parallelism <= MAX.parallelism
  return isBearable && timeCost >= 1 && parallelism >= 1 && memoryCost >= 8 * parallelism
    ? { memoryCost, timeCost, parallelism }
    : undefined
}

const workOf = ({ memoryCost, timeCost }: Cost) => memoryCost * timeCost

function assertIntegerBetween(name: string, value: number, least: number, most: number): number {
  if (Number.isInteger(value) && value >= least && value <= most) return value
  throw new ConfigurationError(`argon2idHasher({ ${name}: ${value} }): ${name} must be a whole number from ${least} to ${most}.`)
}
