import { randomBytes } from 'node:crypto'
import { currentPerms, type Perms } from '../init.js'
import { asSystem } from '../policy/context.js'
import { registeredModel } from '../policy/registered-models.js'
import type { DomainRef } from '../users/has-roles-mixin.js'
import type { User } from '../users/user.js'

export interface CreateUserOptions {
  /** A role to hold, everywhere or in `domain`. */
  role?: string | undefined
  domain?: DomainRef | undefined
}

export interface SignInAsOptions extends CreateUserOptions {
  /** What initPerms returned; the one in force when not said. */
  perms?: Perms | undefined
}

/** A user with a session. */
export interface SignedInAs<U extends User = User> {
  readonly user: U
  readonly accessToken: string
  readonly refreshToken: string
  /** For a request: `{ authorization: 'Bearer ...' }`. */
  readonly headers: { readonly authorization: string }
}

let count = 0

/**
 * Makes a user of the registered model, with roles loaded, as the application itself. Nobody knows a password unless one is given.
 *
 * @param values the e-mail address is made up when not said
 * @throws ValidationError for columns of the application's own that have to be given, UniqueViolationError
 * @example const editor = await createUser({ department: 'Press' }, { role: 'editor', domain: 'press' })
 */
export async function createUser<U extends User = User>(values: Partial<U> = {}, { role, domain }: CreateUserOptions = {}): Promise<U> {
  count += 1
  // At random too: a database that is kept knows the numbers of the last run.
  const email = `user-${count}-${randomBytes(4).toString('hex')}@example.com`
  const model = registeredModel('user') as unknown as { create(values: object): Promise<User> }
  return (await asSystem(async () => {
    const user = await model.create({ email, ...values })
    if (role !== undefined) await user.grantRole(role, domain === undefined ? {} : { domain })
    return user
  })) as U
}

/**
 * A session of a user's, without the password, second factor and limits of a real sign-in.
 *
 * @param who a saved user; or values of one, who is made unless the e-mail address is known
 * @throws AccountDisabledError
 * @example
 * const { headers, user } = await signInAs({ email: 'ada@example.com' }, { role: Role.ADMIN })
 * const answer = await fetch(`${url}/api/users/me/`, { headers })
 */
export async function signInAs<U extends User = User>(
  who: U | Partial<U> = {},
  { perms = currentPerms(), ...options }: SignInAsOptions = {},
): Promise<SignedInAs<U>> {
  const user = await userFor<U>(who, options)
  const refreshToken = await perms.auth.createRefreshToken(user)
  const accessToken = await perms.auth.createAccessToken(user, { refreshToken })
  return { user, accessToken, refreshToken, headers: { authorization: `Bearer ${accessToken}` } }
}

async function userFor<U extends User>(who: U | Partial<U>, { role, domain }: CreateUserOptions): Promise<U> {
  const model = registeredModel('user') as unknown as { getBy(where: object): Promise<User | null> }
  const isSaved = typeof (who as Partial<User>).id === 'string'
  const { email } = who as Partial<User>
  const known = isSaved ? (who as U) : email === undefined ? null : ((await asSystem(() => model.getBy({ email }))) as U | null)
  if (known === null) return await createUser<U>(who as Partial<U>, { role, domain })
  if (role !== undefined) await asSystem(() => known.grantRole(role, domain === undefined ? {} : { domain }))
  return known
}
