/** Handles requests for a mail and the use of mailed tokens, for all flows by e-mail. */

import { ConfigurationError, PermsError, ServiceUnavailableError } from '../../../core/errors.js'
import { message } from '../../../core/messages/message.js'
import { asSystem, currentAddress } from '../../../policy/context.js'
import { definitionOf } from '../../../schema/definition/definition.js'
import { canonicalEmail, isEmailAddress } from '../../../schema/email.js'
import { invalidField, requireText } from '../../../schema/text-input.js'
import { requireEmailColumn } from '../../../users/account/identifiers.js'
import { isActive } from '../../../users/caller/actor.js'
import { forbidApiKey } from '../../../users/caller/caller-restrictions.js'
import type { User } from '../../../users/user.js'
import type { AuthCore } from '../../core.js'
import type { OptionalTables } from '../../optional-tables.js'
import { withAttempt } from '../../throttle/attempts.js'
import { userClass } from '../credentials.js'
import { proveAddress } from '../first-proof.js'
import { type MailDelivery, originTexts } from './mail-delivery.js'
import type { MailService } from './mail-service.js'
import { issueMailToken, type MailTokenKind, useMailToken } from './mail-tokens.js'

/** The objects that each flow by e-mail uses. */
export interface MailContext {
  readonly core: AuthCore
  readonly delivery: MailDelivery
  /** Finds out which optional tables exist. */
  readonly tables: () => Promise<OptionalTables>
}

/** The result of looking an address up. */
export interface Found {
  /** The active user with the address, who receives the mail. */
  readonly user: User | null
  /** The user with the address, active or not. */
  readonly row: User | null
  /** The id of any user, for the decoy writes of an unknown address. */
  readonly standIn: string | null
}

const MAX_WAITING = 1000

/** The placeholder token in a mail that is composed but not sent. */
export const noToken = `mt_${'0'.repeat(43)}`

/** Returns the service that sends mail. @throws ConfigurationError without a mailer, and inside the application's transaction() */
export function requireMail(core: AuthCore, name: string): MailService {
  core.assertNoTransaction(`mail.${name}`)
  requireEmailColumn(userClass(), `auth.mail.${name}()`)
  if (core.mailService) return core.mailService
  throw new ConfigurationError("Mail needs a mailer: initPerms({ mail: { mailer: consoleMailer(), baseUrl: 'http://localhost:3000' } }).")
}

/** Runs work after the response. @throws ServiceUnavailableError while too much work is waiting */
export function runInBackground({ background }: AuthCore, work: () => Promise<unknown>): void {
  if (background.size >= MAX_WAITING) throw new ServiceUnavailableError()
  background.run(work)
}

/** Counts a mail and runs the work after the response. For an unknown address the work runs with null and does the same steps. */
export async function requestMail(
  { core, delivery }: MailContext,
  name: string,
  email: unknown,
  work: (found: Found, address: string, mailService: MailService) => Promise<void>,
): Promise<void> {
  const mailService = requireMail(core, name)
  const address = readEmail(email)
  await delivery.count(address, { address: currentAddress() })
  runInBackground(core, async () => await work(await findByEmail(address), address, mailService))
}

/** Creates a token and mails it. For an unknown address it does the same work without sending. */
export async function mailLink(
  { core, delivery }: MailContext,
  mailService: MailService,
  { user, standIn }: Pick<Found, 'user' | 'standIn'>,
  link: { readonly to: string; readonly kind: MailTokenKind; readonly mail: 'verifyEmail' | 'resetPassword' | 'magicLink' },
): Promise<void> {
  const { to, kind, mail } = link
  const origin = mail === 'verifyEmail' ? await originTexts(user?.id ?? standIn) : {}
  const token = await issueMailToken(core, user, standIn, { kind, boundTo: to, expiresIn: mailService.expires(mail) })
  await delivery.send(mail, user, to, token ?? noToken, origin)
}

/** Runs work under the throttle of mailed tokens, which counts wrong tokens by client address. */
export async function redeem<T>(core: AuthCore, name: string, token: unknown, work: (token: string) => Promise<T>): Promise<T> {
  requireMail(core, name)
  forbidApiKey(message('subject.mailedLink'))
  const plain = requireText(token, 'token')
  const attempt = await core.throttle.begin('mailToken', { address: currentAddress() })
  return await withAttempt(
    attempt,
    (error) => error instanceof PermsError && error.status === 401,
    () => work(plain),
  )
}

/** Uses a mailed token that proves its address, and reports the access that the proof ended. */
export async function useProvingToken<T>(
  { core, delivery, tables }: MailContext,
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
  if (revoked) delivery.reportProof(user, proof, revoked)
  return result
}

/** Finds the user of an address, without roles, and the id of any user. It always runs two queries. */
export async function findByEmail(email: string): Promise<Found> {
  return await asSystem(async () => {
    const users = userClass()
    const row = (await users.query().findOne({ email })) ?? null
    const any = await users.query().select('id').orderBy('id').first()
    return { row, user: row && isActive(row) ? row : null, standIn: any?.id ?? null }
  })
}

/** Returns an e-mail address in canonical form. @throws ValidationError */
export function readEmail(value: unknown): string {
  const address = canonicalEmail(requireText(value, 'email'))
  if (!isEmailAddress(address)) throw invalidField('email', message('field.email'))
  return address
}

/** Returns whether users have the column emailVerifiedAt. */
export function hasVerifiedColumn(): boolean {
  return 'emailVerifiedAt' in definitionOf(userClass()).specs
}

/** Returns the values that mark an address as verified; none for users without the column. */
export function verifiedValues(): object {
  return hasVerifiedColumn() ? { emailVerifiedAt: new Date() } : {}
}
