/** The application that a command works on. */
import { existsSync } from 'node:fs'
import { dirname, join, resolve } from 'node:path'
import process from 'node:process'
import { asSystem } from '../../policy/context.js'
import type { Perms } from '../../setup/perms.js'
import { CliError, loadFailure } from '../failure.js'
import type { ProcessWatch } from '../process-watch.js'
import { findPerms } from './find-perms.js'
import { keepPortsFree } from './listening.js'
import { type Exports, importModule } from './modules.js'
import { findModule, findProject, type Project, shownPath } from './project.js'

/** Milliseconds that close() waits for connections and background work. */
const CLOSE_LIMIT = 5000

/** A loaded application. */
export interface Application {
  readonly perms: Perms
  readonly project: Project
  /** The module that called initPerms(), for messages. */
  readonly file: string
  /** The exports of that module. */
  readonly exports: Exports
  /** Imports a further module of the application. @throws CliError when it fails */
  load(path: string): Promise<Exports>
  /** Runs fn in the runtime of the application, as the application itself. */
  run<T>(fn: () => T): Promise<Awaited<T>>
  /** Waits for audit events, and closes the runtime and the connections. Never throws. */
  close(): Promise<void>
}

export interface LoadOptions {
  /** The folder in which the command was started. */
  readonly cwd: string
  /** The option `--app`. */
  readonly app: string | undefined
  /** The option `--env`. */
  readonly envFile: string | undefined
  readonly watch: ProcessWatch
}

/**
 * Imports the application's module and finds the result of its initPerms() call.
 *
 * @throws CliError when there is no such module, when it fails, and when it does not call initPerms()
 */
export async function loadApplication({ cwd, app, envFile, watch }: LoadOptions): Promise<Application> {
  const project = await findProject(app === undefined ? cwd : dirname(resolve(cwd, app)))
  loadEnvironment(project, envFile, cwd)
  const path = findModule(project, app, cwd)
  // Relative paths, such as the file of an SQLite database, are relative to the project, as in its npm scripts.
  process.chdir(project.folder)
  const file = shownPath(path, project.folder)
  keepPortsFree()
  const load = (module: string) => {
    const shown = shownPath(module, project.folder)
    return watch.whileLoading(shown, () => importApplication(module, shown, project.folder))
  }
  const exports = await load(path)
  const perms = await watch.whileLoading(file, () => findPerms(exports, file))
  return {
    perms,
    project,
    file,
    exports,
    load,
    run: (fn) => perms.run(() => asSystem(fn)),
    async close() {
      const closing = perms.close().then(() => perms.knex.destroy())
      const limit = new Promise((resolve) => setTimeout(resolve, CLOSE_LIMIT))
      await Promise.race([closing.catch(() => undefined), limit])
    },
  }
}

function loadEnvironment({ folder }: Project, given: string | undefined, cwd: string): void {
  const path = given === undefined ? join(folder, '.env') : resolve(cwd, given)
  if (existsSync(path)) process.loadEnvFile(path)
  else if (given !== undefined) throw new CliError(`${path} does not exist (--env). Check the path.`)
}

async function importApplication(path: string, file: string, folder: string): Promise<Exports> {
  try {
    return await importModule(path, folder)
  } catch (error) {
    if (error instanceof CliError) throw error
    throw new CliError(`${file} failed while it was loaded: ${loadFailure(error)}`, { cause: error })
  }
}
