/** Challenges: proof of the first factor, with which a user sends the code of the second one. */

import { InvalidTokenError, MissingTableError, ServiceUnavailableError } from '../../../core/errors.js'
import { message } from '../../../core/messages/message.js'
import { asSystem } from '../../../policy/context.js'
import { tableOf } from '../../../schema/class-statics.js'
import { isActive } from '../../../users/caller/actor.js'
import { SecondFactor } from '../../../users/second-factor.js'
import { hashToken, randomToken, type Token } from '../../../users/token.js'
import type { User } from '../../../users/user.js'
import type { SecondFactorAsked } from '../../auth-types.js'
import { storedMethods } from '../../tokens/methods.js'
import type { NewSession } from '../../tokens/sessions.js'
import { tokens, updateActiveTokens } from '../../tokens/token-updates.js'
import { userClass } from '../credentials.js'
import { factorOf } from './factors.js'

/** The kind of a challenge, as stored in `token.kind`. */
export const CHALLENGE = 'second-factor'

const PREFIX = 'sf_'
const FORM = /^sf_[\w-]{43}$/
const LIFETIME = 300_000
const MAX_TRIES = 5

/** Creates challenges for users who have a second factor. */
export class FactorChallenges {
  // Caches only that the table exists: another process may create it at any time.
  #hasTable = false

  /**
   * Finds out whether the table of factors exists. Runs outside transactions: a failed statement would end them.
   *
   * @throws ServiceUnavailableError while the database does not answer
   */
  async prepare(): Promise<void> {
    if (this.#hasTable) return
    try {
      await asSystem(() => SecondFactor.query().select('id').limit(1))
      this.#hasTable = true
    } catch (error) {
      // The table is missing in a database of an earlier version: no user has a second factor.
      if (error instanceof MissingTableError && error.table === tableOf(SecondFactor)) return
      throw new ServiceUnavailableError(message('factor.unavailable'), {
        cause: error,
      })
    }
  }

  /**
   * Creates a challenge after the first factor.
   *
   * @param session what the session will have: how the first factor was proved, and a lifetime
   * @returns null when the user has no second factor
   */
  async create(user: User, { amr, life }: Pick<NewSession, 'amr' | 'life'>): Promise<SecondFactorAsked | null> {
    if (!this.#hasTable || !(await factorOf(user.id))?.confirmedAt) return null
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
    return { status: 'secondFactor', challenge }
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
  if (!found || !user || !isActive(user)) throw new InvalidTokenError()
  return { found, user }
}

/** Counts an attempt to answer a challenge. Call it as the system, in a transaction. @returns false after five attempts */
export async function countChallengeAttempt(challenge: Token): Promise<boolean> {
  const tries = Number(challenge.boundTo ?? 0)
  const count = await updateActiveTokens({ id: challenge.id, boundTo: String(tries) }, { boundTo: String(tries + 1) })
  return tries < MAX_TRIES && count > 0
}
