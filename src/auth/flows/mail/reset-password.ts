import { message } from '../../../core/messages/message.js'
import { invalidField } from '../../../schema/text-input.js'
import type { User } from '../../../users/user.js'
import { type MailContext, mailLink, redeem, requestMail, useProvingToken } from './mail-requests.js'

/** Mails a link with which the user sets a new password. */
export function requestPasswordReset(context: MailContext, email: string): Promise<void> {
  return requestMail(context, 'requestPasswordReset', email, async (found, address, mailService) => {
    await mailLink(context, mailService, found, { to: address, kind: 'reset-password', mail: 'resetPassword' })
    context.core.emit('passwordResetRequested', { userId: found.user?.id ?? null })
  })
}

/** Sets a new password. */
export function resetPassword(context: MailContext, { token, password }: { token: string; password: string }): Promise<User> {
  return redeem(context.core, 'resetPassword', token, async (plain) => {
    if (typeof password !== 'string' || password === '') throw invalidField('password', message('field.required'))
    // Saving the new hash ends every session and every other mailed link.
    const user = await useProvingToken(context, 'passwordReset', plain, {
      act: async (row) => await row.save(),
      prepare: async (row) => await row.setPassword(password),
    })
    context.core.emit('passwordReset', { userId: user.id })
    return user
  })
}
