import {
  ConfigurationError,
  InvalidCredentialsError,
  InvalidTokenError,
  MissingTableError,
  SecondFactorUnreadableError,
  ServiceUnavailableError,
  ValidationError,
} from '../../../core/errors.js'
import { transaction } from '../../../database/transaction.js'
import { asSystem, currentActor, currentAddress } from '../../../policy/context.js'
import { tableOf } from '../../../schema/class-statics.js'
import { invalidField, requireText } from '../../../schema/text-input.js'
import { accountNameOf } from '../../../users/account/identifiers.js'
import { registeredPasswords, storedHash } from '../../../users/account/password-mixin.js'
import { requireRankOver } from '../../../users/caller/account-rank.js'
import { isActive } from '../../../users/caller/actor.js'
import { skipCallerChange } from '../../../users/caller/caller-changes.js'
import { forbidApiKey } from '../../../users/caller/caller-restrictions.js'
import { SecondFactor } from '../../../users/second-factor.js'
import { hashToken, randomToken, type Token } from '../../../users/token.js'
import type { User } from '../../../users/user.js'
import type { SecondFactorAsked, SignInResult } from '../../auth-types.js'
import type { AuthCore } from '../../core.js'
import type { Attempt } from '../../throttle/throttle.js'
import { deriveKeys } from '../../tokens/derived-keys.js'
import { seal, unseal } from '../../tokens/secret-box.js'
import { revokeTokens, tokens, updateActiveTokens } from '../../tokens/token-updates.js'
import { forActiveCaller } from '../active-caller.js'
import { userClass } from '../credentials.js'
import { countUnusedCodes, makeRecoveryCodes, useRecoveryCode } from './recovery-codes.js'
import { newTotpSecret, totpStep, totpUri } from './totp.js'

export interface SecondFactorOptions {
  /** The name of the application in authenticator apps. */
  readonly issuer: string
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
   * @throws InvalidTokenError for an expired challenge, InvalidCredentialsError for a wrong code, TooManyAttemptsError
   * @example const result = await perms.auth.secondFactors.verify(challenge, '123456')
   */
  verify(challenge: string, code: string, options?: { device?: string | undefined }): Promise<SignInResult>
  /**
   * Starts the set-up: returns the secret for the user's app. Sign-in needs no code until `confirm`.
   *
   * @param options `password`: the user's password, if the user has one
   * @throws ValidationError for a wrong password, or when the user already has a factor; ForbiddenError with an API key
   */
  begin(user: User, options?: { password?: string | undefined }): Promise<{ secret: string; uri: string }>
  /** Completes the set-up with a code of the app and ends the user's other sessions. @returns the recovery codes, which are shown once */
  confirm(user: User, code: string): Promise<{ recoveryCodes: readonly string[] }>
  /** Removes the factor, with a code of the app or a recovery code. */
  remove(user: User, code: string): Promise<void>
  /**
   * Removes the factor without a code, for a user who lost the phone. The caller must outrank the user; a route must check further
   * conditions itself.
   *
   * @returns whether there was a factor
   * @throws ForbiddenError when the caller's rank is not higher than the user's
   */
  reset(user: User): Promise<boolean>
  /** Replaces the recovery codes. */
  renewRecoveryCodes(user: User, code: string): Promise<{ recoveryCodes: readonly string[] }>
  status(user: User): Promise<{ isOn: boolean; recoveryCodesLeft: number }>
}

interface Internals {
  /**
   * Finds out whether the table of factors exists. Runs outside transactions: a failed statement would end them.
   *
   * @throws ServiceUnavailableError while the database does not answer
   */
  prepare(): Promise<void>
  /** Creates a challenge after the first factor; null when the user has no second factor. */
  createChallenge(user: User): Promise<SecondFactorAsked | null>
}

const KIND = 'second-factor'
const PREFIX = 'sf_'
const FORM = /^sf_[\w-]{43}$/
const CHALLENGE_LIFETIME = 300_000
const MAX_TRIES = 5

