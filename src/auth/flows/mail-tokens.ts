import { InvalidTokenError } from '../../core/errors.js'
import { lockRow } from '../../database/lock-row.js'
import { transaction } from '../../database/transaction.js'
import { asSystem } from '../../policy/context.js'
import { registeredModel } from '../../policy/registered-models.js'
import { isActive } from '../../users/actor.js'
import { endsNoSession } from '../../users/caller-changes.js'
import { hashToken, randomToken, type Token } from '../../users/token.js'
import type { User } from '../../users/user.js'
import type { AuthCore } from '../core.js'

/** What mailed tokens are for: the kinds of their rows. */
export type MailTokenKind = 'verify-email' | 'reset-password' | 'change-email' | 'magic-link'

const PREFIX = 'mt_'
const FORM = /^mt_[\w-]{43}$/

/** The kind of a row that is deleted in the transaction that inserts it. */
const DECOY = 'decoy'

export interface MailTokenOrder {
  readonly kind: MailTokenKind
  /** The address that it is sent to, or is to become the user's. */
  readonly boundTo: string
  /** Seconds. */
  readonly expiresIn: number
  /** The user's password hash when the mail was asked for: if it is another one by now, no token is made. */
  readonly whilePassword?: string | null | undefined
}

/**
 * Makes a token to be mailed. Earlier ones of the same kind end with it.
 *
 * Where there is nobody to write to, the same statements run on a row that is gone when they are committed: how long they
 * occupy the process and the database tells nobody whether an address is a user's.
 *
 * @param user null: nobody is written to
 * @param standIn the id of any user, whom the row of the second case refers to; null if there are no users at all
 * @returns the token; null for nobody, or for a password that has changed
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
  const { boundTo, expiresIn, whilePassword } = order
  const kind = user ? order.kind : DECOY
  const isMade = await transaction(
    (trx) =>
      asSystem(async () => {
        const now = Date.now()
        await lockRow(trx, users(), userId)
        if (whilePassword !== undefined) {
          const stored = (await users().query().findById(userId).select('id', 'passwordHash')) as unknown as User | undefined
          if (user && stored?.passwordHash !== whilePassword) return false
        }
        await endsNoSession(tokens().query())
          .patch({ revoked: true, revokedAt: new Date(now) } as never)
          .where({ userId, kind, revoked: false } as never)
        const values = { userId, kind, token: hashToken(plain), boundTo, expiresAt: new Date(now + expiresIn * 1000) }
        const { id } = await tokens().create(values as never)
        await deleteDecoy(id)
        return true
      }),
    { knex: core.knex },
  )
  return user && isMade ? plain : null
}

/** Writes a row that refers to a user and is gone again: joins the open transaction. */
export async function writeDecoy(userId: string): Promise<void> {
  const { id } = await tokens().create({ userId, kind: DECOY, token: hashToken(randomToken()), revoked: true } as never)
  await deleteDecoy(id)
}

/** Deletes a row if it is a decoy; one statement either way. */
export async function deleteDecoy(id: string): Promise<void> {
  await asSystem(() =>
    endsNoSession(tokens().query())
      .delete()
      .where({ id, kind: DECOY } as never),
  )
}

export interface MailTokenUse {
  readonly user: User
  readonly boundTo: string
}

/**
 * The user whom a mailed token is for, and what it is bound to, as long as it is alive. It is not used up.
 *
 * @throws InvalidTokenError, the same whether it never was, is used, over, superseded, or its user's address is another by now
 */
export async function readMailToken(plain: string, kind: MailTokenKind): Promise<MailTokenUse & { tokenId: string }> {
  const found = FORM.test(plain)
    ? ((await asSystem(() =>
        tokens()
          .query()
          .findOne({ token: hashToken(plain), kind } as never),
      )) as Token | undefined)
    : undefined
  const user = found?.isLive ? await asSystem(() => users().get(found.userId)) : null
  const boundTo = found?.boundTo ?? null
  if (!found || !user || boundTo === null || !isActive(user)) throw dead()
  if (kind !== 'change-email' && user.email !== boundTo) throw dead()
  return { user, boundTo, tokenId: found.id }
}

/**
 * Uses a mailed token up and does what it is for, both or neither: of many at once, one statement decides.
 *
 * @throws InvalidTokenError, and what `act` throws: then the token is as it was
 */
export async function useMailToken<T>(
  core: AuthCore,
  plain: string,
  kind: MailTokenKind,
  act: (use: MailTokenUse) => Promise<T>,
  prepare?: (use: MailTokenUse) => Promise<void>,
): Promise<T> {
  const { tokenId, ...use } = await readMailToken(plain, kind)
  // What takes long, such as a hash, is done before a connection is held.
  await prepare?.(use)
  return await transaction(
    (trx) =>
      asSystem(async () => {
        const now = new Date()
        // The user's row before the token's, in every transaction: two that meet wait for one another, and do not deadlock.
        await lockRow(trx, users(), use.user.id)
        const count = await endsNoSession(tokens().query())
          .patch({ revoked: true, revokedAt: now, lastUsedAt: now } as never)
          .where({ id: tokenId, kind, revoked: false } as never)
          .where('expiresAt', '>', now)
        if (count === 0) throw dead()
        return await act(use)
      }),
    { knex: core.knex },
  )
}

const dead = () => new InvalidTokenError('The link is not valid any more: ask for another.')
const tokens = () => registeredModel('token') as unknown as typeof Token
const users = () => registeredModel('user') as unknown as typeof User
