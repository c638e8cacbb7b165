import { availableParallelism } from 'node:os'
import { genSaltSync } from 'bcryptjs'
import { ConfigurationError } from '../../core/errors.js'
import type { PasswordHasher } from '../../users/password-hasher.js'
import { formatStored, MAX_COST, needsPrehash, parseStored, prehash, sameHash } from './bcrypt-format.js'
import { BcryptPool } from './bcrypt-pool.js'
import { NativeBcrypt } from './native-bcrypt.js'
import { canonicalPassword, settablePassword } from './password-text.js'

export interface BcryptOptions {
  /** The work of one hash is 2 to the power of this: 12 when not said, 10 to 16. One more doubles it. */
  cost?: number | undefined
  /** Worker threads at most; as many as the machine runs at once when not said, but no more than 4. */
  threads?: number | undefined
  /** Hashes that may wait for a thread, 64 at least; beyond it, 503. 32 for each thread when not said. */
  maxQueue?: number | undefined
  /** Hashes with the package `bcrypt`, which the application installs, in the threads of libuv instead. */
  native?: boolean | undefined
}

const MIN_COST = 10
const MIN_QUEUE = 64

/** A password hasher with threads to end. */
export interface BcryptHasher extends PasswordHasher {
  close(): Promise<void>
}

/**
 * Hashes passwords with bcrypt, in worker threads that start at first use and do not keep the process alive.
 *
 * Passwords are hashed in NFKC form, of up to 4096 bytes, and none is cut: see `bcrypt-format.ts` for how. Hashes made
 * elsewhere (`$2a$`, `$2b$`, `$2y$`) verify too. `verify` costs one hash at the configured cost whatever it is asked: no
 * stored hash, an unreadable one, one of a lower cost, a password that is too long.
 *
 * @throws ConfigurationError if an option is out of its range, or `native` and the package is not installed
 * @example
 * const hasher = bcryptHasher({ cost: 12 })
 * const stored = await hasher.hash('correct horse battery')
 * await hasher.verify('correct horse battery', stored)      // true
 */
export function bcryptHasher(options: BcryptOptions = {}): BcryptHasher {
  const cost = whole('cost', options.cost ?? 12, MIN_COST, MAX_COST)
  const threads = whole('threads', options.threads ?? Math.min(4, availableParallelism()), 1, 64)
  const maxQueue = whole('maxQueue', options.maxQueue ?? Math.max(MIN_QUEUE, threads * 32), MIN_QUEUE, 100_000)
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
      // bcrypt takes a NUL for the end of the password or for a part of it, so no plain hash can stand for one.
      const possible = text !== undefined && (parsed.prehashed || !text.includes('\0'))
      const input = possible ? (parsed.prehashed ? prehash(text, parsed.setting) : text) : ''
      const work: [string, string][] = [[input, parsed.setting]]
      // 2^c + (2^c + 2^(c+1) + ... + 2^(cost-1)) = 2^cost: a cheap old hash answers no sooner than a current one.
      for (let rest = parsed.cost; rest < cost; rest++) work.push(dummy(rest))
      const [made = ''] = await pool.run(work)
      return sameHash(made, parsed) && possible
    },

    needsRehash(stored, password) {
      const parsed = parseStored(stored)
      if (parsed === undefined) return true
      if (parsed.cost !== cost) return parsed.cost < cost
      if (parsed.version !== '2b') return true
      // A plain hash of so long a password was made elsewhere, and answers to all that begin with the same 72 bytes.
      const canonical = password === undefined ? undefined : canonicalPassword(password)
      return !parsed.prehashed && canonical !== undefined && 'text' in canonical && needsPrehash(canonical.text)
    },

    close: () => pool.close(),
  }
}

/** Work that nothing can match, of the given cost. */
function dummy(cost: number): [string, string] {
  return ['', `$2b$${String(cost).padStart(2, '0')}$......................`]
}

function whole(name: string, value: number, least: number, most: number): number {
  if (Number.isInteger(value) && value >= least && value <= most) return value
  throw new ConfigurationError(`bcryptHasher({ ${name}: ${value} }): ${name} is a whole number from ${least} to ${most}.`)
}
