import { asSystem, currentAddress } from '../../policy/context.js'
import { mailboxOf } from '../../schema/email.js'
import type { User } from '../../users/user.js'
import type { AuthCore } from '../core.js'
import type { Attempt, ThrottledWho } from '../throttle/throttle.js'
import { describeEnded, originOf, type Proof, type ProofResult } from './first-proof.js'
import type { MailKind } from './mail-service.js'
import { momentText, networkAddress } from './mail-text.js'

/** Counts and sends mails: what the flows that mail have in common. */
export interface MailDelivery {
  /**
   * Counts one more mail to an address, before anything is looked up.
   *
   * @param by who causes it: the client's address, and the signed-in user
   * @throws TooManyAttemptsError
   */
  count(to: string, by?: Omit<ThrottledWho, 'account'>): Promise<Attempt>
  /** Sends a counted mail. For null it composes one and sends nothing, which costs the same. A mailer that fails is an event. */
  send(kind: MailKind, user: User | null, to: string, token?: string, details?: Record<string, string>): Promise<void>
  /** Counts and sends a mail that nobody asked for; it is an event if there were too many to this address. */
  notify(kind: MailKind, user: User, to: string, details: Record<string, string>): Promise<void>
  /** Tells the application, and after the response the user, what a proof of an address ended. */
  reportProof(user: User, by: Proof, result: ProofResult): void
}

export function mailDelivery({ background, emit, mailService, throttle }: AuthCore): MailDelivery {
  const delivery: MailDelivery = {
    count: (to, by = {}) => throttle.begin('mail', { ...by, account: mailboxOf(to) }),

    async send(kind, user, to, token, details) {
      if (!mailService) return
      try {
        const mail = mailService.compose(kind, to, token, details)
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

/** When and from where an account was made, as mails say it; the same statements whether or not it is known. */
export async function originTexts(userId: string | null): Promise<Record<string, string>> {
  if (userId === null) return {}
  const { createdAt, createdFrom } = await asSystem(() => originOf(userId))
  const address = networkAddress(createdFrom)
  return { ...(createdAt && { createdAt: momentText(createdAt) }), ...(address !== undefined && { createdFrom: address }) }
}
