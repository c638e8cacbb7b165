import {
  asSystem,
  currentUserId,
  type FieldError,
  InvalidCredentialsError,
  type Perms,
  Role,
  transaction,
  UniqueViolationError,
  User,
  UserRole,
  ValidationError,
} from 'objection-perms'

/**
 * Registration, sign-in and profile written by hand, for those who want other routes than UserResource's. Plain functions:
 * express.ts and koa.ts only carry bodies in and answers out. What they throw, errorHandler() turns into problem details.
 */
export function accounts(perms: Perms) {
  return {
    /** @throws ValidationError (422), UniqueViolationError (409) */
    async register(body: unknown) {
      const { email, password } = credentialsOf(body)
      return await asSystem(async () => {
        if (await User.getBy({ email })) throw emailTaken()
        // Hashed before the transaction begins, so that no connection waits for it.
        const draft = User.build({ email })
        await draft.setPassword(password)
        // Of two who come at the same moment, the database lets one through: the other gets 409 as well.
        const user = await transaction(async () => {
          const user = await draft.getClone().save()
          await UserRole.create({ user, role: Role.USER })
          return user
        })
        return { message: 'User created', id: user.id, email: user.email }
      })
    },

    /** @throws ValidationError (422), InvalidCredentialsError (401) */
    async login(body: unknown) {
      const { email, password } = credentialsOf(body)
      // Takes the same time for an address that nobody has.
      const user = await perms.auth.checkPassword(email, password)
      if (!user) throw new InvalidCredentialsError()
      const refreshToken = await perms.auth.createRefreshToken(user)
      const accessToken = await perms.auth.createAccessToken(user, { refreshToken })
      return { access_token: accessToken, refresh_token: refreshToken, token_type: 'Bearer' }
    },

    /** Behind requireUser(): somebody is signed in. */
    async profile() {
      const user = await User.getOr404(currentUserId() as string)
      return { id: user.id, email: user.email, isEnabled: user.isEnabled, roles: (user.roles ?? []).map(({ role }) => role) }
    },
  }
}

export type Accounts = ReturnType<typeof accounts>

/** @throws ValidationError naming each field that is wrong */
function credentialsOf(body: unknown): { email: string; password: string } {
  if (typeof body !== 'object' || body === null || Array.isArray(body)) {
    throw new ValidationError('The body must be a JSON object with email and password.')
  }
  const given = body as Record<string, unknown>
  const errors: FieldError[] = []
  for (const field of Object.keys(given)) {
    if (field !== 'email' && field !== 'password') errors.push({ field, message: 'is not known here' })
  }
  for (const field of ['email', 'password'] as const) {
    if (given[field] === undefined) errors.push({ field, message: 'is required' })
    else if (typeof given[field] !== 'string') errors.push({ field, message: 'must be a string' })
  }
  if (errors.length > 0) throw new ValidationError(errors.map(({ field, message }) => `${field} ${message}`).join('; '), errors)
  return given as { email: string; password: string }
}

function emailTaken(): UniqueViolationError {
  return new UniqueViolationError('This e-mail address is taken.', { errors: [{ field: 'email', message: 'is taken' }] })
}
