import { ConfigurationError } from '../../../core/errors.js'

/** Options of passkeys. Requests never decide about the RP id and the origins. */
export interface PasskeyOptions {
  /** The domain that passkeys belong to, without scheme and port: `'example.com'`. It can not change later: passkeys are lost then. */
  readonly rpId: string
  /** The name of the application, which browsers may show. */
  readonly rpName: string
  /**
   * The origins of the pages that use passkeys, such as `['https://app.example.com']`: `rpId` or below it. https, except on localhost.
   * An Android application has `'android:apk-key-hash:...'`.
   */
  readonly origins: readonly string[]
  /**
   * Whether a user with a passkey needs it, or another second factor, after signing in with a password or by mail. Without it, a stolen
   * password alone would still open the account. Users who have an authenticator app can use a passkey in its place in any case.
   *
   * @defaultValue true
   */
  readonly secondFactor?: boolean | undefined
  /**
   * Seconds within which users must have signed in, or confirmed the session, to add or remove a passkey. Users with a second factor must
   * have proved it in that session.
   *
   * @defaultValue 300
   */
  readonly maxAge?: number | undefined
}

/** The checked options. */
export type PasskeySettings = Required<{ readonly [K in keyof PasskeyOptions]: Exclude<PasskeyOptions[K], undefined> }>

const MAX_AGE = 300
const domainForm = /^(?=.{1,253}$)(?:[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?\.)+[a-z](?:[a-z0-9-]{0,61}[a-z0-9])?$/
const androidForm = /^android:apk-key-hash:[\w-]{43}$/

/** Checks the options of passkeys. @throws ConfigurationError that names the option */
export function passkeySettings(options: PasskeyOptions): PasskeySettings {
  const { rpId, rpName, origins, secondFactor = true, maxAge = MAX_AGE } = options
  const refuse = (option: string, value: unknown, fix: string): never => {
    throw new ConfigurationError(`initPerms({ passkeys: { ${option}: ${JSON.stringify(value)} } }): ${fix}`)
  }
  if (typeof rpId !== 'string' || (rpId !== 'localhost' && !domainForm.test(rpId)))
    refuse('rpId', rpId, "use the domain of the application in lower case, without scheme and port, such as 'example.com', or 'localhost'.")
  if (typeof rpName !== 'string' || rpName.trim() === '' || rpName.length > 64)
    refuse('rpName', rpName, 'use the name of the application, of 64 characters at most.')
  if (!Array.isArray(origins) || origins.length === 0)
    refuse('origins', origins, "list the origins of your pages, such as ['https://app.example.com'].")
  for (const origin of origins) {
    const problem = originProblem(origin, rpId)
    if (problem !== undefined) refuse('origins', origins, `${JSON.stringify(origin)} ${problem}`)
  }
  if (typeof secondFactor !== 'boolean') refuse('secondFactor', secondFactor, 'use true or false.')
  if (!Number.isInteger(maxAge) || maxAge < 1 || maxAge > 86_400) refuse('maxAge', maxAge, 'use a whole number of seconds from 1 to 86400.')
  return { rpId, rpName, origins: [...origins], secondFactor, maxAge }
}

/** Returns the reason why an origin cannot use passkeys of this RP id (WebAuthn level 3, 5.1.3). */
function originProblem(origin: unknown, rpId: string): string | undefined {
  if (typeof origin === 'string' && androidForm.test(origin)) return undefined
  const url = typeof origin === 'string' && URL.canParse(origin) ? new URL(origin) : undefined
  if (!url || url.origin !== origin) return "is no origin: use scheme, host and port without a path, such as 'https://app.example.com'."
  const isLocal = url.hostname === 'localhost'
  if (url.protocol !== 'https:' && !(isLocal && url.protocol === 'http:'))
    return 'must begin with https://. On your own machine use http://localhost, not an IP address.'
  if (url.hostname !== rpId && !url.hostname.endsWith(`.${rpId}`)) return `is not on '${rpId}' or a domain below it.`
  return undefined
}
