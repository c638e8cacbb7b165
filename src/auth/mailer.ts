import { ConfigurationError } from '../model/errors.js'
import { optionalPackage } from './optional-package.js'

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

/** A mail, ready to be sent. */
export interface Mail {
  readonly kind: MailKind
  readonly to: string
  readonly subject: string
  readonly text: string
  readonly html?: string | undefined
}

/** Sends mail; anything with such a method. */
export interface Mailer {
  send(mail: Mail): Promise<unknown>
}

/** What a mail is written from. */
export interface MailContent {
  readonly kind: MailKind
  readonly to: string
  /** With the token, where the kind has one. */
  readonly link: string | undefined
  /** Seconds for which the link works. */
  readonly expiresIn: number | undefined
  /** Of a changed address: the new one. Of an invitation: the domain's name and the role. */
  readonly details: Readonly<Record<string, string>>
}

type LinkKind = 'verifyEmail' | 'resetPassword' | 'changeEmail' | 'magicLink' | 'invitation'

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
export class Post {
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

  /** @throws whatever the mailer throws */
  async send(kind: MailKind, to: string, token?: string, details: Readonly<Record<string, string>> = {}): Promise<void> {
    const linked = token === undefined ? undefined : (kind as LinkKind)
    const content: MailContent = {
      kind,
      to,
      link: linked && this.link(linked, token as string),
      expiresIn: linked && this.expires(linked),
      details,
    }
    await this.#options.mailer.send({ kind, to, ...usual(content), ...this.#options.write?.(content) })
  }
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
  const write = (subject: string, ...lines: string[]) => ({ subject, text: `${lines.filter((line) => line !== '').join('\n\n')}\n` })
  switch (kind) {
    case 'verifyEmail':
      return write('Confirm your e-mail address', 'Confirm that this address is yours:', link ?? '', until, notYou)
    case 'resetPassword':
      return write(
        'Choose a new password',
        'Somebody asked for a new password for your account. Choose one here:',
        link ?? '',
        until,
        notYou,
      )
    case 'changeEmail':
      return write('Confirm your new e-mail address', 'Confirm that your account shall have this address:', link ?? '', until, notYou)
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

/**
 * Sends mails with nodemailer, an optional package.
 *
 * @param transport the options of nodemailer's createTransport(), or a transport made with it
 * @param options.from the sender
 * @throws ConfigurationError where nodemailer is not installed
 * @example nodemailerMailer('smtps://user:pass@smtp.example.com', { from: 'Zoo <noreply@example.com>' })
 */
export function nodemailerMailer(transport: string | object, options: { from: string }): Mailer {
  const isMade = typeof transport === 'object' && 'sendMail' in transport
  const made = (
    isMade ? transport : optionalPackage<Nodemailer>('nodemailer', 'nodemailerMailer()').createTransport(transport)
  ) as ReturnType<Nodemailer['createTransport']>
  return {
    send: async ({ to, subject, text, html }) =>
      await made.sendMail({ from: options.from, to, subject, text, ...(html === undefined ? {} : { html }) }),
  }
}
