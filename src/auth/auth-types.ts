import type { Knex } from 'knex'
import type { Actor } from '../policy/context.js'
import type { Runtime } from '../runtime.js'
import type { PasswordHasher } from '../users/password-hasher.js'
import type { User } from '../users/user.js'
import type { AuditTrail } from './audit-trail.js'
import type { OnEvent } from './events.js'
import type { Impersonation } from './flows/impersonation.js'
import type { Invitations } from './flows/invitations.js'
import type { MailFlows } from './flows/mail-flows.js'
import type { MailOptions } from './flows/mail-service.js'
import type { Members } from './flows/members.js'
import type { SecondFactorOptions, SecondFactors } from './flows/second-factor.js'
import type { PasswordPolicy } from './passwords/password-policy.js'
import type { Throttle, ThrottleOptions } from './throttle/throttle.js'
import type { ApiKeys } from './tokens/api-keys.js'
import type { JwtClaims } from './tokens/jwt.js'
import type { JwtOptions, PublicJwks } from './tokens/key-set.js'
import type { SessionInfo } from './tokens/sessions.js'

export interface AuthOptions {
  readonly knex: Knex
  /** Names itself in tokens and derived keys. Default: none, for an application with one database. */
  readonly runtime?: Pick<Runtime, 'name' | 'scope'> | undefined
  readonly jwt: JwtOptions & {
    /** Further claims of access tokens; they never decide permission. */
    readonly claims?: ((user: User) => object) | undefined
    /** Seconds after which a session ends however often it is refreshed; 7776000 (90 days) when not said. */
    readonly sessionExpires?: number | undefined
  }
  readonly hasher: PasswordHasher
  readonly passwordPolicy?: PasswordPolicy | undefined
  /** Replaces the query that loads the caller. The session behind the token is looked at all the same. */
  readonly loadUser?: ((claims: Record<string, unknown>) => Promise<User | null> | User | null) | undefined
  readonly onEvent?: OnEvent | undefined
  /** What `onEvent` writes into, so that settled() waits for it. */
  readonly trail?: AuditTrail | undefined
  /** Seconds for which the caller behind an access token may be remembered, 300 at most; not at all when not said. */
  readonly cacheCallers?: number | undefined
  readonly secondFactor?: SecondFactorOptions | undefined
  /** How mail is sent, and where its links lead; without it what goes by mail is refused. */
  readonly mail?: MailOptions | undefined
  /** Limits on failures; false for none, or a throttle of one's own. None when not said. */
  readonly throttle?: ThrottleOptions | Throttle | false | undefined
}

/** What sign-in and refresh hand out. */
export interface SignedIn {
  readonly status: 'signedIn'
  readonly accessToken: string
  readonly refreshToken: string
  /** Seconds until the access token expires. */
  readonly expiresIn: number
  readonly user: User
  readonly challenge?: undefined
}

/** The password was right, and the user has a second factor: nobody is signed in yet. */
export interface SecondFactorAsked {
  readonly status: 'secondFactor'
  /** Proves, with a code, at `perms.auth.secondFactors`, that the first factor is done. */
  readonly challenge: string
  readonly accessToken?: undefined
  readonly refreshToken?: undefined
  readonly expiresIn?: undefined
  readonly user?: undefined
}

export type SignInResult = SignedIn | SecondFactorAsked

/** The claims of an access token of this library. */
export interface AccessClaims extends JwtClaims {
  /** The session's id. */
  readonly sid: string
  /** The table of the user model that `sub` is an id of. */
  readonly usr: string
}

/** Signing in and staying so: `perms.auth`. */
export interface Auth {
  /**
   * Signs a user in. All failures cost the same work and give the same answer; that an account is disabled is told only to one
   * who has its password.
   *
   * @param credentials `device` describes where, for the list of sessions
   * @throws ValidationError for blank or wrongly typed input, InvalidCredentialsError, AccountDisabledError, TooManyAttemptsError
   * @throws ConfigurationError inside the application's transaction()
   * @example const { status, accessToken } = await perms.auth.signIn({ email, password }) // accessToken: string where status is 'signedIn'
   */
  signIn(credentials: { email: string; password: string; device?: string | undefined }): Promise<SignInResult>
  /**
   * Makes a user and gives a role, both or neither. The values count as a stranger's: nothing that only some may write. Whether
   * strangers may register at all is for the caller to ask.
   *
   * @throws ValidationError naming each field, UniqueViolationError (409) for a taken address, TooManyAttemptsError
   * @throws ConfigurationError inside the application's transaction()
   * @example const user = await perms.auth.register({ email, password }, { role: Role.USER })
   */
  register(values: object, options?: { role?: string | undefined }): Promise<User>
  /**
   * The user whose address and password these are, with roles, or null, after the same work. null too for one who is disabled.
   *
   * @throws as signIn, but for InvalidCredentialsError and AccountDisabledError
   */
  checkPassword(email: string, password: string): Promise<User | null>
  /**
   * An access token by hand, with a session of its own that lasts as long; with `refreshToken`, of that token's session.
   *
   * @throws AccountDisabledError
   */
  createAccessToken(user: User, options?: { refreshToken?: string | undefined }): Promise<string>
  /** A refresh token by hand, with a new session. @throws AccountDisabledError */
  createRefreshToken(user: User, options?: { device?: string | undefined }): Promise<string>
  /** The claims of a valid access token. The session is not looked at: `authenticate` does. @throws InvalidTokenError */
  verifyAccessToken(token: string): AccessClaims
  /**
   * New tokens for a refresh token, which is used up. Used again after 10 s, it ends the session.
   *
   * @throws ValidationError for anything but text, InvalidTokenError
   * @throws ConfigurationError inside the application's transaction()
   */
  refresh(refreshToken: string): Promise<SignedIn>
  /** Ends the caller's session: its tokens are dead at once. @throws UnauthorizedError where nobody is signed in */
  signOut(): Promise<void>
  /** Ends all sessions of a user, but for `except`. It does not ask who calls. @returns how many */
  signOutEverywhere(user: User | string, options?: { except?: string | null | undefined }): Promise<number>
  /** The living sessions of a user, the last used first. It does not ask who calls. */
  sessions(user: User | string): Promise<SessionInfo[]>
  /** Ends one session of this user; false where there is none such. It does not ask who calls. */
  endSession(user: User | string, sessionId: string): Promise<boolean>
  /**
   * The caller behind an access token or an API key, loaded in one statement.
   *
   * @throws InvalidTokenError for a token that is not valid, whose session has ended, or whose user is disabled or gone
   */
  authenticate(token: string): Promise<Actor>
  /**
   * The public halves of the asymmetric keys, retired ones too, for others who verify our access tokens; none where a secret
   * signs. `Api` serves it as `/.well-known/jwks.json`.
   */
  jwks(): PublicJwks
  /** 32 bytes for one purpose, the same in every process of the application. */
  deriveKey(purpose: string): Uint8Array
  /** Resolves when what no answer waited for is done, such as mail and the audit log; or after so many seconds (5). */
  settled(seconds?: number): Promise<void>
  readonly apiKeys: ApiKeys
  /** What goes by e-mail: verified and changed addresses, reset passwords, magic links. */
  readonly mail: MailFlows
  readonly secondFactors: SecondFactors
  readonly invitations: Invitations
  readonly members: Members
  readonly impersonation: Impersonation
}