export function createSecondFactors(
  core: AuthCore,
  options: SecondFactorOptions | undefined,
): { secondFactors: SecondFactors } & Internals {
  const { knex, keys, hasher, sessions, emit } = core
  const secretKeys = deriveKeys(keys, 'second factor secret')
  let hasTable = false

  const asSystemInTransaction = <T>(fn: () => Promise<T>): Promise<T> => transaction(() => asSystem(fn), { knex })
  const factorOf = async (userId: string): Promise<SecondFactor | undefined> =>
    await asSystem(() => SecondFactor.query().findOne({ userId }))

  const secretOf = (factor: SecondFactor): string | null => unseal(secretKeys, String(factor.userId), factor.secret)

  /** Checks a code and marks it as used. Of two concurrent uses one UPDATE succeeds. */
  async function consumeCode(factor: SecondFactor, code: string): Promise<boolean> {
    if (!/^\d{6}$/.test(code)) {
      const isTaken = await useRecoveryCode(factor.userId, code)
      if (isTaken) emit('recoveryCodeUsed', { userId: factor.userId })
      return isTaken
    }
    const secret = secretOf(factor)
    if (secret === null) throw unreadable(factor.userId)
    const step = totpStep(secret, code, Date.now())
    if (step === null) return false
    const count = await SecondFactor.query()
      .patch({ lastStep: step })
      .where('id', factor.id)
      .where((which) => which.whereNull('lastStep').orWhere('lastStep', '<', step))
    return count > 0
  }

  /** Runs work after checking a code under the throttle of sign-ins. @throws InvalidCredentialsError */
  async function withVerifiedCode<T>(user: User, code: string, then: () => Promise<T>): Promise<T> {
    core.assertNoTransaction('secondFactors')
    forbidApiKey('Second factors')
    await requireRankOver(user.id)
    const text = readCode(code)
    const factor = await factorOf(user.id)
    if (!factor?.confirmedAt)
      throw new ValidationError('There is no second factor: set one up first.', [{ field: 'code', message: 'has nothing to prove' }])
    const attempt = await core.throttle.begin('signIn', { account: accountNameOf(user), address: currentAddress() })
    const result = await asSystemInTransaction(async () => {
      if (!(await consumeCode(factor, text))) throw wrongCode()
      return await then()
    }).catch((error: unknown) => rethrowFailedAttempt(error, attempt))
    await attempt.succeeded()
    return result
  }

  async function countAttempt(challenge: Token): Promise<void> {
    const tries = Number(challenge.boundTo ?? 0)
    const count = await asSystemInTransaction(
      async () => await updateActiveTokens({ id: challenge.id, boundTo: String(tries) }, { boundTo: String(tries + 1) }),
    )
    if (tries >= MAX_TRIES || count === 0) throw new InvalidTokenError()
  }

  const secondFactors: SecondFactors = {
    async verify(challenge, code, { device } = {}) {
      core.assertNoTransaction('secondFactors.verify')
      const [plain, text] = [requireText(challenge, 'challenge'), readCode(code)]
      const { found, user } = await readChallenge(plain)
      const factor = await factorOf(user.id)
      if (!factor?.confirmedAt) throw new InvalidTokenError()
      const attempt = await core.throttle.begin('signIn', { account: accountNameOf(user), address: currentAddress() })
      try {
        await countAttempt(found)
        await asSystemInTransaction(async () => {
          if (!(await consumeCode(factor, text))) throw wrongCode()
          const count = await revokeTokens({ id: found.id }).where('expiresAt', '>', new Date())
          if (count === 0) throw new InvalidTokenError()
        })
      } catch (error) {
        if (error instanceof InvalidCredentialsError)
          emit('signInFailed', {
            userId: user.id,
            email: user.email ?? '',
            account: accountNameOf(user),
            reason: 'secondFactor',
            address: currentAddress(),
          })
        return await rethrowFailedAttempt(error, attempt)
      }
      await attempt.succeeded()
      const result = await core.startSession(user, { device })
      if (!result) throw new ServiceUnavailableError('Your account has changed in the meantime: sign in again.')
      return result
    },

    async begin(user, { password } = {}) {
      core.assertNoTransaction('secondFactors.begin')
      forbidApiKey('Second factors')
      await requireRankOver(user.id)
      await provePassword(user, password)
      if ((await factorOf(user.id))?.confirmedAt)
        throw new ValidationError('There is a second factor already: remove it first.', [{ field: 'code', message: 'is set up already' }])
      const secret = newTotpSecret()
      await forActiveCaller(knex, user.id, async () => {
        await SecondFactor.query().delete().where('userId', user.id).whereNull('confirmedAt')
        await SecondFactor.create({ userId: user.id, secret: seal(secretKeys, String(user.id), secret) })
      })
      return { secret, uri: totpUri(secret, { issuer: options?.issuer ?? 'Application', account: user.email ?? accountNameOf(user) }) }
    },

    async confirm(user, code) {
      core.assertNoTransaction('secondFactors.confirm')
      forbidApiKey('Second factors')
      await requireRankOver(user.id)
      const text = readCode(code)
      const factor = await factorOf(user.id)
      // A factor whose secret cannot be decrypted must be set up again.
      if (!factor || factor.confirmedAt || secretOf(factor) === null)
        throw new ValidationError('There is no second factor to confirm: begin first.', [
          { field: 'code', message: 'has nothing to confirm' },
        ])
      const attempt = await core.throttle.begin('signIn', { account: accountNameOf(user), address: currentAddress() })
      const recoveryCodes = await forActiveCaller(knex, user.id, async () => {
        if (!/^\d{6}$/.test(text) || !(await consumeCode(factor, text))) throw wrongCode()
        await SecondFactor.query().patch({ confirmedAt: new Date() }).where('id', factor.id)
        return await makeRecoveryCodes(user.id)
      })
      await attempt.succeeded()
      await sessions.end({ userId: user.id, except: currentActor()?.id === user.id ? currentActor()?.sessionId : undefined })
      emit('signOut', { userId: user.id, sessionIds: 'all' })
      emit('factorAdded', { userId: user.id })
      return { recoveryCodes }
    },

    async remove(user, code) {
      await withVerifiedCode(user, code, () => removeAll(user.id))
      emit('factorRemoved', { userId: user.id })
    },

    async reset(user) {
      core.assertNoTransaction('secondFactors.reset')
      forbidApiKey('Second factors')
      await requireRankOver(user.id)
      const isRemoved = await asSystemInTransaction(() => removeAll(user.id))
      if (isRemoved) emit('factorRemoved', { userId: user.id })
      return isRemoved
    },

    async renewRecoveryCodes(user, code) {
      return { recoveryCodes: await withVerifiedCode(user, code, () => makeRecoveryCodes(user.id)) }
    },

    async status(user) {
      const isOn = Boolean((await factorOf(user.id))?.confirmedAt)
      return { isOn, recoveryCodesLeft: isOn ? await countUnusedCodes(user.id) : 0 }
    },
  }

  async function provePassword(user: User, password: string | undefined): Promise<void> {
    const stored = await storedHash(user)
    if (stored === null) return
    if (typeof password !== 'string' || password === '') throw invalidField('password', 'is required')
    const attempt = await core.throttle.begin('signIn', { account: accountNameOf(user), address: currentAddress() })
    if (!(await (hasher ?? registeredPasswords().hasher).verify(password, stored))) throw invalidField('password', 'is wrong')
    await attempt.succeeded()
  }

  return {
    secondFactors,

    // Caches only that the table exists: another process may create it at any time.
    async prepare() {
      if (hasTable) return
      try {
        await asSystem(() => SecondFactor.query().select('id').limit(1))
        hasTable = true
      } catch (error) {
        // The table is missing in a database of an earlier version: no user has a second factor.
        if (error instanceof MissingTableError && error.table === tableOfFactors()) return
        throw new ServiceUnavailableError(
          'The second factor of this account cannot be looked up right now: try to sign in again shortly.',
          { cause: error },
        )
      }
    },

    async createChallenge(user) {
      if (!hasTable || !(await factorOf(user.id))?.confirmedAt) return null
      const challenge = PREFIX + randomToken()
      const values = {
        userId: user.id,
        kind: KIND,
        token: hashToken(challenge),
        boundTo: '0',
        expiresAt: new Date(Date.now() + CHALLENGE_LIFETIME),
      }
      await asSystem(() => tokens().create(values))
      return { status: 'secondFactor', challenge }
    },
  }
}

