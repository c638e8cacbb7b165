import type { Knex } from 'knex'
import { transaction } from '../../database/transaction.js'
import { asSystem } from '../../policy/context.js'
import { registeredModel } from '../../policy/registered-models.js'
import { fromClient } from '../../record/active-record.js'
import { definitionOf } from '../../schema/definition.js'
import { assertNoErrors } from '../../schema/validator.js'
import type { User } from '../../users/user.js'
import type { UserRole } from '../../users/user-role.js'
import { userClass } from './credentials.js'
import { writeDecoy } from './mail-tokens.js'

/** What a stranger may say of a new user. @throws ValidationError naming each field that is not */
export function readRegistration(values: object): object {
  const cls = userClass()
  const input = fromClient(cls as never, values, 'create')
  const { specs } = definitionOf(cls)
  assertNoErrors(
    Object.keys(input)
      .filter((name) => specs[name]?.writable)
      .map((field) => ({ field, message: 'cannot be set here' })),
  )
  return input
}

/** What an endpoint adds to a registration. */
export interface RegistrationSteps {
  /** Called with the values before anything is written. @throws what refuses them */
  readonly check?: ((values: object) => Promise<void>) | undefined
  /** Called with the new row inside its transaction: what it throws undoes the registration. */
  readonly afterCreate?: ((user: User) => Promise<void>) | undefined
}

/**
 * Makes a user, and gives a role, both or neither. The values count as a stranger's: only what a client may set, and no column
 * that is `writableBy` anybody in particular.
 *
 * @throws ValidationError naming each field, UniqueViolationError for an address that is taken
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
    const draft = cls.build(input as never)
    // The hash is made before the transaction begins: nobody waits for a connection meanwhile.
    await draft.$settle()
    const user = await transaction(
      async () => {
        // A row of its own for each try: one that was rolled back takes itself for saved.
        const row = await draft.getClone().save()
        if (role !== undefined) await (registeredModel('userRole') as unknown as typeof UserRole).create({ user: row, role } as never)
        await afterCreate?.(row)
        return row
      },
      { knex },
    )
    return await user.loadRoles()
  })
}

/**
 * Does the work of registerUser() for values whose address is a user's already, and leaves no row behind: as many hashes and statements.
 *
 * @param owner who has the address
 */
export async function rehearseRegistration(knex: Knex, values: object, owner: User): Promise<void> {
  const input = readRegistration(values)
  await asSystem(async () => {
    const draft = userClass().build(input as never)
    await draft.$settle()
    await transaction(() => writeDecoy(owner.id), { knex })
    await owner.loadRoles()
  })
}
