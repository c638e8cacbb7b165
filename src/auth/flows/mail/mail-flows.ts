import { ConfigurationError, PermsError, ServiceUnavailableError, UniqueViolationError } from '../../../core/errors.js'
import { newId } from '../../../core/ids.js'
import { asSystem, currentAddress } from '../../../policy/context.js'
import { definitionOf } from '../../../schema/definition/definition.js'
import { canonicalEmail, isEmailAddress } from '../../../schema/email.js'
import { invalidField, requireText } from '../../../schema/text-input.js'
import { accountNameOf, identifierValues, requireEmailColumn } from '../../../users/account/identifiers.js'
import { registeredPasswords, storedHash, wrongOldPassword } from '../../../users/account/password-mixin.js'
import { isActive } from '../../../users/caller/actor.js'
import { forbidApiKey } from '../../../users/caller/caller-restrictions.js'
import type { User } from '../../../users/user.js'
import type { SignInResult } from '../../auth-types.js'
import type { AuthCore } from '../../core.js'
import { userClass } from '../credentials.js'
import { optionalTables, proveAddress } from '../first-proof.js'
import { type RegistrationSteps, readRegistration, registerUser, rehearseRegistration } from '../register.js'
import { completeSignIn } from '../start-session.js'
import { mailDelivery, originTexts } from './mail-delivery.js'
import type { MailService } from './mail-service.js'
import { deleteDecoy, issueMailToken, type MailTokenKind, useMailToken } from './mail-tokens.js'

/**
 * Flows by e-mail: `perms.auth.mail`. Requests resolve at once, and in the same way for known and unknown addresses. Look-up,
 * writing and sending happen in the background; a failing mailer emits `mailFailed`. A token works once, while it is the newest of
 * its kind and the user still has the address it was sent to.
 * All functions throw ConfigurationError without `initPerms({ mail })` and inside the application's transaction().
 */
export interface MailFlows {
  /** Whether a mailer is configured. */
  readonly isReady: boolean
  /** Mails a verification link when the address belongs to a user and is not verified. @throws ValidationError, TooManyAttemptsError */
  requestVerification(email: string): Promise<void>
  /** Marks the user's address as verified. @throws InvalidTokenError */
  verifyEmail(token: string): Promise<User>
  /** Mails a password reset link when the address belongs to a user. @throws ValidationError, TooManyAttemptsError */
  requestPasswordReset(email: string): Promise<void>
  /**
   * Sets a new password and ends all sessions and API keys. If the address had never been proved, it also ends second factors and
   * everything else from before: another person may have registered the address.
   *
   * @throws InvalidTokenError, ValidationError for the password (the token stays usable)
   */
  resetPassword(given: { token: string; password: string }): Promise<User>
  /**
   * Mails a confirmation link to the new address and a notice to the old one.
   *
   * @throws ValidationError for a wrong old password or an invalid address, TooManyAttemptsError, ForbiddenError with an API key
   */
  requestEmailChange(user: User, given: { email: string; oldPassword: string }): Promise<void>
  /**
   * Changes the user's address to the confirmed one and ends all sessions.
   *
   * @throws InvalidTokenError, UniqueViolationError (409) when the address is taken by now
   */
  confirmEmailChange(token: string): Promise<User>
  /** Mails a sign-in link when the address belongs to a user. @throws ValidationError, TooManyAttemptsError */
  requestMagicLink(email: string): Promise<void>
  /**
   * Signs in, or returns a challenge for the second factor. If the address had never been proved, it ends everything from before:
   * password, sessions, API keys, second factors and links.
   *
   * @throws InvalidTokenError
   */
  signInWithMagicLink(token: string, options?: { device?: string | undefined }): Promise<SignInResult>
  /**
   * Registers a user without revealing whether the address is taken: only the mail tells.
   *
   * @param steps `check` runs before the call resolves, `afterCreate` afterwards with the new row
   * @throws ValidationError for invalid values, TooManyAttemptsError, and errors of `check`
   */
  registerPrivately(values: object, steps?: RegistrationSteps): Promise<void>
}

const MAX_WAITING = 1000

