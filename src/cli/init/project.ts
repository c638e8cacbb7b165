import { readdir, readFile, stat } from 'node:fs/promises'
import { basename, extname, join } from 'node:path'
import { CliError } from '../failure.js'
import { type Choices, type Client, type Database, type Framework, frameworks, type Language } from './choices.js'
import { dependencyNames, isObject, type PackageJson } from './package-json.js'

/** The folder of an application before init runs. */
export interface Project {
  readonly directory: string
  readonly manifest: PackageJson
  /** The text of package.json; undefined if there is none. */
  readonly manifestText: string | undefined
  readonly gitignore: string | undefined
  readonly tsconfig: string | undefined
  readonly environmentExample: string | undefined
  /** The names of the files in the folder `migrations`. */
  readonly migrations: readonly string[]
  readonly knexfile: string | undefined
  /** The endings of the source files: `"type": "module"` would change their meaning. */
  readonly sources: ReadonlySet<string>
}

/**
 * Reads the folder of an application. A folder that does not exist counts as empty.
 *
 * @throws CliError if it is not a folder, or package.json is not a JSON object
 */
export async function readProject(directory: string): Promise<Project> {
  const found = await stat(directory).catch(ignoreMissing)
  if (found !== undefined && !found.isDirectory()) {
    throw new CliError(`${directory} is a file. Name a folder: npx objection-perms init DIR.`)
  }
  const read = async (name: string) => await readFile(join(directory, name), 'utf8').catch(ignoreMissing)
  const manifestText = await read('package.json')
  return {
    directory,
    manifest: parseManifest(manifestText),
    manifestText,
    gitignore: await read('.gitignore'),
    tsconfig: await read('tsconfig.json'),
    environmentExample: await read('.env.example'),
    migrations: await namesIn(join(directory, 'migrations')),
    knexfile: (await Promise.all(['knexfile.js', 'knexfile.ts', 'knexfile.cjs', 'knexfile.mjs'].map(read))).find(
      (text) => text !== undefined,
    ),
    sources: await sourceExtensions(directory),
  }
}

function parseManifest(text: string | undefined): PackageJson {
  if (text === undefined) return {}
  let parsed: unknown
  try {
    parsed = JSON.parse(text.replace(/^\uFEFF/, ''))
  } catch (error) {
    throw new CliError(`package.json is not valid JSON: ${(error as Error).message}. Correct it, and run init again.`)
  }
  if (!isObject(parsed)) throw new CliError('package.json must contain a JSON object. Correct it, and run init again.')
  for (const key of ['scripts', 'dependencies', 'devDependencies', 'allowScripts', 'objection-perms']) {
    const value = parsed[key]
    if (value !== undefined && !isObject(value))
      throw new CliError(`package.json: '${key}' must be an object. Correct it, and run init again.`)
  }
  return parsed
}

/** Returns the extensions of the source files in the folder, and in its folders src, lib, app, test and migrations. */
async function sourceExtensions(directory: string): Promise<ReadonlySet<string>> {
  const folders = ['', 'src', 'lib', 'app', 'test', 'tests', 'migrations']
  const names = await Promise.all(folders.map((folder) => namesIn(join(directory, folder))))
  return new Set(
    names
      .flat()
      .map((name) => extname(name))
      .filter((extension) => sourceFiles.has(extension)),
  )
}

const namesIn = async (folder: string): Promise<string[]> => await readdir(folder).catch(() => [])

const sourceFiles: ReadonlySet<string> = new Set(['.js', '.cjs', '.mjs', '.ts', '.cts', '.mts', '.jsx', '.tsx'])

/** The options that the user gave on the command line. */
export interface Wishes {
  readonly framework?: Framework | undefined
  readonly language?: Language | undefined
  readonly database?: Database | undefined
}

/** Completes the options of the command line with those that the project suggests, and those with defaults: Express, TypeScript, SQLite. */
export function chooseFor(project: Project, wishes: Wishes): Choices {
  const packages = dependencyNames(project.manifest)
  const database = wishes.database ?? databaseOf(packages, project.knexfile ?? '')
  return {
    framework: wishes.framework ?? frameworks.find((name) => packages.has(name)) ?? 'express',
    language: wishes.language ?? languageOf(project, packages),
    database,
    client: clientOf(database, packages),
    isModule: project.manifest.type === undefined ? project.sources.size === 0 : project.manifest.type === 'module',
  }
}

function languageOf({ tsconfig, sources }: Project, packages: ReadonlySet<string>): Language {
  if (tsconfig !== undefined || packages.has('typescript')) return 'ts'
  return sources.has('.js') || sources.has('.cjs') || sources.has('.mjs') ? 'js' : 'ts'
}

const clients: Readonly<Record<Database, readonly [Client, ...Client[]]>> = {
  sqlite: ['sqlite3', 'better-sqlite3'],
  pg: ['pg'],
  mariadb: ['mysql2'],
}

function databaseOf(packages: ReadonlySet<string>, knexfile: string): Database {
  const named = (test: (client: Client) => boolean) =>
    (['pg', 'mariadb', 'sqlite'] as const).find((database) => clients[database].some(test))
  return (
    named((client) => packages.has(client)) ??
    named((client) => new RegExp(`client['"]?\\s*:\\s*['"]${client}['"]`).test(knexfile)) ??
    'sqlite'
  )
}

function clientOf(database: Database, packages: ReadonlySet<string>): Client {
  const [first, ...others] = clients[database]
  return others.find((client) => packages.has(client) && !packages.has(first)) ?? first
}

/** Returns a valid name of a package for the folder. */
export function packageName(directory: string): string {
  const name = basename(directory)
    .toLowerCase()
    .replaceAll(/[^a-z0-9-]+/g, '-')
    .replaceAll(/^-+|-+$/g, '')
    .slice(0, 100)
  return name === '' ? 'app' : name
}

function ignoreMissing(error: NodeJS.ErrnoException): undefined {
  if (error.code === 'ENOENT') return undefined
  throw error
}
