import { Secret, TOTP } from 'otpauth'
import type { Perms, User } from '../../../../src/index.js'
import { asSystem } from '../../../../src/policy/context.js'

/** Returns the code that an authenticator app with this secret shows. @param steps of 30 s from now: the library accepts -1, 0 and 1 */
export function codeOf(secret: string, steps = 0): string {
  return new TOTP({ secret: Secret.fromBase32(secret) }).generate({ timestamp: Date.now() + steps * 30_000 })
}

export interface Factor {
  readonly secret: string
  readonly recoveryCodes: readonly string[]
}

/** Gives a user a second factor. @param password the user's own, where there is one */
export async function addFactor({ auth }: Pick<Perms, 'auth'>, user: User, password?: string): Promise<Factor> {
  return await asSystem(async () => {
    const { secret } = await auth.secondFactors.begin(user, { password })
    // The last half minute's, so that this one's is still to be used; it may run out on the way.
    const confirm = () => auth.secondFactors.confirm(user, codeOf(secret, -1))
    return { secret, ...(await confirm().catch(confirm)) }
  })
}

/** Signs in half-way. @returns the challenge */
export async function challengeOf({ auth }: Pick<Perms, 'auth'>, email: string, password: string): Promise<string> {
  const result = await auth.signIn({ email, password })
  if (result.status !== 'secondFactor') throw new Error(`${email} has no second factor.`)
  return result.challenge
}
