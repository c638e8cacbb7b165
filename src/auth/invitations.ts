import type { AuthCore } from './core.js'

export type Invitations = object

export function invitations(_core: AuthCore): Invitations {
  return {}
}
