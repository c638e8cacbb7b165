import { transaction } from '../../database/transaction.js'
import { asSystem } from '../../policy/context.js'
import type { User } from '../../users/user.js'
import type { AuthCore } from '../core.js'
import { userClass } from './credentials.js'
import { recordProof } from './first-proof.js'
import { hasVerifiedColumn, verifiedValues } from './mail/mail-requests.js'
import { type RegistrationSteps, readRegistration } from './register.js'

/** The values of a new user, after the checks of an endpoint. */
export interface PreparedUser {
  readonly values: object
  readonly afterCreate?: RegistrationSteps['afterCreate']
}

/** Statements in the transaction that inserts the user. */
export interface ProvenSteps {
  /** Runs first, such as to use a token up. */
  readonly before?: (() => Promise<void>) | undefined
  /** Runs with the new row. */
  readonly after: (row: User) => Promise<void>
}

/**
 * Creates a user whose address is proved already, in one transaction.
 *
 * @throws ValidationError naming each invalid field, UniqueViolationError for a taken address
 */
export async function registerProven(core: AuthCore, email: string, prepared: PreparedUser, steps: ProvenSteps): Promise<User> {
  const input = readRegistration({ ...prepared.values, email })
  const draft = await asSystem(() => userClass().build({ ...input, ...verifiedValues() }))
  // Hashes the password before the transaction takes a connection.
  await asSystem(() => draft.$settle())
  return await transaction(
    () =>
      asSystem(async () => {
        await steps.before?.()
        const row = await draft.getClone().save()
        if (!hasVerifiedColumn()) await recordProof(row.id, row.email)
        await steps.after(row)
        await prepared.afterCreate?.(row)
        return row
      }),
    { knex: core.knex },
  )
}
