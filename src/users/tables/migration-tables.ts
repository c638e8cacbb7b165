/** Creates, extends and drops the library's tables for the packaged migrations. Leaves the application's tables unchanged. */
import type { Knex } from 'knex'
import type { Model } from 'objection'
import { ConfigurationError } from '../../core/errors.js'
import { isMarkedKnex, markKnex } from '../../database/knex-internals.js'
import { createSchema, existingTables, hasUniqueIndex, tableExists, tablesReferringTo } from '../../database/tables/existing-tables.js'
import { assertColumns } from '../../database/tables/missing-columns.js'
import { MARK, TableRecord } from '../../database/tables/table-record.js'
import { addMissingColumns, createTablesFromSpecs, dropTables, type TableSpec } from '../../database/tables/tables.js'
import { libraryTable, type ModelKind, registeredModel, schemaOfTables, type TableKind } from '../../policy/registered-models.js'
import { tableOf } from '../../schema/class-statics.js'
import { columnOf } from '../../schema/definition/definition.js'
import { dialectOf } from '../../schema/storage.js'
import { identifiersOf } from '../account/identifiers.js'
import {
  columnsOfMigration,
  type FrozenTable,
  type FrozenTables,
  type MigrationScope,
  tableOfMigration,
  throttleTableOfMigration,
} from './frozen-tables.js'
import { internalModels } from './internal-models.js'
import { declaredPartOf, declaresTable } from './table-specs.js'

const kinds: readonly ModelKind[] = ['domain', 'user', 'userRole', 'token', 'userSetting']

const libraryModels = (): (typeof Model)[] => [...kinds.map(registeredModel), ...internalModels]

/** Returns the names of the tables that `perms.migrate()` creates. */
export function libraryTables(): string[] {
  return [libraryTable('throttle'), ...libraryModels().map(tableOf)]
}

/** Marks the databases in which the history of an application is replayed. */
const REPLAY = 'objectionPermsReplay'

/**
 * Makes the packaged migrations create only the library's columns in a database, with the types and names that they had before the
 * registered models changed them. The migrations of the application add the other columns, as they did when it had earlier models.
 *
 * @param scratchKnex an empty database, in which the migrations of the application are replayed
 */
export function replayLibraryColumnsOnly(scratchKnex: Knex): void {
  markKnex(scratchKnex, REPLAY)
}

/** Returns whether the history of an application is replayed in a database. */
export function isReplay(knex: Knex): boolean {
  return isMarkedKnex(knex, REPLAY)
}

const scopeOf = (knex: Knex): MigrationScope => ({ dialect: dialectOf(knex), isReplay: isReplay(knex) })

const recordOf = (knex: Knex) => new TableRecord(knex, libraryTable('tables'))

/** The functions that a packaged migration gets. */
export const migrationTables = {
  /** Creates and records the tables that do not exist. */
  create: async (knex: Knex, tables: FrozenTables): Promise<void> => {
    await createSchema(knex, schemaOfTables())
    const record = recordOf(knex)
    const specs = specsOf(tables, scopeOf(knex))
    await record.removeLost(libraryTables())
    if (tables.user) await assertTablesOfApplication(knex)
    else if (!(await record.exists())) {
      // The migrations of 0.1.0 kept no record: what a later migration finds was created by an earlier one.
      const earlier = libraryTables().filter((table) => !specs.some(({ name }) => name === table))
      await record.add(await existingTables(knex, earlier))
    }
    await record.add(
      await createTablesFromSpecs(
        knex,
        specs.map((spec) => ({ ...spec, comment: MARK })),
      ),
    )
  },
  /** Adds columns to a table that an earlier migration created. */
  addColumns: async (knex: Knex, kind: TableKind, columns: FrozenTable['columns']): Promise<void> => {
    const spec = columnsOfMigration(kind, columns, scopeOf(knex))
    const record = recordOf(knex)
    const isOwn = !(await record.exists()) || (await record.ownOf([spec.name])).length > 0
    if (isOwn) await addMissingColumns(knex, spec, Object.keys(spec.columns))
  },
  /** Drops the tables that the library created. */
  drop: async (knex: Knex, tables: FrozenTables): Promise<void> => {
    const record = recordOf(knex)
    const specs = specsOf(tables, scopeOf(knex))
    const names = specs.map(({ name }) => name)
    // Without a record, version 0.1.0 has created the tables.
    const own = (await record.exists()) ? await record.ownOf(names) : names
    const referring = await tablesReferringTo(knex, own)
    if (referring.length > 0)
      throw new ConfigurationError(
        `The tables ${own.join(', ')} cannot be dropped, because ${referring.join(', ')} refers to them. Undo the migrations of the application first, or drop those foreign keys.`,
      )
    await dropTables(
      knex,
      specs.filter(({ name }) => own.includes(name)),
    )
    await record.remove(names)
  },
}

