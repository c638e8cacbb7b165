import { type Message, type MessageId, type MessageValue, message } from '../../../core/messages/message.js'
import type { MailKind } from './mail-service.js'

/** The values that the text of a mail names. */
export interface MailFacts {
  readonly kind: MailKind
  readonly link: string | undefined
  /** In seconds. */
  readonly expiresIn: number | undefined
  readonly details: Readonly<Record<string, string>>
}

/** The subject and the paragraphs of a mail. */
export interface MailTexts {
  readonly subject: Message
  readonly paragraphs: readonly (string | Message)[]
}

type Paragraph = string | Message | undefined

/** Returns the library's own text of a mail. */
export function textsOf(facts: MailFacts): MailTexts {
  const [subject, ...paragraphs] = partsOf(facts)
  return { subject, paragraphs: paragraphs.filter((one) => one !== undefined && one !== '') as (string | Message)[] }
}

function partsOf({ kind, link, expiresIn, details }: MailFacts): readonly [Message, ...Paragraph[]] {
  const until = expiresIn === undefined ? undefined : message('mail.linkExpires', { duration: durationOf(expiresIn) })
  const { newEmail, accountEmail, domain, role, ended } = details
  switch (kind) {
    case 'verifyEmail':
      return [
        message('mail.verifyEmail.subject'),
        originText('address', details),
        message('mail.verifyEmail.confirm'),
        link,
        until,
        message('mail.verifyEmail.notYou'),
      ]
    case 'resetPassword':
      return [message('mail.resetPassword.subject'), message('mail.resetPassword.choose'), link, until, message('mail.ignore')]
    case 'changeEmail':
      return [
        message('mail.changeEmail.subject'),
        accountEmail === undefined ? message('mail.changeEmail.asked') : message('mail.changeEmail.askedFrom', { accountEmail }),
        originText('that', details),
        message('mail.changeEmail.confirm'),
        link,
        until,
        message('mail.changeEmail.notYours'),
      ]
    case 'emailChangeRequested':
      return [
        message('mail.emailChangeRequested.subject'),
        newEmail === undefined
          ? message('mail.emailChangeRequested.requestedAnother')
          : message('mail.emailChangeRequested.requested', { newEmail }),
        message('mail.emailChangeRequested.notYou'),
      ]
    case 'emailChanged':
      return [
        message('mail.emailChanged.subject'),
        newEmail === undefined ? message('mail.emailChanged.changedConfirmed') : message('mail.emailChanged.changed', { newEmail }),
        details.by,
        message('mail.emailChanged.notYou'),
      ]
    case 'magicLink':
      return [message('mail.magicLink.subject'), message('mail.magicLink.signIn'), link, until, message('mail.ignore')]
    case 'code':
      return codeText(details)
    case 'alreadyRegistered':
      return [message('mail.alreadyRegistered.subject'), message('mail.alreadyRegistered.attempted'), message('mail.ignore')]
    case 'identifiersChanged':
      return notice(
        details,
        message('mail.identifiersChanged.subject'),
        message('mail.identifiersChanged.changed', { identifiers: details.identifiers ?? '' }),
      )
    case 'passwordChanged':
      return notice(details, message('mail.passwordChanged.subject'), message('mail.passwordChanged.changed'))
    case 'factorAdded':
      return notice(details, message('mail.factorAdded.subject'), message('mail.factorAdded.added'))
    case 'factorRemoved':
      return notice(details, message('mail.factorRemoved.subject'), message('mail.factorRemoved.removed'))
    case 'identityLinked':
      return notice(
        details,
        message('mail.identityLinked.subject'),
        message('mail.identityLinked.linked', { provider: details.provider ?? '' }),
      )
    case 'identityUnlinked':
      return notice(
        details,
        message('mail.identityUnlinked.subject'),
        message('mail.identityUnlinked.unlinked', { provider: details.provider ?? '' }),
      )
    case 'newPlace':
      return newPlaceText(details)
    case 'passkeyAdded':
      return [message('mail.passkeyAdded.subject'), message('mail.passkeyAdded.added'), message('mail.passkey.notYou')]
    case 'passkeyRemoved':
      return [message('mail.passkeyRemoved.subject'), message('mail.passkeyRemoved.removed'), message('mail.passkey.notYou')]
    case 'accessRevoked':
      return [
        message('mail.accessRevoked.subject'),
        originText('yours', details),
        message('mail.accessRevoked.ended', { ended: ended ?? message('ended.everything') }),
        message('mail.accessRevoked.restore'),
      ]
    case 'accountDeletionScheduled':
      return [
        message('mail.accountDeletionScheduled.subject'),
        message('mail.accountDeletionScheduled.date', { date: details.deletionAt ?? '' }),
        message('mail.accountDeletionScheduled.undo'),
        message('mail.accountDeletionScheduled.notYou'),
      ]
    case 'accountDeletionUndone':
      return [
        message('mail.accountDeletionUndone.subject'),
        message('mail.accountDeletionUndone.undone'),
        message('mail.accountDeletionUndone.notYou'),
      ]
    case 'accountDeleted':
      return [message('mail.accountDeleted.subject'), message('mail.accountDeleted.deleted')]
    case 'invitation':
      return [
        domain === undefined ? message('mail.invitation.subject') : message('mail.invitation.subjectTo', { domain }),
        invitationText(domain, role),
        link,
        until,
      ]
  }
}

