/** Mails that tell users of changes to their account, so that they notice what another person did with it. */
import { message } from '../../../core/messages/message.js'
import { currentActor } from '../../../policy/context.js'
import { valuesByName } from '../../../schema/model-class.js'
import type { AccountChange } from '../../../users/account/account-changes.js'
import type { User } from '../../../users/user.js'
import type { AuthCore } from '../../core.js'
import { mailDelivery } from './mail-delivery.js'
import type { MailDetail, MailKind } from './mail-service.js'
import { formatDateTime } from './mail-text.js'

/** The mails that `mail.notices` turns on. */
export type NoticeKind = Extract<
  MailKind,
  'emailChanged' | 'identifiersChanged' | 'passwordChanged' | 'factorAdded' | 'factorRemoved' | 'identityLinked' | 'identityUnlinked'
>

/**
 * Mails a user that the account has changed, after the response. Does nothing without `mail.notices`. A mail over the limit of the
 * address emits mailFailed.
 *
 * @param to Default: the user's address. For a changed address, the one before.
 */
export function notify(
  core: AuthCore,
  user: User,
  kind: NoticeKind,
  {
    to = user.email,
    ...details
  }: { readonly to?: string | null | undefined } & Readonly<Record<string, MailDetail | null | undefined>> = {},
): void {
  // A user model may have no addresses.
  if (!core.mailService?.sendsNotices || typeof to !== 'string' || to === '') return
  const actor = currentActor()
  const shown = {
    ...(Object.fromEntries(Object.entries(details).filter(([, value]) => value)) as Record<string, MailDetail>),
    at: formatDateTime(new Date()),
    ...(actor !== null && String(actor.id) !== String(user.id) && { by: message('mail.notice.byAdmin') }),
  }
  core.background.run(() => mailDelivery(core).notify(kind, user, to, shown))
}

/** Mails the notices of a changed password or identifier to the address before the change. */
export function notifyOfAccountChange(core: AuthCore, { user: changed, before, identifiers, changesPassword }: AccountChange): void {
  const user = changed as User
  const { email } = valuesByName(before) as { email?: string | null }
  const to = email ?? user.email
  const others = identifiers.filter((name) => name !== 'email')
  if (identifiers.includes('email') && email) notify(core, user, 'emailChanged', { to, newEmail: user.email })
  if (others.length > 0) notify(core, user, 'identifiersChanged', { to, identifiers: others.join(', ') })
  if (changesPassword) notify(core, user, 'passwordChanged', { to })
}
