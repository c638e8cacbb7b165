import type { AuthCore } from './core.js'

export type Impersonation = object

export function impersonation(_core: AuthCore): Impersonation {
  return {}
}
