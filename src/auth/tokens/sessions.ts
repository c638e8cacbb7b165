import type { Knex } from 'knex'
import { AccountDisabledError, InvalidTokenError } from '../../core/errors.js'
import { lockRow } from '../../database/lock-row.js'
import { transaction } from '../../database/transaction.js'
import { asSystem, currentActor, currentAddress } from '../../policy/context.js'
import { registeredModel } from '../../policy/registered-models.js'
import { decodeId } from '../../schema/ids.js'
import { isActive } from '../../users/caller/actor.js'
import { endLegacyTokens, LEGACY, mayHaveLegacyTokens } from '../../users/legacy-tokens.js'
import { hashToken, randomToken } from '../../users/token.js'
import type { User } from '../../users/user.js'
import type { Emit } from '../events.js'
import type { KeySet } from './key-set.js'
import type { Caller, SessionState } from './load-caller.js'
import { storedMethods } from './methods.js'
import { hashSecret, type RefreshToken, RefreshTokens } from './refresh-tokens.js'
import type { SessionLife } from './session-life.js'
import { revokeTokens, tokens, updateActiveTokens } from './token-updates.js'

/** `'refresh'`: a session that can be refreshed; `'access'`: a session of a single access token. */
const kinds = ['refresh', 'access'] as const
type SessionKind = (typeof kinds)[number]
/** The kinds of sessions that sign-out ends. A session of a legacy token is found by the token, never by its id in a native token. */
const endedKinds = [...kinds, LEGACY]

/** Milliseconds in which a second use of a refresh token counts as another browser tab or a lost response. */
const GRACE = 10_000

/** A session of a user. */
export interface SessionInfo {
  readonly id: string
  /** The device given at sign-in. */
  readonly description: string | null
  readonly address: string | null
  readonly createdAt: Date
  /** The last refresh. */
  readonly lastUsedAt: Date | null
  readonly expiresAt: Date | null
  /** Whether it is the caller's own session. */
  readonly isCurrent: boolean
}

/** The properties of a new session. */
export interface NewSession {
  /** A description for the list of sessions. */
  readonly device?: string | undefined
  /** How the user just proved to be present. Without it, the session is not recent. */
  readonly amr?: readonly string[] | undefined
  /** When the user did that. Null: unknown, so the session is not recent. Default: now, if `amr` is given. */
  readonly authTime?: Date | null | undefined
  /** Seconds after which it ends even if it is refreshed. Default: the usual lifetime. */
  readonly life?: number | undefined
}

export interface SessionsOptions {
  readonly knex: Knex
  readonly keys: KeySet
  readonly life: SessionLife
  readonly load: (sessionId: string) => Promise<Caller | null>
  readonly emit: Emit
}

/** Manages sessions, which are rows of Token. A session keeps its id when its refresh token changes. */
export class Sessions {
  readonly #options: SessionsOptions
  readonly #tokens: RefreshTokens

  constructor(options: SessionsOptions) {
    this.#options = options
    this.#tokens = new RefreshTokens(options.keys)
  }

