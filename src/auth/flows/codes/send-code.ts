import { ConfigurationError, TooManyAttemptsError } from '../../../core/errors.js'
import { currentAddress } from '../../../policy/context.js'
import { isStorableText } from '../../../schema/values.js'
import { requireEmailColumn } from '../../../users/account/identifiers.js'
import type { User } from '../../../users/user.js'
import type { AuthCore } from '../../core.js'
import { userClass } from '../credentials.js'
import type { MailDelivery } from '../mail/mail-delivery.js'
import type { Found } from '../mail/mail-requests.js'
import type { CodeSettings } from './code-options.js'
import { type CodeUse, issueCode } from './stored-codes.js'

/** The objects that the functions of codes share. */
export interface CodeContext {
  readonly core: AuthCore
  readonly settings: CodeSettings
  readonly delivery: MailDelivery
}

/** The placeholder code in a mail that is composed but not sent. */
const NO_CODE = '000000'
const MAX_DESTINATION_LENGTH = 254

/** Throws when codes cannot be sent, and inside the application's transaction(). @throws ConfigurationError */
export function requireCodes({ core, settings }: CodeContext, name: string): void {
  core.assertNoTransaction(`codes.${name}`)
  requireEmailColumn(userClass(), `auth.codes.${name}()`)
  if (core.mailService || settings.sender) return
  throw new ConfigurationError(
    "Codes need a mailer or a sender: initPerms({ mail: { mailer: consoleMailer(), baseUrl: 'http://localhost:3000' } }), or initPerms({ codes: { sender } }).",
  )
}

/**
 * Returns where codes of a user go: the number that the application's sender names, or else the e-mail address. Returns null if the
 * sender names none.
 *
 * @throws ConfigurationError for a number that is no text; errors of the sender
 */
export async function destinationOf({ settings }: CodeContext, user: User): Promise<string | null> {
  const { sender } = settings
  if (!sender?.destination) return user.email
  const to = (await sender.destination(user)) ?? null
  if (to !== null && !(typeof to === 'string' && to !== '' && to.length <= MAX_DESTINATION_LENGTH && isStorableText(to)))
    throw new ConfigurationError(
      `initPerms({ codes: { sender } }): destination() must return null or text of 1 to ${MAX_DESTINATION_LENGTH} characters.`,
    )
  return to
}

/**
 * Creates a code and sends it. For an unknown user, and one without a number, it does the same work without sending.
 *
 * @param address the e-mail address that was asked for
 */
export async function sendCode(context: CodeContext, { user, standIn }: Pick<Found, 'user' | 'standIn'>, use: CodeUse, address: string) {
  const { core, delivery, settings } = context
  const { expires, sender } = settings
  const destination = user && (await destinationOrFailure(context, user, use))
  const isAllowed = await countNumber(context, destination ?? address)
  const receiver = isAllowed && destination !== null ? user : null
  const to = destination ?? address
  const code = (await issueCode(core, receiver, standIn, { ...use, to, expiresIn: expires })) ?? NO_CODE
  if (!sender) {
    const details = { code, purpose: use.purpose, minutes: String(Math.round(expires / 60)) }
    await delivery.send('code', receiver, to, undefined, details)
    return
  }
  if (!receiver) return
  try {
    await sender.send({ to, code, user: receiver, purpose: use.purpose, expiresIn: expires })
  } catch {
    core.emit('codeFailed', { userId: receiver.id, purpose: use.purpose, address: currentAddress() })
  }
}

async function destinationOrFailure(context: CodeContext, user: User, { purpose }: CodeUse): Promise<string | null> {
  try {
    return await destinationOf(context, user)
  } catch {
    context.core.emit('codeFailed', { userId: user.id, purpose, address: currentAddress() })
    return null
  }
}

/** Limits the codes to one number like the mails to one mailbox, because many accounts may have the same number. */
async function countNumber({ core, settings }: CodeContext, to: string): Promise<boolean> {
  if (!settings.sender?.destination) return true
  try {
    await core.throttle.begin('mail', { account: `number:${to}` })
    return true
  } catch (error) {
    if (error instanceof TooManyAttemptsError) return false
    throw error
  }
}
