import { ValidationError } from '../../../core/errors.js'
import { message } from '../../../core/messages/message.js'
import { requireRankOver } from '../../../users/caller/account-rank.js'
import type { UserRow } from '../../../users/caller/actor.js'
import { forbidApiKey } from '../../../users/caller/caller-restrictions.js'
import { SecondFactor } from '../../../users/second-factor.js'
import { endTrustedDevices } from '../../../users/trusted-device.js'
import type { User } from '../../../users/user.js'
import type { SignInResult } from '../../auth-types.js'
import type { AuthCore } from '../../core.js'
import { deriveKeys } from '../../tokens/derived-keys.js'
import { notify } from '../mail/notices.js'
import {
  asSystemInTransaction,
  beginAttempt,
  consumeCode,
  type FactorContext,
  factorOf,
  readCode,
  rethrowFailedAttempt,
  wrongCode,
} from './factors.js'
import { countUnusedCodes, endFactorTokens, makeRecoveryCodes } from './recovery-codes.js'
import { beginSetUp, confirmSetUp } from './set-up.js'
import type { FactorChoice, TrustedDeviceOptions } from './trusted-devices.js'
import { verifyChallenge } from './verify-challenge.js'

export interface SecondFactorOptions {
  /** The name of the application in authenticator apps. @defaultValue 'Application' */
  readonly issuer?: string | undefined
  /** Lets users skip the second factor on devices that they trust, for a fixed time. @defaultValue none */
  readonly trustedDevices?: TrustedDeviceOptions | undefined
}

/**
 * Manages second factors: an authenticator app (TOTP, with the optional package otpauth) and recovery codes.
 * `perms.auth.secondFactors`. A user with a second factor needs it at every sign-in, whatever the options of the process.
 */
export interface SecondFactors {
  /**
   * Completes a sign-in with a code. Wrong codes count like wrong passwords, and five wrong codes end the challenge.
   *
   * @param code a code of the authenticator app, or a recovery code
   * @param options `trustDevice`: whether the result has a token with which this device skips the second factor later
   * @throws InvalidTokenError for an expired challenge, InvalidCredentialsError for a wrong code, TooManyAttemptsError
   * @example const result = await perms.auth.secondFactors.verify(challenge, '123456')
   */
  verify(challenge: string, code: string, options?: FactorChoice): Promise<SignInResult>
  /**
   * Starts the set-up: returns the secret for the user's app. Sign-in needs no code until `confirm`.
   *
   * @param options `password`: the user's password, if the user has one
   * @throws ValidationError for a wrong password, or when the user already has a factor; ForbiddenError with an API key
   */
  begin(user: UserRow, options?: { password?: string | undefined }): Promise<{ secret: string; uri: string }>
  /** Completes the set-up with a code of the app and ends the user's other sessions. @returns the recovery codes, which are shown once */
  confirm(user: UserRow, code: string): Promise<{ recoveryCodes: readonly string[] }>
  /** Removes the factor, with a code of the app or a recovery code. */
  remove(user: UserRow, code: string): Promise<void>
  /**
   * Removes the factor without a code, for a user who lost the phone. The caller must outrank the user; a route must check further
   * conditions itself.
   *
   * @returns whether there was a factor
   * @throws ForbiddenError when the caller's rank is not higher than the user's
   */
  reset(user: UserRow): Promise<boolean>
  /** Replaces the recovery codes. */
  renewRecoveryCodes(user: UserRow, code: string): Promise<{ recoveryCodes: readonly string[] }>
  status(user: UserRow): Promise<{ isOn: boolean; recoveryCodesLeft: number }>
}

/** Returns the objects that the functions of second factors share. */
export function factorContext(core: AuthCore, options: SecondFactorOptions | undefined): FactorContext {
  return { core, secretKeys: deriveKeys(core.keys, 'second factor secret'), issuer: options?.issuer ?? 'Application' }
}

export function secondFactors(context: FactorContext): SecondFactors {
  const { core } = context
  return {
    verify: (challenge, code, options = {}) => verifyChallenge(context, challenge, code, options),

    async begin(user: User, { password } = {}) {
      await assertMayChange(core, 'secondFactors.begin', user)
      return await beginSetUp(context, user, password)
    },

    async confirm(user: User, code) {
      await assertMayChange(core, 'secondFactors.confirm', user)
      return { recoveryCodes: await confirmSetUp(context, user, code) }
    },

    async remove(user: User, code) {
      await withVerifiedCode(context, user, code, () => removeAll(core, user.id))
      core.emit('factorRemoved', { userId: user.id })
      notify(core, user, 'factorRemoved')
    },

    async reset(user: User) {
      await assertMayChange(core, 'secondFactors.reset', user)
      const isRemoved = await asSystemInTransaction(core, () => removeAll(core, user.id))
      if (isRemoved) {
        core.emit('factorRemoved', { userId: user.id })
        notify(core, user, 'factorRemoved')
      }
      return isRemoved
    },

    async renewRecoveryCodes(user: User, code) {
      return { recoveryCodes: await withVerifiedCode(context, user, code, () => makeRecoveryCodes(user.id)) }
    },

    async status(user: User) {
      const isOn = Boolean((await factorOf(user.id))?.confirmedAt)
      return { isOn, recoveryCodesLeft: isOn ? await countUnusedCodes(user.id) : 0 }
    },
  }
}

/** Throws unless the caller may change the factors of a user, outside transactions. @throws ForbiddenError, ConfigurationError */
async function assertMayChange(core: AuthCore, name: string, user: User): Promise<void> {
  core.assertNoTransaction(name)
  forbidApiKey(message('subject.factors'))
  await requireRankOver(user.id)
  await core.challenges.prepare()
}

/** Runs work after checking a code under the throttle of sign-ins. @throws InvalidCredentialsError */
async function withVerifiedCode<T>(context: FactorContext, user: User, code: string, then: () => Promise<T>): Promise<T> {
  const { core } = context
  await assertMayChange(core, 'secondFactors', user)
  const text = readCode(code)
  const factor = await factorOf(user.id)
  if (!factor?.confirmedAt) throw new ValidationError(message('factor.none'), [{ field: 'code', message: message('field.nothingToProve') }])
  const attempt = await beginAttempt(core, user)
  const result = await asSystemInTransaction(core, async () => {
    if (!(await consumeCode(context, factor, text))) throw wrongCode()
    return await then()
  }).catch((error: unknown) => rethrowFailedAttempt(error, attempt))
  await attempt.succeeded()
  return result
}

/** Removes the authenticator app. Recovery codes stay while the user has passkeys, which they replace too. */
async function removeAll(core: AuthCore, userId: string): Promise<boolean> {
  const count = await SecondFactor.query().delete().where('userId', userId)
  await endTrustedDevices(userId)
  if ((await core.challenges.factorsOf(userId)).length === 0) await endFactorTokens(userId)
  return count > 0
}
