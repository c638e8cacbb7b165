import { randomBytes } from 'node:crypto'
import { asSystem } from '../../policy/context.js'
import { registeredModel } from '../../policy/registered-models.js'
import { endsNoSession } from '../../users/caller-changes.js'
import { hashToken, type Token } from '../../users/token.js'

const KIND = 'recovery'
const COUNT = 10
const BYTES = 16
// Without letters and digits that are taken for one another.
const alphabet = 'abcdefghijkmnpqrstuvwxyz23456789'

/** New recovery codes for a user, 128 bits each, in place of those that there were. Joins the open transaction. @returns them, for once */
export async function makeRecoveryCodes(userId: string): Promise<readonly string[]> {
  await endsNoSession(tokens().query())
    .delete()
    .where({ userId, kind: KIND } as never)
  const codes = Array.from({ length: COUNT }, newCode)
  for (const code of codes) await tokens().create({ userId, kind: KIND, token: hashOf(code), boundTo: userId } as never)
  return codes
}

/** Uses one up: of two at once, one statement decides. */
export async function useRecoveryCode(userId: string, code: string): Promise<boolean> {
  const now = new Date()
  const count = await endsNoSession(tokens().query())
    .patch({ revoked: true, revokedAt: now, lastUsedAt: now } as never)
    .where({ userId, kind: KIND, token: hashOf(code), revoked: false } as never)
  return count > 0
}

/** How many are left. */
export async function countLiving(userId: string): Promise<number> {
  return await asSystem(() =>
    tokens()
      .query()
      .where({ userId, kind: KIND, revoked: false } as never)
      .resultSize(),
  )
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

// As it is typed: with or without dashes, in either case.
function hashOf(code: string): string {
  return hashToken(`recovery ${code.toLowerCase().replace(/[^a-z0-9]/g, '')}`)
}

const tokens = () => registeredModel('token') as unknown as typeof Token
