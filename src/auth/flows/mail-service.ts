import { ConfigurationError } from '../../core/errors.js'
import { optionalPackage } from '../../core/optional-package.js'
import { isEmailAddress } from '../../schema/email.js'
import { plainWords, subjectLine } from './mail-text.js'

/** What a mail is about. Those with a link carry a token in it. */
export type MailKind =
  | 'verifyEmail'
  | 'resetPassword'
  | 'changeEmail'
  | 'emailChangeRequested'
  | 'emailChanged'
  | 'magicLink'
  | 'alreadyRegistered'
  | 'invitation'
  | 'accessRevoked'

/** A mail, ready to be sent. */
export interface Mail {
  readonly kind: MailKind
  /** Exactly one address, checked by a strict grammar. Pass it on as `{ address: to }` if your mail program takes objects. */
  readonly to: string
  /** One line without control characters. */
  readonly subject: string
  readonly text: string
  readonly html?: string | undefined
}

/** Sends mail; anything with such a method. */
export interface Mailer {
  send(mail: Mail): Promise<unknown>
  /**
   * Does the work of `send` in this process, such as composing the message, without sending it. The library calls it where an address
   * is no user's, so that the time of the next request does not tell. Optional.
   */
  rehearse?(mail: Mail): Promise<unknown>
}

/** What a mail is written from. */
export interface MailContent {
  readonly kind: MailKind
  readonly to: string
  /** With the token, where the kind has one. */
  readonly link: string | undefined
  /** Seconds for which the link works. */
  readonly expiresIn: number | undefined
  /**
   * What the mail is about, each safe as text and in HTML unless it is an address. Of a changed address: `newEmail`. Of an invitation:
   * `domain` and `role`. Of verifyEmail, changeEmail and accessRevoked: `createdAt` and, for a registration, `createdFrom` of the account;
   * of changeEmail also `accountEmail`; of accessRevoked also `ended`.
   */
  readonly details: Readonly<Record<string, string>>
}

export type LinkKind = 'verifyEmail' | 'resetPassword' | 'changeEmail' | 'magicLink' | 'invitation'

export interface MailOptions {
  readonly mailer: Mailer
  /** Where the application's pages are: links begin with it, whatever Host a request names. */
  readonly baseUrl: string
  /** The page that takes a link's token, below `baseUrl`: `/verify-email`, `/reset-password` and so on when not said. */
  readonly paths?: { readonly [K in LinkKind]?: string | undefined } | undefined
  /** Seconds for which a link works: a day to verify, an hour to reset or change, 15 minutes to sign in, a week for an invitation. */
  readonly expires?: { readonly [K in LinkKind]?: number | undefined } | undefined
  /** Writes the mails; what it leaves out is the library's text. */
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

/** Writes mails and hands them to the mailer. */
export class MailService {
  readonly #options: MailOptions
  readonly #base: string

  /** @throws ConfigurationError for a baseUrl that is none, or http beyond this machine */
  constructor(options: MailOptions) {
    if (typeof options.mailer?.send !== 'function')
      throw new ConfigurationError('initPerms({ mail: { mailer } }): pass something with send(mail), such as consoleMailer().')
    for (const [name, seconds] of Object.entries(options.expires ?? {}))
      if (!(Number.isInteger(seconds) && (seconds as number) > 0))
        throw new ConfigurationError(`mail.expires.${name}: ${seconds}: a whole number of seconds from 1.`)
    this.#options = options
    this.#base = baseOf(options.baseUrl)
  }

  /** Seconds. */
  expires(kind: LinkKind): number {
    return this.#options.expires?.[kind] ?? defaultExpires[kind]
  }

  /** The token stands after the '#': no server on the way, no log and no Referer gets to see it. */
  link(kind: LinkKind, token: string): string {
    const path = this.#options.paths?.[kind] ?? defaultPaths[kind]
    return `${this.#base}/${path.replace(/^\/+/, '')}#token=${encodeURIComponent(token)}`
  }

