/** The migrations of an application and of the library, with their histories. */
import { existsSync } from 'node:fs'
import { readdir, readFile } from 'node:fs/promises'
import { extname, join, resolve } from 'node:path'
import type { Knex } from 'knex'
import { folderOfMigrations, isPermsMigrations, permsMigrations } from '../../migrations.js'
import { libraryHistory } from '../../users/tables/histories.js'
import type { Application } from './application.js'
import { supportTypeScript } from './modules.js'

/** Where the library's migrations run. */
export type LibraryPlace =
  /** In a history of their own: `perms.migrate()`. */
  | 'own history'
  /** In the source of the application: `permsMigrations({ with })`. */
  | 'same source'
  /** In a migration of the application that calls `permsMigrations().up(knex)`. */
  | 'a migration'

/** A history: what Knex needs to run its migrations. */
export interface History {
  readonly settings: Knex.MigratorConfig
  /** The names of all migrations of the source, in their order. */
  readonly names: readonly string[]
  /** The names of those that create or drop tables of the library. */
  readonly library: ReadonlySet<string>
}

export interface Migrations {
  readonly place: LibraryPlace
  /** The history of the application. null: it has no migrations. */
  readonly application: History | null
  /** The library's own history. null unless `place` is 'own history'. */
  readonly library: History | null
}

const defaultExtensions: readonly string[] = ['.co', '.coffee', '.eg', '.iced', '.js', '.cjs', '.litcoffee', '.ls', '.ts']

/** Finds the migrations by the Knex configuration of the application, and by the option `migrations` of the project. */
export async function findMigrations(app: Application): Promise<Migrations> {
  const given: Knex.MigratorConfig = app.perms.knex.client.config.migrations ?? {}
  const source = app.project.config.migrations === undefined ? given.migrationSource : undefined
  const application = source === undefined ? await historyOfFolders(app, given) : await historyOfSource(app, source, given)
  const place = isPermsMigrations(source) ? 'same source' : (application?.library.size ?? 0) > 0 ? 'a migration' : 'own history'
  return { place, application, library: place === 'own history' ? await ownHistory(app) : null }
}

/** Returns the folders of the application's migrations: those of the project's or of Knex's configuration, or the folder migrations. */
export function migrationFolders(app: Application): string[] {
  const { folder, config } = app.project
  const given: Knex.MigratorConfig = app.perms.knex.client.config.migrations ?? {}
  const folders = [config.migrations ?? given.directory ?? 'migrations'].flat().map((one) => resolve(folder, one))
  return folders.filter((path) => existsSync(path))
}

async function historyOfFolders(app: Application, given: Knex.MigratorConfig): Promise<History | null> {
  const directory = migrationFolders(app)
  if (directory.length === 0) return null
  const extensions = given.loadExtensions ?? defaultExtensions
  const names: string[] = []
  const library = new Set<string>()
  for (const folder of directory) {
    const files = (await readdir(folder)).filter((name) => extensions.includes(extname(name))).sort()
    if (files.some((name) => name.endsWith('.ts'))) await supportTypeScript(folder, app.project.folder)
    for (const name of files) if ((await readFile(join(folder, name), 'utf8')).includes('permsMigrations')) library.add(name)
    names.push(...files)
  }
  const { migrationSource: _source, ...rest } = given
  // Knex sorts the files of all folders by name, unless the application says otherwise.
  return { settings: { ...rest, directory }, names: given.sortDirsSeparately ? names : names.sort(), library }
}

async function historyOfSource(
  { project }: Application,
  source: Knex.MigrationSource<unknown>,
  settings: Knex.MigratorConfig,
): Promise<History> {
  const folder = folderOfMigrations(source)
  if (folder !== undefined && (await readdir(folder)).some((name) => name.endsWith('.ts'))) await supportTypeScript(folder, project.folder)
  const steps = await source.getMigrations(settings.loadExtensions ?? defaultExtensions)
  const packaged = await packagedNames()
  const names = steps.map((step) => source.getMigrationName(step))
  return { settings, names, library: new Set(names.filter((name) => packaged.includes(name))) }
}

async function ownHistory(app: Application): Promise<History> {
  const names = await packagedNames()
  const settings = app.perms.enter(() => ({ migrationSource: permsMigrations(), ...libraryHistory() }))
  return { settings, names, library: new Set(names) }
}

async function packagedNames(): Promise<string[]> {
  const source = permsMigrations()
  return (await source.getMigrations([])).map((step) => source.getMigrationName(step))
}

/** A migration that ran, as Knex records it. */
export interface Applied {
  readonly name: string
  readonly batch: number
}

/** Returns the migrations that ran, in their order. Reads the history only: Knex's list() would create its tables. */
export async function appliedMigrations(knex: Knex, { settings }: History): Promise<Applied[]> {
  const table = settings.tableName ?? 'knex_migrations'
  const schema = settings.schemaName ? knex.schema.withSchema(settings.schemaName) : knex.schema
  if (!(await schema.hasTable(table))) return []
  const history = settings.schemaName ? knex(table).withSchema(settings.schemaName) : knex(table)
  const rows: Applied[] = await history.select('name', 'batch').orderBy('id')
  return rows.map(({ name, batch }) => ({ name, batch: Number(batch) }))
}
