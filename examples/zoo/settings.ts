import { randomBytes } from 'node:crypto'

/** The settings from the environment variables that README.md lists. */
export interface Settings {
  readonly port: number
  readonly host: string
  readonly databaseUrl: string
  readonly framework: Framework
  readonly adminEmail: string
  /** undefined: a random password, if the first admin has to be created. */
  readonly adminPassword: string | undefined
  readonly jwtSecret: string
  /** The cost of bcrypt. */
  readonly passwordCost: number
  readonly isProduction: boolean
  /** Whether attempts to sign in and to register are limited. */
  readonly isThrottled: boolean
  /** Whether browsers may sign in with cookies. */
  readonly takesCookies: boolean
  /** The public URL of the server. undefined: the address that it listens on. */
  readonly baseUrl: string | undefined
  /** The URL of an SMTP server, or `console`. */
  readonly mail: 'console' | 'nowhere' | `smtp${string}`
  readonly mailFrom: string
  readonly warnings: readonly string[]
}

export const frameworks = ['express', 'koa', 'fastify', 'hono', 'fetch', 'node'] as const
export type Framework = (typeof frameworks)[number]

/** An invalid environment variable. The message says what to set. */
export class SettingsError extends Error {}

/** @throws SettingsError */
export function readSettings(env: NodeJS.ProcessEnv): Settings {
  const said = (name: string) => env[name]?.trim() || undefined
  const isProduction = env['NODE_ENV'] === 'production'
  const warnings: string[] = []

  const port = Number(said('PORT') ?? 3000)
  if (!Number.isInteger(port) || port < 0 || port > 65_535)
    throw new SettingsError(`PORT is '${env['PORT']}': set a number from 0 to 65535.`)

  const framework = (said('FRAMEWORK') ?? 'express').toLowerCase() as Framework
  if (!frameworks.includes(framework)) throw new SettingsError(`FRAMEWORK is '${env['FRAMEWORK']}': set one of ${frameworks.join(', ')}.`)

  const throttle = (said('THROTTLE') ?? 'on').toLowerCase()
  if (throttle !== 'on' && throttle !== 'off') throw new SettingsError(`THROTTLE is '${env['THROTTLE']}': set on or off.`)

  const cookies = (said('COOKIES') ?? 'on').toLowerCase()
  if (cookies !== 'on' && cookies !== 'off') throw new SettingsError(`COOKIES is '${env['COOKIES']}': set on or off.`)

  const baseUrl = said('BASE_URL')
  if (baseUrl !== undefined && !isBaseUrl(baseUrl))
    throw new SettingsError(`BASE_URL is '${baseUrl}': set the https address of this server, such as https://zoo.example.com.`)
  if (isProduction && baseUrl === undefined) warnings.push('BASE_URL is not set: the links in mails lead to this machine alone.')

  const mail = said('MAIL') ?? (isProduction ? 'nowhere' : 'console')
  if (!isMail(mail))
    throw new SettingsError(`MAIL is '${mail}': set console, or an SMTP server such as smtps://user:password@smtp.example.com.`)
  if (mail === 'nowhere')
    warnings.push('MAIL is not set: no mail is sent. Set an SMTP server, such as smtps://user:password@smtp.example.com.')

  const passwordCost = Number(said('PASSWORD_COST') ?? 12)
  if (!Number.isInteger(passwordCost) || passwordCost < 10 || passwordCost > 16)
    throw new SettingsError(`PASSWORD_COST is '${env['PASSWORD_COST']}': set a number from 10 to 16.`)

  let jwtSecret = said('JWT_SECRET')
  if (jwtSecret !== undefined && Buffer.byteLength(jwtSecret) < 32)
    throw new SettingsError('JWT_SECRET is too short: set at least 32 random bytes, for example from: openssl rand -base64 32')
  if (jwtSecret === undefined) {
    if (isProduction) throw new SettingsError('Set JWT_SECRET to at least 32 random bytes, for example from: openssl rand -base64 32')
    jwtSecret = randomBytes(32).toString('base64url')
    warnings.push('JWT_SECRET is not set: tokens are signed with a random one, and end with this process; second factors too.')
  }

  // Not trimmed: blanks belong to a password.
  const adminPassword = env['ADMIN_PASSWORD'] || undefined
  if (adminPassword === undefined && isProduction) throw new SettingsError('Set ADMIN_PASSWORD, and ADMIN_EMAIL, for the first user.')

  return {
    port,
    host: said('HOST') ?? '127.0.0.1',
    databaseUrl: said('DATABASE_URL') ?? 'zoo.db',
    framework,
    adminEmail: said('ADMIN_EMAIL') ?? 'admin@example.com',
    adminPassword,
    jwtSecret,
    passwordCost,
    isProduction,
    isThrottled: throttle === 'on',
    takesCookies: cookies === 'on',
    baseUrl,
    mail,
    mailFrom: said('MAIL_FROM') ?? 'Zoo <zoo@example.com>',
    warnings,
  }
}

const isMail = (text: string): text is Settings['mail'] => text === 'console' || text === 'nowhere' || /^smtps?:\/\/[^/]/.test(text)

/** Accepts https, or http on a loopback address. The URL must be an origin without a path, because the pages are served at the root. */
function isBaseUrl(text: string): boolean {
  if (!URL.canParse(text)) return false
  const { protocol, hostname, origin } = new URL(text)
  const isHere = ['localhost', '127.0.0.1', '[::1]'].includes(hostname)
  return [origin, `${origin}/`].includes(text) && (protocol === 'https:' || (protocol === 'http:' && isHere))
}
