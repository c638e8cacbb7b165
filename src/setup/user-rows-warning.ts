import { enterRuntime, type Runtime, runtimeSlot } from '../runtime.js'
import { describeLoss, silentLosses } from '../users/lifecycle/silent-loss.js'

const warned = runtimeSlot<Set<string>>(() => new Set())

/**
 * Warns of models whose rows keep their users from being deleted, each once. Runs after the first adapter, when the models of initPerms()
 * and all models in use so far are known.
 */
export function warnOfUserRows(runtime: Runtime): void {
  if (!runtime.isAlive) return
  try {
    const known = warned.of(runtime)
    const problems = enterRuntime(runtime, () => silentLosses().map(describeLoss)).filter((text) => !known.has(text))
    for (const problem of problems) known.add(problem)
    if (problems.length > 0) console.warn(`objection-perms: ${problems.join('\n')}`)
  } catch (error) {
    const why = error instanceof Error ? error.message : String(error)
    console.warn(
      `objection-perms: the models whose rows keep users from being deleted could not be listed (run \`npx objection-perms doctor\`): ${why}`,
    )
  }
}
