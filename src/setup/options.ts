import type { Knex } from 'knex'
import type { Model } from 'objection'
import type { CodeOptions } from '../auth/flows/codes/code-options.js'
import type { LifecycleOptions } from '../auth/flows/lifecycle/account-deletion.js'
import type { MailOptions } from '../auth/flows/mail/mail-service.js'
import type { PasskeyOptions } from '../auth/flows/passkeys/settings.js'
import type { ProviderSignInOptions } from '../auth/flows/providers/options.js'
import type { IdentityProvider } from '../auth/flows/providers/provider.js'
import type { SecondFactorOptions } from '../auth/flows/second-factor/second-factor.js'
import type { LegacyPasswordScheme } from '../auth/passwords/legacy/scheme.js'
import type { PasswordPolicy } from '../auth/passwords/password-policy.js'
import type { Throttle, ThrottleOptions } from '../auth/throttle/throttle.js'
import type { JwtOptions } from '../auth/tokens/key-set.js'
import type { LegacyTokenOptions } from '../auth/tokens/legacy-tokens.js'
import { ConfigurationError } from '../core/errors.js'
import type { LanguageOptions } from '../core/messages/languages.js'
import type { CookieOptions } from '../http/caller/cookies.js'
import type { RoleDeclarations } from '../policy/declared-roles.js'
import type { StepUpRule } from '../policy/fresh-session.js'
import type { LibraryIds, TableOptions } from '../policy/registered-models.js'
import { recent } from '../policy/session-rules.js'
import { definitionOf } from '../schema/definition/definition.js'
import { type ModelClass, modelClass } from '../schema/model-class.js'
import type { PasswordHasher } from '../users/account/password-hasher.js'
import { AuditLog } from '../users/audit-log.js'
import type { RegisteredUser, UserClass } from '../users/caller/actor.js'
import type { DomainWithoutId } from '../users/domain.js'
import type { Token } from '../users/token.js'
import type { UserRoleWithoutId } from '../users/user-role.js'
import type { UserSettingWithoutId } from '../users/user-setting.js'

