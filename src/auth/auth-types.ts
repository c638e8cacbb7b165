import type { Knex } from 'knex'
import type { Languages } from '../core/messages/languages.js'
import type { Actor } from '../policy/context.js'
import type { RoleName, UserId } from '../policy/registered-types.js'
import type { Runtime } from '../runtime.js'
import type { PasswordHasher } from '../users/account/password-hasher.js'
import type { RegisteredUser, UserRow } from '../users/caller/actor.js'
import type { AuditTrail } from './audit-trail.js'
import type { OnEvent } from './events.js'
import type { CodeOptions } from './flows/codes/code-options.js'
import type { Codes } from './flows/codes/codes.js'
import type { ConfirmCredentials, Confirmed } from './flows/confirm.js'
import type { Impersonation } from './flows/impersonation.js'
import type { ImportUsers } from './flows/import/import-users.js'
import type { Invitations } from './flows/invitations/invitations.js'
import type { AccountDeletions, LifecycleOptions } from './flows/lifecycle/account-deletion.js'
import type { ExportData } from './flows/lifecycle/export-data.js'
import type { MailFlows } from './flows/mail/mail-flows.js'
import type { MailOptions } from './flows/mail/mail-service.js'
import type { Members } from './flows/members.js'
import type { Passkeys } from './flows/passkeys/passkeys.js'
import type { PasskeyOptions } from './flows/passkeys/settings.js'
import type { ProviderSettings } from './flows/providers/options.js'
import type { Providers } from './flows/providers/providers.js'
import type { SecondFactorOptions, SecondFactors } from './flows/second-factor/second-factor.js'
import type { DeviceTrust, TrustedDevices } from './flows/second-factor/trusted-devices.js'
import type { Throttle, ThrottleOptions } from './throttle/throttle.js'
import type { ApiKeys } from './tokens/api-keys.js'
import type { JwtClaims } from './tokens/jwt.js'
import type { JwtOptions, PublicJwks } from './tokens/key-set.js'
import type { LegacyTokenOptions } from './tokens/legacy-tokens.js'
import type { SessionInfo } from './tokens/sessions.js'

export interface AuthOptions {
  readonly knex: Knex
  /**
   * The runtime, whose name goes into tokens and derived keys.
   *
   * @defaultValue none, for an application with one database
   */
  readonly runtime?: Pick<Runtime, 'name' | 'scope'> | undefined
  readonly jwt: JwtOptions & {
    /** Returns further claims of access tokens. Permission checks do not read them. */
    readonly claims?: ((user: RegisteredUser) => object) | undefined
    /** Accepts the access tokens of an earlier scheme until a fixed date. */
    readonly legacyTokens?: LegacyTokenOptions | undefined
  }
  readonly hasher: PasswordHasher
  /** Loads the user of a valid access token in place of the library's query. The library still checks the session. */
  readonly loadUser?: ((claims: Record<string, unknown>) => Promise<RegisteredUser | null> | RegisteredUser | null) | undefined
  readonly onEvent?: OnEvent | undefined
  /** The audit log that `onEvent` writes to: settled() waits for it. */
  readonly trail?: AuditTrail | undefined
  /**
   * Seconds for which authenticate() may cache a caller, at most 300.
   *
   * @defaultValue no caching
   */
  readonly cacheCallers?: number | undefined
  /**
   * Whether requests to resources may use the caller of an earlier request, which their first statement proves.
   *
   * @defaultValue true
   */
  readonly rememberCallers?: boolean | undefined
  readonly secondFactor?: SecondFactorOptions | undefined
  /** Identity providers, and how users sign in with them. Without it, functions of `providers` throw. */
  readonly providers?: ProviderSettings | undefined
  /** How accounts are deleted. */
  readonly lifecycle?: Partial<LifecycleOptions> | undefined
  readonly passkeys?: PasskeyOptions | undefined
  /** How to send mail, and the base URL of its links. Without it, functions that send mail throw. */
  readonly mail?: MailOptions | undefined
  /** Whether users are told of sign-ins from new places. Default: false. */
  readonly newPlaces?: boolean | undefined
  /** The languages of mails. Default: English and German. */
  readonly languages?: Languages | undefined
  /** One-time codes: their lifetime, and a sender in place of the mailer. */
  readonly codes?: CodeOptions | undefined
  /**
   * Limits on failed attempts: options, a custom throttle, or false for no limits.
   *
   * @defaultValue no limits
   */
  readonly throttle?: ThrottleOptions | Throttle | false | undefined
}

/** The tokens and the user that sign-in and refresh return. */
export interface SignedIn extends Partial<DeviceTrust> {
  readonly status: 'signedIn'
  readonly accessToken: string
  readonly refreshToken: string
  /** Seconds until the access token expires. */
  readonly expiresIn: number
  readonly user: RegisteredUser
  readonly challenge?: undefined
}

