import { providerSettings } from '../auth/flows/providers/options.js'
import { describeUnfilled, unfilledColumns } from '../auth/flows/providers/required-columns.js'
import { enterRuntime, type Runtime } from '../runtime.js'
import type { PermsOptions } from './options.js'

/** Warns of required columns without which every sign-up with a provider fails. Runs after the first adapter, so that scripts do not warn. */
export function warnOfProviderSignUp(runtime: Runtime, options: PermsOptions): void {
  const settings = providerSettings(options.providers, options.providerSignIn)
  if (!runtime.isAlive || !settings) return
  const columns = enterRuntime(runtime, () => unfilledColumns(settings))
  if (columns.length > 0) console.warn(`objection-perms: ${enterRuntime(runtime, () => describeUnfilled(columns))}`)
}
