import { definitionOf } from '../model/definition.js'
import {
  ConfigurationError,
  type FieldError,
  PermsError,
  ServiceUnavailableError,
  UniqueViolationError,
  ValidationError,
} from '../model/errors.js'
import { isStorableText } from '../model/values.js'
import { asSystem, currentAddress } from '../perms/context.js'
import { isLiving } from '../users/actor.js'
import { canonicalEmail, EMAIL_PATTERN } from '../users/email.js'
import { demandInPerson } from '../users/in-person.js'
import { registeredPasswords, storedHash, wrongOldPassword } from '../users/password-mixin.js'
import type { User } from '../users/user.js'
import type { SignInResult } from './auth-types.js'
import type { AuthCore } from './core.js'
import { userClass } from './credentials.js'
import { issueMailToken, type MailTokenKind, useMailToken } from './mail-tokens.js'
import type { MailKind, Post } from './mailer.js'
import { readRegistration, registerUser } from './register.js'

/**
 * What goes by e-mail: `perms.auth.mail`. Requests resolve at once and alike whether there is such a user: looking, writing and
 * sending come after, and a mailer that fails is told to `perms.on('mailFailed')` alone. Tokens work once, as long as they are
 * the newest of their kind and the user's address is the one they were sent to.
 *
 * All throw ConfigurationError without `initPerms({ mail })` and inside the application's transaction().
 */
export interface MailFlows {
  /** Whether there is a mailer. */
  readonly isReady: boolean
  /** Mails a link that verifies an address, if it is a user's and not verified yet. @throws ValidationError, TooManyAttemptsError */
  requestVerification(email: string): Promise<void>
  /** Notes that the user's address is verified. @throws InvalidTokenError */
  verifyEmail(token: string): Promise<User>
  /** Mails a link to choose a new password, if the address is a user's. @throws ValidationError, TooManyAttemptsError */
  requestPasswordReset(email: string): Promise<void>
  /** Sets a new password and ends all sessions. @throws InvalidTokenError, ValidationError for the password: then the token is not used up */
  resetPassword(given: { token: string; password: string }): Promise<User>
  /**
   * Mails a link to the new address, and tells the old one.
   *
   * @throws ValidationError for a wrong old password or an address that is none, TooManyAttemptsError, ForbiddenError with an API key
   */
  requestEmailChange(user: User, given: { email: string; oldPassword: string }): Promise<void>
  /** Gives the user the confirmed address and ends all sessions. @throws InvalidTokenError, UniqueViolationError (409): taken meanwhile */
  confirmEmailChange(token: string): Promise<User>
  /** Mails a link to sign in with, if the address is a user's. @throws ValidationError, TooManyAttemptsError */
  requestMagicLink(email: string): Promise<void>
  /** Signs in, or asks for the second factor. @throws InvalidTokenError */
  signInWithMagicLink(token: string, options?: { device?: string | undefined }): Promise<SignInResult>
  /**
   * Registers without saying whether the address is taken: the mail does.
   *
   * @throws ValidationError for what is wrong with the values, TooManyAttemptsError
   */
  registerPrivately(values: object): Promise<void>
}

const mostWaiting = 1000

