import type { Knex } from 'knex'
import { PermsError } from '../../core/errors.js'
import { message } from '../../core/messages/message.js'
import { transaction } from '../../database/transaction.js'
import { asSystem, currentAddress } from '../../policy/context.js'
import { registeredModel } from '../../policy/registered-models.js'
import { definitionOf } from '../../schema/definition/definition.js'
import { fromClient } from '../../schema/input.js'
import { assertNoErrors } from '../../schema/validator.js'
import type { User } from '../../users/user.js'
import type { UserRole } from '../../users/user-role.js'
import type { Auth } from '../auth-types.js'
import type { AuthCore } from '../core.js'
import { userClass } from './credentials.js'
import { writeDecoy } from './mail/mail-tokens.js'

/** Returns the values that an anonymous caller may set on a new user. @throws ValidationError naming each refused field */
export function readRegistration(values: object): object {
  const cls = userClass()
  const input = fromClient(cls, values, 'create')
  const { specs } = definitionOf(cls)
  assertNoErrors(
    Object.keys(input)
      .filter((name) => specs[name]?.writable)
      .map((field) => ({ field, message: message('field.readOnly') })),
  )
  return input
}

/** Returns the function `perms.auth.register`. */
export function registrationFlow({ assertNoTransaction, emit, knex, throttle }: AuthCore): Auth['register'] {
  return async (values, { role } = {}) => {
    assertNoTransaction('register')
    const attempt = await throttle.begin('registration', { address: currentAddress() })
    try {
      const user = await registerUser(knex, values, role)
      emit('registered', { userId: user.id })
      return user
    } catch (error) {
      if (!(error instanceof PermsError) || error.status >= 500) await attempt.withdrawn()
      throw error
    }
  }
}

/** Steps that an endpoint adds to a registration. */
export interface RegistrationSteps {
  /** Runs before anything is written. @throws an error to refuse the values */
  readonly check?: ((values: object) => Promise<void>) | undefined
  /** Runs with the new row inside its transaction. An error rolls the registration back. */
  readonly afterCreate?: ((user: User) => Promise<void>) | undefined
}

/**
 * Creates a user and grants a role in one transaction. The values are untrusted: it accepts only columns that clients may set and
 * that have no `writableBy`.
 *
 * @throws ValidationError naming each invalid field, UniqueViolationError for a taken address
 */
export async function registerUser(
  knex: Knex,
  values: object,
  role: string | undefined,
  { afterCreate }: RegistrationSteps = {},
): Promise<User> {
  const cls = userClass()
  const input = readRegistration(values)
  return await asSystem(async () => {
    const draft = cls.build(input)
    // Hashes the password before the transaction takes a connection.
    await draft.$settle()
    const user = await transaction(
      async () => {
        // Saves a clone: after a rollback the same object would still count as saved.
        const row = await draft.getClone().save()
        if (role !== undefined) await (registeredModel('userRole') as typeof UserRole).create({ user: row, role })
        await afterCreate?.(row)
        return row
      },
      { knex },
    )
    return await user.loadRoles()
  })
}

/**
 * Does the work of registerUser() for a taken address, with as many hashes and statements, and leaves no row behind.
 *
 * @param owner the user with the address
 */
export async function rehearseRegistration(knex: Knex, values: object, owner: User): Promise<void> {
  const input = readRegistration(values)
  await asSystem(async () => {
    const draft = userClass().build(input)
    await draft.$settle()
    await transaction(() => writeDecoy(owner.id), { knex })
    await owner.loadRoles()
  })
}
