import type { Knex } from 'knex'
import { ConfigurationError, InvalidTokenError, UniqueViolationError, ValidationError } from '../../core/errors.js'
import { lockRow } from '../../database/lock-row.js'
import { transaction } from '../../database/transaction.js'
import { asSystem, currentAddress } from '../../policy/context.js'
import { otherRuntimes, type Runtime, runtimeSlot } from '../../runtime.js'
import { decodeId } from '../../schema/ids.js'
import { isActive } from '../../users/caller/actor.js'
import { LEGACY, legacyCutOff, legacyHash, setLegacyTokenUse } from '../../users/legacy-tokens.js'
import { userClass } from '../flows/credentials.js'
import { verifyCompact } from './jwt.js'
import type { JwtKeyOptions } from './key.js'
import { type KeySet, parseVerificationKeys, type VerificationKeys } from './key-set.js'
import { type Caller, callerLoader } from './load-caller.js'
import { tokens } from './token-updates.js'

/** The access tokens that an application issued before it used this library. */
export interface LegacyTokenOptions {
  /** The HS256 secret of the old tokens, as UTF-8 text of at least 32 bytes. Use either this or `keys`. */
  readonly secret?: string | undefined
  /** Several keys, or other algorithms. Keys without a private half are enough. */
  readonly keys?: readonly JwtKeyOptions[] | undefined
  /** The `iss` claim that the tokens must have. */
  readonly issuer?: string | undefined
  /** The `aud` claim that the tokens must have. Without it, tokens with an audience are refused. */
  readonly audience?: string | undefined
  /**
   * The end, after which no old token is accepted: a Date, or text such as `'2027-03-01'` (midnight UTC) or
   * `'2027-03-01T12:00:00Z'`. At most 400 days ahead.
   */
  readonly until: Date | string
  /**
   * Returns the id of the user from the claims of a token, or null for a token that is no access token.
   *
   * @defaultValue the claim `sub`
   */
  readonly userId?: ((claims: Readonly<Record<string, unknown>>) => string | number | bigint | null | undefined) | undefined
}

const MAX_DAYS = 400
const DAY = 86_400_000
const TEN_YEARS = 3650 * DAY
/** Milliseconds by which the clock of the old issuer may differ. */
const CLOCK_SKEW = 60_000

/** An authentic token: its user, the hash of its row, and its times in milliseconds since 1970. */
interface LegacyToken {
  readonly userId: string
  readonly hash: string
  /** 0 for a token that does not say it. */
  readonly issuedAt: number
  readonly expiresAt: number | null
}

/**
 * Accepts the access tokens of an application's earlier scheme until a fixed date. The first use of a token creates a session for
 * it, so that sign-out, password changes and disabling end old tokens like native ones.
 */
export class LegacyTokens {
  readonly keys: VerificationKeys
  readonly #until: number
  readonly #userId: NonNullable<LegacyTokenOptions['userId']>
  readonly #knex: Knex
  readonly #load: (hash: string) => Promise<Caller | null>

  /** @throws ConfigurationError for invalid keys or dates, and for a key that also signs the library's tokens */
  constructor(knex: Knex, options: LegacyTokenOptions, native: KeySet) {
    this.keys = parseVerificationKeys(options, 'jwt.legacyTokens')
    if (this.keys.keys.some((key) => native.keys.some((other) => other.verifyKey.equals(key.verifyKey))))
      throw new ConfigurationError(
        'jwt.legacyTokens has a key that jwt has too: a program that signs old tokens could sign new ones. Give jwt a new secret.',
      )
    this.#until = readEnd(options.until)
    const { userId = ({ sub }) => sub as string } = options
    if (typeof userId !== 'function')
      throw new ConfigurationError('jwt.legacyTokens.userId must be a function of the claims, such as ({ id }) => id.')
    this.#userId = userId
    this.#knex = knex
    this.#load = callerLoader(knex, 'token')
  }

  /** Whether tokens are still accepted. */
  get isOpen(): boolean {
    return Date.now() < this.#until
  }

  /**
   * Returns the active user of a token, with the session of the token. It runs one statement, and more at the first use of a token.
   *
   * @throws InvalidTokenError
   */
  async findActive(token: string): Promise<Caller> {
    const legacy = this.#verify(token)
    let caller = await this.#load(legacy.hash)
    if (!caller) {
      await this.#startSession(legacy)
      caller = await this.#load(legacy.hash)
    }
    if (!caller || caller.session.kind !== LEGACY || caller.session.revoked || isOver(caller.session.expiresAt))
      throw new InvalidTokenError()
    if (!isActive(caller.user) || String(caller.user.id) !== String(legacy.userId)) throw new InvalidTokenError()
    return caller
  }

