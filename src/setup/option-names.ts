/** The names of the options of initPerms(). The types keep them complete. */
import type { CodeOptions } from '../auth/flows/codes/code-options.js'
import type { MailOptions } from '../auth/flows/mail/mail-service.js'
import type { PasskeyOptions } from '../auth/flows/passkeys/settings.js'
import type { ProviderSignInOptions } from '../auth/flows/providers/options.js'
import type { SecondFactorOptions } from '../auth/flows/second-factor/second-factor.js'
import type { ThrottleOptions } from '../auth/throttle/throttle.js'
import type { JwtKeyOptions } from '../auth/tokens/key.js'
import { each, type OptionNames, orOther } from '../core/known-options.js'
import type { TableKind, TableOptions } from '../policy/registered-models.js'
import type { PermsOptions } from './options.js'

type Given<K extends keyof PermsOptions> = NonNullable<PermsOptions[K]>

const key: OptionNames<JwtKeyOptions> = { kid: true, algorithm: true, secret: true, privateKey: true, publicKey: true, retired: true }

const jwt: OptionNames<Given<'jwt'>> = {
  secret: true,
  keys: each(key),
  accessTokenExpires: true,
  refreshTokenExpires: true,
  sessionExpires: true,
  rememberMe: { min: true, max: true },
  authTimeClaims: true,
  issuer: true,
  audience: true,
  leeway: true,
  claims: true,
  legacyTokens: { secret: true, keys: each(key), issuer: true, audience: true, until: true, userId: true },
  schemes: true,
}

const tableNames: OptionNames<Partial<Record<TableKind, string>>> = {
  user: true,
  userRole: true,
  domain: true,
  token: true,
  userSetting: true,
  secondFactor: true,
  invitation: true,
  auditLog: true,
  passkey: true,
  passkeyChallenge: true,
  identity: true,
  providerSignIn: true,
  trustedDevice: true,
  accountDeletion: true,
  rowShare: true,
}

const tables: OptionNames<TableOptions> = { schema: true, prefix: true, names: tableNames }

const passwords: OptionNames<Given<'passwords'>> = {
  minLength: true,
  breached: orOther({ range: true, onOutage: true, timeout: true, fetch: true }),
  cost: true,
  legacy: true,
}

const throttle: OptionNames<ThrottleOptions> = {
  store: true,
  signIn: { pair: true, address: true, account: true, window: true },
  registration: { address: true, window: true },
  refresh: { address: true, window: true },
  mail: { account: true, address: true, caller: true, window: true },
  passkeyOptions: { address: true, caller: true, window: true },
  mailToken: { address: true, window: true },
  provider: { address: true, window: true },
  export: { caller: true, window: true },
}

const secondFactor: OptionNames<SecondFactorOptions> = { issuer: true, trustedDevices: { lifetime: true } }

const providerSignIn: OptionNames<ProviderSignInOptions> = {
  usersUrl: true,
  redirects: true,
  signUp: orOther({ domains: true }),
  role: true,
  newUser: true,
  linkByEmail: true,
  timeout: true,
  fetch: true,
}

const passkeys: OptionNames<PasskeyOptions> = { rpId: true, rpName: true, origins: true, secondFactor: true, maxAge: true }

const mailLinks = { verifyEmail: true, resetPassword: true, changeEmail: true, magicLink: true, invitation: true } as const

const mail: OptionNames<MailOptions> = {
  mailer: true,
  baseUrl: true,
  paths: mailLinks,
  expires: mailLinks,
  languageOf: true,
  notices: true,
  write: true,
}

const codes: OptionNames<CodeOptions> = { expires: true, sender: true }

/** The names of the options of initPerms(). */
export const permsOptionNames: OptionNames<PermsOptions> = {
  name: true,
  knex: true,
  jwt,
  user: true,
  userRole: true,
  token: true,
  domain: true,
  userSetting: true,
  tables,
  ids: true,
  models: true,
  checkTables: true,
  passwords,
  passwordHasher: true,
  accessDenied: true,
  outsideContext: true,
  roles: each({ grants: true }),
  domains: true,
  namedStatements: true,
  throttle: orOther(throttle, 'begin'),
  cacheCallers: true,
  rememberCallers: true,
  cookies: orOther({ origins: true }),
  stepUp: orOther({ maxAge: true }),
  auditLog: true,
  auditRetention: true,
  accountDeletion: { delay: true },
  secondFactor,
  providers: true,
  providerSignIn,
  passkeys,
  mail,
  languages: 'unchecked',
  defaultLanguage: true,
  codes,
  newPlaces: true,
  loadUser: true,
}
