import type { AuthCore } from './core.js'

export type ApiKeys = object

export function apiKeys(_core: AuthCore): ApiKeys {
  return {}
}