  #verify(token: string): LegacyToken {
    if (!this.isOpen) throw refused('legacy tokens are no longer accepted')
    const { header, payload } = verifyCompact(this.keys, token)
    // Native tokens and tokens of other kinds name their kind.
    if (header.typ !== undefined && header.typ !== 'JWT') throw refused('typ is not JWT')
    if (typeof payload !== 'object' || payload === null || Array.isArray(payload)) throw refused('the claims are no object')
    const claims = payload as Readonly<Record<string, unknown>>
    if (this.keys.audience === undefined && claims.aud !== undefined) throw refused('aud names another audience')
    const [expires, issued = 0] = [claims.exp, claims.iat]
    if (!isTime(issued) || (expires !== undefined && !isTime(expires))) throw refused('iat or exp is not a time')
    // Such a token would escape every cut-off.
    if (issued * 1000 > Date.now() + CLOCK_SKEW) throw refused('iat is in the future')
    const userId = decodeId(userClass(), this.#userIdIn(claims))
    if (userId === undefined) throw refused('the claims contain no user id')
    // A token can have several valid signatures (ECDSA). So the hash that identifies its row omits the signature.
    const hash = legacyHash(token.slice(0, token.lastIndexOf('.')))
    return { userId: userId as string, hash, issuedAt: issued * 1000, expiresAt: expires === undefined ? null : expires * 1000 }
  }

  #userIdIn(claims: Readonly<Record<string, unknown>>): unknown {
    try {
      return this.#userId(claims)
    } catch (error) {
      throw refused(error)
    }
  }

  // Locks the user first: a concurrent sign-out everywhere either commits its cut-off before this check, or revokes the new row.
  async #startSession({ userId, hash, issuedAt, expiresAt }: LegacyToken): Promise<void> {
    const now = Date.now()
    const values = {
      userId,
      kind: LEGACY,
      token: hash,
      address: currentAddress()?.slice(0, 64) ?? null,
      // deleteExpired() must not delete the row of a token that is still valid: a token that was signed out would be unknown again.
      expiresAt: expiresAt === null ? null : new Date(Math.min(expiresAt, now + TEN_YEARS)),
      endsAt: new Date(this.#until),
      lastUsedAt: new Date(now),
      // When the user signed in to the earlier application is not known.
      amr: 'legacy',
    }
    const write = async (trx: Knex.Transaction) => {
      await lockRow(trx, userClass(), userId)
      await tokens().create(values)
      const cutOff = await legacyCutOff(userId)
      if (cutOff !== null && issuedAt <= cutOff.getTime() + CLOCK_SKEW) throw new InvalidTokenError()
    }
    const user = await asSystem(() => userClass().query().findById(userId))
    if (!user || !isActive(user)) throw new InvalidTokenError()
    try {
      await transaction((trx) => asSystem(() => write(trx)), { knex: this.#knex })
    } catch (error) {
      // The user has been deleted in the meantime: the database rejects the foreign key.
      if (error instanceof ValidationError) throw new InvalidTokenError()
      // A concurrent request with the same token has created the row.
      if (!(error instanceof UniqueViolationError)) throw error
    }
  }
}

const keysOf = runtimeSlot<VerificationKeys | null>(() => null)

/**
 * Records the legacy tokens of a runtime.
 *
 * @param jwt the options of initPerms(), or undefined for a process that does not authenticate callers
 * @throws ConfigurationError when another active runtime accepts the same tokens: they do not say which database they are for
 */
export function registerLegacyTokens(runtime: Runtime, jwt: { readonly legacyTokens?: LegacyTokenOptions | undefined } | undefined): void {
  setLegacyTokenUse(runtime, jwt === undefined ? 'unknown' : jwt.legacyTokens ? 'accepted' : 'refused')
  if (!jwt?.legacyTokens) return
  const own = parseVerificationKeys(jwt.legacyTokens, 'jwt.legacyTokens')
  keysOf.set(runtime, own)
  const isSame = (other: VerificationKeys) =>
    other.issuer === own.issuer &&
    other.audience === own.audience &&
    own.keys.some((key) => other.keys.some(({ verifyKey }) => verifyKey.equals(key.verifyKey)))
  if (otherRuntimes(runtime).some((other) => isSame(keysOf.of(other) ?? { ...own, keys: [] })))
    throw new ConfigurationError(
      'jwt.legacyTokens: another database of this process accepts the same tokens. Accept them for one, or name their issuer or audience.',
    )
}

function isOver(end: Date | null): boolean {
  return end !== null && end.getTime() <= Date.now()
}

function isTime(value: unknown): value is number {
  return typeof value === 'number' && Number.isFinite(value) && value >= 0
}

const DATE = /^\d{4}-\d\d-\d\d(?:T\d\d:\d\d(?::\d\d(?:\.\d{1,3})?)?(?:Z|[+-]\d\d:\d\d))?$/

function readEnd(until: unknown): number {
  const time = until instanceof Date ? until.getTime() : typeof until === 'string' && DATE.test(until) ? Date.parse(until) : Number.NaN
  if (Number.isNaN(time))
    throw new ConfigurationError("jwt.legacyTokens.until: name the end of the old tokens, a Date or text such as '2027-03-01'.")
  if (time > Date.now() + MAX_DAYS * DAY)
    throw new ConfigurationError(`jwt.legacyTokens.until is more than ${MAX_DAYS} days ahead: choose an earlier end.`)
  return time
}

function refused(cause: unknown): InvalidTokenError {
  return new InvalidTokenError(undefined, { cause })
}
