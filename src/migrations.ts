import { readdir } from 'node:fs/promises'
import { extname, resolve } from 'node:path'
import { pathToFileURL } from 'node:url'
import type { Knex } from 'knex'
import type { Model } from 'objection'
import { packagedMigrations } from '../migrations/index.js'
import { ConfigurationError } from './core/errors.js'
import { assertKnownOptions, type OptionNames } from './core/known-options.js'
import { withAdvisoryLock } from './database/advisory-lock.js'
import { createSchema } from './database/tables/existing-tables.js'
import { createTablesFromSpecs, type TableSpec } from './database/tables/tables.js'
import { schemaOfTables } from './policy/registered-models.js'
import { type Registration, withRegistration } from './users/registration.js'
import { assertNotMigratedAlone, assertOnlyHistory, libraryHistory } from './users/tables/histories.js'
import { checkTables, isReplay, libraryTables, migrationTables } from './users/tables/migration-tables.js'
import { tableSpecOf } from './users/tables/table-specs.js'

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

/** One migration of `permsMigrations()`. */
export interface PermsMigrationStep {
  readonly name: string
  /** The file of a migration of the application; the name of a packaged one in the folder `migrations` of this package. */
  readonly path: string
  readonly isPackaged: boolean
}

/**
 * Options of `permsMigrations()`. Without initPerms() in effect, give it those of initPerms() that decide about the tables: `user` and so
 * on, `tables`, `ids`.
 */
export interface PermsMigrationOptions extends Registration {
  /** The migrations of the application: their folder, or a Knex migration source. @defaultValue none */
  readonly with?: string | Knex.MigrationSource<unknown> | undefined
  /**
   * The name of the application's migration after which the library's migrations run, such as the one that creates the table of users.
   *
   * @defaultValue the library's migrations run first
   */
  readonly after?: string | undefined
}

const migrationOptionNames: OptionNames<PermsMigrationOptions> = {
  with: true,
  after: true,
  user: true,
  userRole: true,
  token: true,
  domain: true,
  userSetting: true,
  tables: 'unchecked',
  ids: true,
}

const packagedSteps = packagedMigrations.map(({ file, migration }) => ({
  step: { name: `objection_perms_${file}`, path: file, isPackaged: true },
  migration,
}))
const packagedNames = packagedSteps.map(({ step }) => step.name)

/** Migrations of the application: their steps, and how to load one. */
interface OwnMigrations {
  steps(extensions: readonly string[]): Promise<PermsMigrationStep[]>
  load(step: PermsMigrationStep): Promise<Knex.Migration>
}

const noMigrations: OwnMigrations = {
  steps: async () => [],
  load: async ({ name }) => {
    throw new ConfigurationError(`permsMigrations(): '${name}' is no migration of this source.`)
  },
}

function migrationsInFolder(folder: string): OwnMigrations {
  return {
    async steps() {
      const files = await readdir(folder)
      return files
        .filter((file) => ['.js', '.mjs', '.cjs', '.ts', '.mts', '.cts'].includes(extname(file)) && !/\.d\.[mc]?ts$/.test(file))
        .sort()
        .map((file) => ({ name: file, path: resolve(folder, file), isPackaged: false }))
    },
    async load({ path }) {
      // The comments tell bundlers that the file exists only at run time.
      const loaded: Partial<Knex.Migration> & { default?: Knex.Migration } = await import(
        /* webpackIgnore: true */ /* @vite-ignore */ pathToFileURL(path).href
      )
      return (loaded.up ? loaded : loaded.default) as Knex.Migration
    },
  }
}

function migrationsOfSource(source: Knex.MigrationSource<unknown>): OwnMigrations {
  const known = new Map<string, unknown>()
  return {
    async steps(extensions) {
      for (const migration of await source.getMigrations(extensions)) known.set(source.getMigrationName(migration), migration)
      return [...known.keys()].map((name) => ({ name, path: name, isPackaged: false }))
    },
    load: async ({ name }) => await source.getMigration(known.get(name)),
  }
}

/** The library's migrations: a source for Knex, and `up` and `down` for a migration file of the application. */
export interface PermsMigrations extends Knex.MigrationSource<PermsMigrationStep> {
  /**
   * Creates or updates the library's tables inside a migration of the application, after the migration that creates its table of users.
   * Tables that exist stay unchanged. A later version of the library with further migrations needs another file that calls up().
   *
   * @throws ConfigurationError for a table of the application without all columns of its model, without registered models, and if
   * `perms.migrate()` has created the tables
   * @example export const up = (knex: Knex) => permsMigrations().up(knex)
   */
  up(knex: Knex): Promise<void>
  /** Drops the tables that the library created. */
  down(knex: Knex): Promise<void>
}

