/** The project of an application: its folder, its configuration and the module that calls initPerms(). */
import { existsSync } from 'node:fs'
import { readFile } from 'node:fs/promises'
import { dirname, extname, isAbsolute, join, relative, resolve } from 'node:path'
import { CliError, firstLine, loadFailure } from '../failure.js'
import { defaultExport, importModule } from './modules.js'

/** The configuration: `"objection-perms"` in package.json, or the default export of objection-perms.config.js. Paths are relative to it. */
export interface ProjectConfig {
  /** The module that calls initPerms(). */
  readonly app?: string
  /** The module that exports the Api, for `openapi`. @defaultValue the module `app` */
  readonly api?: string
  /** The folder of the application's migrations. @defaultValue that of the Knex configuration */
  readonly migrations?: string
}

export interface Project {
  /** The folder with the package.json. */
  readonly folder: string
  readonly config: ProjectConfig
}

const keys = ['app', 'api', 'migrations'] as const
const configFiles = ['js', 'mjs', 'cjs', 'ts', 'mts', 'cts'].map((extension) => `objection-perms.config.${extension}`)
const extensions = ['ts', 'mts', 'cts', 'js', 'mjs', 'cjs']
const moduleNames = ['perms', 'app', 'server', 'index', 'main']

/**
 * Finds the project that a folder belongs to, and reads its configuration.
 *
 * @throws CliError for a configuration that cannot be read
 */
export async function findProject(from: string): Promise<Project> {
  const folder = folderOfManifest(from) ?? from
  const manifest = join(folder, 'package.json')
  const inManifest = existsSync(manifest) ? await configOfManifest(manifest) : undefined
  const file = configFiles.map((name) => join(folder, name)).find((path) => existsSync(path))
  if (file !== undefined && inManifest !== undefined)
    throw new CliError(`package.json and ${relative(folder, file)} both configure objection-perms. Keep one of them.`)
  if (file === undefined) return { folder, config: inManifest ?? {} }
  return { folder, config: checked(await configOfModule(file, folder), relative(folder, file)) }
}

function folderOfManifest(from: string): string | undefined {
  for (let folder = resolve(from); ; folder = dirname(folder)) {
    if (existsSync(join(folder, 'package.json'))) return folder
    if (dirname(folder) === folder) return undefined
  }
}

async function configOfManifest(path: string): Promise<ProjectConfig | undefined> {
  const text = await readFile(path, 'utf8')
  let manifest: unknown
  try {
    manifest = JSON.parse(text)
  } catch (error) {
    throw new CliError(`${path} is not valid JSON: ${error instanceof Error ? firstLine(error) : ''} Correct it.`, { cause: error })
  }
  const own = typeof manifest === 'object' && manifest !== null ? Reflect.get(manifest, 'objection-perms') : undefined
  return own === undefined ? undefined : checked(own, 'package.json')
}

async function configOfModule(path: string, folder: string): Promise<unknown> {
  try {
    return defaultExport(await importModule(path, folder))
  } catch (error) {
    if (error instanceof CliError) throw error
    throw new CliError(`${relative(folder, path)} failed while it was loaded: ${loadFailure(error)}`, { cause: error })
  }
}

function checked(config: unknown, file: string): ProjectConfig {
  if (typeof config !== 'object' || config === null || Array.isArray(config))
    throw new CliError(`${file}: the configuration of objection-perms must be an object such as { "app": "src/perms.ts" }.`)
  for (const [key, value] of Object.entries(config)) {
    if (!keys.some((known) => known === key))
      throw new CliError(`${file}: '${key}' is no option of objection-perms. The options are ${keys.join(', ')}.`)
    if (typeof value !== 'string') throw new CliError(`${file}: '${key}' of objection-perms must be a path.`)
  }
  return config
}

/**
 * Returns the path of the module that calls initPerms(): the given one, the configured one, or the first that exists of perms.ts,
 * src/perms.ts, app.ts and so on.
 *
 * @param given the option `--app`, relative to `cwd`
 * @throws CliError when there is no such file
 */
export function findModule(project: Project, given: string | undefined, cwd: string): string {
  if (given !== undefined) return existing(resolve(cwd, given), `--app ${given}`)
  const { app } = project.config
  if (app !== undefined) return existing(resolve(project.folder, app), `the option 'app' of objection-perms`)
  const [found] = moduleFiles(project.folder, moduleNames)
  if (found !== undefined) return found
  throw new CliError(
    `There is no module that calls initPerms() in ${project.folder}: no perms, app, server, index or main (.ts, .js) there or in src/. ` +
      'Name it with --app FILE, or with { "objection-perms": { "app": "FILE" } } in package.json. `npx objection-perms init` creates one.',
  )
}

/** Returns the modules with these names that exist in the folder or in its folder src, in the order of the names. */
export function moduleFiles(folder: string, names: readonly string[]): string[] {
  const places = names.flatMap((name) => [name, `src/${name}`])
  return places.flatMap((place) => extensions.map((extension) => join(folder, `${place}.${extension}`))).filter((path) => existsSync(path))
}

function existing(path: string, source: string): string {
  if (existsSync(path) && extname(path) !== '') return path
  throw new CliError(`${path} does not exist, or is no module (${source}). Name the module that calls initPerms().`)
}

/** Returns a path for messages: relative to the project if it is inside. */
export function shownPath(path: string, folder: string): string {
  const short = relative(folder, path)
  return short.startsWith('..') || isAbsolute(short) ? path : short
}
