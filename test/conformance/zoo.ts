import type { PermsOptions } from '../../src/setup/options.js'
import { openWorld, type World } from '../../src/testing/conformance/world.js'
import { createDatabase, type DatabaseName, embeddedDriver, type OwnDatabase } from '../helpers/databases.js'

export { password } from '../../src/testing/conformance/case.js'
export { Critter, critterResource, UserDocument } from '../../src/testing/conformance/world.js'

export type Zoo = World

/** Opens an empty database with three users and their rows. */
export async function openZoo(name: DatabaseName = embeddedDriver, options: Partial<PermsOptions> = {}): Promise<Zoo> {
  const database = await emptyDatabase(name)
  return closing(database, await openWorld(database.knex, options))
}

/** Creates an empty database that is fast to fill. */
export async function emptyDatabase(name: DatabaseName = embeddedDriver): Promise<OwnDatabase> {
  const database = await createDatabase(name)
  // These files need not survive a crash, and waiting for the disk takes most of the time.
  if (name.includes('sqlite')) await database.knex.raw('pragma synchronous = off')
  return database
}

/** Returns the world with a close() that also removes the database. */
export function closing<W extends World>(database: OwnDatabase, world: W): W {
  const close = async () => {
    await world.close()
    await database.destroy()
  }
  return { ...world, close }
}
