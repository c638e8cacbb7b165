import { describeUnguarded } from '../query/inspection/unguarded.js'
import type { Runtime } from '../runtime.js'
import type { Perms } from './perms.js'

/**
 * Warns of views and functions that read protected tables. Runs after the first adapter, when the models of initPerms() and all
 * models in use so far are known.
 */
export async function warnOfUnguarded(perms: Perms, runtime: Runtime): Promise<void> {
  if (!runtime.isAlive) return
  try {
    const found = await perms.listUnguarded()
    if (found.length > 0) console.warn(describeUnguarded(found))
  } catch (error) {
    if (!runtime.isAlive) return
    const why = error instanceof Error ? error.message : String(error)
    console.warn(`objection-perms: the views and functions over protected tables could not be listed (call perms.listUnguarded()): ${why}`)
  }
}
