import { readdir } from 'node:fs/promises'
import { extname, resolve } from 'node:path'
import { fileURLToPath, pathToFileURL } from 'node:url'
import type { Knex } from 'knex'
import type { Model } from 'objection'
import { throttleTable } from './auth/throttle/throttle-store.js'
import { ConfigurationError } from './core/errors.js'
import { withAdvisoryLock } from './database/advisory-lock.js'
import { addMissingColumns, createTables as createFromSpecs, dropTables, type TableSpec } from './database/tables.js'
import { type ModelKind, registeredModel } from './policy/registered-models.js'
import { definitionOf, resolveTable } from './schema/definition.js'
import { internalModels } from './users/further-models.js'

const packaged = fileURLToPath(new URL('../migrations/', import.meta.url))
const kinds: readonly ModelKind[] = ['domain', 'user', 'userRole', 'token', 'userSetting']

/** The table that a model declares. */
export function tableSpecOf(cls: object): TableSpec {
  const { tableName, columns, uniques, indexes, isStrict } = definitionOf(cls)
  if (!isStrict || !columns.id) {
    throw new ConfigurationError(
      `${(cls as { name: string }).name} declares no table: say its columns with withColumns({ ... }), among them id (BaseModel has it).`,
    )
  }
  const resolved = Object.entries(columns).map(([name, declared]) => {
    const { reference } = declared.spec
    // 'user' means the registered user model's table.
    return [
      name,
      reference
        ? declared.references(
            `${resolveTable(reference.table)}.${reference.column}`,
            reference.onDelete ? { onDelete: reference.onDelete } : {},
          )
        : declared,
    ]
  })
  return { name: tableName, columns: Object.fromEntries(resolved) as typeof columns, primaryKey: 'id', uniques, indexes }
}

/** Any model class made with ActiveRecordMixin. */
export type ModelClass = abstract new (...args: never[]) => Model

/**
 * Makes the tables that models declare, with keys, indexes and foreign keys; tables that are there are left alone.
 * For tests and first steps: an application in production writes migrations.
 *
 * @example await createTables(knex, [User, UserRole, Domain, Token, UserSetting, UserDocument])
 */
export async function createTables(knex: Knex, models: readonly ModelClass[]): Promise<void> {
  const specs = new Map<string, TableSpec>()
  for (const model of models) {
    const spec = tableSpecOf(model)
    if (!specs.has(spec.name)) specs.set(spec.name, spec)
  }
  await createFromSpecs(knex, [...specs.values()])
}

const tables = {
  create: async (knex: Knex) => {
    await createTables(knex, kinds.map(registeredModel) as unknown as ModelClass[])
    await createFromSpecs(knex, [throttleTable])
  },
  drop: (knex: Knex) => dropTables(knex, [throttleTable, ...kinds.map((kind) => tableSpecOf(registeredModel(kind)))]),
  createFurther: (knex: Knex) => createTables(knex, internalModels as unknown as ModelClass[]),
  /** Adds these columns of a model where the table lacks them: it was made before they were there. */
  addColumns: async (knex: Knex, kind: ModelKind, properties: readonly string[]) =>
    await addMissingColumns(knex, tableSpecOf(registeredModel(kind)), properties),
  dropFurther: (knex: Knex) => dropTables(knex, internalModels.map(tableSpecOf)),
}

/** Returns the names of the tables that `migrate()` makes. */
export function libraryTables(): string[] {
  const models = [...kinds.map(registeredModel), ...internalModels] as unknown as readonly { getTableName(): string }[]
  return [throttleTable.name, ...models.map((model) => model.getTableName())]
}

/** One migration of `permsMigrations()`. */
export interface PermsMigrationStep {
  readonly name: string
  readonly path: string
  readonly isPackaged: boolean
}

async function stepsIn(folder: string, isPackaged: boolean): Promise<PermsMigrationStep[]> {
  const files = await readdir(folder)
  return files
    .filter((file) => ['.js', '.mjs', '.cjs', '.ts', '.mts'].includes(extname(file)) && !file.endsWith('.d.ts'))
    .sort()
    .map((file) => ({ name: isPackaged ? `objection_perms_${file}` : file, path: resolve(folder, file), isPackaged }))
}

/**
 * A migration source for Knex with the library's migrations, and after them those of a folder of the application's: for
 * those who keep one history.
 *
 * @param options.with the folder of the application's own migrations
 * @example knexfile: { migrations: { migrationSource: permsMigrations({ with: './migrations' }) } }
 */
export function permsMigrations(options: { with?: string | undefined } = {}): Knex.MigrationSource<PermsMigrationStep> {
  return {
    async getMigrations() {
      return [...(await stepsIn(packaged, true)), ...(options.with === undefined ? [] : await stepsIn(resolve(options.with), false))]
    },
    getMigrationName: (step) => step.name,
    async getMigration(step) {
      const loaded = (await import(pathToFileURL(step.path).href)) as Partial<Loaded> & { default?: Loaded }
      const migration = (loaded.up ? loaded : loaded.default) as Loaded
      if (!step.isPackaged) return migration as unknown as Knex.Migration
      return { up: (knex) => migration.up(knex, tables), down: (knex) => migration.down(knex, tables) }
    },
  }
}

interface Loaded {
  up(knex: Knex, made: typeof tables): Promise<void>
  down(knex: Knex, made: typeof tables): Promise<void>
}

/**
 * Brings the library's tables up to date, with a history of its own. Of several processes that start at once one does, and the others
 * wait for it.
 *
 * @returns the names of the migrations that ran
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