function specsOf(tables: FrozenTables, scope: MigrationScope): TableSpec[] {
  return (Object.entries(tables) as [TableKind | 'throttle', FrozenTable][]).flatMap(([kind, frozen]) => {
    if (kind === 'throttle') return [throttleTableOfMigration(libraryTable('throttle'), frozen, scope.dialect)]
    // The application creates the table of a model that does not declare all its columns.
    if (kind === 'user' && !declaresTable(registeredModel('user'))) return []
    return [tableOfMigration(kind, frozen, scope)]
  })
}

/**
 * Brings the record up to date after the migrations have run, and checks the tables.
 *
 * @throws ConfigurationError for a table of the application without all columns of its model, and for a missing table
 */
export async function checkTables(knex: Knex): Promise<void> {
  const record = recordOf(knex)
  if (await record.exists()) {
    await record.removeLost(libraryTables())
    await assertTablesOfApplication(knex)
  } else {
    // Version 0.1.0 has run the migrations: their tables are the library's.
    await record.add(await existingTables(knex, libraryTables()))
  }
  await assertTablesExist(knex)
}

/** Throws when a table that the application created lacks columns of its model. Tables that do not exist are skipped. */
async function assertTablesOfApplication(knex: Knex): Promise<void> {
  // A replay ends with the tables of earlier models, which are then compared with the present ones.
  if (scopeOf(knex).isReplay) return
  const own = new Set(await recordOf(knex).ownOf(libraryTables()))
  const ofApplication = libraryModels().map((model) => ({ name: model.name, spec: declaredPartOf(model) }))
  const others = ofApplication.map(({ spec }) => spec.name).filter((table) => !own.has(table))
  const existing = new Set(await existingTables(knex, others))
  for (const { name, spec } of ofApplication) if (existing.has(spec.name)) await assertColumns(knex, spec, name)
  const user = registeredModel('user')
  if (!own.has(tableOf(user)) && (await tableExists(knex, tableOf(user)))) await assertUniqueIdentifiers(knex, user)
}

// Two users with one name would sign in to the account that the database returns first.
async function assertUniqueIdentifiers(knex: Knex, user: typeof Model): Promise<void> {
  if (!('identifiers' in user)) return
  for (const name of identifiersOf(user)) {
    const [table, column] = [tableOf(user), columnOf(user, name)]
    if (await hasUniqueIndex(knex, table, column)) continue
    throw new ConfigurationError(
      `${user.name}.identifiers: the column '${column}' of the table '${table}' has no unique index, so two users could have the same ${name}. ` +
        `Add one: knex.schema.alterTable('${table}', (table) => table.unique(['${column}'])).`,
    )
  }
}

async function assertTablesExist(knex: Knex): Promise<void> {
  const existing = new Set(await existingTables(knex, libraryModels().map(tableOf)))
  for (const model of libraryModels()) {
    if (existing.has(tableOf(model))) continue
    throw new ConfigurationError(
      `The table '${tableOf(model)}' of ${model.name} does not exist, although the migrations of the library have run: they ran with another ` +
        'registered model, for example in a knexfile without initPerms({ user: ... }), or the table was dropped. Undo them, and run them with the models of the application.',
    )
  }
}
