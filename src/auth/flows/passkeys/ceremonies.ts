/** Challenges of ceremonies: single use, stored as hashes, for five minutes. */
import { asSystem } from '../../../policy/context.js'
import { PasskeyChallenge } from '../../../users/passkey-challenge.js'
import { hashToken, randomToken } from '../../../users/token.js'
import type { AuthCore } from '../../core.js'
import { asSystemInTransaction } from '../second-factor/factors.js'

/** Milliseconds for which a challenge can be answered. */
export const CHALLENGE_LIFETIME = 300_000

/** The ceremony of a challenge, and who may answer it. */
export interface Ceremony {
  readonly ceremony: 'registration' | 'sign-in' | 'second-factor' | 'confirm'
  /** The user who asked. Null for a sign-in. */
  readonly userId: string | null
  /** The session, or the challenge for a second factor, that the answer must come with. Null for a sign-in. */
  readonly boundTo: string | null
}

/** Stores a challenge. @returns the challenge in base64url, which is not stored */
export async function issueChallenge({ ceremony, userId, boundTo }: Ceremony, userHandle: string | null = null): Promise<string> {
  const challenge = randomToken()
  const expiresAt = new Date(Date.now() + CHALLENGE_LIFETIME)
  await asSystem(() => PasskeyChallenge.create({ ceremony, userId, boundTo, userHandle, challenge: hashOf(challenge), expiresAt }))
  return challenge
}

/**
 * Uses a challenge up, in one UPDATE: of two concurrent calls one succeeds. A failure later on does not bring it back.
 *
 * @returns null for a challenge that is unknown, used, expired, or of another ceremony, user or session
 */
export async function consumeChallenge(core: AuthCore, challenge: string, wanted: Ceremony): Promise<PasskeyChallenge | null> {
  const { ceremony, userId, boundTo } = wanted
  const now = new Date()
  return await asSystemInTransaction(core, async () => {
    const query = PasskeyChallenge.query()
      .patch({ usedAt: now })
      .where({ challenge: hashOf(challenge), ceremony })
      .whereNull('usedAt')
      .where('expiresAt', '>', now)
    if (userId === null) query.whereNull('userId')
    else query.where('userId', userId)
    if (boundTo === null) query.whereNull('boundTo')
    else query.where('boundTo', boundTo)
    if ((await query) === 0) return null
    return (await PasskeyChallenge.query().findOne({ challenge: hashOf(challenge) })) ?? null
  })
}

const hashOf = (challenge: string): string => hashToken(`passkey ${challenge}`)
