import { ConfigurationError } from '../../../core/errors.js'
import { assertKnownOptions, type OptionNames, orOther } from '../../../core/known-options.js'
import { Languages } from '../../../core/messages/languages.js'
import type { Message } from '../../../core/messages/message.js'
import { loadOptionalPackage } from '../../../core/optional-package.js'
import { currentAcceptLanguage } from '../../../policy/context.js'
import { isEmailAddress } from '../../../schema/email.js'
import type { RegisteredUser } from '../../../users/caller/actor.js'
import { plainWords, subjectLine } from './mail-text.js'
import { textsOf } from './mail-texts.js'

/** The subject of a mail. The kinds of LinkKind carry a token in a link. */
export type MailKind =
  | 'verifyEmail'
  | 'resetPassword'
  | 'changeEmail'
  | 'emailChangeRequested'
  | 'emailChanged'
  | 'magicLink'
  | 'code'
  | 'alreadyRegistered'
  | 'invitation'
  | 'accessRevoked'
  | 'accountDeletionScheduled'
  | 'accountDeletionUndone'
  | 'accountDeleted'
  | 'identifiersChanged'
  | 'passwordChanged'
  | 'factorAdded'
  | 'factorRemoved'
  | 'identityLinked'
  | 'identityUnlinked'
  | 'newPlace'
  | 'passkeyAdded'
  | 'passkeyRemoved'

/** A mail, ready to be sent. */
export interface Mail {
  readonly kind: MailKind
  /** Exactly one valid address. Pass it as `{ address: to }` when your mail library takes objects. */
  readonly to: string
  /** One line without control characters. */
  readonly subject: string
  readonly text: string
  readonly html?: string | undefined
}

/** Sends mail. */
export interface Mailer {
  send(mail: Mail): Promise<unknown>
  /**
   * Does the work of `send`, such as composing the message, without sending it. The library calls it for unknown addresses, so that
   * the duration of a request does not reveal accounts. Optional.
   */
  rehearse?(mail: Mail): Promise<unknown>
}

/** The data from which a mail is written. */
export interface MailContent {
  readonly kind: MailKind
  readonly to: string
  /** The link including its token, for kinds that have one. */
  readonly link: string | undefined
  /** Seconds for which the link works. */
  readonly expiresIn: number | undefined
  /**
   * Further values, safe as text and in HTML except addresses. `newEmail`: changed addresses. `domain`, `role`: invitations.
   * `createdAt`, and for a registration `createdFrom`: verifyEmail, changeEmail and accessRevoked. `accountEmail`: changeEmail.
   * `ended`: accessRevoked. `code`, `purpose` ('signIn' or 'confirm') and `minutes`, for which the code works: code.
   * `deletionAt`: accountDeletionScheduled.
   */
  readonly details: Readonly<Record<string, string>>
  /** The language of the mail, such as 'en' or 'de'. */
  readonly language: string
}

/** A value of a mail: text, or a message that is rendered in the language of the mail. */
export type MailDetail = string | Message | readonly Message[]

export type LinkKind = 'verifyEmail' | 'resetPassword' | 'changeEmail' | 'magicLink' | 'invitation'

export interface MailOptions {
  readonly mailer: Mailer
  /** The URL of the application's pages. Links start with it, whatever Host header a request has. */
  readonly baseUrl: string
  /**
   * Paths below `baseUrl` of the pages that receive tokens.
   *
   * @defaultValue `/verify-email`, `/reset-password` and so on
   */
  readonly paths?: { readonly [K in LinkKind]?: string | undefined } | undefined
  /**
   * Seconds for which links work.
   *
   * @defaultValue verification a day, reset and change an hour, magic link 15 minutes, invitation a week
   */
  readonly expires?: { readonly [K in LinkKind]?: number | undefined } | undefined
  /**
   * Returns the language of a user's mails, such as the value of a column of the application: `(user) => user.language`.
   *
   * @defaultValue the Accept-Language header of the request that causes the mail
   */
  readonly languageOf?: ((user: RegisteredUser) => string | null | undefined) | undefined
  /**
   * Whether users get a mail when the password, an identifier, the second factor or a linked account changes, whoever changes it. A
   * changed address is told to the address before.
   *
   * @defaultValue false: only changes of the address by a mailed link are told
   */
  readonly notices?: boolean | undefined
  /** Writes mails. The library's text replaces the parts that it omits. */
  readonly write?: ((content: MailContent) => Partial<Pick<Mail, 'subject' | 'text' | 'html'>> | undefined) | undefined
}

