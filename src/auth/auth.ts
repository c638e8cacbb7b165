import type { Knex } from 'knex'
import {
  AccountDisabledError,
  ConfigurationError,
  InvalidCredentialsError,
  InvalidTokenError,
  PermsError,
  UnauthorizedError,
  ValidationError,
} from '../model/errors.js'
import { inTransaction } from '../model/transaction.js'
import { type Actor, currentActor, currentAddress } from '../perms/context.js'
import { isLiving, toActor } from '../users/actor.js'
import type { PasswordHasher } from '../users/password-hasher.js'
import type { User } from '../users/user.js'
import { admit, type Credentials, freshHash, readCredentials, userClass, type Verdict, verifyCredentials } from './credentials.js'
import { deriveKeys } from './derived-keys.js'
import { type Emit, emitter, type OnEvent } from './events.js'
import { ACCESS_TOKEN_TYPE, type JwtClaims, signJwt, verifyJwt } from './jwt.js'
import { type JwtOptions, parseKeys } from './keys.js'
import { callerLoader } from './load-caller.js'
import type { PasswordPolicy } from './password-policy.js'
import { registerUser } from './register.js'
import { demandOwnUser, type SessionInfo, Sessions } from './sessions.js'
import { type Attempt, createThrottle, type Throttle, type ThrottleOptions, unlimited } from './throttle.js'

export interface AuthOptions {
  readonly knex: Knex
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
}

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
   * @example const { accessToken, refreshToken } = await perms.auth.signIn({ email, password })
   */
  signIn(credentials: { email: string; password: string; device?: string | undefined }): Promise<SignedIn>
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
   * The caller behind an access token, loaded in one statement.
   *
   * @throws InvalidTokenError for a token that is not valid, whose session has ended, or whose user is disabled or gone
   */
  authenticate(token: string): Promise<Actor>
  /** 32 bytes for one purpose, the same in every process of the application. */
  deriveKey(purpose: string): Uint8Array
}

const DEFAULT_ABSOLUTE_LIFE = 7_776_000
const MAX_REFRESH_TOKEN = 4096

/**
 * Makes what signs in. initPerms calls it, once the models are registered.
 *
 * @throws ConfigurationError for keys or times that cannot be
 * @example const auth = createAuth({ knex, jwt: { secret }, hasher: bcryptHasher() })
 */
