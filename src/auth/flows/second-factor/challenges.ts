/** Challenges: proof of the first factor, with which a user sends the code of the second one. */
import type { Knex } from 'knex'
import { InvalidTokenError, ServiceUnavailableError } from '../../../core/errors.js'
import { message } from '../../../core/messages/message.js'
import { asSystem } from '../../../policy/context.js'
import { isActive } from '../../../users/caller/actor.js'
import { Passkey } from '../../../users/passkey.js'
import { SecondFactor } from '../../../users/second-factor.js'
import { hashToken, randomToken, type Token } from '../../../users/token.js'
import type { User } from '../../../users/user.js'
import type { FactorName, SecondFactorAsked } from '../../auth-types.js'
import { isMissingTable } from '../../optional-tables.js'
import { storedMethods } from '../../tokens/methods.js'
import type { NewSession } from '../../tokens/sessions.js'
import { revokeTokens, tokens, updateActiveTokens } from '../../tokens/token-updates.js'
import { userClass } from '../credentials.js'
import { factorOf } from './factors.js'
import { CHALLENGE } from './recovery-codes.js'

const PREFIX = 'sf_'
const FORM = /^sf_[\w-]{43}$/
const COUNT = /^\d{1,3}$/
const LIFETIME = 300_000
const MAX_TRIES = 5

/** Creates challenges for users who have a second factor. */
export class FactorChallenges {
  // Caches only that the tables exist: another process may create them at any time.
  readonly #tables = new Set<object>()
  readonly #asksForPasskeys: boolean

  readonly #knex: Knex

  /** @param options `asksForPasskeys`: whether a user with a passkey and no other factor needs a second factor */
  constructor(knex: Knex, { asksForPasskeys }: { readonly asksForPasskeys: boolean }) {
    this.#knex = knex
    this.#asksForPasskeys = asksForPasskeys
  }

  /**
   * Finds out whether the tables of factors and passkeys exist. Runs outside transactions: a failed statement would end them.
   *
   * @throws ServiceUnavailableError while the database does not answer
   */
  async prepare(): Promise<void> {
    await this.#find(SecondFactor)
    await this.#find(Passkey)
  }

  async #find(model: typeof SecondFactor | typeof Passkey): Promise<void> {
    if (this.#tables.has(model)) return
    try {
      await asSystem(() => (model as typeof SecondFactor).query().select('id').limit(1))
      this.#tables.add(model)
    } catch (error) {
      // The table is missing in a database of an earlier version: no user has such a factor.
      if (await isMissingTable(this.#knex, model, error).catch(() => false)) return
      throw new ServiceUnavailableError(message('factor.unavailable'), {
        cause: error,
      })
    }
  }

  /**
   * Returns the second factors of a user, which is empty for users who need none. Call it after `prepare()`.
   *
   * @returns such as `['totp', 'passkey']`
   */
  async factorsOf(userId: string): Promise<readonly FactorName[]> {
    const hasApp = this.#tables.has(SecondFactor) && Boolean((await factorOf(userId))?.confirmedAt)
    const mayUsePasskey = this.#tables.has(Passkey) && (hasApp || this.#asksForPasskeys)
    const hasPasskey = mayUsePasskey && (await asSystem(() => Passkey.query().where('userId', userId).select('id').first())) !== undefined
    return [...(hasApp ? (['totp'] as const) : []), ...(hasPasskey ? (['passkey'] as const) : [])]
  }

  /**
   * Creates a challenge after the first factor.
   *
   * @param session what the session will have: how the first factor was proved, and a lifetime
   * @returns null when the user has no second factor, and after a passkey, which is two factors itself
   */
  async create(user: User, { amr, life }: Pick<NewSession, 'amr' | 'life'>): Promise<SecondFactorAsked | null> {
    if (amr?.includes('mfa')) return null
    const factors = await this.factorsOf(user.id)
    if (factors.length === 0) return null
    const challenge = PREFIX + randomToken()
    const now = Date.now()
    const values = {
      userId: user.id,
      kind: CHALLENGE,
      token: hashToken(challenge),
      boundTo: '0',
      expiresAt: new Date(now + LIFETIME),
      amr: amr ? storedMethods(amr) : null,
      // The end of the session, if its lifetime was chosen.
      endsAt: life === undefined ? null : new Date(now + life * 1000),
    }
    await asSystem(() => tokens().create(values))
    return { status: 'secondFactor', challenge, factors }
  }
}

/** Returns an active challenge and its user. @throws InvalidTokenError */
export async function readChallenge(plain: string): Promise<{ found: Token; user: User }> {
  const found = FORM.test(plain)
    ? await asSystem(() =>
        tokens()
          .query()
          .findOne({ token: hashToken(plain), kind: CHALLENGE }),
      )
    : undefined
  const user = found?.isActive ? await asSystem(() => userClass().get(found.userId)) : null
  // The application may issue tokens of this kind, which have no count of attempts.
  if (!found || !COUNT.test(found.boundTo ?? '') || !user || !isActive(user)) throw new InvalidTokenError()
  return { found, user }
}

/** Counts an attempt to answer a challenge. Call it as the system, in a transaction. @returns false after five attempts */
export async function countChallengeAttempt(challenge: Token): Promise<boolean> {
  const tries = Number(challenge.boundTo ?? 0)
  const count = await updateActiveTokens({ id: challenge.id, boundTo: String(tries) }, { boundTo: String(tries + 1) })
  return tries < MAX_TRIES && count > 0
}

/** Uses a challenge up, after the second factor. Call it in a transaction. @throws InvalidTokenError when it was used or has expired */
export async function useChallenge({ id }: Token): Promise<void> {
  const count = await asSystem(() => revokeTokens({ id }).where('expiresAt', '>', new Date()))
  if (count === 0) throw new InvalidTokenError()
}
