import { Buffer } from 'node:buffer'
import { decryptText, encryptText, IV_BYTES, TAG_BYTES } from '../../core/aes-gcm.js'

/**
 * Encrypts a secret for storage, so that read access to the database does not reveal it. Only `unseal` with the same owner opens it.
 *
 * @param keys 32 bytes each: the first encrypts, all decrypt
 * @param owner the owner of the secret, such as a user's id
 * @example const text = seal([randomBytes(32)], user.id, secret)
 */
export function seal(keys: readonly [Buffer, ...Buffer[]], owner: string, plain: string): string {
  const { iv, tag, ciphertext } = encryptText(keys[0], plain, owner)
  return Buffer.concat([iv, tag, ciphertext]).toString('base64url')
}

/** Returns the secret; null when none of the keys opens it for this owner. */
export function unseal(keys: readonly Buffer[], owner: string, sealed: string): string | null {
  const bytes = Buffer.from(sealed, 'base64url')
  const start = IV_BYTES + TAG_BYTES
  if (bytes.length <= start) return null
  const encrypted = { iv: bytes.subarray(0, IV_BYTES), tag: bytes.subarray(IV_BYTES, start), ciphertext: bytes.subarray(start) }
  for (const key of keys) {
    const plain = decryptText(key, encrypted, owner)
    if (plain !== null) return plain
  }
  return null
}
