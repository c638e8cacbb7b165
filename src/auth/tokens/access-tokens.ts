import { InvalidTokenError } from '../../core/errors.js'
import { tableOf } from '../../schema/class-statics.js'
import type { User } from '../../users/user.js'
import type { AccessClaims, AuthOptions } from '../auth-types.js'
import { userClass } from '../flows/credentials.js'
import { ACCESS_TOKEN_TYPE, signJwt, verifyJwt } from './jwt.js'
import type { KeySet } from './key-set.js'

export interface AccessTokensOptions {
  readonly keys: KeySet
  /** Returns further claims for a user. */
  readonly claims: AuthOptions['jwt']['claims']
  readonly runtime: AuthOptions['runtime']
}

/** Creates and verifies access tokens. It does not check sessions. */
export class AccessTokens {
  readonly #options: AccessTokensOptions

  constructor(options: AccessTokensOptions) {
    this.#options = options
  }

  /** Seconds until a new token expires. */
  get lifetime(): number {
    return this.#options.keys.accessTokenExpires
  }

  /** Creates a token for a session of the user. @param expiresIn in seconds */
  create(user: User, sessionId: string, expiresIn = this.lifetime): string {
    const { keys, claims, runtime } = this.#options
    const own = { sub: String(user.id), sid: String(sessionId), usr: tableOf(userClass()), ...(runtime && { app: runtime.name }) }
    return signJwt(keys, { ...claims?.(user), ...own }, { expiresIn, typ: ACCESS_TOKEN_TYPE })
  }

  /** Returns the claims of a token of this application. @throws InvalidTokenError */
  verify(token: string): AccessClaims {
    const { keys, runtime } = this.#options
    const claims = verifyJwt(keys, token, { typ: ACCESS_TOKEN_TYPE })
    if (typeof claims.sid !== 'string' || claims.usr !== tableOf(userClass())) throw new InvalidTokenError()
    const scope = runtime?.scope() ?? null
    if (scope !== null && claims.app !== scope) throw new InvalidTokenError()
    return claims as AccessClaims
  }
}