/** A second factor: an authenticator app, or a passkey. */
export type FactorName = 'totp' | 'passkey'

/** The result of signIn() when the password is correct and a second factor is still needed. The user is not signed in yet. */
export interface SecondFactorAsked {
  readonly status: 'secondFactor'
  /** Pass it to `perms.auth.secondFactors.verify` together with a code. */
  readonly challenge: string
  /** The second factors that the user has. A recovery code replaces each of them. */
  readonly factors: readonly FactorName[]
  readonly accessToken?: undefined
  readonly refreshToken?: undefined
  readonly expiresIn?: undefined
  readonly user?: undefined
}

export type SignInResult = SignedIn | SecondFactorAsked

/** The claims of an access token. */
export interface AccessClaims extends JwtClaims {
  /** The id of the session. */
  readonly sid: string
  /** The table of the user model that `sub` refers to. */
  readonly usr: string
}

/** A password and one of the identifiers of the user model: `email`, or those of `static identifiers`. */
export interface SignInCredentials {
  readonly email?: string | undefined
  readonly password: string
  /** A description for the list of sessions. */
  readonly device?: string | undefined
  /** The token of a trusted device. It replaces the second factor, if it belongs to the user. */
  readonly deviceToken?: string | undefined
  /** Whether the session lasts for `jwt.rememberMe.max` seconds instead of `jwt.rememberMe.min`. */
  readonly remember?: boolean | undefined
  /** Seconds after which the session ends even if it is refreshed, within `jwt.rememberMe`. */
  readonly sessionExpires?: number | undefined
  readonly [identifier: string]: string | boolean | number | undefined
}

/** When and how the user of a new session proved to be present, for the rules recent() and factor(). */
export interface SessionProof {
  /** Null: unknown, so the session is not recent. Default: now, if `amr` is given. */
  readonly authTime?: Date | null | undefined
  /** Names of RFC 8176, such as `['pwd', 'otp']`. Without `amr` and `authTime`, the session is not recent. */
  readonly amr?: readonly string[] | undefined
}

