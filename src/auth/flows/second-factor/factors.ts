import { ConfigurationError, InvalidCredentialsError, SecondFactorUnreadableError } from '../../../core/errors.js'
import { message } from '../../../core/messages/message.js'
import { transaction } from '../../../database/transaction.js'
import { asSystem, currentAddress } from '../../../policy/context.js'
import { invalidField, requireText } from '../../../schema/text-input.js'
import { accountNameOf } from '../../../users/account/identifiers.js'
import { SecondFactor } from '../../../users/second-factor.js'
import type { User } from '../../../users/user.js'
import type { AuthCore } from '../../core.js'
import type { Attempt } from '../../throttle/throttle.js'
import { unseal } from '../../tokens/secret-box.js'
import { useRecoveryCode } from './recovery-codes.js'
import { totpStep } from './totp.js'

/** The objects that each function of second factors uses. */
export interface FactorContext {
  readonly core: AuthCore
  /** The keys that encrypt the secrets, the newest first. */
  readonly secretKeys: readonly [Buffer, ...Buffer[]]
  /** The name of the application in authenticator apps. */
  readonly issuer: string
}

/** Returns the factor of a user, confirmed or not. */
export async function factorOf(userId: string): Promise<SecondFactor | undefined> {
  return await asSystem(() => SecondFactor.query().findOne({ userId }))
}

/** Returns the decrypted secret of a factor, or null when no key decrypts it. */
export function secretOf({ secretKeys }: FactorContext, factor: SecondFactor): string | null {
  return unseal(secretKeys, String(factor.userId), factor.secret)
}

/** Checks a code and marks it as used. Of two concurrent uses one UPDATE succeeds. @throws SecondFactorUnreadableError */
export async function consumeCode(context: FactorContext, factor: SecondFactor, code: string): Promise<boolean> {
  if (!isTotpCode(code)) return await consumeRecoveryCode(context, factor.userId, code)
  const secret = secretOf(context, factor)
  if (secret === null) throw unreadable(factor.userId)
  const step = totpStep(secret, code, Date.now())
  if (step === null) return false
  const count = await SecondFactor.query()
    .patch({ lastStep: step })
    .where('id', factor.id)
    .where((which) => which.whereNull('lastStep').orWhere('lastStep', '<', step))
  return count > 0
}

/**
 * Checks a code of a user who may have no confirmed authenticator app: then only a recovery code matches.
 *
 * @throws SecondFactorUnreadableError
 */
export async function consumeCodeOf(
  context: FactorContext,
  userId: string,
  factor: SecondFactor | undefined,
  code: string,
): Promise<boolean> {
  if (factor?.confirmedAt) return await consumeCode(context, factor, code)
  return !isTotpCode(code) && (await consumeRecoveryCode(context, userId, code))
}

async function consumeRecoveryCode({ core }: FactorContext, userId: string, code: string): Promise<boolean> {
  const isTaken = await useRecoveryCode(userId, code)
  if (isTaken) core.emit('recoveryCodeUsed', { userId })
  return isTaken
}

/** Returns whether a text has the form of a code of an authenticator app. */
export function isTotpCode(code: string): boolean {
  return /^\d{6}$/.test(code)
}

/** Returns the name of RFC 8176 for the method of a code. A recovery code has none there. */
export function methodOfCode(code: string): string {
  return isTotpCode(code) ? 'otp' : 'recovery'
}

/** Removes blanks and dashes: apps show codes in groups, and users type them that way. @throws ValidationError */
export function readCode(value: unknown): string {
  const given = requireText(value, 'code')
  const text = given.length > 128 ? given : given.replace(/[\s-]/g, '')
  if (text.length > 64) throw invalidField('code', message('field.tooLong'))
  return text
}

/** Begins an attempt to prove the identity of a user. Wrong codes and passwords count like failed sign-ins. */
export async function beginAttempt({ throttle }: AuthCore, user: User): Promise<Attempt> {
  return await throttle.begin('signIn', { account: accountNameOf(user), address: currentAddress() })
}

/** Rethrows the error. Takes the attempt back when the server, not the user, is at fault. */
export async function rethrowFailedAttempt(error: unknown, attempt: Attempt): Promise<never> {
  if (error instanceof SecondFactorUnreadableError) await attempt.withdrawn()
  throw error
}

/** Runs statements as the system, in a transaction. */
export function asSystemInTransaction<T>({ knex }: AuthCore, fn: () => Promise<T>): Promise<T> {
  return transaction(() => asSystem(fn), { knex })
}

/** Returns the error for a wrong or used code. */
export const wrongCode = () => new InvalidCredentialsError(message('factor.wrongCode'))

const unreadable = (userId: string) =>
  new SecondFactorUnreadableError(undefined, {
    cause: new ConfigurationError(
      `No key of initPerms({ jwt }) decrypts the second factor of user ${userId}: add the key that encrypted it to jwt.keys as \`retired: true\` (and start with a JWT_SECRET that stays the same), or remove the factor with perms.auth.secondFactors.reset(user).`,
    ),
  })
