import type { PermsOptions } from '../../src/setup/options.js'
import { type FullWorld, openFullWorld } from '../../src/testing/conformance/world.js'
import { type DatabaseName, embeddedDriver } from '../helpers/databases.js'
import { closing, emptyDatabase } from './zoo.js'

export { allFeatures, Keeper } from '../../src/testing/conformance/world.js'

export type FullZoo = FullWorld

/** Opens a zoo in which every feature of UserResource can be enabled. Its mail is stored, and nothing is limited. */
export async function openFullZoo(name: DatabaseName = embeddedDriver, options: Partial<PermsOptions> = {}): Promise<FullZoo> {
  const database = await emptyDatabase(name)
  return closing(database, await openFullWorld(database.knex, options))
}