const defaultPaths: Readonly<Record<LinkKind, string>> = {
  verifyEmail: '/verify-email',
  resetPassword: '/reset-password',
  changeEmail: '/change-email',
  magicLink: '/magic-link',
  invitation: '/invitation',
}

const defaultExpires: Readonly<Record<LinkKind, number>> = {
  verifyEmail: 86_400,
  resetPassword: 3600,
  changeEmail: 3600,
  magicLink: 900,
  invitation: 604_800,
}

/** Writes mails and passes them to the mailer. */
export class MailService {
  readonly #options: MailOptions
  readonly #base: string
  readonly #languages: Languages

  /** @throws ConfigurationError for an invalid baseUrl, and for http to another host */
  constructor(options: MailOptions, languages = new Languages()) {
    if (typeof options.mailer?.send !== 'function')
      throw new ConfigurationError('initPerms({ mail: { mailer } }): pass an object with send(mail), such as consoleMailer().')
    for (const [name, seconds] of Object.entries(options.expires ?? {}))
      if (!(Number.isInteger(seconds) && (seconds as number) > 0))
        throw new ConfigurationError(`mail.expires.${name}: ${seconds}: must be a whole number of seconds, 1 or more.`)
    this.#options = options
    this.#languages = languages
    this.#base = baseOf(options.baseUrl)
  }

  /** Whether users are told of changes to their account. */
  get sendsNotices(): boolean {
    return this.#options.notices === true
  }

  /** Returns the lifetime of a link in seconds. */
  expires(kind: LinkKind): number {
    return this.#options.expires?.[kind] ?? defaultExpires[kind]
  }

  /** Returns a link with the token after the '#': proxies, server logs and Referer headers do not see it. */
  link(kind: LinkKind, token: string): string {
    const path = this.#options.paths?.[kind] ?? defaultPaths[kind]
    return `${this.#base}/${path.replace(/^\/+/, '')}#token=${encodeURIComponent(token)}`
  }

  /** Returns the language for a user, or for an address without one: by `languageOf`, else by the request. */
  languageFor(user: RegisteredUser | null): string {
    const own = user && this.#options.languageOf?.(user)
    return this.#languages.choose(own ?? currentAcceptLanguage())
  }

  /**
   * Writes a mail.
   *
   * @param to must be one address; rows from before addresses were validated may hold other text, which is refused
   * @param details `role` and `domain` contain text of users
   * @param language Default: the language of the request.
   * @throws ConfigurationError when `to` is not exactly one address; errors of `write`
   */
  compose(
    kind: MailKind,
    to: string,
    token?: string,
    details: Readonly<Record<string, MailDetail>> = {},
    language = this.languageFor(null),
  ): Mail {
    // The message omits the recipient: it may be a list of other people's addresses.
    if (!isEmailAddress(to)) throw new ConfigurationError(`The mail '${kind}' was not sent: its recipient is not one e-mail address.`)
    const linked = token === undefined ? undefined : (kind as LinkKind)
    const content: MailContent = {
      kind,
      to,
      link: linked && this.link(linked, token as string),
      expiresIn: linked && this.expires(linked),
      details: this.#shownDetails(details, language),
      language,
    }
    const mail = { kind, to, ...this.#usual(content), ...this.#options.write?.(content) }
    // `write` cannot change the kind or the recipient.
    return { ...mail, kind, to, subject: subjectLine(mail.subject) }
  }

  #usual(content: MailContent): Pick<Mail, 'subject' | 'text'> {
    const render = (text: string | Message) => this.#languages.render(text, content.language)
    const { subject, paragraphs } = textsOf(content)
    return { subject: render(subject), text: `${paragraphs.map(render).join('\n\n')}\n` }
  }

  #shownDetails(details: Readonly<Record<string, MailDetail>>, language: string): Record<string, string> {
    const render = (value: MailDetail) =>
      [value]
        .flat()
        .map((one: string | Message) => this.#languages.render(one, language))
        .join(', ')
    const shown = Object.entries(details).map(
      ([name, value]) => [name, userText.has(name) ? plainWords(render(value)) : render(value)] as const,
    )
    return Object.fromEntries(shown.filter(([, text]) => text !== ''))
  }

  /** Sends a mail. @throws errors of the mailer */
  async send(mail: Mail): Promise<void> {
    await this.#options.mailer.send(mail)
  }

  /** Does the work of send() without sending. */
  async rehearse(mail: Mail): Promise<void> {
    await this.#options.mailer.rehearse?.(mail)
  }
}