export function createAuth(options: AuthOptions): Auth {
  const { knex, hasher, loadUser } = options
  const keys = parseKeys(options.jwt)
  const emit = emitter(options.onEvent)
  const throttle = throttleOf(options, emit)
  const load = callerLoader(knex)
  const sessions = new Sessions({ knex, keys, absoluteLife: absoluteLifeOf(options.jwt, keys.refreshTokenExpires), load, emit })

  function accessToken(user: User, sessionId: string): string {
    const claims = options.jwt.claims?.(user)
    const own = { sub: user.id, sid: sessionId, usr: tableOfUsers() }
    return signJwt(keys, { ...claims, ...own }, { expiresIn: keys.accessTokenExpires, typ: ACCESS_TOKEN_TYPE })
  }

  function verifyAccessToken(token: string): AccessClaims {
    const claims = verifyJwt(keys, token, { typ: ACCESS_TOKEN_TYPE })
    if (typeof claims.sid !== 'string' || claims.usr !== tableOfUsers()) throw new InvalidTokenError()
    return claims as AccessClaims
  }

  const answer = (user: User, sessionId: string, refreshToken: string): SignedIn => ({
    status: 'signedIn',
    accessToken: accessToken(user, sessionId),
    refreshToken,
    expiresIn: keys.accessTokenExpires,
    user,
  })

  /** Verifies under the throttle; `attempt` is still to be ended where the password was right. */
  async function verify(credentials: Credentials): Promise<Verdict & { attempt: Attempt }> {
    const attempt = await throttle.begin('signIn', { account: credentials.email, address: currentAddress() })
    try {
      return { ...(await verifyCredentials(hasher, credentials)), attempt }
    } catch (error) {
      await attempt.withdrawn()
      throw error
    }
  }

  function noteFailure({ email }: Credentials, user: User | null, reason: 'credentials' | 'disabled'): void {
    emit('signInFailed', { userId: user?.id ?? null, email, reason, address: currentAddress() })
  }

  async function signInWith(credentials: Credentials, device: string | undefined): Promise<SignedIn> {
    for (let tries = 0; tries < 3; tries += 1) {
      const { user, isRight, attempt } = await verify(credentials)
      if (!user || !isRight) {
        noteFailure(credentials, user, 'credentials')
        throw new InvalidCredentialsError()
      }
      if (!isLiving(user)) {
        await attempt.succeeded()
        noteFailure(credentials, user, 'disabled')
        throw new AccountDisabledError()
      }
      const rehashed = await freshHash(hasher, user.passwordHash as string, credentials.password)
      const session = await admit(knex, user, rehashed, () => sessions.start(user, 'refresh', device))
      await attempt.succeeded()
      // The row changed while the password was verified: by another sign-in that rehashed it, or by a change of the password.
      if (!session) continue
      const signedIn = (await sessions.living(session.sessionId)).user
      emit('signIn', { userId: user.id, sessionId: session.sessionId, address: currentAddress() })
      return answer(signedIn, session.sessionId, session.refreshToken)
    }
    throw new InvalidCredentialsError()
  }

  return {
    async signIn(given) {
      refuseTransaction(knex, 'signIn')
      const credentials = readCredentials(given)
      return await signInWith(credentials, typeof given.device === 'string' ? given.device : undefined)
    },

    async register(values, { role } = {}) {
      refuseTransaction(knex, 'register')
      const attempt = await throttle.begin('registration', { address: currentAddress() })
      try {
        const user = await registerUser(knex, values, role)
        emit('registered', { userId: user.id })
        return user
      } catch (error) {
        if (!(error instanceof PermsError) || error.status >= 500) await attempt.withdrawn()
        throw error
      }
    },

    async checkPassword(email, password) {
      refuseTransaction(knex, 'checkPassword')
      const credentials = readCredentials({ email, password })
      const { user, isRight, attempt } = await verify(credentials)
      if (!user || !isRight) {
        noteFailure(credentials, user, 'credentials')
        return null
      }
      await attempt.succeeded()
      if (!isLiving(user)) return null
      return await user.loadRoles()
    },

    async createAccessToken(user, { refreshToken } = {}) {
      demandOwnUser(user)
      if (refreshToken === undefined) return accessToken(user, (await sessions.start(user, 'access')).sessionId)
      const sessionId = sessions.sessionIdOf(refreshToken)
      const { session } = await sessions.living(sessionId ?? '')
      if (session.userId !== user.id) throw new InvalidTokenError()
      return accessToken(user, session.id)
    },

    async createRefreshToken(user, { device } = {}) {
      demandOwnUser(user)
      return (await sessions.start(user, 'refresh', device)).refreshToken
    },

    verifyAccessToken,

    async refresh(refreshToken) {
      refuseTransaction(knex, 'refresh')
      readRefreshToken(refreshToken)
      const attempt = await throttle.begin('refresh', { address: currentAddress() })
      try {
        const { caller, refreshToken: next } = await sessions.rotate(refreshToken)
        await attempt.succeeded()
        return answer(caller.user, caller.session.id, next)
      } catch (error) {
        if (!(error instanceof InvalidTokenError)) await attempt.withdrawn()
        throw error
      }
    },

    async signOut() {
      refuseTransaction(knex, 'signOut')
      const actor = currentActor()
      if (!actor) throw new UnauthorizedError()
      if (!actor.sessionId) {
        throw new ConfigurationError('signOut() ends the session of an access token, and runAs() has none: use signOutEverywhere(user).')
      }
      await sessions.end({ userId: actor.id, id: actor.sessionId })
      emit('signOut', { userId: actor.id, sessionIds: [actor.sessionId] })
    },

    async signOutEverywhere(user, { except } = {}) {
      refuseTransaction(knex, 'signOutEverywhere')
      const userId = idOf(user)
      const count = await sessions.end({ userId, except })
      emit('signOut', { userId, sessionIds: 'all' })
      return count
    },

    sessions: (user) => sessions.list(idOf(user)),

    async endSession(user, sessionId) {
      refuseTransaction(knex, 'endSession')
      const userId = idOf(user)
      if ((await sessions.end({ userId, id: sessionId })) === 0) return false
      emit('signOut', { userId, sessionIds: [sessionId] })
      return true
    },

    async authenticate(token) {
      const claims = verifyAccessToken(token)
      const { user: loaded, session } = await sessions.living(claims.sid)
      if (loaded.id !== claims.sub) throw new InvalidTokenError()
      if (!loadUser) return toActor(loaded, { sessionId: session.id })
      const user = await loadUser(claims)
      if (!user || !isLiving(user)) throw new InvalidTokenError()
      demandOwnUser(user)
      if (!Array.isArray(user.roles)) await user.loadRoles()
      return toActor(user, { sessionId: session.id })
    },

    deriveKey: (purpose) => deriveKeys(keys, purpose)[0],
  }
}

function throttleOf({ throttle, knex }: AuthOptions, emit: Emit): Throttle {
  if (!throttle) return unlimited
  return 'begin' in throttle ? throttle : createThrottle(throttle, { knex, emit })
}

function tableOfUsers(): string {
  return (userClass() as unknown as { getTableName(): string }).getTableName()
}

function idOf(user: User | string): string {
  const id = typeof user === 'string' ? user : user?.id
  if (typeof id === 'string' && id !== '') return id
  throw new ConfigurationError('Give a saved user, or the id of one.')
}

function readRefreshToken(given: unknown): void {
  const message =
    typeof given !== 'string'
      ? 'must be a string'
      : given.trim() === ''
        ? 'may not be blank'
        : given.length > MAX_REFRESH_TOKEN
          ? 'is too long'
          : undefined
  if (message !== undefined) throw new ValidationError(`refresh_token ${message}.`, [{ field: 'refresh_token', message }])
}

// What is single-use or counted must not be undone with the application's transaction, and a second connection while holding
// one is what a pool of one waits for in vain.
function refuseTransaction(knex: Knex, name: string): void {
  if (!inTransaction(knex)) return
  throw new ConfigurationError(`auth.${name}() writes what must stay whatever becomes of a transaction: call it outside transaction().`)
}

function absoluteLifeOf({ sessionExpires }: AuthOptions['jwt'], refreshTokenExpires: number): number {
  if (sessionExpires === undefined) return Math.max(DEFAULT_ABSOLUTE_LIFE, refreshTokenExpires)
  if (Number.isInteger(sessionExpires) && sessionExpires > 0) return sessionExpires
  throw new ConfigurationError(`jwt.sessionExpires: ${sessionExpires}: a whole number of seconds from 1.`)
}