export function mailFlows(core: AuthCore): MailFlows {
  const { background, emit, knex, mailService, throttle } = core

  function assertPost(name: string): MailService {
    core.assertNoTransaction(`mail.${name}`)
    requireEmailColumn(userClass(), `auth.mail.${name}()`)
    if (mailService) return mailService
    throw new ConfigurationError("Mail needs a mailer: initPerms({ mail: { mailer: consoleMailer(), baseUrl: 'http://localhost:3000' } }).")
  }

  /** Runs work after the response. */
  function runInBackground(work: () => Promise<unknown>): void {
    if (background.size >= MAX_WAITING) throw new ServiceUnavailableError()
    background.run(work)
  }

  const { count, send, notify, reportProof } = mailDelivery(core)

  /** Counts a mail and runs the work after the response. For an unknown address the work runs with null and does the same steps. */
  async function request(name: string, email: unknown, work: (found: Found, address: string) => Promise<void>): Promise<void> {
    assertPost(name)
    const address = readEmail(email, 'email')
    await count(address, { address: currentAddress() })
    runInBackground(async () => await work(await find(address), address))
  }

  async function mailLink(
    { user, standIn }: Found,
    to: string,
    kind: MailTokenKind,
    mail: 'verifyEmail' | 'resetPassword' | 'magicLink',
  ): Promise<void> {
    const origin = mail === 'verifyEmail' ? await originTexts(user?.id ?? standIn) : {}
    const token = await issueMailToken(core, user, standIn, { kind, boundTo: to, expiresIn: (mailService as MailService).expires(mail) })
    await send(mail, user, to, token ?? noToken, origin)
  }

  /** Runs work under the throttle of mailed tokens, which counts wrong tokens by client address. */
  async function redeem<T>(name: string, token: unknown, work: (token: string) => Promise<T>): Promise<T> {
    assertPost(name)
    forbidApiKey('What a mailed link changes')
    const plain = requireText(token, 'token')
    const attempt = await throttle.begin('mailToken', { address: currentAddress() })
    try {
      const result = await work(plain)
      await attempt.succeeded()
      return result
    } catch (error) {
      if (!(error instanceof PermsError) || error.status !== 401) await attempt.withdrawn()
      throw error
    }
  }

  const tables = optionalTables(knex)

  /** Uses a mailed token that proves its address, and reports the access that the proof ended. */
  async function useProvingToken<T>(
    proof: 'magicLink' | 'passwordReset',
    plain: string,
    { act, prepare }: { act: (user: User) => Promise<T>; prepare?: (user: User) => Promise<unknown> },
  ): Promise<T> {
    const isReset = proof === 'passwordReset'
    const present = await tables()
    const { user, revoked, result } = await useMailToken(
      core,
      plain,
      isReset ? 'reset-password' : 'magic-link',
      async ({ user, boundTo }) => {
        const revoked = await proveAddress(user, { email: boundTo, tables: present, isReset })
        return { user, revoked, result: await act(user) }
      },
      async (use) => void (await prepare?.(use.user)),
    )
    if (revoked) reportProof(user, proof, revoked)
    return result
  }

  const verified = (): object => ('emailVerifiedAt' in definitionOf(userClass()).specs ? { emailVerifiedAt: new Date() } : {})

  return {
    isReady: mailService !== null,

    requestVerification: (email) =>
      request('requestVerification', email, async ({ user, row, standIn }, address) => {
        const isDone = (user as { emailVerifiedAt?: Date | null } | null)?.emailVerifiedAt
        await mailLink({ user: isDone ? null : user, row, standIn }, address, 'verify-email', 'verifyEmail')
      }),

    verifyEmail: (token) =>
      redeem('verifyEmail', token, async (plain) => {
        assertColumn()
        const user = await useMailToken(core, plain, 'verify-email', async (use) => await use.user.update(verified()))
        emit('emailVerified', { userId: user.id })
        return user
      }),

    requestPasswordReset: (email) =>
      request('requestPasswordReset', email, async (found, address) => {
        await mailLink(found, address, 'reset-password', 'resetPassword')
        emit('passwordResetRequested', { userId: found.user?.id ?? null })
      }),

    resetPassword: ({ token, password }) =>
      redeem('resetPassword', token, async (plain) => {
        if (typeof password !== 'string' || password === '') throw invalidField('password', 'is required')
        // Saving the new hash ends every session and every other mailed link.
        const user = await useProvingToken('passwordReset', plain, {
          act: async (row) => await row.save(),
          prepare: async (row) => await row.setPassword(password),
        })
        emit('passwordReset', { userId: user.id })
        return user
      }),

    async requestEmailChange(user, { email, oldPassword }) {
      assertPost('requestEmailChange')
      forbidApiKey('Passwords and e-mail addresses')
      const address = readEmail(email, 'email')
      if (typeof oldPassword !== 'string' || oldPassword === '') throw invalidField('oldPassword', 'is required')
      const attempt = await throttle.begin('signIn', { account: accountNameOf(user), address: currentAddress() })
      const stored = await storedHash(user)
      if (!(await registeredPasswords().hasher.verify(oldPassword, stored))) throw wrongOldPassword()
      await attempt.succeeded()
      // Counts both mails before any write: without a notice to the old address the address must not change.
      const toOld = await count(user.email, { address: currentAddress(), caller: user.id })
      try {
        await count(address)
      } catch (error) {
        await toOld.withdrawn()
        throw error
      }
      runInBackground(async () => {
        await send('emailChangeRequested', user, user.email, undefined, { newEmail: address })
        // The address of another user gets no mail. The same work runs anyway, so that the duration does not reveal the account.
        const { row: other, standIn } = await find(address)
        const receiver = other ? null : user
        const details = { ...(await originTexts(user.id)), accountEmail: user.email }
        const expiresIn = (mailService as MailService).expires('changeEmail')
        const order = { kind: 'change-email', boundTo: address, expiresIn, whilePassword: stored } as const
        const token = await issueMailToken(core, receiver, standIn, order)
        await send('changeEmail', token === null ? null : receiver, address, token ?? noToken, details)
      })
    },

    confirmEmailChange: (token) =>
      redeem('confirmEmailChange', token, async (plain) => {
        let before = ''
        const user = await useMailToken(core, plain, 'change-email', async ({ user: row, boundTo }) => {
          before = row.email
          await row.update({ email: boundTo })
          return await row.update(verified())
        })
        emit('emailChanged', { userId: user.id })
        background.run(() => notify('emailChanged', user, before, { newEmail: user.email }))
        return user
      }),

    requestMagicLink: (email) =>
      request('requestMagicLink', email, (found, address) => mailLink(found, address, 'magic-link', 'magicLink')),

    signInWithMagicLink: (token, { device } = {}) =>
      redeem('signInWithMagicLink', token, async (plain) => {
        const user = await useProvingToken('magicLink', plain, { act: async (row) => row })
        const result = await completeSignIn(core, user, { device })
        if (!result) throw new ServiceUnavailableError('Your account has changed in the meantime: ask for another link.')
        return result
      }),

    async registerPrivately(values, steps = {}) {
      assertPost('registerPrivately')
      const cls = userClass()
      const { password, ...rest } = readRegistration(values) as { password?: string; email?: string }
      const attempt = await throttle.begin('registration', { address: currentAddress() })
      try {
        // Throws for invalid values. Nothing that depends on the database is reported to the caller.
        const draft = await asSystem(() => cls.build(rest))
        if (password !== undefined) await registeredPasswords().check(password, identifierValues(draft))
        await steps.check?.(rest)
        // Free and taken addresses have the same limit, so that strangers cannot flood an owner with registration mails.
        await count(draft.email, { address: currentAddress() })
      } catch (error) {
        if (!(error instanceof PermsError) || error.status >= 500) await attempt.withdrawn()
        throw error
      }
      runInBackground(() => registerOrTell(values, canonicalEmail(String(rest.email)), steps))
    },
  }

  // Runs the same number of statements, hashes and mails for a free and a taken address: the duration of the next request would
  // reveal a difference.
  async function registerOrTell(values: object, email: string, steps: RegistrationSteps): Promise<void> {
    const found = await find(email)
    if (found.row) {
      await rehearseRegistration(knex, values, found.row)
      await tellOwner(found)
      return
    }
    try {
      const user = await registerUser(knex, values, undefined, steps)
      // Without a client address User writes no registration row: this statement takes the place of that insert.
      if (currentAddress() === undefined) await deleteDecoy(newId())
      emit('registered', { userId: user.id })
      await mailLink({ user, row: user, standIn: user.id }, user.email, 'verify-email', 'verifyEmail')
    } catch (error) {
      const isTaken = error instanceof UniqueViolationError && error.errors.some(({ field }) => field === 'email')
      if (isTaken) await tellOwner(await find(email))
      else emit('registrationFailed', {})
    }
  }

  async function tellOwner({ user, row, standIn }: Found): Promise<void> {
    if (row === null) return
    emit('alreadyRegistered', { userId: row.id })
    await originTexts(row.id)
    await issueMailToken(core, null, standIn, { kind: 'verify-email', boundTo: row.email, expiresIn: 1 })
    await send('alreadyRegistered', user, row.email)
  }
}

