import { InvalidTokenError, ValidationError } from '../../core/errors.js'
import { transaction } from '../../database/transaction.js'
import { asSystem } from '../../policy/context.js'
import { registeredModel } from '../../policy/registered-models.js'
import { isUuid } from '../../schema/values.js'
import { requireRankOver } from '../../users/account-rank.js'
import { isActive } from '../../users/actor.js'
import { hashToken, isApiKey } from '../../users/api-key-format.js'
import { endsNoSession } from '../../users/caller-changes.js'
import { forbidApiKey } from '../../users/caller-restrictions.js'
import type { Token } from '../../users/token.js'
import type { User } from '../../users/user.js'
import type { AuthCore } from '../core.js'
import { forActiveCaller } from '../flows/active-caller.js'
import { type Caller, callerLoader } from './load-caller.js'
import { assertOwnUser } from './sessions.js'

/** Seconds within which a further use is not written down. */
const useInterval = 60
const mostKeys = 100

/** An API key as it is shown: the key itself is not. */
export interface ApiKeyInfo {
  readonly id: string
  readonly description: string | null
  readonly abilities: readonly string[]
  readonly createdAt: Date
  /** To the minute. */
  readonly lastUsedAt: Date | null
  readonly expiresAt: Date | null
}

/** API keys: `perms.auth.apiKeys`. They do not ask whose keys the caller may touch; API keys and impersonated sessions touch none. */
export interface ApiKeys {
  /**
   * Makes an API key. `plain` is never shown again.
   *
   * @param options `abilities`: what it may do of what the user may; `expiresIn`: seconds
   * @throws ValidationError for abilities that are none, or a user with 100 living keys
   * @example const { plain } = await perms.auth.apiKeys.issue(user, { description: 'CI', abilities: ['documents:read'], expiresIn: 86_400 * 90 })
   */
  issue(
    user: User,
    options: { description?: string | null | undefined; abilities: readonly string[]; expiresIn?: number | undefined },
  ): Promise<{ key: ApiKeyInfo; plain: string }>
  /** The living keys of a user, the newest first. */
  list(userId: string): Promise<ApiKeyInfo[]>
  /** Ends one for good; false where this user has no such living key. */
  revoke(userId: string, keyId: string): Promise<boolean>
}

/** The key and its user behind a text that stands in for a Bearer token. */
export type KeyDoor = (plain: string) => Promise<Caller>

export function apiKeys(core: AuthCore): ApiKeys & { authenticate: KeyDoor } {
  const { knex, emit, background } = core
  const load = callerLoader(knex, 'token')

  // One statement that does nothing where another process has just done it.
  function noteUse({ session }: Caller): void {
    const now = Date.now()
    if (session.lastUsedAt !== null && now - session.lastUsedAt.getTime() < useInterval * 1000) return
    const before = new Date(now - useInterval * 1000)
    background.run(() =>
      asSystem(() =>
        tokenClass()
          .query(knex)
          .patch({ lastUsedAt: new Date(now) } as never)
          .where('id', session.id)
          .where((which) => which.whereNull('lastUsedAt').orWhere('lastUsedAt', '<=', before)),
      ),
    )
  }

  return {
    async issue(user, { description = null, abilities, expiresIn }) {
      forbidApiKey('API keys')
      assertOwnUser(user)
      if ((await activeKeys(user.id)).length >= mostKeys)
        throw new ValidationError(`${mostKeys} API keys are the most that a user may have: revoke one first.`)
      const options = { kind: 'api', description, abilities, ...(expiresIn === undefined ? {} : { expiresIn }) }
      const { token, plain } = await forActiveCaller(knex, user.id, () => tokenClass().issue(user, options))
      emit('apiKeyCreated', { userId: user.id, keyId: token.id, abilities: token.abilities ?? [] })
      return { key: infoOf(token), plain }
    },

    async list(userId) {
      return (await activeKeys(userId)).map(infoOf)
    },

    async revoke(userId, keyId) {
      forbidApiKey('API keys')
      await requireRankOver(userId)
      if (!isUuid(keyId)) return false
      const count = await transaction(
        () =>
          asSystem(() =>
            endsNoSession(tokenClass().query())
              .patch({ revoked: true, revokedAt: new Date() } as never)
              .where({ id: keyId, userId, kind: 'api', revoked: false } as never),
          ),
        { knex },
      )
      if (count > 0) emit('apiKeyRevoked', { userId, keyId })
      return count > 0
    },

    async authenticate(plain) {
      const caller = isApiKey(plain) ? await load(hashToken(plain)) : null
      if (!caller || !isActiveKey(caller))
        throw new InvalidTokenError('The API key is not valid, has expired or was revoked: make another.')
      noteUse(caller)
      return caller
    },
  }
}

function isActiveKey({ session: { kind, revoked, expiresAt }, user }: Caller): boolean {
  return kind === 'api' && !revoked && (expiresAt === null || expiresAt.getTime() > Date.now()) && isActive(user)
}

async function activeKeys(userId: string): Promise<Token[]> {
  return (await asSystem(() =>
    tokenClass()
      .query()
      .where({ userId, kind: 'api', revoked: false } as never)
      .where((still) => still.whereNull('expiresAt').orWhere('expiresAt', '>', new Date()))
      .orderBy('createdAt', 'desc'),
  )) as unknown as Token[]
}

function infoOf({ id, description, abilities, createdAt, lastUsedAt, expiresAt }: Token): ApiKeyInfo {
  return { id, description, abilities: abilities ?? [], createdAt, lastUsedAt: lastUsedAt ?? null, expiresAt: expiresAt ?? null }
}

function tokenClass(): typeof Token {
  return registeredModel('token') as unknown as typeof Token
}
