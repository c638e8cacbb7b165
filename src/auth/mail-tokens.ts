import { InvalidTokenError } from '../model/errors.js'
import { transaction } from '../model/transaction.js'
import { asSystem } from '../perms/context.js'
import { registeredModel } from '../perms/registry.js'
import { isLiving } from '../users/actor.js'
import { endsNoSession } from '../users/caller-changes.js'
import { hashToken, randomToken, type Token } from '../users/token.js'
import type { User } from '../users/user.js'
import type { AuthCore } from './core.js'
import { lockRow } from './lock-row.js'

/** What mailed tokens are for: the kinds of their rows. */
export type MailTokenKind = 'verify-email' | 'reset-password' | 'change-email' | 'magic-link'

const PREFIX = 'mt_'
const FORM = /^mt_[\w-]{43}$/

/**
 * Makes a token to be mailed. Earlier ones of the same kind end with it.
 *
 * @param boundTo the address that it is sent to, or is to become the user's
 * @param expiresIn seconds
 */
export async function issueMailToken(core: AuthCore, user: User, kind: MailTokenKind, boundTo: string, expiresIn: number): Promise<string> {
  const plain = PREFIX + randomToken()
  const now = Date.now()
  const values = { userId: user.id, kind, token: hashToken(plain), boundTo, expiresAt: new Date(now + expiresIn * 1000) }
  await transaction(
    (trx) =>
      asSystem(async () => {
        await lockRow(trx, users(), user.id)
        await endsNoSession(tokens().query())
          .patch({ revoked: true, revokedAt: new Date(now) } as never)
          .where({ userId: user.id, kind, revoked: false } as never)
        await tokens().create(values as never)
      }),
    { knex: core.knex },
  )
  return plain
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
  if (!found || !user || boundTo === null || !isLiving(user)) throw dead()
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
    () =>
      asSystem(async () => {
        const now = new Date()
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