export interface PermsOptions {
  /**
   * The name of this application in tokens and derived keys. Set it when several applications with their own databases share keys.
   *
   * @defaultValue a name derived from the connection, used only while several runtimes are active
   */
  name?: string | undefined
  /** The Knex instance of the application's database. */
  knex: Knex
  /** How access tokens are signed. Without it, adapters and sign-in throw a ConfigurationError. */
  jwt?:
    | (JwtOptions & {
        /** Returns additional claims of access tokens. Permissions never depend on them. */
        claims?: ((user: RegisteredUser) => object) | undefined
        /** Accepts the access tokens that the application issued before it used this library, until a fixed date. */
        legacyTokens?: LegacyTokenOptions | undefined
        /**
         * Further schemes of the Authorization header that carry access tokens and API keys: `['Token']` accepts
         * `Authorization: Token ...`. Adapters and sockets read them like Bearer.
         *
         * @defaultValue only Bearer
         */
        schemes?: readonly string[] | undefined
      })
    | undefined
  /** The application's user model. @defaultValue User */
  user?: UserClass | undefined
  /** A subclass of UserRole. @defaultValue UserRole */
  userRole?: typeof UserRoleWithoutId | undefined
  /** A subclass of Token. @defaultValue Token */
  token?: typeof Token | undefined
  /** A subclass of Domain. @defaultValue Domain */
  domain?: typeof DomainWithoutId | undefined
  /** A subclass of UserSetting. @defaultValue UserSetting */
  userSetting?: typeof UserSettingWithoutId | undefined
  /**
   * The names of the library's tables: a schema, a prefix, and names of single tables. A model's `static tableName` wins.
   *
   * @defaultValue the models' names in snake_case
   */
  tables?: TableOptions | undefined
  /**
   * The ids of the library's own tables: UUIDs of version 7, or integers that the database makes. A model that declares its id keeps
   * that. Ids of tokens are always UUIDs, because they identify sessions.
   *
   * @defaultValue 'uuid'
   */
  ids?: LibraryIds | undefined
  /** Models to check at start instead of at their first use. Relations from the user to them work from the start. */
  models?: readonly (abstract new (...args: never[]) => Model)[] | undefined
  /**
   * Compares the tables with the models at start, in one statement: missing tables and columns, types that hold other values, and NOT
   * NULL columns that the models leave out. 'warn' prints the differences once. 'refuse' rejects all statements of models until there
   * are none.
   *
   * @defaultValue no check
   */
  checkTables?: 'warn' | 'refuse' | undefined
  passwords?:
    | (PasswordPolicy & {
        /** The cost of bcrypt, at least 10. @defaultValue 12 */
        cost?: number | undefined
        /**
         * Schemes of hashes that another system made, such as `[pbkdf2(), phpass()]`. The next sign-in replaces such a hash. Each scheme
         * takes part in every password check.
         *
         * @defaultValue none; bcrypt hashes need no scheme
         */
        legacy?: readonly LegacyPasswordScheme[] | undefined
      })
    | undefined
  /** The password hasher. @defaultValue bcryptHasher() */
  passwordHasher?: PasswordHasher | undefined
  /** The status for a row that the caller may not read: 404, or 403 as for writes. @defaultValue 404 */
  accessDenied?: 404 | 403 | undefined
  /** Whether code outside runAs(), asAnonymous() and asSystem() may use protected models. @defaultValue 'allow' until an adapter exists */
  outsideContext?: 'allow' | 'deny' | undefined
  /**
   * The roles of the application, and which roles their holders grant: `{ manager: { grants: ['agent'] }, agent: {} }`. Policies, grants
   * and invitations may then name only these and the built-in roles.
   *
   * @defaultValue any name is a role, and only admins grant roles
   */
  roles?: RoleDeclarations | undefined
  /** With 'required', each granted role names a domain or '*'. @defaultValue 'optional' */
  domains?: 'optional' | 'required' | undefined
  /** Whether PostgreSQL statements are prepared with a name. Set it to false for poolers that do not support this. @defaultValue true */
  namedStatements?: boolean | undefined
  /** Limits of failed sign-ins, refreshes and registrations; false for no limits. @defaultValue counted in memory */
  throttle?: ThrottleOptions | Throttle | false | undefined
  /**
   * Seconds (at most 300) for which the caller of an access token is cached. When another process ends a session, disables a user or
   * revokes a role, this process notices it after that time.
   *
   * @defaultValue no cache
   */
  cacheCallers?: number | undefined
  /**
   * Whether requests to resources may use the caller of an earlier request. Their first statement then returns or inserts rows only if
   * session, user, roles and domains are unchanged. Has no effect with `cacheCallers` or `loadUser`.
   *
   * @defaultValue true
   */
  rememberCallers?: boolean | undefined
  /**
   * Enables tokens in cookies. A client that signs in with `Prefer: cookies` gets its tokens as `__Host-` cookies, which scripts
   * cannot read.
   *
   * @defaultValue false
   */
  cookies?: boolean | CookieOptions | undefined
  /**
   * Whether the library's own endpoints for changes of credentials, second factors, API keys, sessions and accounts need a session that
   * the user confirmed recently. `maxAge` in seconds.
   *
   * @defaultValue false. With true, `maxAge` is 300.
   */
  stepUp?: boolean | StepUpOptions | undefined
  /** Writes events into AuditLog, or into the given subclass of AuditLog. @defaultValue false */
  auditLog?: boolean | typeof AuditLog | undefined
  /** Days after which `perms.maintain()` deletes rows of the audit log. @defaultValue rows are kept */
  auditRetention?: number | undefined
  /** How accounts are deleted: `perms.auth.accountDeletion` and the feature `deleteAccount` of UserResource. */
  accountDeletion?: AccountDeletionOptions | undefined
  /** Options of the second factor, such as the name that authenticator apps show. */
  secondFactor?: SecondFactorOptions | undefined
  /**
   * Identity providers by name: users sign in with them. The name is a part of the callback URL. Needs `providerSignIn`.
   *
   * @example const providers = { github: github({ clientId: 'the id', clientSecret: secret }) }
   */
  providers?: Readonly<Record<string, IdentityProvider>> | undefined
  /** How users sign in with identity providers: the callback URL, the places to return to, and who may sign up. */
  providerSignIn?: ProviderSignInOptions | undefined
  /** The domain and the origins of passkeys. Without it, users have none. Needs the package @simplewebauthn/server. */
  passkeys?: PasskeyOptions | undefined
  /** The mailer and the base URL of links in mail, for verified addresses, password resets and so on. */
  mail?: MailOptions | undefined
  /**
   * Texts of error responses and mails in further languages, by language tag and message id; see docs/languages.md. English texts
   * replace missing ones. False removes a language.
   *
   * @defaultValue English and German
   */
  languages?: LanguageOptions['languages']
  /** The language for clients that ask for none of the languages. @defaultValue 'en' */
  defaultLanguage?: string | undefined
  /** One-time codes: their lifetime, and a sender in place of the mailer, such as SMS. */
  codes?: CodeOptions | undefined
  /**
   * Whether users get a mail, and listeners the event `signInFromNewPlace`, for a sign-in from a network and program that the user has
   * not used in the last 180 days.
   *
   * @defaultValue false
   */
  newPlaces?: boolean | undefined
  /** Loads the user of a request after its session was checked. null rejects the request. @defaultValue loads the registered user model */
  loadUser?: ((claims: Record<string, unknown>) => Promise<RegisteredUser | null> | RegisteredUser | null) | undefined
}

