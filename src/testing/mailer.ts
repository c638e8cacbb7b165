import type { Mail } from '../auth/flows/mail-service.js'
import { ConfigurationError } from '../core/errors.js'

/** A mailer that sends nothing and keeps everything. */
export interface CapturedMailer<M extends Mail = Mail> {
  send(mail: M): Promise<void>
  /** In the order in which they were sent. */
  readonly mails: readonly M[]
  /** The last mail of a kind, or to an address, or of all. @throws ConfigurationError where there is none, naming those that there are */
  last(kindOrAddress?: string): M
  /** The secret that a mail's link carries. @throws ConfigurationError where it has none */
  tokenFrom(mail: M): string
  /** Forgets what was sent. */
  clear(): void
}

/**
 * A mailer for tests. Mail goes out after the answer: wait for `perms.auth.settled()` before you look.
 *
 * @example
 * const mailer = capturedMailer()
 * const perms = initPerms({ knex, jwt, mail: { mailer, baseUrl: 'https://app.example.com' } })
 * await perms.auth.mail.requestPasswordReset('ada@example.com')
 * await perms.auth.settled()
 * const token = mailer.tokenFrom(mailer.last('resetPassword'))
 */
export function capturedMailer<M extends Mail = Mail>(): CapturedMailer<M> {
  const mails: M[] = []
  const spelled = (text: string) => text.trim().toLowerCase().normalize('NFC')
  return {
    mails,
    async send(mail) {
      mails.push(mail)
    },
    last(wanted) {
      const found = mails.findLast(({ kind, to }) => wanted === undefined || kind === wanted || spelled(to) === spelled(wanted))
      if (found) return found
      const sent = mails.map(({ kind, to }) => `${kind} to ${to}`).join(', ') || 'none'
      throw new ConfigurationError(`last(${wanted === undefined ? '' : `'${wanted}'`}): there is no such mail; sent were: ${sent}.`)
    },
    tokenFrom({ text, kind, to }) {
      for (const [link] of text.matchAll(/https?:\/\/[^\s<>"']+/g)) {
        const { searchParams, hash } = new URL(link)
        const token = searchParams.get('token') ?? new URLSearchParams(hash.slice(1)).get('token')
        if (token) return token
      }
      throw new ConfigurationError(`The mail '${kind}' to ${to} holds no link with a token.`)
    },
    clear() {
      mails.length = 0
    },
  }
}
