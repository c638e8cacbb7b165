import { readdir } from 'node:fs/promises'
import { extname, resolve } from 'node:path'
import { pathToFileURL } from 'node:url'
import type { Knex } from 'knex'
import type { Model } from 'objection'
import { type PackagedMigration, packagedMigrations } from '../migrations/index.js'
import { throttleTable } from './auth/throttle/throttle-store.js'
import { ConfigurationError } from './core/errors.js'
import { withAdvisoryLock } from './database/advisory-lock.js'
import { tableExists, tablesReferringTo } from './database/existing-tables.js'
import { assertColumns } from './database/missing-columns.js'
import { forgetTables, recordedTables, recordTables } from './database/table-record.js'
import { addMissingColumns, createTablesFromSpecs, dropTables, type TableSpec } from './database/tables.js'
import { type ModelKind, prefixOfTables, registeredModel } from './policy/registered-models.js'
import { tableOf } from './schema/class-statics.js'
import { Column, columnNameOf } from './schema/column.js'
import { classOfTable, definitionOf, idProperties, resolveTable } from './schema/definition.js'
import { internalModels } from './users/internal-models.js'

const kinds: readonly ModelKind[] = ['domain', 'user', 'userRole', 'token', 'userSetting']

/** Returns the table that a model declares. @throws ConfigurationError for a class without declared columns */
export function tableSpecOf(cls: object): TableSpec {
  const { tableName, specs, uniques, indexes, isStrict } = definitionOf(cls)
  const primaryKey = idProperties(cls)
  if (!isStrict || primaryKey.some((name) => !specs[name])) {
    throw new ConfigurationError(
      `${(cls as { name: string }).name} declares no table: declare its columns with withColumns({ ... }), including ${primaryKey.join(' and ')} (BaseModel declares id).`,
    )
  }
  const resolved = Object.entries(specs).map(([name, spec]) => [name, withResolvedReference(new Column(spec))])
  return { name: tableName, columns: Object.fromEntries(resolved) as TableSpec['columns'], primaryKey, uniques, indexes }
}

// 'user.id' means the id of the registered user model, in its table.
function withResolvedReference(declared: Column<unknown, boolean>): Column<unknown, boolean> {
  const { reference } = declared.spec
  if (!reference) return declared
  const table = resolveTable(reference.table)
  const target = classOfTable(table)
  const column = target === undefined ? columnNameOf(reference.column) : columnOfReference(target, reference.column)
  return new Column({ ...declared.spec, reference: { ...reference, table, column, isResolved: true } })
}

function columnOfReference(target: object, name: string): string {
  const { columnOf, propertyOf } = definitionOf(target)
  return columnOf.get(name) ?? (propertyOf.has(name) ? name : columnNameOf(name))
}

/** A model class made with ActiveRecordMixin. */
export type ModelClass = abstract new (...args: never[]) => Model

/**
 * Creates the tables of models, with keys, indexes and foreign keys. Existing tables stay unchanged.
 * For tests and prototypes: an application in production uses migrations.
 *
 * @throws ConfigurationError for a class without declared columns
 * @example await createTables(knex, [User, UserRole, Domain, Token, UserSetting, UserDocument])
 */
export async function createTables(knex: Knex, models: readonly ModelClass[]): Promise<void> {
  const specs = new Map<string, TableSpec>()
  for (const model of models) {
    const spec = tableSpecOf(model)
    if (!specs.has(spec.name)) specs.set(spec.name, spec)
  }
  await createTablesFromSpecs(knex, [...specs.values()])
}

/** Returns the tables of the first migration, and those of the second. */
const firstTables = () => [...kinds.map((kind) => tableSpecOf(registeredModel(kind))), throttleTable]
const furtherTables = () => internalModels.map(tableSpecOf)

/** What the packaged migrations do. Each creates and records the missing tables, and drops only recorded ones. */
const tables = {
  create: async (knex: Knex) => {
    await assertTablesOfApplication(knex, await recordedTables(knex))
    await recordTables(knex, await createTablesFromSpecs(knex, firstTables()))
  },
  drop: (knex: Knex) => dropOwnTables(knex, firstTables()),
  createFurther: async (knex: Knex) => {
    // The first migration of 0.1.0 kept no record.
    if ((await recordedTables(knex)) === null) await recordTables(knex, await existing(knex, firstTables()))
    await recordTables(knex, await createTablesFromSpecs(knex, furtherTables()))
  },
  /** Adds columns of a model to a table that an earlier version created. */
  addColumns: async (knex: Knex, kind: ModelKind, properties: readonly string[]) => {
    const spec = tableSpecOf(registeredModel(kind))
    const record = await recordedTables(knex)
    if (record === null || record.has(spec.name)) await addMissingColumns(knex, spec, properties)
  },
  dropFurther: (knex: Knex) => dropOwnTables(knex, furtherTables()),
}

async function existing(knex: Knex, specs: readonly TableSpec[]): Promise<string[]> {
  const names: string[] = []
  for (const { name } of specs) if (await tableExists(knex, name)) names.push(name)
  return names
}

