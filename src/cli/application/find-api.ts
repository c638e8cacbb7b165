import { existsSync } from 'node:fs'
import { join, resolve } from 'node:path'
import { Api, mountedApis } from '../../http/serve/api.js'
import { CliError } from '../failure.js'
import type { Application } from './application.js'
import type { Exports } from './modules.js'
import { moduleFiles, shownPath } from './project.js'

/** Where the user says the Api is. */
export interface ApiPlace {
  readonly cwd: string
  /** The option `--api`, relative to `cwd`. */
  readonly file: string | undefined
  /** The option `--export`. */
  readonly name: string | undefined
}

/**
 * Returns the Api of the application: an export of the given or configured module; otherwise an export of the module that calls
 * initPerms(), or of api.ts, app.ts, server.ts and so on; otherwise the only one that an adapter serves.
 *
 * @throws CliError when there is none, or more than one
 */
export async function findApi(app: Application, place: ApiPlace): Promise<Api> {
  const { project } = app
  const configured = project.config.api === undefined ? undefined : resolve(project.folder, project.config.api)
  const given = place.file === undefined ? configured : resolve(place.cwd, place.file)
  if (given !== undefined) {
    const shown = shownPath(given, project.folder)
    if (!existsSync(given)) throw new CliError(`${shown} does not exist. Name the module that exports the Api with --api FILE.`)
    const found = chosen(await app.load(given), place.name, shown)
    if (found) return found
    throw new CliError(`${shown} exports no Api. Write \`export const api = new Api({ ... })\` in it.`)
  }
  const found = chosen(app.exports, place.name, app.file) ?? (await inOtherModules(app, place.name)) ?? onlyMounted(app)
  if (found) return found
  throw new CliError(
    'No module exports an Api. Write `export const api = new Api({ ... })` in one, and name it with --api FILE, ' +
      'or with { "objection-perms": { "api": "FILE" } } in package.json.',
  )
}

async function inOtherModules(app: Application, name: string | undefined): Promise<Api | undefined> {
  const { folder } = app.project
  const files = moduleFiles(folder, ['api', 'app', 'server', 'index', 'main']).filter((file) => file !== join(folder, app.file))
  for (const file of files) {
    const found = chosen(await app.load(file), name, shownPath(file, folder))
    if (found) return found
  }
  return undefined
}

function onlyMounted({ perms }: Application): Api | undefined {
  const apis = perms.enter(mountedApis)
  if (apis.length > 1) throw new CliError(`The adapter serves ${apis.length} Apis. Export the one, and name its module with --api FILE.`)
  return apis[0]
}

function chosen(exports: Exports, name: string | undefined, file: string): Api | undefined {
  const { default: standard, ...named } = exports
  const inside = typeof standard === 'object' && standard !== null && !(standard instanceof Api) ? standard : {}
  const apis = new Map<string, Api>()
  for (const [key, value] of Object.entries({ ...inside, ...named, default: standard })) if (value instanceof Api) apis.set(key, value)
  if (name !== undefined) {
    const found = apis.get(name)
    if (found || apis.size === 0) return found
    throw new CliError(`${file} exports no Api with the name '${name}'. It exports ${[...apis.keys()].join(', ')}.`)
  }
  const found = apis.get('api') ?? apis.get('default')
  if (found || new Set(apis.values()).size <= 1) return found ?? [...apis.values()][0]
  throw new CliError(`${file} exports several Apis: ${[...apis.keys()].join(', ')}. Choose one with --export NAME.`)
}
