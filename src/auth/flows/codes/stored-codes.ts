/** Creates, counts and uses codes. A code is a row of Token that holds a keyed hash: a plain hash of six digits can be reversed. */
import { createHmac, randomBytes, randomInt, timingSafeEqual } from 'node:crypto'
import { InvalidCredentialsError } from '../../../core/errors.js'
import { message } from '../../../core/messages/message.js'
import { lockRow } from '../../../database/lock-row.js'
import { transaction } from '../../../database/transaction.js'
import { asSystem } from '../../../policy/context.js'
import { invalidField, requireText } from '../../../schema/text-input.js'
import type { Token } from '../../../users/token.js'
import type { User } from '../../../users/user.js'
import type { AuthCore } from '../../core.js'
import { deriveKeys } from '../../tokens/derived-keys.js'
import { revokeTokens, tokens, updateActiveTokens } from '../../tokens/token-updates.js'
import { userClass } from '../credentials.js'
import { DECOY, replaceToken, writeDecoy } from '../mail/mail-tokens.js'
import type { CodePurpose } from './code-options.js'

const DIGITS = 6
const MAX_TRIES = 5
const MAX_INPUT = 64

const kinds: Readonly<Record<CodePurpose, string>> = { signIn: 'code-sign-in', confirm: 'code-confirm' }

/** The use that a code is bound to. */
export interface CodeUse {
  readonly purpose: CodePurpose
  /** The session that the code confirms. */
  readonly sessionId?: string | undefined
}

/** A code whose hash matches. It is not used up yet. */
export interface FoundCode {
  readonly tokenId: string
  /** The address or number to which it was sent. */
  readonly to: string
}

/** The error for wrong, used, expired and superseded codes, and for unknown users. */
export const wrongCode = () => new InvalidCredentialsError(message('code.wrong'))

/** Returns the digits of a code. Users type blanks and dashes. @throws ValidationError */
export function readDigits(value: unknown, field: string): string {
  const given = requireText(value, field)
  if (given.length > MAX_INPUT) throw invalidField(field, message('field.tooLong'))
  const digits = given.replace(/[\s-]/g, '')
  if (!/^\d{6}$/.test(digits)) throw invalidField(field, message('field.sixDigits'))
  return digits
}

/**
 * Creates a code and revokes earlier ones of the same purpose. For an unknown user it runs the same statements on a decoy row.
 *
 * @param user null for an unknown user
 * @param standIn the id of any user, for the decoy row; null if there are no users
 * @returns the code; null for an unknown user
 */
export async function issueCode(
  core: AuthCore,
  user: User | null,
  standIn: string | null,
  { to, expiresIn, ...use }: CodeUse & { readonly to: string; readonly expiresIn: number },
): Promise<string | null> {
  const userId = user?.id ?? standIn
  if (userId === null) return null
  const code = newCode()
  const nonce = randomBytes(9).toString('base64url')
  const [key] = keysOf(core)
  const token = hashOf(key, { userId, nonce, to, code, ...use })
  await replaceToken(core, user, userId, { kind: kinds[use.purpose], token, boundTo: stateText({ tries: 0, nonce, to }), expiresIn })
  return user && code
}

/**
 * Counts an attempt and compares the code. It runs the same statements for unknown users, users without a code, and wrong codes.
 *
 * @returns the code if it is right, active, and one of the first five attempts
 */
export async function matchCode(
  core: AuthCore,
  user: User | null,
  standIn: string | null,
  use: CodeUse,
  code: string,
): Promise<FoundCode | null> {
  const userId = user?.id ?? standIn
  if (userId === null) return null
  const kind = user ? kinds[use.purpose] : DECOY
  const found = await asSystem(() => tokens().query().findOne({ userId, kind, revoked: false }))
  const state = readState(found)
  const isCounted = await countAttempt(core, { userId, kind, boundTo: stateText(state) }, state)
  const expected = Buffer.from(found?.token ?? '')
  const isRight = keysOf(core)
    .map((key) => Buffer.from(hashOf(key, { userId, nonce: state.nonce, to: state.to, code, ...use })))
    .map((hash) => hash.length === expected.length && timingSafeEqual(hash, expected))
    .includes(true)
  return user && found && isCounted && isRight ? { tokenId: found.id, to: state.to } : null
}

/**
 * Uses a code up and runs `act` in one transaction. Of several concurrent calls one UPDATE succeeds.
 *
 * @throws InvalidCredentialsError, and errors of `act`
 */
export async function consumeFoundCode<T>(core: AuthCore, user: User, { tokenId }: FoundCode, act: () => Promise<T>): Promise<T> {
  return await transaction(
    (trx) =>
      asSystem(async () => {
        const now = new Date()
        await lockRow(trx, userClass(), user.id)
        const count = await revokeTokens({ id: tokenId }, { lastUsedAt: now }).where('expiresAt', '>', now)
        if (count === 0) throw wrongCode()
        return await act()
      }),
    { knex: core.knex },
  )
}

// randomInt() rejects values that would make some codes more likely.
const newCode = () => String(randomInt(10 ** DIGITS)).padStart(DIGITS, '0')

interface CodeState {
  readonly tries: number
  /** Makes the hashes of equal codes differ: the column of the hash is unique. */
  readonly nonce: string
  readonly to: string
}

const stateText = ({ tries, nonce, to }: CodeState): string => `${tries} ${nonce} ${to}`

function readState(token: Token | undefined): CodeState {
  const [tries = '0', nonce = '', ...to] = (token?.boundTo ?? '').split(' ')
  return { tries: Number(tries), nonce, to: to.join(' ') }
}

/**
 * Counts in the row, in a transaction of its own: processes share the count, and a refused sign-in does not undo it. A decoy makes the
 * database write in every case: a commit without changes takes less time, and would show that no code is active.
 */
async function countAttempt(core: AuthCore, row: Pick<Token, 'kind' | 'boundTo'> & { userId: string }, state: CodeState): Promise<boolean> {
  const next = { boundTo: stateText({ ...state, tries: state.tries + 1 }) }
  const count = await transaction(
    () =>
      asSystem(async () => {
        const counted = await updateActiveTokens(row, next).where('expiresAt', '>', new Date())
        await writeDecoy(row.userId)
        return counted
      }),
    { knex: core.knex },
  )
  return count > 0 && state.tries < MAX_TRIES
}

const keysOf = ({ keys }: AuthCore) => deriveKeys(keys, 'one-time code')

function hashOf(
  key: Buffer,
  { userId, nonce, to, code, purpose, sessionId = '' }: CodeUse & { userId: string; nonce: string; to: string; code: string },
): string {
  return createHmac('sha256', key)
    .update(JSON.stringify([purpose, String(userId), sessionId, nonce, to, code]))
    .digest('hex')
}
