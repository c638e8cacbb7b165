import type { Knex } from 'knex'
import { MissingTableError } from '../core/errors.js'
import { mapDatabaseError } from '../database/errors/database-errors.js'
import { tableExists } from '../database/tables/existing-tables.js'
import { tableOf } from '../schema/class-statics.js'
import { dialectOf } from '../schema/storage.js'
import { Identity } from '../users/identity.js'
import { Invitation } from '../users/invitation.js'
import { Passkey } from '../users/passkey.js'
import { SecondFactor } from '../users/second-factor.js'
import { TrustedDevice } from '../users/trusted-device.js'

/** Which optional tables exist: a database of an earlier version lacks some. */
export interface OptionalTables {
  readonly factors: boolean
  readonly invitations: boolean
  readonly passkeys: boolean
  readonly identities: boolean
  readonly trustedDevices: boolean
}

/**
 * Returns a function that finds out which optional tables exist. It caches only "exists", and throws on a database error. Call it
 * outside transactions: it may need a second connection.
 */
export function optionalTables(knex: Knex): () => Promise<OptionalTables> {
  const known = new Set<string>()
  const has = async (cls: object): Promise<boolean> => {
    const table = tableOf(cls)
    if (known.has(table)) return true
    try {
      if (await tableExists(knex, table)) known.add(table)
    } catch (error) {
      throw mapDatabaseError(error, dialectOf(knex))
    }
    return known.has(table)
  }
  return async () => ({
    factors: await has(SecondFactor),
    invitations: await has(Invitation),
    passkeys: await has(Passkey),
    identities: await has(Identity),
    trustedDevices: await has(TrustedDevice),
  })
}

/** Returns whether a query failed because the optional table of a model is missing. The catalogue decides: a mapper of Knex may change names. */
export async function isMissingTable(knex: Knex, model: object, error: unknown): Promise<boolean> {
  return error instanceof MissingTableError && !(await tableExists(knex, tableOf(model)))
}
