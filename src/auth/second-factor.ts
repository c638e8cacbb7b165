import type { User } from '../users/user.js'
import type { SecondFactorAsked } from './auth-types.js'
import type { AuthCore } from './core.js'

export type SecondFactors = {
  /** The question for a second factor, for one who has proved the first; null where the user has none. */
  ask(user: User): Promise<SecondFactorAsked | null>
}

export function secondFactors(_core: AuthCore): SecondFactors {
  return { ask: async () => null }
}
