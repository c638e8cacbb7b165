import type { Knex } from 'knex'
import { type FieldError, ValidationError } from '../../core/errors.js'
import { transaction } from '../../database/transaction.js'
import { asSystem } from '../../policy/context.js'
import { registeredModel } from '../../policy/registered-models.js'
import { dialectOfClass } from '../../record/active-record.js'
import { definitionOf } from '../../schema/definition.js'
import { canonicalEmail } from '../../schema/email.js'
import { encode } from '../../schema/storage.js'
import { assertNoErrors } from '../../schema/validator.js'
import { isStorableText } from '../../schema/values.js'
import type { PasswordHasher } from '../../users/password-hasher.js'
import type { User } from '../../users/user.js'

/** Characters; nobody can be registered under a longer one. */
const MAX_EMAIL = 320

export interface Credentials {
  readonly email: string
  readonly password: string
}

/**
 * The credentials as they are looked up and verified: the address in its one form, the password untouched.
 *
 * @throws ValidationError for anything but text, or blank; nothing has been looked up then
 */
export function readCredentials(given: { email?: unknown; password?: unknown } | null | undefined): Credentials {
  const { email, password } = given ?? {}
  const errors: FieldError[] = []
  const wrong = (field: string, message: string) => errors.push({ field, message })
  if (typeof email !== 'string') wrong('email', email === undefined ? 'is required' : 'must be a string')
  else if (email.trim() === '') wrong('email', 'may not be blank')
  else if (email.length > MAX_EMAIL) wrong('email', `may have ${MAX_EMAIL} characters at most`)
  else if (!isStorableText(email)) wrong('email', 'may not hold NUL characters or broken surrogate pairs')
  if (typeof password !== 'string') wrong('password', password === undefined ? 'is required' : 'must be a string')
  else if (password === '') wrong('password', 'may not be blank')
  assertNoErrors(errors)
  if (typeof email !== 'string' || typeof password !== 'string') throw new ValidationError('The input is not valid.')
  return { email: canonicalEmail(email), password }
}

/** What came of looking: the user, if there is one of that address, and whether the password was theirs. */
export interface Verdict {
  readonly user: User | null
  readonly isRight: boolean
}

/**
 * Looks the address up and verifies the password: one statement and one hash's work, whoever it is and whatever comes of it.
 * The user comes without roles.
 */
export async function verifyCredentials(hasher: PasswordHasher, { email, password }: Credentials): Promise<Verdict> {
  const user =
    ((await asSystem(() =>
      userClass()
        .query()
        .findOne({ email } as never),
    )) as User | undefined) ?? null
  const isRight = await hasher.verify(password, user?.passwordHash ?? null)
  return { user, isRight: isRight && user !== null }
}

/** The hash to store in place of one that is out of date; null where it is not, or where making it failed: that stops nobody. */
export async function freshHash(hasher: PasswordHasher, stored: string, password: string): Promise<string | null> {
  try {
    return hasher.needsRehash(stored, password) ? await hasher.hash(password) : null
  } catch {
    return null
  }
}

/**
 * Lets a user in whose password has just been verified, and runs `enter` in the same transaction: only if the user is still
 * enabled and the password still the one that was verified. A change of the password, which ends all sessions, comes either
 * before, and then nobody is let in, or after, and then it ends this session too.
 *
 * @param rehashed takes the place of the verified hash
 * @returns what `enter` returned, or null where the row has changed
 */
export async function withLockedUser<T>(knex: Knex, user: User, rehashed: string | null, enter: () => Promise<T>): Promise<T | null> {
  const cls = userClass() as unknown as Parameters<typeof dialectOfClass>[0] & { getTableName(): string }
  const { columnOf, specs } = definitionOf(cls)
  const dialect = dialectOfClass(cls)
  const stored = (name: string, value: unknown) => {
    const spec = specs[name]
    return { [columnOf.get(name) ?? name]: spec ? encode(spec, value, dialect) : value }
  }
  return await transaction(
    async (trx) => {
      // A write first, also where there is nothing to change: it takes the row's lock on every database. It leaves updatedAt alone.
      const count: number = await trx(cls.getTableName())
        .where({ id: user.id, ...stored('passwordHash', user.passwordHash), ...stored('isEnabled', true) })
        .update({
          ...stored('passwordHash', rehashed ?? user.passwordHash),
          ...(specs.lastLoginAt ? stored('lastLoginAt', new Date()) : {}),
        })
      return count > 0 ? await enter() : null
    },
    { knex },
  )
}

export function userClass(): typeof User {
  return registeredModel('user') as unknown as typeof User
}