const tableOfFactors = () => tableOf(SecondFactor)

async function removeAll(userId: string): Promise<boolean> {
  const count = await SecondFactor.query().delete().where('userId', userId)
  await skipCallerChange(tokens().query()).delete().where('userId', userId).whereIn('kind', ['recovery', KIND])
  return count > 0
}

async function readChallenge(plain: string): Promise<{ found: Token; user: User }> {
  const found = FORM.test(plain)
    ? await asSystem(() =>
        tokens()
          .query()
          .findOne({ token: hashToken(plain), kind: KIND }),
      )
    : undefined
  const user = found?.isActive ? await asSystem(() => userClass().get(found.userId)) : null
  if (!found || !user || !isActive(user)) throw new InvalidTokenError()
  return { found, user }
}

/** Rethrows the error. Takes the attempt back when the server, not the user, is at fault. */
async function rethrowFailedAttempt(error: unknown, attempt: Attempt): Promise<never> {
  if (error instanceof SecondFactorUnreadableError) await attempt.withdrawn()
  throw error
}

const unreadable = (userId: string) =>
  new SecondFactorUnreadableError(undefined, {
    cause: new ConfigurationError(
      `No key of initPerms({ jwt }) decrypts the second factor of user ${userId}: add the key that encrypted it to jwt.keys as \`retired: true\` (and start with a JWT_SECRET that stays the same), or remove the factor with perms.auth.secondFactors.reset(user).`,
    ),
  })

const wrongCode = () => new InvalidCredentialsError('The code is wrong or was already used.')

/** Removes blanks and dashes: apps show codes in groups, and users type them that way. */
function readCode(value: unknown): string {
  const given = requireText(value, 'code')
  const text = given.length > 128 ? given : given.replace(/[\s-]/g, '')
  if (text.length > 64) throw new ValidationError('code is too long.', [{ field: 'code', message: 'is too long' }])
  return text
}
