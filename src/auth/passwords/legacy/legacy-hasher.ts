import { Buffer } from 'node:buffer'
import { availableParallelism } from 'node:os'
import { ConfigurationError, ServiceUnavailableError } from '../../../core/errors.js'
import type { PasswordHasher } from '../../../users/account/password-hasher.js'
import { canonicalPassword } from '../password-text.js'
import { WorkQueue } from '../work-queue.js'
import { type LegacyPasswordScheme, MAX_STORED } from './scheme.js'

/** Each scheme takes part in every password check. */
const MAX_SCHEMES = 8
const NAME = /^[a-z0-9][a-z0-9-]{0,31}$/
/** A digest that importUsers({ wrap: true }) hashed again: the name of the scheme, its setting, and the hash of the current hasher. */
const WRAPPED = /^wrapped\$([a-z0-9-]{1,32})\$([\w-]{0,1024})\$(.{1,512})$/s

/** A stored hash of a legacy scheme. */
interface LegacyHash {
  readonly scheme: LegacyPasswordScheme
  /** The parameter that is out of bounds, if any: the hash matches no password. */
  readonly problem?: string | undefined
  /** Set for a wrapped digest. */
  readonly wrapped?: { readonly setting: string; readonly hash: string } | undefined
}

/** The result of a scheme for a password: a match, or the digest that the current hasher verifies. */
type Outcome = boolean | { readonly digest: string }

/**
 * Verifies hashes of legacy schemes besides those of the current hasher, and makes hashes with the current one only. Each check calls
 * every scheme once and the current hasher once, whatever is stored.
 */
export class LegacyHasher implements PasswordHasher {
  readonly #current: PasswordHasher
  readonly #schemes: readonly LegacyPasswordScheme[]
  readonly #queue: WorkQueue
  readonly #logged = new Set<string>()

  /** @throws ConfigurationError for more than 8 schemes, and for a name that is not valid or not unique */
  constructor(current: PasswordHasher, schemes: readonly LegacyPasswordScheme[]) {
    assertSchemes(schemes)
    this.#current = current
    this.#schemes = schemes
    // As with argon2id: some threads of libuv stay free for files and name look-ups.
    const threads = Math.min(3, availableParallelism())
    this.#queue = new WorkQueue(threads, Math.max(64, threads * 32))
  }

  hash(password: string): Promise<string> {
    return this.#current.hash(password)
  }

  async verify(password: string, stored: string | null | undefined): Promise<boolean> {
    const legacy = typeof stored === 'string' ? this.#find(stored) : undefined
    if (legacy?.problem !== undefined) this.#log(legacy.scheme, legacy.problem)
    const canonical = typeof password === 'string' ? canonicalPassword(password) : undefined
    const isValid = canonical !== undefined && 'text' in canonical
    // The other system hashed the text as it was typed, not its NFKC form.
    const outcome = await this.#queue.run(() => this.#runSchemes(isValid ? password : '', stored ?? '', legacy))
    if (typeof outcome === 'object') return (await this.#current.verify(outcome.digest, legacy?.wrapped?.hash)) && isValid
    const isCurrent = await this.#current.verify(password, legacy ? null : stored)
    return legacy ? outcome && isValid : isCurrent
  }

  needsRehash(stored: string, password?: string): boolean {
    return this.#find(stored) !== undefined || this.#current.needsRehash(stored, password)
  }

  recognises(stored: string): boolean {
    const legacy = this.#find(stored)
    return legacy ? legacy.problem === undefined : (this.#current.recognises?.(stored) ?? true)
  }

  /** Returns the name of the parameter of a legacy hash that is out of bounds, if any. */
  problemOf(stored: string): string | undefined {
    return this.#find(stored)?.problem
  }

  /** Hashes a fast legacy digest with the current hasher. Returns null for other hashes, which stay as they are. */
  async wrap(stored: string): Promise<string | null> {
    const legacy = this.#find(stored)
    if (!legacy?.scheme.wrapping || legacy.wrapped || legacy.problem !== undefined) return null
    const { digest, setting } = legacy.scheme.wrapping.split(stored)
    return `wrapped$${legacy.scheme.name}$${Buffer.from(setting).toString('base64url')}$${await this.#current.hash(digest)}`
  }

  async close(): Promise<void> {
    await this.#queue.close()
    await this.#current.close?.()
  }

  #find(stored: string): LegacyHash | undefined {
    if (stored.length > MAX_STORED) return undefined
    const [, name, setting = '', hash = ''] = WRAPPED.exec(stored) ?? []
    if (name !== undefined) {
      const scheme = this.#schemes.find((one) => one.name === name && one.wrapping)
      return scheme && { scheme, wrapped: { setting: Buffer.from(setting, 'base64url').toString(), hash } }
    }
    const scheme = this.#schemes.find((one) => one.recognises(stored))
    return scheme && { scheme, problem: scheme.exceeds?.(stored) }
  }

  // In sequence, so that the time of a check is the sum of all schemes.
  async #runSchemes(password: string, stored: string, legacy: LegacyHash | undefined): Promise<Outcome> {
    let outcome: Outcome = false
    for (const scheme of this.#schemes) {
      if (scheme === legacy?.scheme && legacy.problem === undefined) outcome = await verifyWith(legacy, password, stored)
      else await orElse(undefined, () => scheme.dummy(password))
    }
    return outcome
  }

  #log({ name }: LegacyPasswordScheme, problem: string): void {
    const what = `${name} ${problem}`
    if (this.#logged.has(what)) return
    this.#logged.add(what)
    console.warn(
      `objection-perms: the ${problem} of a stored ${name} hash is out of bounds, so no password matches it. Change the options of the scheme in initPerms({ passwords: { legacy } }), or let the user reset the password.`,
    )
  }
}

async function verifyWith({ scheme, wrapped }: LegacyHash, password: string, stored: string): Promise<Outcome> {
  const { wrapping } = scheme
  if (!wrapped || !wrapping) return await orElse(false, async () => (await scheme.verify(password, stored)) === true)
  return await orElse<Outcome>(false, async () => ({ digest: await wrapping.digest(password, wrapped.setting) }))
}

/** Runs a scheme. Its errors count as no match, except when it is too busy. */
async function orElse<T>(value: T, run: () => Promise<T>): Promise<T> {
  try {
    return await run()
  } catch (error) {
    if (error instanceof ServiceUnavailableError) throw error
    return value
  }
}

function assertSchemes(schemes: readonly LegacyPasswordScheme[]): void {
  const place = 'initPerms({ passwords: { legacy } })'
  if (!Array.isArray(schemes) || schemes.length > MAX_SCHEMES)
    throw new ConfigurationError(`${place}: pass an array of at most ${MAX_SCHEMES} schemes, such as [pbkdf2(), phpass()].`)
  const names = new Set<string>()
  for (const scheme of schemes as readonly Partial<LegacyPasswordScheme>[]) {
    const { name, recognises, verify, dummy } = scheme ?? {}
    if (typeof recognises !== 'function' || typeof verify !== 'function' || typeof dummy !== 'function')
      throw new ConfigurationError(
        `${place}: a scheme has the functions recognises, verify and dummy. Call the function of the scheme: pbkdf2().`,
      )
    if (typeof name !== 'string' || !NAME.test(name))
      throw new ConfigurationError(`${place}: the name of a scheme consists of at most 32 lower-case letters, digits and '-'.`)
    if (names.has(name)) throw new ConfigurationError(`${place}: two schemes are named '${name}'. Pass one of them another name.`)
    names.add(name)
  }
}
