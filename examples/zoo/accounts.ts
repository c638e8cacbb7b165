import {
  AccountDisabledError,
  asAnonymous,
  currentUserId,
  type FieldError,
  InvalidCredentialsError,
  type Perms,
  Role,
  ValidationError,
} from 'objection-perms'
import { User } from './models.js'

/**
 * Registration, sign-in and profile written by hand, for those who want other routes than UserResource's. Plain functions:
 * express.ts, koa.ts and so on only carry bodies in and answers out. What they throw, errorHandler() turns into problem details.
 */
export function accounts(perms: Perms) {
  return {
    /**
     * @param client.address counts registrations from there
     * @throws ValidationError (422), UniqueViolationError (409), TooManyAttemptsError (429)
     */
    async register(body: unknown, client: Client) {
      const credentials = credentialsOf(body)
      // User and role in one transaction. Of two who come at the same moment, the database lets one through: the other gets 409.
      const user = await asAnonymous(() => perms.auth.register(credentials, { role: Role.USER }), client)
      // The account is made: that a mail is one too many is no reason to say otherwise.
      await asAnonymous(() => perms.auth.mail.requestVerification(user.email), client).catch(() => {})
      return { message: 'User created', id: user.id, email: user.email }
    },

    /**
     * @param client.address counts wrong passwords from there
     * @throws ValidationError (422), InvalidCredentialsError (401), TooManyAttemptsError (429)
     */
    async login(body: unknown, client: Client) {
      const { email, password } = credentialsOf(body)
      // Takes the same time for an address that nobody has.
      const result = await asAnonymous(() => perms.auth.signIn({ email, password }), client).catch((error: unknown) => {
        throw error instanceof AccountDisabledError ? new InvalidCredentialsError() : error
      })
      // The code goes to POST /api/users/second-factor/.
      if (result.status === 'secondFactor') return { status: 'second_factor', challenge: result.challenge }
      return { access_token: result.accessToken, refresh_token: result.refreshToken, token_type: 'Bearer' }
    },

    /** Behind requireUser(): somebody is signed in. */
    async profile() {
      const user = await User.getOr404(currentUserId() as string)
      return { id: user.id, email: user.email, isEnabled: user.isEnabled, roles: (user.roles ?? []).map(({ role }) => role) }
    },
  }
}

export type Accounts = ReturnType<typeof accounts>

/** Whom the framework says to be talking to. */
export interface Client {
  readonly address: string | undefined
}

/** @throws ValidationError naming each field that is wrong */
function credentialsOf(body: unknown = {}): { email: string; password: string } {
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
