import type { Knex } from 'knex'
import { type FieldError, ValidationError } from '../../core/errors.js'
import { transaction } from '../../database/transaction.js'
import { asSystem } from '../../policy/context.js'
import { registeredModel } from '../../policy/registered-models.js'
import { dialectOfClass } from '../../record/codec.js'
import { definitionOf } from '../../schema/definition.js'
import { canonicalEmail, MAX_EMAIL_INPUT_LENGTH } from '../../schema/email.js'
import { modelClass } from '../../schema/model-class.js'
import { encode } from '../../schema/storage.js'
import { textProblem, UNSTORABLE_TEXT } from '../../schema/text-input.js'
import { assertNoErrors } from '../../schema/validator.js'
import { isStorableText } from '../../schema/values.js'
import type { PasswordHasher } from '../../users/password-hasher.js'
import type { User } from '../../users/user.js'

export interface Credentials {
  readonly email: string
  readonly password: string
}

/**
 * Returns the credentials for look-up: the address in its canonical form, the password unchanged. It runs no query.
 *
 * @throws ValidationError for a blank value or a wrong type
 */
export function readCredentials(given: { email?: unknown; password?: unknown } | null | undefined): Credentials {
  const { email, password } = given ?? {}
  const errors: FieldError[] = []
  const wrong = (field: string, message: string) => errors.push({ field, message })
  const emailProblem = textProblem(email)
  if (emailProblem !== undefined) wrong('email', emailProblem)
  else if ((email as string).length > MAX_EMAIL_INPUT_LENGTH) wrong('email', `may have ${MAX_EMAIL_INPUT_LENGTH} characters at most`)
  else if (!isStorableText(email as string)) wrong('email', UNSTORABLE_TEXT)
  if (typeof password !== 'string') wrong('password', password === undefined ? 'is required' : 'must be a string')
  else if (password === '') wrong('password', 'may not be blank')
  assertNoErrors(errors)
  if (typeof email !== 'string' || typeof password !== 'string') throw new ValidationError('The input is not valid.')
  return { email: canonicalEmail(email), password }
}

/** The result of a password check: the user with the address, if any, and whether the password is correct. */
export interface Verdict {
  readonly user: User | null
  readonly isRight: boolean
}

/**
 * Looks the address up and verifies the password. It takes one query and the time of one hash in every case. The user has no roles
 * loaded.
 */
export async function verifyCredentials(hasher: PasswordHasher, { email, password }: Credentials): Promise<Verdict> {
  const user = (await asSystem(() => userClass().query().findOne({ email }))) ?? null
  const isRight = await hasher.verify(password, user?.passwordHash ?? null)
  return { user, isRight: isRight && user !== null }
}

/**
 * Returns a new hash to store when the stored one is outdated. Returns null when it is current, and when hashing fails, which must
 * not fail the sign-in.
 */
export async function freshHash(hasher: PasswordHasher, stored: string, password: string): Promise<string | null> {
  try {
    return hasher.needsRehash(stored, password) ? await hasher.hash(password) : null
  } catch {
    return null
  }
}

/**
 * Locks the user's row and calls `startSession` in the same transaction, provided that the user is still enabled and the verified
 * password is still the stored one. A concurrent password change either commits first, and then no session starts, or waits and
 * ends the new session.
 *
 * @param rehashed replaces the verified hash
 * @returns the result of `startSession`, or null when the row has changed
 */
export async function withLockedUser<T>(
  knex: Knex,
  user: User,
  rehashed: string | null,
  startSession: () => Promise<T>,
): Promise<T | null> {
  const cls = modelClass(userClass())
  const { columnOf, specs } = definitionOf(cls)
  const dialect = dialectOfClass(cls)
  const stored = (name: string, value: unknown) => {
    const spec = specs[name]
    return { [columnOf.get(name) ?? name]: spec ? encode(spec, value, dialect) : value }
  }
  return await transaction(
    async (trx) => {
      // Updates the row even if nothing changes: an UPDATE locks the row on every database. It leaves updatedAt unchanged.
      const count: number = await trx(cls.getTableName())
        .where({
          ...stored('id', user.id),
          ...stored('passwordHash', user.passwordHash),
          ...(specs.isEnabled ? stored('isEnabled', true) : {}),
        })
        .update({
          ...stored('passwordHash', rehashed ?? user.passwordHash),
          ...(specs.lastLoginAt ? stored('lastLoginAt', new Date()) : {}),
        })
      return count > 0 ? await startSession() : null
    },
    { knex },
  )
}

export function userClass(): typeof User {
  return registeredModel('user') as typeof User
}
