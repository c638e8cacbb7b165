import { InvalidTokenError } from '../../core/errors.js'
import { tableOf } from '../../schema/class-statics.js'
import type { User } from '../../users/user.js'
import type { AccessClaims, AuthOptions } from '../auth-types.js'
import { userClass } from '../flows/credentials.js'
import { ACCESS_TOKEN_TYPE, signJwt } from './jwt.js'
import type { KeySet } from './key-set.js'
import type { SessionState } from './load-caller.js'
import { VerifiedTokens } from './verified-tokens.js'

export interface AccessTokensOptions {
  readonly keys: KeySet
  /** Returns further claims for a user. */
  readonly claims: AuthOptions['jwt']['claims']
  readonly runtime: AuthOptions['runtime']
  /** Whether the tokens tell when and how the user proved to be present: `auth_time` and `amr`. */
  readonly showsProof: boolean
}

/** A session, as far as its tokens show it. */
export type ShownSession = Pick<SessionState, 'id'> & Partial<Pick<SessionState, 'authTime' | 'amr'>>

/** Creates and verifies access tokens. It does not check sessions. */
export class AccessTokens {
  readonly #options: AccessTokensOptions
  readonly #verified: VerifiedTokens

  constructor(options: AccessTokensOptions) {
    this.#options = options
    this.#verified = new VerifiedTokens(options.keys)
  }

  /** Seconds until a new token expires. */
  get lifetime(): number {
    return this.#options.keys.accessTokenExpires
  }

  /** Creates a token for a session of the user. @param expiresIn in seconds */
  create(user: User, session: ShownSession, expiresIn = this.lifetime): string {
    const { keys, claims, runtime } = this.#options
    const own = { sub: String(user.id), sid: String(session.id), usr: tableOf(userClass()), ...(runtime && { app: runtime.name }) }
    const proof = this.#options.showsProof ? proofClaims(session) : {}
    return signJwt(keys, { ...claims?.(user), ...proof, ...own }, { expiresIn, typ: ACCESS_TOKEN_TYPE })
  }

  /** Whether a raised session needs a new token to show it. */
  get showsProof(): boolean {
    return this.#options.showsProof
  }

  /** Returns the claims of a token of this application. @throws InvalidTokenError */
  verify(token: string): AccessClaims {
    return structuredClone(this.sharedClaims(token))
  }

  /** Does the same as verify() for code that neither changes the claims nor passes them on: requests share the object. */
  sharedClaims(token: string): AccessClaims {
    const { runtime } = this.#options
    const claims = this.#verified.claimsOf(token)
    if (typeof claims.sid !== 'string' || claims.usr !== tableOf(userClass())) throw new InvalidTokenError()
    const scope = runtime?.scope() ?? null
    if (scope !== null && claims.app !== scope) throw new InvalidTokenError()
    return claims as AccessClaims
  }
}

// OpenID Connect Core, 2. Undefined members are left out of the JSON.
function proofClaims({ authTime, amr }: ShownSession): object {
  return { auth_time: authTime ? Math.floor(authTime.getTime() / 1000) : undefined, amr: amr ?? undefined }
}
