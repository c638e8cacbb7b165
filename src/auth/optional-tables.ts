import type { Knex } from 'knex'
import { mapDatabaseError } from '../database/errors/database-errors.js'
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
      if (await knex.schema.hasTable(table)) known.add(table)
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
