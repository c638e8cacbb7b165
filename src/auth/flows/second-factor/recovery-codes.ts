import { randomBytes } from 'node:crypto'
import { asSystem } from '../../../policy/context.js'
import { skipCallerChange } from '../../../users/caller/caller-changes.js'
import { hashToken } from '../../../users/token.js'
import { revokeTokens, tokens } from '../../tokens/token-updates.js'

/** The kind of a challenge for the second factor, as stored in `token.kind`. */
export const CHALLENGE = 'second-factor'

const KIND = 'recovery'
const COUNT = 10
const BYTES = 16
// Omits letters and digits that look alike.
const alphabet = 'abcdefghijkmnpqrstuvwxyz23456789'

/**
 * Replaces the recovery codes of a user by new ones, 128 bits each. Joins the open transaction.
 *
 * @returns the codes, which are not stored
 */
export async function makeRecoveryCodes(userId: string): Promise<readonly string[]> {
  await skipCallerChange(tokens().query()).delete().where({ userId, kind: KIND })
  const codes = Array.from({ length: COUNT }, newCode)
  for (const code of codes) await tokens().create({ userId, kind: KIND, token: hashOf(code), boundTo: String(userId) })
  return codes
}

/** Uses a recovery code up. Of two concurrent calls one UPDATE succeeds. @returns whether the code was valid */
export async function useRecoveryCode(userId: string, code: string): Promise<boolean> {
  return (await revokeTokens({ userId, kind: KIND, token: hashOf(code) }, { lastUsedAt: new Date() })) > 0
}

/** Deletes the recovery codes of a user, and the open challenges of sign-ins, after the last factor was removed. */
export async function endFactorTokens(userId: string): Promise<void> {
  await skipCallerChange(tokens().query()).delete().where('userId', userId).whereIn('kind', [KIND, CHALLENGE])
}

/** Returns the number of unused recovery codes. */
export async function countUnusedCodes(userId: string): Promise<number> {
  return await asSystem(() => tokens().query().where({ userId, kind: KIND, revoked: false }).resultSize())
}

function newCode(): string {
  let bits = BigInt(`0x${randomBytes(BYTES).toString('hex')}`)
  let text = ''
  for (let i = 0; i < 26; i += 1) {
    text += alphabet[Number(bits & 31n)]
    bits >>= 5n
  }
  return text.replace(/(.{5})(?=.)/g, '$1-')
}

// Users type codes with or without dashes, in upper or lower case.
function hashOf(code: string): string {
  return hashToken(`recovery ${code.toLowerCase().replace(/[^a-z0-9]/g, '')}`)
}