/** The placeholder token in a mail that is composed but not sent. */
const noToken = `mt_${'0'.repeat(43)}`

/** The result of looking an address up. */
interface Found {
  /** The active user with the address, who receives the mail. */
  readonly user: User | null
  /** The user with the address, active or not. */
  readonly row: User | null
  /** The id of any user, for the decoy writes of an unknown address. */
  readonly standIn: string | null
}

/** Finds the user of an address, without roles, and the id of any user. It always runs two queries. */
async function find(email: string): Promise<Found> {
  return await asSystem(async () => {
    const users = userClass()
    const row = (await users.query().findOne({ email })) ?? null
    const any = await users.query().select('id').orderBy('id').first()
    return { row, user: row && isActive(row) ? row : null, standIn: any?.id ?? null }
  })
}

function assertColumn(): void {
  if ('emailVerifiedAt' in definitionOf(userClass()).specs) return
  throw new ConfigurationError(
    `${userClass().name} has no column emailVerifiedAt: make it with TimestampMixin, class ${userClass().name} extends TimestampMixin(User).`,
  )
}

function readEmail(value: unknown, field: string): string {
  const address = canonicalEmail(requireText(value, field))
  if (!isEmailAddress(address)) throw invalidField(field, 'must be an e-mail address')
  return address
}
