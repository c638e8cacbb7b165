import { message } from '../../../core/messages/message.js'
import { currentAddress } from '../../../policy/context.js'
import { invalidField } from '../../../schema/text-input.js'
import { accountNameOf } from '../../../users/account/identifiers.js'
import { wrongOldPassword } from '../../../users/account/old-password.js'
import { registeredPasswords } from '../../../users/account/passwords.js'
import { storedHash } from '../../../users/account/stored-password.js'
import { forbidApiKey } from '../../../users/caller/caller-restrictions.js'
import type { User } from '../../../users/user.js'
import type { AuthCore } from '../../core.js'
import { originTexts } from './mail-delivery.js'
import { findByEmail, type MailContext, noToken, readEmail, redeem, requireMail, runInBackground, verifiedValues } from './mail-requests.js'
import type { MailService } from './mail-service.js'
import { issueMailToken, useMailToken } from './mail-tokens.js'

/** Mails a confirmation link to the new address and a notice to the old one. */
export async function requestEmailChange(
  context: MailContext,
  user: User,
  { email, oldPassword }: { email: string; oldPassword: string },
): Promise<void> {
  const { core } = context
  const mailService = requireMail(core, 'requestEmailChange')
  forbidApiKey(message('subject.passwords'))
  const address = readEmail(email)
  if (typeof oldPassword !== 'string' || oldPassword === '') throw invalidField('oldPassword', message('field.required'))
  const stored = await proveOldPassword(core, user, oldPassword)
  await countBoth(context, user, address)
  runInBackground(core, () => sendBoth(context, mailService, user, { address, whilePassword: stored }))
}

/** Changes the address to that of the mailed link. */
export function confirmEmailChange({ core, delivery }: MailContext, token: string): Promise<User> {
  return redeem(core, 'confirmEmailChange', token, async (plain) => {
    let before = ''
    const user = await useMailToken(core, plain, 'change-email', async ({ user: row, boundTo }) => {
      before = row.email
      await row.update({ email: boundTo })
      return await row.update(verifiedValues())
    })
    core.emit('emailChanged', { userId: user.id })
    // With notices, the change itself is told.
    if (!core.mailService?.sendsNotices) core.background.run(() => delivery.notify('emailChanged', user, before, { newEmail: user.email }))
    return user
  })
}

/** Checks the password under the throttle of sign-ins. @returns the stored hash */
async function proveOldPassword({ throttle }: AuthCore, user: User, oldPassword: string): Promise<string | null> {
  const attempt = await throttle.begin('signIn', { account: accountNameOf(user), address: currentAddress() })
  const stored = await storedHash(user)
  if (!(await registeredPasswords().hasher.verify(oldPassword, stored))) throw wrongOldPassword()
  await attempt.succeeded()
  return stored
}

/** Counts both mails before any write: without a notice to the old address the address must not change. */
async function countBoth({ delivery }: MailContext, user: User, address: string): Promise<void> {
  const toOld = await delivery.count(user.email, { address: currentAddress(), caller: user.id })
  try {
    await delivery.count(address)
  } catch (error) {
    await toOld.withdrawn()
    throw error
  }
}

async function sendBoth(
  { core, delivery }: MailContext,
  mailService: MailService,
  user: User,
  { address, whilePassword }: { readonly address: string; readonly whilePassword: string | null },
): Promise<void> {
  await delivery.send('emailChangeRequested', user, user.email, undefined, { newEmail: address })
  // The address of another user gets no mail. The same work runs anyway, so that the duration does not reveal the account.
  const { row: other, standIn } = await findByEmail(address)
  const receiver = other ? null : user
  const details = { ...(await originTexts(user.id)), accountEmail: user.email }
  const order = { kind: 'change-email', boundTo: address, expiresIn: mailService.expires('changeEmail'), whilePassword } as const
  const token = await issueMailToken(core, receiver, standIn, order)
  await delivery.send('changeEmail', token === null ? null : receiver, address, token ?? noToken, details)
}
