import type { Knex } from 'knex'
import { ConfigurationError, type FieldProblem, ValidationError } from '../../core/errors.js'
import { either, type Message, message } from '../../core/messages/message.js'
import { lockOnAllNodes } from '../../database/cluster-lock.js'
import { nameOfRow } from '../../database/lock-row.js'
import { transaction } from '../../database/transaction.js'
import { asSystem } from '../../policy/context.js'
import { registeredModel } from '../../policy/registered-models.js'
import { dialectOfClass } from '../../record/codec.js'
import { definitionOf } from '../../schema/definition/definition.js'
import { MAX_EMAIL_INPUT_LENGTH } from '../../schema/email.js'
import { modelClass, valuesByName } from '../../schema/model-class.js'
import { encode } from '../../schema/storage.js'
import { textProblem, UNSTORABLE_TEXT } from '../../schema/text-input.js'
import { assertNoErrors } from '../../schema/validator.js'
import { isStorableText } from '../../schema/values.js'
import { canonicalIdentifier, identifiersOf } from '../../users/account/identifiers.js'
import type { PasswordHasher } from '../../users/account/password-hasher.js'
import type { User } from '../../users/user.js'

export interface Credentials {
  /** The column by which the user signs in, such as `email`. */
  readonly identifier: string
  /** Its value in canonical form. */
  readonly value: string
  readonly password: string
}

/**
 * Returns the credentials for look-up: the identifier in its canonical form, the password unchanged. It runs no query.
 *
 * @throws ValidationError for a blank value, a wrong type, and for several identifiers
 */
export function readCredentials(values: object | null | undefined): Credentials {
  const given = valuesByName(values ?? {})
  const { password } = given
  const errors: FieldProblem[] = []
  const wrong = (field: string, problem: Message) => errors.push({ field, message: problem })
  const identifiers = signInIdentifiers()
  const [identifier = identifiers[0] as string, ...others] = identifiers.filter((name) => given[name] !== undefined)
  const value = given[identifier]
  const problem = textProblem(value)
  for (const other of others) wrong(other, message('field.notCombined', { other: identifier }))
  if (value === undefined && identifiers.length > 1)
    wrong(identifier, message('field.requiredOr', { others: either(identifiers.slice(1)) }))
  else if (problem !== undefined) wrong(identifier, problem)
  else if ((value as string).length > MAX_EMAIL_INPUT_LENGTH)
    wrong(identifier, message('field.charactersAtMost', { limit: MAX_EMAIL_INPUT_LENGTH }))
  else if (!isStorableText(value as string)) wrong(identifier, UNSTORABLE_TEXT)
  if (typeof password !== 'string') wrong('password', password === undefined ? message('field.required') : message('field.string'))
  else if (password === '') wrong('password', message('field.blank'))
  assertNoErrors(errors)
  if (typeof value !== 'string' || typeof password !== 'string') throw new ValidationError(message('input.invalid'))
  return { identifier, value: canonicalIdentifier(identifier, value), password }
}

/** Returns the columns by which users sign in. @throws ConfigurationError for a user model that has none */
export function signInIdentifiers(): readonly string[] {
  const cls = userClass()
  const identifiers = identifiersOf(cls)
  const { specs } = definitionOf(cls)
  if (identifiers.some((name) => specs[name])) return identifiers
  throw new ConfigurationError(
    `${cls.name} has no column ${identifiers.join(' or ')} to sign in with. Name the columns: static identifiers = ['username'].`,
  )
}

/** The result of a password check: the user with the address, if any, and whether the password is correct. */
export interface Verdict {
  readonly user: User | null
  readonly isRight: boolean
}

/** Returns the user whom the credentials name, without roles, or null. It runs one query. */
export async function findNamedUser({ identifier, value }: Credentials): Promise<User | null> {
  const found =
    (await asSystem(() =>
      userClass()
        .query()
        .findOne({ [identifier]: value }),
    )) ?? null
  // The collation of an existing column may equate more than the throttle does, such as 'ADA' and 'adá'.
  const stored = found && valuesByName(found)[identifier]
  return typeof stored === 'string' && canonicalIdentifier(identifier, stored) === value ? found : null
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
      if (count === 0) return null
      await lockOnAllNodes(trx, nameOfRow(cls, user.id))
      return await startSession()
    },
    { knex },
  )
}

export function userClass(): typeof User {
  return registeredModel('user') as typeof User
}
