import type { Mail } from '../auth/flows/mail/mail-service.js'
import { ConfigurationError } from '../core/errors.js'

/** A mailer that stores mail instead of sending it. */
export interface CapturedMailer<M extends Mail = Mail> {
  send(mail: M): Promise<void>
  /** The stored mail, in the order of sending. */
  readonly mails: readonly M[]
  /** Returns the last mail of a kind or to an address; without an argument the last of all. @throws ConfigurationError if there is none */
  last(kindOrAddress?: string): M
  /** Returns the token in the link of a mail. @throws ConfigurationError if the mail has none */
  tokenFrom(mail: M): string
  /** Returns the one-time code in a mail. @throws ConfigurationError if the mail has none */
  codeFrom(mail: M): string
  /** Removes all stored mail. */
  clear(): void
}

/**
 * Creates a mailer for tests. Mail is sent after the response, so await `perms.auth.settled()` before reading it.
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
      throw new ConfigurationError(`last(${wanted === undefined ? '' : `'${wanted}'`}): no such mail was sent. Sent: ${sent}.`)
    },
    tokenFrom({ text, kind, to }) {
      for (const [link] of text.matchAll(/https?:\/\/[^\s<>"']+/g)) {
        const { searchParams, hash } = new URL(link)
        const token = searchParams.get('token') ?? new URLSearchParams(hash.slice(1)).get('token')
        if (token) return token
      }
      throw new ConfigurationError(`The mail '${kind}' to ${to} has no link with a token.`)
    },
    codeFrom({ text, kind, to }) {
      const [code] = /\b\d{6}\b/.exec(text) ?? []
      if (code) return code
      throw new ConfigurationError(`The mail '${kind}' to ${to} has no code.`)
    },
    clear() {
      mails.length = 0
    },
  }
}
