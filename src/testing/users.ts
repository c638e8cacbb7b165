import { randomBytes } from 'node:crypto'
import { asSystem } from '../policy/context.js'
import { registeredModel } from '../policy/registered-models.js'
import { currentPerms, type Perms } from '../setup/perms.js'
import { identifiersOf } from '../users/account/identifiers.js'
import type { RegisteredUser } from '../users/caller/actor.js'
import type { DomainRef } from '../users/roles/has-roles-mixin.js'
import type { User } from '../users/user.js'

export interface CreateUserOptions {
  /** A role to grant, in `domain` if given, else everywhere. */
  role?: string | undefined
  domain?: DomainRef | undefined
}

export interface SignInAsOptions extends CreateUserOptions {
  /** The result of initPerms(). Default: the result of the initPerms() call in effect. */
  perms?: Perms | undefined
  /** How the user proved to be present, for the rules recent() and factor(). Default: `['pwd']`. */
  amr?: readonly string[] | undefined
  /** When the user did that. Default: now. */
  authTime?: Date | undefined
}

/** A signed-in user. */
export interface SignedInAs<U extends RegisteredUser = RegisteredUser> {
  readonly user: U
  readonly accessToken: string
  readonly refreshToken: string
  /** The headers of a request: `{ authorization: 'Bearer ...' }`. */
  readonly headers: { readonly authorization: string }
}

let count = 0

/**
 * Creates a user of the registered user model with asSystem(), and loads its roles. Without a `password` the user cannot sign in with one.
 *
 * @param values the values of the user. Each identifier that users sign in with, such as `email`, is random by default.
 * @throws ValidationError when a required column of the application's user model is missing
 * @throws UniqueViolationError when the e-mail address is taken
 * @example const editor = await createUser<Employee>({ department: 'Press' }, { role: 'editor', domain: 'press' })
 */
export async function createUser<U extends RegisteredUser = RegisteredUser>(
  values: Partial<U> = {},
  { role, domain }: CreateUserOptions = {},
): Promise<U> {
  count += 1
  // The random part avoids addresses of an earlier test run in the same database.
  const email = `user-${count}-${randomBytes(4).toString('hex')}@example.com`
  const model = registeredModel('user') as typeof User
  return (await asSystem(async () => {
    const named = identifiersOf(model).map((name) => [name, name === 'email' ? email : email.slice(0, email.indexOf('@'))])
    const given: object = { ...Object.fromEntries(named), ...values }
    const user = await model.create(given)
    if (role !== undefined) await user.grantRole(role, domain === undefined ? {} : { domain })
    return user
  })) as U
}

/**
 * Starts a session for a user, without the password, second factor and limits of a real sign-in.
 *
 * @param who a saved user, or values of a user. A user with this e-mail address is reused; otherwise a new one is created.
 * @param options a role to grant, and how and when the user signed in
 * @throws AccountDisabledError
 * @example
 * const { headers, user } = await signInAs({ email: 'ada@example.com' }, { role: Role.ADMIN })
 * const answer = await fetch(`${url}/api/users/me/`, { headers })
 */
export async function signInAs<U extends RegisteredUser = RegisteredUser>(
  who: U | Partial<U> = {},
  { perms = currentPerms(), amr = ['pwd'], authTime, ...options }: SignInAsOptions = {},
): Promise<SignedInAs<U>> {
  const user = await userFor<U>(who, options)
  const refreshToken = await perms.auth.createRefreshToken(user, { amr, authTime })
  const accessToken = await perms.auth.createAccessToken(user, { refreshToken })
  return { user, accessToken, refreshToken, headers: { authorization: `Bearer ${accessToken}` } }
}

async function userFor<U extends RegisteredUser>(who: U | Partial<U>, { role, domain }: CreateUserOptions): Promise<U> {
  const model = registeredModel('user') as typeof User
  const isSaved = who.id !== undefined
  const { email } = who
  const known = isSaved ? (who as U) : email === undefined ? null : ((await asSystem(() => model.getBy({ email }))) as U | null)
  if (known === null) return await createUser<U>(who, { role, domain })
  if (role !== undefined) await asSystem(() => known.grantRole(role, domain === undefined ? {} : { domain }))
  return known
}
