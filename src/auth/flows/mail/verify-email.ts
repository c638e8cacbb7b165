import { ConfigurationError } from '../../../core/errors.js'
import { valuesByName } from '../../../schema/model-class.js'
import type { User } from '../../../users/user.js'
import { userClass } from '../credentials.js'
import { hasVerifiedColumn, type MailContext, mailLink, redeem, requestMail, verifiedValues } from './mail-requests.js'
import { useMailToken } from './mail-tokens.js'

/** Mails a verification link. A verified user gets none. */
export function requestVerification(context: MailContext, email: string): Promise<void> {
  return requestMail(context, 'requestVerification', email, async ({ user, standIn }, address, mailService) => {
    const isVerified = user !== null && Boolean(valuesByName(user).emailVerifiedAt)
    const found = { user: isVerified ? null : user, standIn }
    await mailLink(context, mailService, found, { to: address, kind: 'verify-email', mail: 'verifyEmail' })
  })
}

/** Marks the address of a mailed link as verified. */
export function verifyEmail({ core }: MailContext, token: string): Promise<User> {
  return redeem(core, 'verifyEmail', token, async (plain) => {
    assertVerifiedColumn()
    const user = await useMailToken(core, plain, 'verify-email', async (use) => await use.user.update(verifiedValues()))
    core.emit('emailVerified', { userId: user.id })
    return user
  })
}

function assertVerifiedColumn(): void {
  if (hasVerifiedColumn()) return
  const { name } = userClass()
  throw new ConfigurationError(
    `${name} has no column emailVerifiedAt: make it with TimestampMixin, class ${name} extends TimestampMixin(User).`,
  )
}
