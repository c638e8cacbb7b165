import { availableParallelism } from 'node:os'
import { genSaltSync } from 'bcryptjs'
import { ConfigurationError } from '../../core/errors.js'
import { assertKnownOptions, type OptionNames } from '../../core/known-options.js'
import type { PasswordHasher } from '../../users/account/password-hasher.js'
import { canRepresent, formatStored, MAX_COST, needsPrehash, parseStored, prehash, sameHash } from './bcrypt-format.js'
import { BcryptPool } from './bcrypt-pool.js'
import { NativeBcrypt } from './native-bcrypt.js'
import { canonicalPassword, settablePassword } from './password-text.js'

export interface BcryptOptions {
  /**
   * The binary logarithm of the work of one hash, 10 to 16. Adding 1 doubles the work.
   *
   * @defaultValue 12
   */
  cost?: number | undefined
  /**
   * The maximum number of worker threads.
   *
   * @defaultValue the number of processors, at most 4
   */
  threads?: number | undefined
  /**
   * Hashes that may wait for a thread, at least 64. Further ones throw ServiceUnavailableError (503).
   *
   * @defaultValue 32 for each thread
   */
  maxQueue?: number | undefined
  /**
   * Whether to hash with the package `bcrypt` in the threads of libuv. The application must install it.
   *
   * @defaultValue false
   */
  native?: boolean | undefined
}

const optionNames: OptionNames<BcryptOptions> = { cost: true, threads: true, maxQueue: true, native: true }

const MIN_COST = 10
const MIN_QUEUE = 64

/** A password hasher that runs threads. close() ends them. */
export interface BcryptHasher extends PasswordHasher {
  close(): Promise<void>
}

/**
 * Returns a password hasher with bcrypt. Its worker threads start at first use and do not keep the process alive.
 * Passwords are hashed in NFKC form, up to 4096 bytes, and none is truncated: `bcrypt-format.ts` describes the form. Hashes of
 * other libraries (`$2a$`, `$2b$`, `$2y$`) verify too. `verify` takes the time of one hash at the configured cost in every case: no
 * stored hash, an unreadable one, a lower cost, a password that is too long.
 *
 * @throws ConfigurationError for an option out of range, or when `native` is set and the package is not installed
 * @example
 * const hasher = bcryptHasher({ cost: 12 })
 * const stored = await hasher.hash('correct horse battery')
 * await hasher.verify('correct horse battery', stored)      // true
 */
export function bcryptHasher(options: BcryptOptions = {}): BcryptHasher {
  assertKnownOptions(options, optionNames, 'bcryptHasher')
  const cost = assertIntegerBetween('cost', options.cost ?? 12, MIN_COST, MAX_COST)
  const threads = assertIntegerBetween('threads', options.threads ?? Math.min(4, availableParallelism()), 1, 64)
  const maxQueue = assertIntegerBetween('maxQueue', options.maxQueue ?? Math.max(MIN_QUEUE, threads * 32), MIN_QUEUE, 100_000)
  const pool = options.native ? new NativeBcrypt(threads, maxQueue) : new BcryptPool(threads, maxQueue)
  return {
    async hash(password) {
      const text = settablePassword(password)
      const setting = genSaltSync(cost)
      const prehashed = needsPrehash(text)
      const [made = ''] = await pool.run([[prehashed ? prehash(text, setting) : text, setting]])
      return formatStored(made, prehashed)
    },

    async verify(password, stored) {
      const parsed = parseStored(stored)
      const canonical = typeof password === 'string' ? canonicalPassword(password) : undefined
      const text = canonical !== undefined && 'text' in canonical ? canonical.text : undefined
      if (parsed === undefined) {
        await pool.run([dummy(cost)])
        return false
      }
      const possible = text !== undefined && (parsed.prehashed || canRepresent(text, parsed))
      const input = possible ? (parsed.prehashed ? prehash(text, parsed.setting) : text) : ''
      const work: [string, string][] = [[input, parsed.setting]]
      // 2^c + (2^c + 2^(c+1) + ... + 2^(cost-1)) = 2^cost: a hash of lower cost takes as long as a current one.
      for (let rest = parsed.cost; rest < cost; rest++) work.push(dummy(rest))
      const [made = ''] = await pool.run(work)
      return sameHash(made, parsed) && possible
    },

    needsRehash(stored, password) {
      const parsed = parseStored(stored)
      if (parsed === undefined) return true
      if (parsed.cost !== cost) return parsed.cost < cost
      if (parsed.version !== '2b') return true
      // A plain hash of such a long password comes from another library and accepts every password with the same first 72 bytes.
      const canonical = password === undefined ? undefined : canonicalPassword(password)
      return !parsed.prehashed && canonical !== undefined && 'text' in canonical && needsPrehash(canonical.text)
    },

    recognises: (stored) => parseStored(stored) !== undefined,

    close: () => pool.close(),
  }
}

/** Returns work of the given cost whose result matches no hash. */
function dummy(cost: number): [string, string] {
  return ['', `$2b$${String(cost).padStart(2, '0')}$......................`]
}

function assertIntegerBetween(name: string, value: number, least: number, most: number): number {
  if (Number.isInteger(value) && value >= least && value <= most) return value
  throw new ConfigurationError(`bcryptHasher({ ${name}: ${value} }): ${name} must be a whole number from ${least} to ${most}.`)
}