/** A mail about a change that has happened: what, when, and by whom if another person did it. */
function notice({ at, by }: Readonly<Record<string, string>>, subject: Message, text: Message): readonly [Message, ...Paragraph[]] {
  return [subject, text, by, at && message('mail.notice.at', { at }), message('mail.notice.notYou')]
}

function newPlaceText({ at = '', network, device = '' }: Readonly<Record<string, string>>): readonly [Message, ...Paragraph[]] {
  return [
    message('mail.newPlace.subject'),
    network === undefined
      ? message('mail.newPlace.signedIn', { at, device })
      : message('mail.newPlace.signedInFrom', { at, device, network }),
    message('mail.newPlace.you'),
    message('mail.newPlace.notYou'),
  ]
}

function codeText({ code = '', purpose, minutes = '' }: Readonly<Record<string, string>>): readonly [Message, ...Paragraph[]] {
  const isConfirm = purpose === 'confirm'
  return [
    message(isConfirm ? 'mail.code.confirmSubject' : 'mail.code.signInSubject'),
    isConfirm ? message('mail.code.confirm', { code }) : message('mail.code.signIn', { code }),
    message('mail.code.expires', { duration: durationOf(Number(minutes) * 60) }),
    message('mail.code.secret'),
    message('mail.ignore'),
  ]
}

function invitationText(domain: string | undefined, role: string | undefined): Message {
  if (domain === undefined) return role === undefined ? message('mail.invitation.text') : message('mail.invitation.textAs', { role })
  return role === undefined ? message('mail.invitation.textTo', { domain }) : message('mail.invitation.textToAs', { domain, role })
}

type Origin = 'address' | 'that' | 'yours'
const origins = {
  address: ['mail.origin.address', 'mail.origin.addressFrom'],
  that: ['mail.origin.that', 'mail.origin.thatFrom'],
  yours: ['mail.origin.yours', 'mail.origin.yoursFrom'],
} as const satisfies Record<Origin, readonly [MessageId, MessageId]>

/** Says when and from where an account was created, if that is known. */
function originText(which: Origin, { createdAt, createdFrom }: Readonly<Record<string, string>>): Message | undefined {
  if (createdAt === undefined) return undefined
  const [alone, withAddress] = origins[which]
  return createdFrom === undefined ? message(alone, { date: createdAt }) : message(withAddress, { date: createdAt, from: createdFrom })
}

/** Returns a duration in words: '1 day', '15 minutes'. */
function durationOf(seconds: number): MessageValue {
  if (seconds % 86_400 === 0) return message('duration.days', { count: seconds / 86_400 })
  if (seconds % 3600 === 0) return message('duration.hours', { count: seconds / 3600 })
  return message('duration.minutes', { count: Math.ceil(seconds / 60) })
}
