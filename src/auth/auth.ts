import type { Actor } from '../perms/context.js'
export interface Auth {
  authenticate(token: string): Promise<Actor>
}
export function createAuth(_options: object): Auth {
  throw new Error('placeholder until the facade lands')
}
