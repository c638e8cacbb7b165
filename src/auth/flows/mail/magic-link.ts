import { ServiceUnavailableError } from '../../../core/errors.js'
import { message } from '../../../core/messages/message.js'
import type { SignInResult } from '../../auth-types.js'
import type { LifetimeChoice } from '../../tokens/session-life.js'
import { completeSignIn } from '../start-session.js'
import { type MailContext, mailLink, redeem, requestMail, useProvingToken } from './mail-requests.js'

/** Mails a sign-in link. */
export function requestMagicLink(context: MailContext, email: string): Promise<void> {
  return requestMail(context, 'requestMagicLink', email, (found, address, mailService) =>
    mailLink(context, mailService, found, { to: address, kind: 'magic-link', mail: 'magicLink' }),
  )
}

/** Signs the user of a mailed link in. */
export function signInWithMagicLink(
  context: MailContext,
  token: string,
  { device, ...chosen }: { device?: string | undefined } & LifetimeChoice,
): Promise<SignInResult> {
  const life = context.core.life.of(chosen)
  return redeem(context.core, 'signInWithMagicLink', token, async (plain) => {
    const user = await useProvingToken(context, 'magicLink', plain, { act: async (row) => row })
    const result = await completeSignIn(context.core, user, { device, amr: ['mail'], life })
    if (!result) throw new ServiceUnavailableError(message('link.accountChanged'))
    return result
  })
}
