import process from 'node:process'
import { setTimeout as sleep } from 'node:timers/promises'
import { NoRuntimeError } from '../../core/errors.js'
import { runtimeCount } from '../../runtime.js'
import { currentPerms, type Perms } from '../../setup/perms.js'
import { CliError } from '../failure.js'
import { defaultExport, type Exports } from './modules.js'

/** Milliseconds to wait for a module that calls initPerms() in an asynchronous function. */
const LATE_LIMIT = 5000

/**
 * Returns the result of the initPerms() call of a module: its export `perms`, its default export, what such an exported function
 * returns, or the only runtime.
 *
 * @param file the module, for messages
 * @throws CliError when the module does not call initPerms(), or calls it for several databases and exports none
 */
export async function findPerms(exports: Exports, file: string): Promise<Perms> {
  const found = await exportedPerms(exports)
  if (found) return found
  for (const waited = Date.now(); runtimeCount() === 0 && Date.now() - waited < LATE_LIMIT && isBusy(); ) await sleep(20)
  try {
    return currentPerms()
  } catch (error) {
    if (error instanceof NoRuntimeError)
      throw new CliError(
        `${file} calls initPerms() for several databases. Export one result as \`perms\` from a module, and name it with --app.`,
      )
    throw new CliError(
      `${file} does not call initPerms(). Name the module that does with --app FILE, or with { "objection-perms": { "app": "FILE" } } in package.json.`,
    )
  }
}

async function exportedPerms(exports: Exports): Promise<Perms | undefined> {
  const standard = defaultExport(exports)
  const inDefault = typeof standard === 'object' && standard !== null && 'perms' in standard ? standard.perms : undefined
  for (const candidate of [exports['perms'], standard, inDefault]) {
    const value: unknown = await candidate
    if (isPerms(value)) return value
  }
  // A function with parameters may be the handler of a framework.
  for (const candidate of [exports['perms'], standard, inDefault]) {
    if (typeof candidate !== 'function' || candidate.length > 0 || runtimeCount() > 0) continue
    const value: unknown = await candidate()
    if (isPerms(value)) return value
  }
  return undefined
}

function isPerms(value: unknown): value is Perms {
  return typeof value === 'object' && value !== null && 'knex' in value && 'models' in value && 'listUnguarded' in value
}

/** Returns whether the application still waits for something. This module's own timer has fired when it is called. */
function isBusy(): boolean {
  return process.getActiveResourcesInfo().some((name) => !/^(?:TTYWrap|PipeWrap|Immediate)$/.test(name))
}