  /** Starts a session. Joins the open transaction, if any. @throws AccountDisabledError for a user who is not active */
  async start(
    user: User,
    kind: SessionKind,
    { device, amr, authTime, life }: NewSession = {},
  ): Promise<{ sessionId: string; refreshToken: string }> {
    if (!isActive(user)) throw new AccountDisabledError()
    const now = Date.now()
    const { keys, life: lives } = this.#options
    const secret = this.#tokens.newSecret()
    const endsAt = new Date(now + (life ?? lives.usual) * 1000)
    const values = {
      userId: user.id,
      kind,
      // A session without a refresh token stores the hash of a random value that nobody knows.
      token: kind === 'refresh' ? hashSecret(secret) : hashToken(randomToken()),
      description: device === undefined ? null : device.slice(0, 255),
      address: currentAddress()?.slice(0, 64) ?? null,
      expiresAt: kind === 'refresh' ? this.#slide(now, endsAt) : new Date(now + keys.accessTokenExpires * 1000),
      endsAt,
      lastUsedAt: new Date(now),
      authTime: authTime === undefined && amr ? new Date(now) : (authTime ?? null),
      amr: amr ? storedMethods(amr) : null,
    }
    const { id } = await asSystem(() => tokens().create(values))
    return { sessionId: id, refreshToken: kind === 'refresh' ? this.#tokens.format(id, secret) : '' }
  }

  /** Returns the session id in an authentic refresh token; null for other text. */
  sessionIdOf(refreshToken: unknown): string | null {
    return this.#tokens.parse(refreshToken)?.sessionId ?? null
  }

  /**
   * Returns an active session with its active user.
   *
   * @param accepted the kinds of sessions. Default: those of native tokens.
   * @throws InvalidTokenError when the session or the user is not active
   */
  async findActive(sessionId: string, load = this.#options.load, accepted: readonly string[] = kinds): Promise<Caller> {
    const known = decodeId(tokens(), sessionId)
    const caller = known === undefined ? null : await load(String(known))
    if (!caller || !isActiveCaller(caller, accepted)) throw new InvalidTokenError()
    return caller
  }

  /**
   * Replaces a refresh token by its successor. Concurrent calls with one token get the same answer for 10 s, until the successor is
   * used. A later use ends the session.
   *
   * @throws InvalidTokenError
   */
  async rotate(refreshToken: string): Promise<{ caller: Caller; refreshToken: string }> {
    const token = this.#tokens.parse(refreshToken)
    if (!token) throw new InvalidTokenError()
    for (let attempt = 0; attempt < 3; attempt += 1) {
      const caller = await this.findActive(token.sessionId)
      const { session, user } = caller
      if (session.kind !== 'refresh') throw new InvalidTokenError()
      if (session.token === hashSecret(token.secret)) {
        const next = this.#tokens.successor(token)
        if (!(await this.#advance(session, next))) continue
        this.#options.emit('refresh', { userId: user.id, sessionId: session.id })
        return { caller, refreshToken: this.#tokens.format(session.id, next) }
      }
      const next = this.#tokens.successorWithHash(token, session.token)
      const isRecent = session.rotatedAt !== null && Date.now() - session.rotatedAt.getTime() <= GRACE
      if (next && isRecent) return { caller, refreshToken: this.#tokens.format(session.id, next) }
      await this.#endReused(caller, token)
      throw new InvalidTokenError()
    }
    throw new InvalidTokenError()
  }

  // Compares and sets in one UPDATE: of several calls with the same token one changes the row. A session that has ended stays
  // ended.
  async #advance(session: SessionState, next: Buffer): Promise<boolean> {
    const now = Date.now()
    const expiresAt = this.#slide(now, session.endsAt)
    const changes = { token: hashSecret(next), rotatedAt: new Date(now), lastUsedAt: new Date(now), expiresAt }
    const changed = await transaction(() => asSystem(() => updateActiveTokens({ id: session.id, token: session.token }, changes)), {
      knex: this.#options.knex,
    })
    return changed > 0
  }

  /**
   * Records that the user of a session just proved to be present. One UPDATE changes the session only while it is active: a concurrent
   * sign-out either ends it first, and nothing changes, or ends the raised session.
   *
   * @returns the time, or null when the session has ended
   */
  async raise(sessionId: string, amr: readonly string[]): Promise<Date | null> {
    const now = new Date()
    const count = await updateActiveTokens({ id: sessionId }, { authTime: now, amr: storedMethods(amr) }).whereIn('kind', endedKinds)
    return count > 0 ? now : null
  }

  /** Returns an active session, also one of a legacy token. @throws InvalidTokenError */
  async findActiveOfAnyKind(sessionId: string): Promise<Caller> {
    return await this.findActive(sessionId, undefined, endedKinds)
  }

  async #endReused({ session, user }: Caller, token: RefreshToken): Promise<void> {
    const count = await this.end({ userId: user.id, id: token.sessionId })
    if (count > 0) this.#options.emit('tokenReused', { userId: user.id, sessionId: session.id, address: currentAddress() })
  }

  /**
   * Ends sessions of a user: one, all, or all but one. Their refresh and access tokens become invalid.
   *
   * @returns the number of sessions that were active
   */
  async end({ userId, id, except }: { userId: string; id?: string | undefined; except?: string | null | undefined }): Promise<number> {
    if ([id, except].some((one) => one !== undefined && one !== null && decodeId(tokens(), one) === undefined)) return 0
    const write = async (trx: Knex.Transaction) => {
      if (id === undefined && mayHaveLegacyTokens()) {
        await lockRow(trx, registeredModel('user'), userId)
        await endLegacyTokens(userId)
      }
      // The caller of end() emits an event that names the user.
      const query = revokeTokens({ userId }).whereIn('kind', endedKinds)
      if (id !== undefined) query.where('id', id)
      if (except) query.whereNot('id', except)
      return await query
    }
    return await transaction((trx) => asSystem(() => write(trx)), { knex: this.#options.knex })
  }

  /** Returns the active sessions of a user, the most recently used first. */
  async list(userId: string): Promise<SessionInfo[]> {
    const now = new Date()
    const rows = await asSystem(() =>
      tokens()
        .query()
        .where({ userId, revoked: false })
        .whereIn('kind', endedKinds)
        .where((still) => still.where('expiresAt', '>', now).orWhere((legacy) => legacy.whereNull('expiresAt').where('endsAt', '>', now)))
        .orderBy('lastUsedAt', 'desc'),
    )
    const current = currentActor()?.sessionId ?? null
    return rows.map(({ id, description, address, createdAt, lastUsedAt, expiresAt, endsAt }) => ({
      id,
      description,
      address,
      createdAt,
      lastUsedAt,
      expiresAt: earlier(expiresAt, endsAt),
      isCurrent: id === current,
    }))
  }

  // Each refresh extends the session, up to its absolute end.
  #slide(now: number, endsAt: Date | null): Date {
    const sliding = now + this.#options.keys.refreshTokenExpires * 1000
    return new Date(Math.min(sliding, endsAt?.getTime() ?? sliding))
  }
}

/**
 * Returns whether a session and its user are active.
 *
 * @param accepted the kinds of sessions. Default: those of native tokens.
 */
export function isActiveCaller({ session, user }: Caller, accepted: readonly string[] = kinds): boolean {
  return accepted.includes(session.kind) && isActiveSession(session) && isActive(user)
}

function isActiveSession({ kind, revoked, expiresAt, endsAt }: SessionState): boolean {
  const now = Date.now()
  const isOver = (end: Date | null) => end !== null && end.getTime() <= now
  // A legacy token may have no expiry of its own.
  return !revoked && (expiresAt !== null || kind === LEGACY) && !isOver(expiresAt) && !isOver(endsAt)
}

function earlier(one: Date | null, other: Date | null): Date | null {
  return one && other ? (one.getTime() < other.getTime() ? one : other) : (one ?? other)
}