  /**
   * Writes a mail.
   *
   * @param to an address; whatever else was stored before addresses were checked is refused
   * @param details of these, `role` and `domain` are users' text
   * @throws ConfigurationError for what is not exactly one address; what `write` throws
   */
  compose(kind: MailKind, to: string, token?: string, details: Readonly<Record<string, string>> = {}): Mail {
    // Not in the message: it may be a list of other people's addresses.
    if (!isEmailAddress(to)) throw new ConfigurationError(`A mail '${kind}' was not sent: its recipient is not one e-mail address.`)
    const linked = token === undefined ? undefined : (kind as LinkKind)
    const content: MailContent = {
      kind,
      to,
      link: linked && this.link(linked, token as string),
      expiresIn: linked && this.expires(linked),
      details: shownDetails(details),
    }
    const mail = { kind, to, ...usual(content), ...this.#options.write?.(content) }
    // What `write` returns may replace neither the kind nor the recipient.
    return { ...mail, kind, to, subject: subjectLine(mail.subject) }
  }

  /** @throws whatever the mailer throws */
  async send(mail: Mail): Promise<void> {
    await this.#options.mailer.send(mail)
  }

  /** Does the work of send() and sends nothing. */
  async rehearse(mail: Mail): Promise<void> {
    await this.#options.mailer.rehearse?.(mail)
  }
}

const userText = new Set(['role', 'domain'])

function shownDetails(details: Readonly<Record<string, string>>): Record<string, string> {
  const shown = Object.entries(details).map(([name, text]) => [name, userText.has(name) ? plainWords(text) : text] as const)
  return Object.fromEntries(shown.filter(([, text]) => text !== ''))
}

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

function usual({ kind, link, expiresIn, details }: MailContent): Pick<Mail, 'subject' | 'text'> {
  const until = expiresIn === undefined ? '' : `The link works once, for ${duration(expiresIn)}.`
  const notYou = 'If it was not you, you need not do anything.'
  const origin = (what: string) =>
    details.createdAt === undefined
      ? ''
      : `${what} was created on ${details.createdAt}${details.createdFrom === undefined ? '' : ` from the network address ${details.createdFrom}`}.`
  const write = (subject: string, ...lines: string[]) => ({ subject, text: `${lines.filter((line) => line !== '').join('\n\n')}\n` })
  switch (kind) {
    case 'verifyEmail':
      return write(
        'Confirm your e-mail address',
        origin('The account with this e-mail address'),
        'If you created it, confirm that the address is yours:',
        link ?? '',
        until,
        'If you did not create it, do not use the link. Ask for a new password or a link to sign in instead: that ends all access of whoever created it.',
      )
    case 'resetPassword':
      return write(
        'Choose a new password',
        'Somebody asked for a new password for your account. Choose one here:',
        link ?? '',
        until,
        notYou,
      )
    case 'changeEmail':
      return write(
        'Confirm your new e-mail address',
        `The account${details.accountEmail === undefined ? '' : ` with the address ${details.accountEmail}`} asked to have this address instead.`,
        origin('That account'),
        'If it is yours, confirm the new address:',
        link ?? '',
        until,
        'If it is not yours, do not use the link.',
      )
    case 'emailChangeRequested':
      return write(
        'Your e-mail address is about to change',
        `Somebody with your password asked to change your account's address to ${details.newEmail ?? 'another one'}.`,
        'If it was not you, change your password now.',
      )
    case 'emailChanged':
      return write(
        'Your e-mail address was changed',
        `Your account now has the address ${details.newEmail ?? 'that you confirmed'}.`,
        'If it was not you, get in touch with us.',
      )
    case 'magicLink':
      return write('Sign in', 'Sign in with this link:', link ?? '', until, notYou)
    case 'alreadyRegistered':
      return write(
        'You have an account already',
        'Somebody tried to register with this address, and it has an account: sign in instead.',
        notYou,
      )
    case 'accessRevoked':
      return write(
        'Access to your account was revoked',
        origin('Your account'),
        `You have just shown that this address is yours. What had access to the account before was ended: ${details.ended ?? 'everything'}.`,
        'If something of yours stopped working, sign in and set it up again. Choose a new password if you had one that was removed.',
      )
    case 'invitation':
      return write(
        `You are invited${details.domain === undefined ? '' : ` to ${details.domain}`}`,
        `You are invited${details.domain === undefined ? '' : ` to ${details.domain}`}${details.role === undefined ? '' : ` as ${details.role}`}:`,
        link ?? '',
        until,
      )
  }
}

function duration(seconds: number): string {
  const [count, unit] =
    seconds % 86_400 === 0
      ? [seconds / 86_400, 'day']
      : seconds % 3600 === 0
        ? [seconds / 3600, 'hour']
        : [Math.ceil(seconds / 60), 'minute']
  return `${count} ${unit}${count === 1 ? '' : 's'}`
}

/**
 * Prints mails instead of sending them: for development.
 *
 * @param print where to; console.log when not said
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

/** A sender: `'noreply@example.com'`, `'Zoo <noreply@example.com>'`, or its parts. */
export type Sender = string | { readonly name?: string | undefined; readonly address: string }

/**
 * Sends mails with nodemailer, an optional package. Addresses go to it as objects, which it does not take for lists.
 *
 * @param transport the options of nodemailer's createTransport(), or a transport made with it
 * @param options.from the sender
 * @param options.replyTo where answers go
 * @throws ConfigurationError where nodemailer is not installed, and for a sender that is not one address
 * @example nodemailerMailer('smtps://user:pass@smtp.example.com', { from: 'Zoo <noreply@example.com>' })
 */
export function nodemailerMailer(transport: string | object, options: { from: Sender; replyTo?: Sender | undefined }): Mailer {
  checkSender('from', options.from)
  if (options.replyTo !== undefined) checkSender('replyTo', options.replyTo)
  const isMade = typeof transport === 'object' && 'sendMail' in transport
  const made = (
    isMade ? transport : optionalPackage<Nodemailer>('nodemailer', 'nodemailerMailer()').createTransport(transport)
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
      composer ??= optionalPackage<Nodemailer>('nodemailer', 'nodemailerMailer()').createTransport({ streamTransport: true, buffer: true })
      await composer.sendMail(message(mail))
    },
  }
}

const named = /^(?:"[^"\\\p{Cc}]*"|[^"<>@,;:\\()[\]\p{Cc}]*) *<([^<>]*)>$/u

/** @throws ConfigurationError for anything but one address, with a name or without */
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
