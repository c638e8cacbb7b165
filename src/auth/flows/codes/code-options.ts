import { ConfigurationError } from '../../../core/errors.js'
import type { RegisteredUser } from '../../../users/caller/actor.js'

/** The use of a code. A code for one use is not accepted for another. */
export type CodePurpose = 'signIn' | 'confirm'

/** A code for the application's sender. */
export interface CodeMessage {
  /** The result of `destination`, or the user's e-mail address. */
  readonly to: string
  /** Six digits. */
  readonly code: string
  readonly user: RegisteredUser
  readonly purpose: CodePurpose
  /** Seconds for which the code works. */
  readonly expiresIn: number
}

/** Sends codes in place of the mailer, for example by SMS. */
export interface CodeSender {
  /**
   * Returns the verified phone number of a user, or null if the user gets no codes. Return only numbers that the user has proved to
   * own: who receives the code signs in. A session that begins with such a code has the method 'sms'.
   *
   * @defaultValue the user's e-mail address. The code then proves the address, like a magic link.
   */
  destination?(user: RegisteredUser): string | null | undefined | Promise<string | null | undefined>
  /** Sends a code. It runs after the response, and an error emits codeFailed. */
  send(message: CodeMessage): Promise<unknown>
}

/** Options of one-time codes: `initPerms({ codes })`. */
export interface CodeOptions {
  /**
   * Seconds for which a code works, from 60 to 600.
   *
   * @defaultValue 600
   */
  readonly expires?: number | undefined
  /**
   * Sends the codes.
   *
   * @defaultValue the mailer of `initPerms({ mail })`
   * @example const codes: CodeOptions = { sender: { send: async ({ to, code }) => console.log(`To ${to}: ${code}`) } }
   */
  readonly sender?: CodeSender | undefined
}

/** The validated options. */
export interface CodeSettings {
  readonly expires: number
  readonly sender: CodeSender | undefined
  /** The method of a session that begins with a code, as `amr` names it. */
  readonly method: 'mail' | 'sms'
}

const LONGEST = 600

/** Validates the option `codes`. @throws ConfigurationError */
export function codeSettings({ expires = LONGEST, sender }: CodeOptions = {}): CodeSettings {
  if (!Number.isInteger(expires) || expires < 60 || expires > LONGEST)
    throw new ConfigurationError(`initPerms({ codes: { expires: ${expires} } }): must be a whole number of seconds from 60 to ${LONGEST}.`)
  if (sender !== undefined && typeof sender?.send !== 'function')
    throw new ConfigurationError('initPerms({ codes: { sender } }): pass an object with send({ to, code, user, purpose }).')
  return { expires, sender, method: sender?.destination ? 'sms' : 'mail' }
}
