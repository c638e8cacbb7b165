import { Buffer } from 'node:buffer'
import type { PermsPort } from './ports.js'

const keys = new WeakMap<PermsPort, Map<string, Buffer>>()

/**
 * Returns 32 bytes for one purpose, derived from the key that signs tokens: the same in every process of the application.
 *
 * @throws ConfigurationError where initPerms was given no jwt
 */
export function serverKey(perms: PermsPort, purpose: string): Buffer {
  let ofPerms = keys.get(perms)
  if (!ofPerms) {
    ofPerms = new Map()
    keys.set(perms, ofPerms)
  }
  let key = ofPerms.get(purpose)
  if (!key) {
    key = Buffer.from(perms.auth.deriveKey(purpose))
    ofPerms.set(purpose, key)
  }
  return key
}
