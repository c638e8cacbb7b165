import { Buffer } from 'node:buffer'
import { hkdfSync } from 'node:crypto'
import type { JwtKey } from './key.js'
import type { KeySet } from './key-set.js'

const BYTES = 32

/**
 * Derives a key for one purpose from each configured signing key (RFC 5869). It is the same in every process of the application.
 * The first belongs to the current signing key; the others open data from before a key rotation.
 *
 * @returns 32 bytes for each key that has a secret; public keys are skipped
 * @example const [current, ...older] = deriveKeys(keys, 'cursor')
 */
export function deriveKeys(keys: KeySet, purpose: string): readonly [Buffer, ...Buffer[]] {
  const first = derive(keys.signing, purpose) as Buffer
  const others = keys.keys.map((key) => derive(key, purpose)).filter((key) => key !== null)
  return [first, ...others.filter((key) => !key.equals(first))]
}

function derive({ signKey }: JwtKey, purpose: string): Buffer | null {
  if (signKey === undefined) return null
  const secret = signKey.type === 'secret' ? signKey.export() : signKey.export({ type: 'pkcs8', format: 'der' })
  return Buffer.from(hkdfSync('sha256', secret, '', `objection-perms ${purpose}`, BYTES))
}
