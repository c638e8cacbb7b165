/** Makes and checks migrations: compares the tables that migrations make with those that models declare. */
import type { Knex } from 'knex'
import { readSchema } from '../database/catalogue/read-schema.js'
import type { DatabaseSchema, SchemaChange } from '../database/catalogue/schema-types.js'
import type { Perms } from '../setup/perms.js'
import { compareSchemas } from './compare.js'
import { declaredSchema } from './declared-schema.js'
import type { DeclaredTable } from './declared-table.js'
import { declaredTables, libraryTableNames } from './declared-tables.js'
import { newMigrationFile, writeNewFile } from './migration-file.js'
import { migrationsConfig, replayMigrations } from './replay.js'
import { withScratchDatabase } from './scratch.js'
import { migrationText } from './text/migration-text.js'

/** Options of `checkMigrations()`. */
export interface CheckOptions {
  /** The folder of the application's migrations. @defaultValue that of the Knex configuration */
  readonly directory?: string | undefined
  /** The URL of an empty database to replay migrations in, for database users who may not create databases and roles. */
  readonly against?: string | undefined
  /** Tables that no model declares any more, to drop. @defaultValue none: they stay */
  readonly dropTables?: readonly string[] | undefined
}

/** Options of `makeMigration()`. */
export interface MakeOptions extends CheckOptions {
  /** The purpose of the migration, for the name of its file: 'add_title'. */
  readonly name: string
  /** Whether steps that lose values run. Otherwise they stand in a comment. @defaultValue false */
  readonly allowLoss?: boolean | undefined
  /** @defaultValue the language of the other migrations */
  readonly language?: 'ts' | 'js' | undefined
}

/** A migration that was made. */
export interface MadeMigration {
  /** The absolute path of the file. */
  readonly file: string
  readonly text: string
  readonly changes: readonly SchemaChange[]
}

/**
 * Writes a migration from the tables that the application's migrations make to those that its models declare. Replays the migrations in
 * a temporary database, and writes nothing to the application's database. It never asks: declare a rename with `column.renamedFrom()`.
 *
 * @returns null when there is no difference
 * @throws ConfigurationError for a name that cannot be that of a file, for an existing file, for a migration that fails, and for a
 *   database user who may not create databases and roles
 * @example const made = await makeMigration(perms, { name: 'add_title' })
 */
export async function makeMigration(perms: Perms, options: MakeOptions): Promise<MadeMigration | null> {
  const { name, directory, allowLoss = false, language } = options
  const config = migrationsConfig(perms.knex, { directory })
  const place = await newMigrationFile(config, { name, directory, language })
  const { from, changes } = await differences(perms, options)
  if (changes.length === 0) return null
  const text = migrationText(changes, {
    knex: perms.knex,
    from,
    allowLoss,
    language: place.language,
    libraryTables: new Set(libraryTableNames(perms)),
  })
  await writeNewFile(place.file, text)
  return { file: place.file, text, changes }
}

/**
 * Returns the differences between the tables that the application's migrations make and those that its models declare.
 *
 * @throws ConfigurationError for a migration that fails, and for a database user who may not create databases and roles
 * @example if ((await checkMigrations(perms)).length > 0) process.exitCode = 1
 */
export async function checkMigrations(perms: Perms, options: CheckOptions = {}): Promise<readonly SchemaChange[]> {
  return (await differences(perms, options)).changes
}

async function differences(
  perms: Perms,
  { directory, against, dropTables }: CheckOptions,
): Promise<{ readonly from: DatabaseSchema; readonly changes: readonly SchemaChange[] }> {
  const tables = declaredTables(perms)
  const to = await withScratchDatabase(perms.knex, { against }, (scratch) => perms.enter(() => declaredSchema(scratch, tables)))
  const from = await withScratchDatabase(perms.knex, { against }, async (scratch) => {
    await replayMigrations(perms, scratch, { directory })
    return await readAll(scratch, tables)
  })
  return { from, changes: compareSchemas(from, to, { dropTables }) }
}

/** Reads the tables that queries find without a schema, and those of models with a schema in their name. */
async function readAll(scratch: Knex, tables: readonly DeclaredTable[]): Promise<DatabaseSchema> {
  const visible = await readSchema(scratch)
  const qualified = tables.map(({ spec }) => spec.name).filter((name) => name.includes('.'))
  const further = await readSchema(scratch, { tables: qualified })
  return { ...visible, tables: new Map([...visible.tables, ...further.tables]) }
}
