import { createSecretKey, type KeyObject } from 'node:crypto'
import type { PermsPort } from './ports.js'

const keys = new WeakMap<PermsPort, Map<string, KeyObject>>()

/**
 * Returns a 32-byte key for a purpose. It is derived from the signing key, so it is the same in all processes of the application.
 *
 * @throws ConfigurationError if initPerms has no `jwt` option
 */
export function serverKey(perms: PermsPort, purpose: string): KeyObject {
  let ofPerms = keys.get(perms)
  if (!ofPerms) {
    ofPerms = new Map()
    keys.set(perms, ofPerms)
  }
  let key = ofPerms.get(purpose)
  if (!key) {
    // Node converts bytes to such an object at each use, which on Node 24 takes five times as long as an HMAC.
    key = createSecretKey(perms.auth.deriveKey(purpose))
    ofPerms.set(purpose, key)
  }
  return key
}
