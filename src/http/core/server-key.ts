import { Buffer } from 'node:buffer'
import type { PermsPort } from './ports.js'

const keys = new WeakMap<PermsPort, Map<string, Buffer>>()

/**
 * Returns a 32-byte key for a purpose. It is derived from the signing key, so it is the same in all processes of the application.
 *
 * @throws ConfigurationError if initPerms has no `jwt` option
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
