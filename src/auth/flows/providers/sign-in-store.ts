/** The rows of sign-ins that have begun. Each value of a row works once, in all processes. */
import { createHash } from 'node:crypto'
import { ServiceUnavailableError } from '../../../core/errors.js'
import { message } from '../../../core/messages/message.js'
import { asSystem } from '../../../policy/context.js'
import { ProviderSignIn } from '../../../users/provider-sign-in.js'
import { hashToken, randomToken } from '../../../users/token.js'
import { seal, unseal } from '../../tokens/secret-box.js'
import { ProviderResponseError } from './provider-error.js'

/** Milliseconds in which a user signs in at the provider. */
const LIFETIME = 600_000
/** Milliseconds in which a one-time code is exchanged. */
const CODE_LIFETIME = 60_000

const STATE = /^ps_[\w-]{43}$/
const BINDING = /^pb_[\w-]{43}$/
const CODE = /^pc_[\w-]{43}$/
/** The S256 challenge of a verifier (RFC 7636, 4.2). */
export const CHALLENGE_FORM = /^[\w-]{43}$/
const VERIFIER = /^[\w.~-]{43,128}$/

export type SealKeys = readonly [Buffer, ...Buffer[]]

/** The part of a sign-in that is stored encrypted. */
export interface SignInDetails {
  readonly nonce: string
  readonly verifier: string
  /** Where the user returns to: an entry of the exact list. */
  readonly redirect: string
  /** The token of an invitation. */
  readonly invitation: string | null
  /** The user and the session that link the provider's account. */
  readonly link: { readonly userId: string; readonly sessionId: string } | null
  /** The greatest age in seconds of the sign-in at the provider. */
  readonly maxAge?: number | null | undefined
}

/** The user whom a provider has proved. */
export interface ProvedSignIn {
  readonly userId: string
  /** When the user signed in at the provider. Null: unknown. */
  readonly authTime: Date | null
}

/** A sign-in that begins. */
export interface BegunSignIn {
  readonly state: string
  /** The value that the browser keeps in a cookie; null for a native app. */
  readonly binding: string | null
}

/** A sign-in whose response may be used by its caller only. */
export interface UsedSignIn {
  readonly id: string
  /** The hash of its state. */
  readonly state: string
  readonly isNative: boolean
  readonly details: SignInDetails
}

/** Stores a sign-in. @param challenge of a native app */
export async function storeSignIn(
  keys: SealKeys,
  provider: string,
  details: SignInDetails,
  challenge: string | null,
): Promise<BegunSignIn> {
  const state = `ps_${randomToken()}`
  const binding = challenge === null ? `pb_${randomToken()}` : null
  const hash = hashToken(state)
  await asSystem(() =>
    ProviderSignIn.create({
      provider,
      state: hash,
      binding: binding === null ? null : hashToken(binding),
      challenge,
      details: seal(keys, hash, JSON.stringify(details)),
      expiresAt: new Date(Date.now() + LIFETIME),
    }),
  )
  return { state, binding }
}

/**
 * Uses a state up. It belongs to one provider and to one browser. Of several concurrent calls the UPDATE succeeds for one.
 *
 * @param binding the value of the browser's cookie
 * @throws ProviderResponseError
 */
export async function consumeState(keys: SealKeys, provider: string, state: string, binding: string | undefined): Promise<UsedSignIn> {
  if (!STATE.test(state)) throw new ProviderResponseError('state')
  const hash = hashToken(state)
  const now = new Date()
  const count = await asSystem(() =>
    ProviderSignIn.query()
      .patch({ usedAt: now })
      .where({ state: hash, provider })
      .whereNull('usedAt')
      .where('expiresAt', '>', now)
      .where((bound) => {
        bound.whereNotNull('challenge')
        if (binding !== undefined && BINDING.test(binding)) bound.orWhere('binding', hashToken(binding))
      }),
  )
  if (count === 0) throw new ProviderResponseError('state')
  const row = await asSystem(() => ProviderSignIn.query().findOne({ state: hash }))
  const text = row && unseal(keys, hash, row.details)
  if (!row || !text) throw new ServiceUnavailableError(message('provider.unreadable'))
  return { id: row.id, state: hash, isNative: row.challenge !== null, details: JSON.parse(text) as SignInDetails }
}

/**
 * Stores the proved user until the code is exchanged.
 *
 * @returns the one-time code; for a browser null, since its cookie takes the place of the code
 */
export async function storeProvedUser(
  keys: SealKeys,
  { id, state, isNative }: UsedSignIn,
  { userId, authTime }: ProvedSignIn,
  binding: string | undefined,
): Promise<string | null> {
  const code = isNative ? `pc_${randomToken()}` : (binding as string)
  const expiresAt = new Date(Date.now() + CODE_LIFETIME)
  await asSystem(() =>
    ProviderSignIn.query()
      .patch({ userId, code: hashToken(code), expiresAt, details: seal(keys, state, JSON.stringify({ authTime })) })
      .where({ id }),
  )
  return isNative ? code : null
}

/** The secrets that a client exchanges: the code and the verifier of a native app, or the cookie of a browser. */
export interface Exchange {
  readonly code?: string | undefined
  readonly verifier?: string | undefined
  readonly binding?: string | undefined
}

/**
 * Uses a one-time code up. Of several concurrent calls the UPDATE succeeds for one.
 *
 * @throws ProviderResponseError
 */
export async function consumeCode(keys: SealKeys, { code, verifier, binding }: Exchange): Promise<ProvedSignIn> {
  const isNative = code !== undefined
  const isWellFormed = isNative
    ? CODE.test(code) && verifier !== undefined && VERIFIER.test(verifier)
    : binding !== undefined && BINDING.test(binding)
  if (!isWellFormed) throw new ProviderResponseError('state')
  const hash = hashToken((isNative ? code : binding) as string)
  const challenge = isNative ? challengeOf(verifier as string) : null
  const now = new Date()
  const count = await asSystem(() =>
    ProviderSignIn.query()
      .patch({ exchangedAt: now })
      .where({ code: hash })
      .where((mine) => (challenge === null ? mine.whereNull('challenge') : mine.where('challenge', challenge)))
      .whereNull('exchangedAt')
      .where('expiresAt', '>', now),
  )
  const row = count === 0 ? undefined : await asSystem(() => ProviderSignIn.query().findOne({ code: hash }))
  if (!row || row.userId === null) throw new ProviderResponseError('state')
  return { userId: row.userId, authTime: storedAuthTime(unseal(keys, row.state, row.details)) }
}

/** Unknown in rows of an earlier version, and when no key opens them. */
function storedAuthTime(details: string | null): Date | null {
  const { authTime } = JSON.parse(details ?? '{}') as { readonly authTime?: string | null }
  return typeof authTime === 'string' ? new Date(authTime) : null
}

/** Returns the S256 challenge of a verifier. */
export function challengeOf(verifier: string): string {
  return createHash('sha256').update(verifier).digest('base64url')
}