// Without a record, version 0.1.0 has created the tables.
async function dropOwnTables(knex: Knex, specs: readonly TableSpec[]): Promise<void> {
  const record = await recordedTables(knex)
  const own = specs.filter(({ name }) => record === null || record.has(name))
  const names = own.map(({ name }) => name)
  const referring = names.length === 0 ? [] : await tablesReferringTo(knex, names)
  if (referring.length > 0)
    throw new ConfigurationError(
      `The tables ${names.join(', ')} cannot be dropped, because ${referring.join(', ')} refers to them. Undo the migrations of the application first, or drop those foreign keys.`,
    )
  await dropTables(knex, own)
  await forgetTables(knex, names)
}

/** Throws when a table that the application created lacks columns of its model. Tables that do not exist are skipped. */
async function assertTablesOfApplication(knex: Knex, record: ReadonlySet<string> | null): Promise<void> {
  for (const model of [...kinds.map(registeredModel), ...internalModels]) {
    const spec = tableSpecOf(model)
    if (!record?.has(spec.name) && (await tableExists(knex, spec.name))) await assertColumns(knex, spec, model.name)
  }
}

async function assertTablesExist(knex: Knex): Promise<void> {
  for (const model of [...kinds.map(registeredModel), ...internalModels]) {
    if (await tableExists(knex, tableOf(model))) continue
    throw new ConfigurationError(
      `The table '${tableOf(model)}' of ${model.name} does not exist, although the migrations of the library have run: they ran with another ` +
        'registered model, for example in a knexfile without initPerms({ user: ... }). Undo them, and run them with the models of the application.',
    )
  }
}

/** Returns the names of the tables that `migrate()` creates. */
export function libraryTables(): string[] {
  return [throttleTable.name, ...[...kinds.map(registeredModel), ...internalModels].map(tableOf)]
}

// Applications with different prefixes may share a database: each has its own history.
function historyTable(): string {
  const prefix = prefixOfTables()
  return prefix === '' ? 'objection_perms_migrations' : `${prefix}migrations`
}

/** One migration of `permsMigrations()`. */
export interface PermsMigrationStep {
  readonly name: string
  /** The file of a migration of the application; the name of a packaged one in the folder `migrations` of this package. */
  readonly path: string
  readonly isPackaged: boolean
}

const packagedSteps = packagedMigrations.map(({ file, migration }) => ({
  step: { name: `objection_perms_${file}`, path: file, isPackaged: true },
  migration,
}))

async function stepsIn(folder: string): Promise<PermsMigrationStep[]> {
  const files = await readdir(folder)
  return files
    .filter((file) => ['.js', '.mjs', '.cjs', '.ts', '.mts'].includes(extname(file)) && !file.endsWith('.d.ts'))
    .sort()
    .map((file) => ({ name: file, path: resolve(folder, file), isPackaged: false }))
}

/**
 * Returns a Knex migration source with the library's migrations, followed by the migrations of the application. For applications
 * that keep both in one history.
 *
 * @param options.with the folder of the application's migrations
 * @example const knexfile: Knex.Config = { migrations: { migrationSource: permsMigrations({ with: './migrations' }) } }
 */
export function permsMigrations(options: { with?: string | undefined } = {}): Knex.MigrationSource<PermsMigrationStep> {
  return {
    async getMigrations() {
      return [...packagedSteps.map(({ step }) => step), ...(options.with === undefined ? [] : await stepsIn(resolve(options.with)))]
    },
    getMigrationName: (step) => step.name,
    async getMigration(step) {
      const packaged = packagedSteps.find((other) => other.step === step)
      if (packaged) return withTables(packaged.migration)
      // The comments tell bundlers that the file exists only at run time.
      const loaded: Partial<Knex.Migration> & { default?: Knex.Migration } = await import(
        /* webpackIgnore: true */ /* @vite-ignore */ pathToFileURL(step.path).href
      )
      return (loaded.up ? loaded : loaded.default) as Knex.Migration
    },
  }
}

function withTables(migration: PackagedMigration): Knex.Migration {
  return { up: (knex) => migration.up(knex, tables as never), down: (knex) => migration.down(knex, tables as never) }
}

/**
 * Creates or updates the library's tables, with a migration history of their own. When several processes call it at once, one runs
 * the migrations and the others wait. Tables that the library did not create stay unchanged: if they lack columns, it throws.
 *
 * @throws ConfigurationError for a table of the application without all columns of its model
 * @returns the names of the migrations that ran
 * @example await migrate(knex) // ['objection_perms_001_users_roles_tokens.js', ...]
 */
export async function migrate(knex: Knex): Promise<string[]> {
  return await withAdvisoryLock(knex, async () => {
    const [, ran] = (await knex.migrate.latest({ migrationSource: permsMigrations(), tableName: historyTable() })) as [number, string[]]
    const record = await recordedTables(knex)
    // Version 0.1.0 has run the migrations: their tables are the library's.
    if (record === null) await recordTables(knex, await existing(knex, [...firstTables(), ...furtherTables()]))
    else await assertTablesOfApplication(knex, record)
    await assertTablesExist(knex)
    return ran
  })
}
