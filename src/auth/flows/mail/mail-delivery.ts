import { asSystem, currentAddress } from '../../../policy/context.js'
import { mailboxOf } from '../../../schema/email.js'
import type { User } from '../../../users/user.js'
import type { AuthCore } from '../../core.js'
import type { Attempt, ThrottledWho } from '../../throttle/throttle.js'
import { describeEnded, originOf, type Proof, type ProofResult } from '../first-proof.js'
import type { MailDetail, MailKind } from './mail-service.js'
import { formatDateTime, networkAddress } from './mail-text.js'

/** Counts and sends mails for all flows. */
export interface MailDelivery {
  /**
   * Counts a mail to an address. Call it before any look-up.
   *
   * @param by the client address and the signed-in user of the request that causes the mail
   * @throws TooManyAttemptsError
   */
  count(to: string, by?: Omit<ThrottledWho, 'account'>): Promise<Attempt>
  /**
   * Sends a counted mail. For a null user it composes the mail without sending it, which takes the same time. A failing mailer
   * emits mailFailed.
   */
  send(kind: MailKind, user: User | null, to: string, token?: string, details?: Record<string, MailDetail>): Promise<void>
  /** Counts and sends a notice. Emits mailFailed instead of sending when the address has received too many mails. */
  notify(kind: MailKind, user: User, to: string, details: Record<string, MailDetail>): Promise<void>
  /** Emits an event about the access that a proof ended, and mails the user after the response. */
  reportProof(user: User, by: Proof, result: ProofResult): void
}

export function mailDelivery({ background, emit, mailService, throttle }: AuthCore): MailDelivery {
  const delivery: MailDelivery = {
    count: (to, by = {}) => throttle.begin('mail', { ...by, account: mailboxOf(to) }),

    async send(kind, user, to, token, details) {
      if (!mailService) return
      try {
        const mail = mailService.compose(kind, to, token, details, mailService.languageFor(user))
        await (user ? mailService.send(mail) : mailService.rehearse(mail))
      } catch {
        if (user) emit('mailFailed', { userId: user.id, kind })
      }
    },

    async notify(kind, user, to, details) {
      if (!mailService) return
      try {
        await delivery.count(to)
      } catch {
        emit('mailFailed', { userId: user.id, kind })
        return
      }
      await delivery.send(kind, user, to, undefined, details)
    },

    reportProof(user, by, { isFirstProof, ended }) {
      emit('accessRevoked', { userId: user.id, by, isFirstProof, ended, address: currentAddress() })
      background.run(async () => {
        const details = { ...(await originTexts(user.id)), ended: describeEnded(ended) }
        await delivery.notify('accessRevoked', user, user.email, details)
      })
    },
  }
  return delivery
}

/** Returns when and from where an account was created, as texts for mails. It runs the same queries for an unknown user. */
export async function originTexts(userId: string | null): Promise<Record<string, string>> {
  if (userId === null) return {}
  const { createdAt, createdFrom } = await asSystem(() => originOf(userId))
  const address = networkAddress(createdFrom)
  return { ...(createdAt && { createdAt: formatDateTime(createdAt) }), ...(address !== undefined && { createdFrom: address }) }
}