/** Signs users in and manages their sessions: `perms.auth`. */
export interface Auth {
  /**
   * Signs a user in. Unknown addresses and wrong passwords take the same time and throw the same error. Only a caller with the
   * correct password learns that the account is disabled.
   *
   * @param credentials the password and one identifier: `email`, or one of the user model's `static identifiers`
   * @throws ValidationError for blank input or a wrong type, InvalidCredentialsError, AccountDisabledError, TooManyAttemptsError
   * @throws ConfigurationError inside the application's transaction()
   * @example const { status, accessToken } = await perms.auth.signIn({ email, password }) // accessToken: string where status is 'signedIn'
   */
  signIn(credentials: SignInCredentials): Promise<SignInResult>
  /**
   * Creates a user and grants a role in one transaction. The values are untrusted: columns that only some callers may write are
   * refused. It does not check `User.publicRegistration`.
   *
   * @throws ValidationError naming each field, UniqueViolationError (409) for a taken address, TooManyAttemptsError
   * @throws ConfigurationError inside the application's transaction()
   * @example const user = await perms.auth.register({ email, password }, { role: Role.USER })
   */
  register(values: object, options?: { role?: RoleName | undefined }): Promise<RegisteredUser>
  /**
   * Imports users of another system with their stored hashes, in batches of one transaction each. Users who exist already, by id or
   * address, are skipped, so that an interrupted import can be run again. Users whose values are refused are reported.
   *
   * @param users an iterable or async iterable: values of columns, `passwordHash`, `roles`
   * @returns the numbers of imported and skipped users, and the refused ones with the reasons
   * @throws ForbiddenError for a caller who is no global superadmin. Scripts and asSystem() may import.
   * @throws ConfigurationError inside the application's transaction()
   * @example
   * const users = [{ email: 'ada@example.com', passwordHash: '$2y$10$...', roles: ['editor'] }]
   * const { imported, refused } = await perms.auth.importUsers(users, { onProgress: ({ read }) => console.log(read) })
   * for (const { index, errors } of refused) console.error(index, errors)
   */
  importUsers: ImportUsers
  /**
   * Returns the user with this address and password, with roles. Returns null, after the same work, when they do not match or the
   * user is disabled.
   *
   * @throws like signIn, except InvalidCredentialsError and AccountDisabledError
   * @example const user = await perms.auth.checkPassword(email, password)
   */
  checkPassword(email: string, password: string): Promise<RegisteredUser | null>
  /**
   * Creates an access token with a new session that lasts as long as the token. With `refreshToken` it uses the session of that
   * refresh token.
   *
   * @throws AccountDisabledError
   * @example const accessToken = await perms.auth.createAccessToken(user)
   */
  createAccessToken(user: UserRow, options?: { refreshToken?: string | undefined } & SessionProof): Promise<string>
  /** Creates a refresh token with a new session. @throws AccountDisabledError */
  createRefreshToken(user: UserRow, options?: { device?: string | undefined } & SessionProof): Promise<string>
  /** Returns the claims of a valid access token. It does not check the session: `authenticate` does. @throws InvalidTokenError */
  verifyAccessToken(token: string): AccessClaims
  /**
   * Exchanges a refresh token for new tokens. A refresh token that is used again after 10 seconds ends the session.
   *
   * @throws ValidationError for a value that is not text, InvalidTokenError
   * @throws ConfigurationError inside the application's transaction()
   * @example const { accessToken, refreshToken } = await perms.auth.refresh(oldRefreshToken)
   */
  refresh(refreshToken: string): Promise<SignedIn>
  /**
   * Confirms the caller's session with the password, a code of the second factor, or both, so that the rules recent() and factor()
   * hold. `amr` then names what was given. It takes effect at the next request. Wrong ones count like failed sign-ins.
   *
   * @param credentials `password`: the caller's password; `code`: a code of the authenticator app, or a recovery code;
   * `sentCode`: a code of `codes.requestConfirmation()`; `passkey`: the answer of a browser to `passkeys.confirmationOptions()`
   * @returns the time and the methods, and an access token if tokens show them (`jwt.authTimeClaims`)
   * @throws InvalidCredentialsError for a wrong password or code, TooManyAttemptsError, ValidationError for missing or invalid input
   * @throws UnauthorizedError for an anonymous caller or an ended session, ForbiddenError for an API key or an impersonation
   * @throws ConfigurationError inside the application's transaction()
   * @example const { authTime, amr } = await perms.auth.confirm({ password: 'correct horse battery' })
   */
  confirm(credentials: ConfirmCredentials): Promise<Confirmed>
  /** Ends the caller's session and invalidates its tokens at once. @throws UnauthorizedError for an anonymous caller */
  signOut(): Promise<void>
  /** Ends all sessions of a user except `except`, and the trust in all devices. It does not check who the caller is. @returns the number of ended sessions */
  signOutEverywhere(user: UserRow | UserId, options?: { except?: string | null | undefined }): Promise<number>
  /** Returns the active sessions of a user, the most recently used first. It does not check who the caller is. */
  sessions(user: UserRow | UserId): Promise<SessionInfo[]>
  /** Ends one session of this user. It does not check who the caller is. @returns false when the user has no such session */
  endSession(user: UserRow | UserId, sessionId: string): Promise<boolean>
  /**
   * Returns the caller of an access token, a legacy token or an API key. It runs one query.
   *
   * @throws InvalidTokenError when the token is not valid, its session has ended, or its user is disabled or deleted
   * @example const actor = await perms.auth.authenticate(token)
   */
  authenticate(token: string): Promise<Actor>
  /**
   * Returns the public keys of all asymmetric keys, including retired ones, for other services that verify access tokens. It is
   * empty when a secret signs. `Api` serves it at `/.well-known/jwks.json`.
   */
  jwks(): PublicJwks
  /** Returns 32 bytes for one purpose, the same in every process of the application. */
  deriveKey(purpose: string): Uint8Array
  /**
   * Resolves when background work such as mail and the audit log has finished, or after the given number of seconds.
   *
   * @param seconds Default: 5.
   */
  settled(seconds?: number): Promise<void>
  readonly apiKeys: ApiKeys
  /** E-mail flows: verifying and changing addresses, resetting passwords, magic links. */
  readonly mail: MailFlows
  /** One-time codes to sign in and to confirm sessions. */
  readonly codes: Codes
  readonly secondFactors: SecondFactors
  readonly providers: Providers
  readonly passkeys: Passkeys
  /** The devices on which users need not show the second factor again. */
  readonly devices: TrustedDevices
  readonly invitations: Invitations
  readonly members: Members
  readonly impersonation: Impersonation
  /** Deletes accounts after a delay, within which the user can undo it. */
  readonly accountDeletion: AccountDeletions
  /**
   * Returns the data of a user: the user, roles, settings, tokens without their values, and the rows of every model that belong to the user,
   * as far as the user may read them. Hidden columns are left out. It reads a page of rows at a time. It does not check who the caller is,
   * except that an API key and an impersonation are refused.
   *
   * @param user a user, or an id
   * @returns first a header with the names of the models, then `{ model, row }` for each row
   * @throws ForbiddenError, TooManyAttemptsError for a user who exports own data too often, NotFoundError: when the first value is read
   * @example for await (const line of perms.auth.exportData(user)) process.stdout.write(`${JSON.stringify(line)}\n`)
   */
  readonly exportData: ExportData
}