export function mailFlows(core: AuthCore): MailFlows {
  const { background, emit, knex, post, throttle } = core

  function demandPost(name: string): Post {
    core.refuseTransaction(`mail.${name}`)
    if (post) return post
    throw new ConfigurationError("Mail needs a mailer: initPerms({ mail: { mailer: consoleMailer(), baseUrl: 'http://localhost:3000' } }).")
  }

  /** Off the answer's path: nobody can tell by the time what came of it. */
  function later(work: () => Promise<unknown>): void {
    if (background.size >= mostWaiting) throw new ServiceUnavailableError()
    background.run(work)
  }

  async function send(kind: MailKind, user: User | null, to: string, token?: string, details?: Record<string, string>): Promise<void> {
    try {
      await (post as Post).send(kind, to, token, details)
    } catch {
      emit('mailFailed', { userId: user?.id ?? null, kind })
    }
  }

  async function request(name: string, email: unknown, work: (user: User) => Promise<void>): Promise<void> {
    demandPost(name)
    const address = readEmail(email, 'email')
    await throttle.begin('mail', { account: address, address: currentAddress() })
    later(async () => {
      const user = await userOf(address)
      if (user && isLiving(user)) await work(user)
    })
  }

  async function mailLink(user: User, kind: MailTokenKind, mail: 'verifyEmail' | 'resetPassword' | 'magicLink'): Promise<void> {
    const token = await issueMailToken(core, user, kind, user.email, (post as Post).expires(mail))
    await send(mail, user, user.email, token)
  }

  /** Wrong tokens count by address. */
  async function redeem<T>(name: string, token: unknown, work: (token: string) => Promise<T>): Promise<T> {
    demandPost(name)
    demandInPerson('What a mailed link changes')
    const plain = readToken(token)
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

  const verified = () => ('emailVerifiedAt' in definitionOf(userClass()).specs ? { emailVerifiedAt: new Date() } : {})

  return {
    isReady: post !== null,

    requestVerification: (email) =>
      request('requestVerification', email, async (user) => {
        if (!(user as { emailVerifiedAt?: Date | null }).emailVerifiedAt) await mailLink(user, 'verify-email', 'verifyEmail')
      }),

    verifyEmail: (token) =>
      redeem('verifyEmail', token, async (plain) => {
        demandColumn()
        const user = await useMailToken(core, plain, 'verify-email', async (use) => await use.user.update(verified() as never))
        emit('emailVerified', { userId: user.id })
        return user
      }),

    requestPasswordReset: (email) =>
      request('requestPasswordReset', email, async (user) => {
        await mailLink(user, 'reset-password', 'resetPassword')
        emit('passwordResetRequested', { userId: user.id })
      }),

    resetPassword: ({ token, password }) =>
      redeem('resetPassword', token, async (plain) => {
        if (typeof password !== 'string' || password === '') throw invalid('password', 'is required')
        const user = await useMailToken(
          core,
          plain,
          'reset-password',
          // Saved with the new hash, it ends every session and every other mailed token.
          async (use) => await use.user.save(),
          async (use) => {
            await use.user.setPassword(password)
          },
        )
        emit('passwordReset', { userId: user.id })
        return user
      }),

    async requestEmailChange(user, { email, oldPassword }) {
      demandPost('requestEmailChange')
      demandInPerson('Passwords and e-mail addresses')
      const address = readEmail(email, 'email')
      if (!new RegExp(EMAIL_PATTERN).test(address)) throw invalid('email', 'must be an e-mail address')
      if (typeof oldPassword !== 'string' || oldPassword === '') throw invalid('oldPassword', 'is required')
      const attempt = await throttle.begin('signIn', { account: user.email, address: currentAddress() })
      const stored = await storedHash(user)
      if (!(await registeredPasswords().hasher.verify(oldPassword, stored))) throw wrongOldPassword()
      await attempt.succeeded()
      await throttle.begin('mail', { account: user.email, address: currentAddress() })
      later(async () => {
        await send('emailChangeRequested', user, user.email, undefined, { newEmail: address })
        // Nobody else's address is written to; that it is somebody's is not told.
        if (await userOf(address)) return
        const token = await issueMailToken(core, user, 'change-email', address, (post as Post).expires('changeEmail'))
        await send('changeEmail', user, address, token)
      })
    },

    confirmEmailChange: (token) =>
      redeem('confirmEmailChange', token, async (plain) => {
        let before = ''
        const user = await useMailToken(core, plain, 'change-email', async ({ user: row, boundTo }) => {
          before = row.email
          await row.update({ email: boundTo } as never)
          return await row.update(verified() as never)
        })
        emit('emailChanged', { userId: user.id })
        later(() => send('emailChanged', user, before, undefined, { newEmail: user.email }))
        return user
      }),

    requestMagicLink: (email) => request('requestMagicLink', email, (user) => mailLink(user, 'magic-link', 'magicLink')),

    signInWithMagicLink: (token, { device } = {}) =>
      redeem('signInWithMagicLink', token, async (plain) => {
        // Whoever has the link has the mailbox.
        const user = await useMailToken(core, plain, 'magic-link', async (use) => await use.user.update(verified() as never))
        const result = await core.letIn(user, { device })
        if (!result) throw new ServiceUnavailableError('Your account was changed meanwhile: ask for another link.')
        return result
      }),

    async registerPrivately(values) {
      demandPost('registerPrivately')
      const cls = userClass()
      const { password, ...rest } = readRegistration(values) as { password?: string; email?: string }
      const attempt = await throttle.begin('registration', { address: currentAddress() })
      try {
        // What is wrong with the values is said; what is found in the database is not.
        const draft = await asSystem(() => cls.build(rest as never))
        if (password !== undefined) await registeredPasswords().check(password, { email: draft.email })
      } catch (error) {
        if (!(error instanceof PermsError) || error.status >= 500) await attempt.withdrawn()
        throw error
      }
      later(async () => {
        try {
          const user = await registerUser(knex, values, undefined)
          emit('registered', { userId: user.id })
          await mailLink(user, 'verify-email', 'verifyEmail')
        } catch (error) {
          if (!(error instanceof UniqueViolationError) || !error.errors.some(({ field }) => field === 'email')) {
            emit('registrationFailed', {})
            return
          }
          const known = await userOf(canonicalEmail(String(rest.email)))
          if (known && isLiving(known)) await send('alreadyRegistered', known, known.email)
        }
      })
    },
  }
}

async function userOf(email: string): Promise<User | null> {
  return await asSystem(() => userClass().getBy({ email } as never))
}

function demandColumn(): void {
  if ('emailVerifiedAt' in definitionOf(userClass()).specs) return
  throw new ConfigurationError(
    `${userClass().name} has no column emailVerifiedAt: make it with TimestampMixin, class ${userClass().name} extends TimestampMixin(User).`,
  )
}

const longestEmail = 320

function readEmail(value: unknown, field: string): string {
  if (typeof value !== 'string') throw invalid(field, value === undefined ? 'is required' : 'must be a string')
  if (value.trim() === '') throw invalid(field, 'may not be blank')
  if (value.length > longestEmail) throw invalid(field, `may have ${longestEmail} characters at most`)
  if (!isStorableText(value)) throw invalid(field, 'may not hold NUL characters or broken surrogate pairs')
  return canonicalEmail(value)
}

function readToken(value: unknown): string {
  if (typeof value !== 'string') throw invalid('token', value === undefined ? 'is required' : 'must be a string')
  if (value.trim() === '') throw invalid('token', 'may not be blank')
  return value
}

function invalid(field: string, message: string): ValidationError {
  const errors: FieldError[] = [{ field, message }]
  return new ValidationError(`${field} ${message}.`, errors)
}
