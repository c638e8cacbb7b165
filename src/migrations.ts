import { readdir } from 'node:fs/promises'
import { extname, resolve } from 'node:path'
import { pathToFileURL } from 'node:url'
import type { Knex } from 'knex'
import type { Model } from 'objection'
import { type PackagedMigration, packagedMigrations } from '../migrations/index.js'
import { throttleTable } from './auth/throttle/throttle-store.js'
import { ConfigurationError } from './core/errors.js'
import { withAdvisoryLock } from './database/advisory-lock.js'
import { addMissingColumns, createTablesFromSpecs, dropTables, type TableSpec } from './database/tables.js'
import { type ModelKind, registeredModel } from './policy/registered-models.js'
import { tableOf } from './schema/class-statics.js'
import { Column, columnNameOf } from './schema/column.js'
import { classOfTable, definitionOf, resolveTable } from './schema/definition.js'
import { internalModels } from './users/further-models.js'

const kinds: readonly ModelKind[] = ['domain', 'user', 'userRole', 'token', 'userSetting']

/** Returns the table that a model declares. @throws ConfigurationError for a class without declared columns */
export function tableSpecOf(cls: object): TableSpec {
  const { tableName, columns, uniques, indexes, isStrict } = definitionOf(cls)
  if (!isStrict || !columns.id) {
    throw new ConfigurationError(
      `${(cls as { name: string }).name} declares no table: declare its columns with withColumns({ ... }), including id (BaseModel declares it).`,
    )
  }
  const resolved = Object.entries(columns).map(([name, declared]) => [name, withResolvedReference(declared)])
  return { name: tableName, columns: Object.fromEntries(resolved) as typeof columns, primaryKey: 'id', uniques, indexes }
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

const tables = {
  create: async (knex: Knex) => {
    await createTables(knex, kinds.map(registeredModel))
    await createTablesFromSpecs(knex, [throttleTable])
  },
  drop: (knex: Knex) => dropTables(knex, [throttleTable, ...kinds.map((kind) => tableSpecOf(registeredModel(kind)))]),
  createFurther: (knex: Knex) => createTables(knex, internalModels),
  /** Adds columns of a model to a table of an earlier version. */
  addColumns: async (knex: Knex, kind: ModelKind, properties: readonly string[]) =>
    await addMissingColumns(knex, tableSpecOf(registeredModel(kind)), properties),
  dropFurther: (knex: Knex) => dropTables(knex, internalModels.map(tableSpecOf)),
}

/** Returns the names of the tables that `migrate()` creates. */
export function libraryTables(): string[] {
  return [throttleTable.name, ...[...kinds.map(registeredModel), ...internalModels].map(tableOf)]
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
 * @example knexfile: { migrations: { migrationSource: permsMigrations({ with: './migrations' }) } }
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
 * the migrations and the others wait.
 *
 * @returns the names of the migrations that ran
 * @example await migrate(knex) // ['objection_perms_001_users_roles_tokens.js', ...]
 */
export async function migrate(knex: Knex): Promise<string[]> {
  return await withAdvisoryLock(knex, async () => {
    const [, ran] = (await knex.migrate.latest({ migrationSource: permsMigrations(), tableName: 'objection_perms_migrations' })) as [
      number,
      string[],
    ]
    return ran
  })
}
