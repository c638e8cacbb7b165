/** Runs the migrations of an application in a scratch database. */
import { existsSync } from 'node:fs'
import { resolve } from 'node:path'
import type { Knex } from 'knex'
import { ConfigurationError } from '../core/errors.js'
import { sqlTokens } from '../database/catalogue/sql-tokens.js'
import { refuseOtherConnections } from '../database/knex-internals.js'
import { folderOfMigrations, isPermsMigrations, migrate } from '../migrations.js'
import type { Perms } from '../setup/perms.js'
import { replayLibraryColumnsOnly } from '../users/tables/migration-tables.js'
import { declaresTable } from '../users/tables/table-specs.js'
import { warningsOf } from './scratch/open.js'

/** Where the migrations of the application are. */
export interface ReplayOptions {
  /** The folder of the migrations. @defaultValue that of the Knex configuration */
  readonly directory?: string | undefined
}

/**
 * Runs the migrations of the application and of the library in an empty database. Meanwhile no other Knex instance of the process can
 * connect: a migration that imports the application's instance would write to the application's database.
 *
 * @param scratch the empty database, see `withScratchDatabase`
 * @throws ConfigurationError with the name of the migration that failed
 */
export async function replayMigrations(perms: Perms, scratch: Knex, options: ReplayOptions = {}): Promise<void> {
  const config = migrationsConfig(perms.knex, options)
  replayLibraryColumnsOnly(scratch)
  scratch.on('query', refuseOtherFiles)
  const allow = refuseOtherConnections(scratch, [perms.knex], refuseConnection)
  try {
    await perms.enter(async () => {
      if (isPermsMigrations(config.migrationSource)) return await latest(scratch, config)
      if (ownsUsers(perms)) {
        await latest(scratch, config)
        await migrate(scratch)
      } else {
        await migrate(scratch)
        await latest(scratch, config)
      }
    })
  } finally {
    allow()
  }
}

/**
 * Returns whether the application's migrations create the table of users. Then they run before the library's, whose tables refer to
 * that table.
 */
export function ownsUsers(perms: Perms): boolean {
  return !declaresTable(perms.models.user)
}

function refuseConnection(): never {
  throw new ConfigurationError(
    "A migration used another Knex instance while migrations were replayed. Use the argument of up(knex) and down(knex) instead of importing the application's Knex instance or models.",
  )
}

// In memory, a statement could still open the file of the application's SQLite database.
function refuseOtherFiles({ sql }: { sql: string }): void {
  const [first, ...others] = sqlTokens(sql).map(({ text }) => text.toLowerCase())
  if (first !== 'attach' && !(first === 'vacuum' && others.includes('into'))) return
  throw new ConfigurationError(
    `A migration used ${first.toUpperCase()}, which reaches other files, while migrations were replayed in memory. Do that outside a migration.`,
  )
}

/** Returns the settings of the application's migrations, without its hooks: they are for its own database. */
export function migrationsConfig(knex: Knex, { directory }: ReplayOptions = {}): Knex.MigratorConfig {
  const { migrations = {} } = (knex.client as { config: Knex.Config }).config
  const { beforeAll: _1, beforeEach: _2, afterEach: _3, afterAll: _4, ...config } = migrations as Knex.MigratorConfig & Hooks
  return directory === undefined || config.migrationSource ? config : { ...config, directory }
}

type Hooks = Partial<Record<'beforeAll' | 'beforeEach' | 'afterEach' | 'afterAll', unknown>>

/** Returns the folders of migrations, as absolute paths. The last one takes new migrations, as in Knex. */
export function migrationFolders({ directory = './migrations', migrationSource }: Knex.MigratorConfig): string[] {
  if (migrationSource) return [folderOfMigrations(migrationSource) ?? []].flat()
  return [directory].flat().map((folder) => resolve(folder))
}

async function latest(scratch: Knex, config: Knex.MigratorConfig): Promise<void> {
  // Before the first migration, the folder does not exist.
  const directory = migrationFolders(config).filter((folder) => existsSync(folder))
  if (!config.migrationSource && directory.length === 0) return
  try {
    await scratch.migrate.latest(config.migrationSource ? config : { ...config, directory })
  } catch (error) {
    if (error instanceof ConfigurationError) throw error
    const name = warningsOf(scratch)
      .map((line) => /^migration file "(.*)" failed/.exec(line)?.[1])
      .findLast((found) => found !== undefined)
    throw new ConfigurationError(
      `${name === undefined ? 'The migrations' : `The migration ${name}`} failed in an empty database: ${(error as Error).message}`,
      { cause: error },
    )
  }
}
