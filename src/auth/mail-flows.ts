import type { AuthCore } from './core.js'

export type MailFlows = object

export function mailFlows(_core: AuthCore): MailFlows {
  return {}
}
