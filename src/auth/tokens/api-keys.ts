import { InvalidTokenError, ValidationError } from '../../core/errors.js'
import { message } from '../../core/messages/message.js'
import { transaction } from '../../database/transaction.js'
import { asSystem } from '../../policy/context.js'
import { assertRegisteredUser } from '../../policy/registered-models.js'
import type { UserId } from '../../policy/registered-types.js'
import { isId } from '../../schema/ids.js'
import { hashToken, isApiKey } from '../../users/api-key-format.js'
import { requireRankOver } from '../../users/caller/account-rank.js'
import { isActive, type UserRow } from '../../users/caller/actor.js'
import { forbidApiKey } from '../../users/caller/caller-restrictions.js'
import type { Token } from '../../users/token.js'
import type { User } from '../../users/user.js'
import type { AuthCore } from '../core.js'
import { forActiveCaller } from '../flows/active-caller.js'
import { type Caller, callerLoader } from './load-caller.js'
import { revokeTokens, tokens } from './token-updates.js'

/** `lastUsedAt` is updated at most once in this many seconds. */
const USE_INTERVAL = 60
const MAX_KEYS = 100

/** An API key in a list, without the key itself. */
export interface ApiKeyInfo {
  readonly id: string
  readonly description: string | null
  readonly abilities: readonly string[]
  readonly createdAt: Date
  /** Updated at most once a minute. */
  readonly lastUsedAt: Date | null
  readonly expiresAt: Date | null
}

/**
 * Manages API keys: `perms.auth.apiKeys`. To create or revoke a key of another user, the caller needs a higher rank
 * than that user. list() does not check whose keys the caller may see. API keys and impersonated sessions cannot create or revoke keys.
 */
export interface ApiKeys {
  /**
   * Creates an API key. `plain` is returned once and not stored.
   *
   * @param options `abilities`: the key may do only these of the user's actions; `expiresIn` in seconds
   * @throws ValidationError for unknown abilities, or a user with 100 active keys
   * @throws ForbiddenError when the key is for another user and the caller has no higher rank
   * @example const { plain } = await perms.auth.apiKeys.issue(user, { description: 'CI', abilities: ['documents:read'], expiresIn: 86_400 * 90 })
   */
  issue(
    user: UserRow,
    options: { description?: string | null | undefined; abilities: readonly string[]; expiresIn?: number | undefined },
  ): Promise<{ key: ApiKeyInfo; plain: string }>
  /** Returns the active keys of a user, the newest first. */
  list(userId: UserId): Promise<ApiKeyInfo[]>
  /** Revokes a key permanently. @returns false when the user has no such active key */
  revoke(userId: UserId, keyId: string): Promise<boolean>
}

/** Returns the key and its user for an API key that a request sends as its Bearer token. */
export type ApiKeyAuthenticator = (plain: string, load?: (hash: string) => Promise<Caller | null>) => Promise<Caller>

export function apiKeys(core: AuthCore): ApiKeys & { authenticate: ApiKeyAuthenticator } {
  const { knex, emit, background } = core
  const load = callerLoader(knex, 'token')

  // The WHERE clause skips the update when another process has just recorded a use.
  function recordUse(caller: Caller): void {
    if (isUseRecorded(caller)) return
    const { session } = caller
    const now = Date.now()
    const before = new Date(now - USE_INTERVAL * 1000)
    background.run(() =>
      asSystem(() =>
        tokens()
          .query(knex)
          .patch({ lastUsedAt: new Date(now) })
          .where('id', session.id)
          .where((which) => which.whereNull('lastUsedAt').orWhere('lastUsedAt', '<=', before)),
      ),
    )
  }

  return {
    async issue(user: User, { description = null, abilities, expiresIn }) {
      forbidApiKey(message('subject.apiKeys'))
      assertRegisteredUser(user)
      await requireRankOver(user.id)
      if ((await activeKeys(user.id)).length >= MAX_KEYS) throw new ValidationError(message('apiKey.tooMany', { limit: MAX_KEYS }))
      const options = { kind: 'api', description, abilities, ...(expiresIn === undefined ? {} : { expiresIn }) }
      const { token, plain } = await forActiveCaller(knex, user.id, () => tokens().issue(user, options))
      emit('apiKeyCreated', { userId: user.id, keyId: token.id, abilities: token.abilities ?? [] })
      return { key: infoOf(token), plain }
    },

    async list(userId) {
      return (await activeKeys(userId)).map(infoOf)
    },

    async revoke(userId, keyId) {
      forbidApiKey(message('subject.apiKeys'))
      await requireRankOver(userId)
      if (!isId(tokens(), keyId)) return false
      const count = await transaction(() => asSystem(() => revokeTokens({ id: keyId, userId, kind: 'api' })), { knex })
      if (count > 0) emit('apiKeyRevoked', { userId, keyId })
      return count > 0
    },

    async authenticate(plain, loadCaller = load) {
      const caller = isApiKey(plain) ? await loadCaller(hashToken(plain)) : null
      if (!caller || !isActiveKey(caller)) throw new InvalidTokenError(message('apiKey.invalid'))
      recordUse(caller)
      return caller
    },
  }
}

/** Returns whether a use of the key was recorded so recently that the next one need not be. */
export function isUseRecorded({ session: { lastUsedAt } }: Caller): boolean {
  return lastUsedAt !== null && Date.now() - lastUsedAt.getTime() < USE_INTERVAL * 1000
}

/** Returns whether an API key and its user are active. */
export function isActiveKey({ session: { kind, revoked, expiresAt }, user }: Caller): boolean {
  return kind === 'api' && !revoked && (expiresAt === null || expiresAt.getTime() > Date.now()) && isActive(user)
}

async function activeKeys(userId: string): Promise<Token[]> {
  return await asSystem(() =>
    tokens()
      .query()
      .where({ userId, kind: 'api', revoked: false })
      .where((still) => still.whereNull('expiresAt').orWhere('expiresAt', '>', new Date()))
      .orderBy('createdAt', 'desc'),
  )
}

function infoOf({ id, description, abilities, createdAt, lastUsedAt, expiresAt }: Token): ApiKeyInfo {
  return { id, description, abilities: abilities ?? [], createdAt, lastUsedAt: lastUsedAt ?? null, expiresAt: expiresAt ?? null }
}