const userText = new Set(['role', 'domain'])

function baseOf(baseUrl: unknown): string {
  let url: URL | undefined
  try {
    url = new URL(String(baseUrl))
  } catch {
    url = undefined
  }
  const isHere = url && ['localhost', '127.0.0.1', '[::1]'].includes(url.hostname)
  if (!url || !(url.protocol === 'https:' || (url.protocol === 'http:' && isHere)) || url.search || url.hash || url.username)
    throw new ConfigurationError(
      `initPerms({ mail: { baseUrl: ${JSON.stringify(baseUrl)} } }): the https address of the application's pages, such as 'https://app.example.com'.`,
    )
  return url.href.replace(/\/+$/, '')
}

/**
 * Returns a mailer that prints mails instead of sending them, for development.
 *
 * @param print Default: console.log.
 * @example initPerms({ knex, jwt, mail: { mailer: consoleMailer(), baseUrl: 'http://localhost:3000' } })
 */
export function consoleMailer(print: (text: string) => void = console.log): Mailer {
  return {
    async send({ to, subject, text }) {
      print(`To: ${to}\nSubject: ${subject}\n\n${text}`)
    },
  }
}

interface Nodemailer {
  createTransport(options: unknown): { sendMail(mail: object): Promise<unknown> }
}

/** A sender: `'noreply@example.com'`, `'Zoo <noreply@example.com>'`, or an object. */
export type Sender = string | { readonly name?: string | undefined; readonly address: string }

const sender: OptionNames<Exclude<Sender, string>> = { name: true, address: true }

/**
 * Returns a mailer that sends with nodemailer, an optional package. It passes addresses as objects, which nodemailer does not parse
 * as lists.
 *
 * @param transport the options of nodemailer's createTransport(), or a transport
 * @param options `from`: the sender; `replyTo`: the address for replies
 * @throws ConfigurationError when nodemailer is not installed, and for a sender that is not one address
 * @example nodemailerMailer('smtps://user:pass@smtp.example.com', { from: 'Zoo <noreply@example.com>' })
 */
export function nodemailerMailer(transport: string | object, options: { from: Sender; replyTo?: Sender | undefined }): Mailer {
  assertKnownOptions(options, { from: orOther(sender), replyTo: orOther(sender) }, 'nodemailerMailer(transport, ...)')
  checkSender('from', options?.from)
  if (options.replyTo !== undefined) checkSender('replyTo', options.replyTo)
  const isMade = typeof transport === 'object' && 'sendMail' in transport
  const made = (
    isMade ? transport : loadOptionalPackage<Nodemailer>('nodemailer', 'nodemailerMailer()').createTransport(transport)
  ) as ReturnType<Nodemailer['createTransport']>
  const message = ({ to, subject, text, html }: Mail) => {
    if (!isEmailAddress(to)) throw new ConfigurationError('nodemailerMailer(): the recipient is not one e-mail address.')
    return {
      from: options.from,
      ...(options.replyTo === undefined ? {} : { replyTo: options.replyTo }),
      to: { address: to },
      subject: subjectLine(subject),
      text,
      ...(html === undefined ? {} : { html }),
    }
  }
  let composer: ReturnType<Nodemailer['createTransport']> | undefined
  return {
    send: async (mail) => await made.sendMail(message(mail)),
    async rehearse(mail) {
      composer ??= loadOptionalPackage<Nodemailer>('nodemailer', 'nodemailerMailer()').createTransport({
        streamTransport: true,
        buffer: true,
      })
      await composer.sendMail(message(mail))
    },
  }
}

const named = /^(?:"[^"\\\p{Cc}]*"|[^"<>@,;:\\()[\]\p{Cc}]*) *<([^<>]*)>$/u

/** Throws unless the sender is exactly one address, with or without a name. @throws ConfigurationError */
function checkSender(option: string, given: unknown): void {
  const { name, address } =
    typeof given === 'string'
      ? { name: '', address: named.exec(given)?.[1] ?? given }
      : ((given ?? {}) as { name?: unknown; address?: unknown })
  const isName = name === undefined || (typeof name === 'string' && !/\p{Cc}/u.test(name))
  if (isName && isEmailAddress(address)) return
  throw new ConfigurationError(
    `nodemailerMailer(transport, { ${option}: ${JSON.stringify(given)} }): give one address, such as 'Zoo <noreply@example.com>', or { name: 'Zoo, Inc.', address: 'noreply@example.com' }.`,
  )
}