/** How accounts are deleted. */
export interface AccountDeletionOptions {
  /** Seconds between the request and the deletion, 0 to 365 days. Within them, the user can undo it. @defaultValue 1209600, which is 14 days */
  readonly delay?: number | undefined
}

const MAX_DELAY = 365 * 86_400

/** Returns the settings of the flow that deletes accounts. @throws ConfigurationError for an invalid delay */
export function lifecycleOptions({ accountDeletion }: PermsOptions, stepUp: StepUpRule | undefined): Partial<LifecycleOptions> {
  const delay = accountDeletion?.delay
  if (delay !== undefined && !(Number.isInteger(delay) && delay >= 0 && delay <= MAX_DELAY))
    throw new ConfigurationError(`initPerms({ accountDeletion: { delay: ${String(delay)} } }): pass whole seconds from 0 to ${MAX_DELAY}.`)
  return { ...(delay === undefined ? {} : { delay }), ...(stepUp ? { proof: stepUp } : {}) }
}

/** How recently a user must have confirmed the session for the sensitive endpoints. */
export interface StepUpOptions {
  /** In seconds. @defaultValue 300 */
  readonly maxAge?: number | undefined
}

/** Returns the rule of the option `stepUp`. @throws ConfigurationError for an invalid number of seconds */
export function stepUpRule(option: PermsOptions['stepUp']): StepUpRule | undefined {
  if (!option) return undefined
  return recent(option === true ? DEFAULT_MAX_AGE : (option.maxAge ?? DEFAULT_MAX_AGE))
}

const DEFAULT_MAX_AGE = 300

/** Returns the further models whose tables the application uses. */
export function declaredModels({ models = [], auditLog }: PermsOptions): ModelClass[] {
  return [...models, ...(typeof auditLog === 'function' ? [auditLog] : [])].map(modelClass)
}

/** Returns the class of the audit log. @throws ConfigurationError for a class that does not extend AuditLog */
export function auditModel(given: true | typeof AuditLog): typeof AuditLog {
  const model = given === true ? AuditLog : given
  if (model !== AuditLog && !(model.prototype instanceof AuditLog))
    throw new ConfigurationError(`initPerms({ auditLog: ${model.name} }): the class must extend AuditLog.`)
  definitionOf(model)
  return model
}
