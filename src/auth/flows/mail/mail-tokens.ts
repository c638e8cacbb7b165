import { InvalidTokenError } from '../../../core/errors.js'
import { message } from '../../../core/messages/message.js'
import { lockRow } from '../../../database/lock-row.js'
import { transaction } from '../../../database/transaction.js'
import { asSystem } from '../../../policy/context.js'
import { registeredModel } from '../../../policy/registered-models.js'
import { isActive } from '../../../users/caller/actor.js'
import { skipCallerChange } from '../../../users/caller/caller-changes.js'
import { hashToken, randomToken } from '../../../users/token.js'
import type { User } from '../../../users/user.js'
import type { AuthCore } from '../../core.js'
import { revokeTokens, tokens } from '../../tokens/token-updates.js'

/** The kinds of mailed tokens, as stored in `token.kind`. */
export type MailTokenKind = 'verify-email' | 'reset-password' | 'change-email' | 'magic-link'

const PREFIX = 'mt_'
const FORM = /^mt_[\w-]{43}$/

/** The kind of a row that is inserted and deleted in one transaction. */
export const DECOY = 'decoy'

export interface MailTokenOrder {
  readonly kind: MailTokenKind
  /** The address that the token is sent to, or the user's new address. */
  readonly boundTo: string
  /** In seconds. */
  readonly expiresIn: number
  /** The user's password hash when the mail was requested. If the stored hash differs, no token is created. */
  readonly whilePassword?: string | null | undefined
}

/**
 * Creates a token to be mailed and revokes earlier ones of the same kind. For an unknown address it runs the same statements on a
 * decoy row, so that the duration does not reveal whether the address has an account.
 *
 * @param user null for an unknown address
 * @param standIn the id of any user, for the decoy row; null if there are no users
 * @returns the token; null for an unknown address or a password that has changed
 */
export async function issueMailToken(
  core: AuthCore,
  user: User | null,
  standIn: string | null,
  order: MailTokenOrder,
): Promise<string | null> {
  const plain = PREFIX + randomToken()
  const userId = user?.id ?? standIn
  if (userId === null) return null
  const isMade = await replaceToken(core, user, userId, { ...order, token: hashToken(plain) })
  return user && isMade ? plain : null
}

/** A single-use token of a user. */
export interface TokenOrder extends Omit<MailTokenOrder, 'kind'> {
  readonly kind: string
  /** The hash to store. */
  readonly token: string
}

/**
 * Creates a token and revokes earlier ones of the same kind. For an unknown user it runs the same statements on a decoy row.
 *
 * @param user null for an unknown user
 * @param userId the user's id, or that of any user
 * @returns false when the password has changed
 */
export async function replaceToken(core: AuthCore, user: User | null, userId: string, order: TokenOrder): Promise<boolean> {
  const { token, boundTo, expiresIn, whilePassword } = order
  const kind = user ? order.kind : DECOY
  return await transaction(
    (trx) =>
      asSystem(async () => {
        const now = Date.now()
        await lockRow(trx, users(), userId)
        if (whilePassword !== undefined) {
          const stored = await users().query().findById(userId).select('id', 'passwordHash')
          if (user && stored?.passwordHash !== whilePassword) return false
        }
        await revokeTokens({ userId, kind })
        const values = { userId, kind, token, boundTo, expiresAt: new Date(now + expiresIn * 1000) }
        const { id } = await tokens().create(values)
        await deleteDecoy(id)
        return true
      }),
    { knex: core.knex },
  )
}

/** Inserts and deletes a row of a user. Joins the open transaction. */
export async function writeDecoy(userId: string): Promise<void> {
  const { id } = await tokens().create({ userId, kind: DECOY, token: hashToken(randomToken()), revoked: true })
  await deleteDecoy(id)
}

/** Deletes a row if it is a decoy. Runs one statement in either case. */
export async function deleteDecoy(id: string): Promise<void> {
  await asSystem(() => skipCallerChange(tokens().query()).delete().where({ id, kind: DECOY }))
}

export interface MailTokenUse {
  readonly user: User
  readonly boundTo: string
}

/**
 * Returns the user and the bound address of an active mailed token. It does not use the token up.
 *
 * @throws InvalidTokenError, with the same message for unknown, used, expired and superseded tokens and for a changed address
 */
export async function readMailToken(plain: string, kind: MailTokenKind): Promise<MailTokenUse & { tokenId: string }> {
  const found = FORM.test(plain)
    ? await asSystem(() =>
        tokens()
          .query()
          .findOne({ token: hashToken(plain), kind }),
      )
    : undefined
  const user = found?.isActive ? await asSystem(() => users().get(found.userId)) : null
  const boundTo = found?.boundTo ?? null
  if (!found || !user || boundTo === null || !isActive(user)) throw invalidLink()
  if (kind !== 'change-email' && user.email !== boundTo) throw invalidLink()
  return { user, boundTo, tokenId: found.id }
}

/**
 * Uses a mailed token up and runs `act` in one transaction. Of several concurrent calls one UPDATE succeeds.
 *
 * @throws InvalidTokenError, and errors of `act`, after which the token is still usable
 */
export async function useMailToken<T>(
  core: AuthCore,
  plain: string,
  kind: MailTokenKind,
  act: (use: MailTokenUse) => Promise<T>,
  prepare?: (use: MailTokenUse) => Promise<void>,
): Promise<T> {
  const { tokenId, ...use } = await readMailToken(plain, kind)
  // Hashing runs before the transaction takes a connection.
  await prepare?.(use)
  return await transaction(
    (trx) =>
      asSystem(async () => {
        const now = new Date()
        // Every transaction locks the user's row before the token's: the common order avoids deadlocks.
        await lockRow(trx, users(), use.user.id)
        const count = await revokeTokens({ id: tokenId, kind }, { lastUsedAt: now }).where('expiresAt', '>', now)
        if (count === 0) throw invalidLink()
        return await act(use)
      }),
    { knex: core.knex },
  )
}

const invalidLink = () => new InvalidTokenError(message('link.invalid'))
const users = () => registeredModel('user') as typeof User