/**
 * Returns a Knex migration source with the library's migrations and those of the application. For applications that keep both in one
 * history. An application that keeps its own history calls `up()` and `down()` in one of its migrations instead.
 *
 * The tables depend on the registered models: call initPerms() in the module that configures Knex, or name them here.
 *
 * @throws ConfigurationError from Knex's methods if there is no migration with the name `after`, if no models are registered or given,
 * if initPerms() got others, and if `perms.migrate()` has run the library's migrations
 * @example const knexfile: Knex.Config = { migrations: { migrationSource: permsMigrations({ with: './migrations' }) } }
 * @example permsMigrations({ with: './migrations', after: '20240101_create_employees.js', user: Employee })
 */
export function permsMigrations(options: PermsMigrationOptions = {}): PermsMigrations {
  assertKnownOptions(options, migrationOptionNames, 'permsMigrations')
  const { with: given, after, ...registration } = options
  const own =
    given === undefined ? noMigrations : typeof given === 'string' ? migrationsInFolder(resolve(given)) : migrationsOfSource(given)
  const source: PermsMigrations = {
    async getMigrations(extensions) {
      const steps = await own.steps(extensions)
      return steps.toSpliced(positionAfter(steps, after), 0, ...packagedSteps.map(({ step }) => step))
    },
    up: (knex) =>
      withRegistration(registration, async () => {
        await createSchema(knex, schemaOfTables())
        for (const packaged of packagedSteps) await runUp(knex, packaged)
        await checkTables(knex)
      }),
    down: (knex) =>
      withRegistration(registration, async () => {
        for (const { migration } of packagedSteps.toReversed()) await migration.down(knex, migrationTables)
      }),
    getMigrationName: (step) => step.name,
    async getMigration(step) {
      const packaged = packagedSteps.find((other) => other.step === step)
      if (!packaged) return await own.load(step)
      return {
        up: (knex) => withRegistration(registration, () => runUp(knex, packaged)),
        down: (knex) => withRegistration(registration, () => packaged.migration.down(knex, migrationTables)),
      }
    },
  }
  sources.set(source, typeof given === 'string' ? resolve(given) : undefined)
  return source
}

/** The results of permsMigrations(), with the folder of the application's migrations. */
const sources = new WeakMap<object, string | undefined>()

/** Returns whether a migration source is a result of permsMigrations(), which contains the library's migrations. */
export function isPermsMigrations(source: unknown): source is PermsMigrations {
  return typeof source === 'object' && source !== null && sources.has(source)
}

/** Returns the folder of the application's migrations in a result of permsMigrations({ with }). */
export function folderOfMigrations(source: object): string | undefined {
  return sources.get(source)
}

function positionAfter(steps: readonly PermsMigrationStep[], after: string | undefined): number {
  if (after === undefined) return 0
  const at = steps.findIndex(({ name }) => name === after)
  if (at >= 0) return at + 1
  throw new ConfigurationError(
    `permsMigrations({ after: '${after}' }): the application has no such migration. It has ${steps.map(({ name }) => `'${name}'`).join(', ') || 'none'}.`,
  )
}

async function runUp(knex: Knex, { step, migration }: (typeof packagedSteps)[number]): Promise<void> {
  // A replay runs both histories of an application that has two.
  if (!isReplay(knex)) await assertNotMigratedAlone(knex, step.name)
  await migration.up(knex, migrationTables)
}

/**
 * Creates or updates the library's tables, with a migration history of their own. When several processes call it at once, one runs
 * the migrations and the others wait. Tables that the library did not create stay unchanged: if they lack columns, it throws.
 *
 * @throws ConfigurationError for a table of the application without all columns of its model, and if the library's migrations have run
 * in another history
 * @returns the names of the migrations that ran
 * @example await migrate(knex) // ['objection_perms_001_users_roles_tokens.js', ...]
 */
export async function migrate(knex: Knex): Promise<string[]> {
  return await withAdvisoryLock(knex, async () => {
    await createSchema(knex, schemaOfTables())
    await assertOnlyHistory(knex, packagedNames, libraryTables())
    // Migrations of a later version must not stop this one, while processes of both run.
    const config = { migrationSource: permsMigrations(), disableMigrationsListValidation: true, ...libraryHistory() }
    const [, ran] = (await knex.migrate.latest(config)) as [number, string[]]
    await checkTables(knex)
    return ran
  })
}
