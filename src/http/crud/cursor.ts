import { Buffer } from 'node:buffer'
import { decryptText, encryptText, IV_BYTES, TAG_BYTES } from '../../core/aes-gcm.js'
import type { PermsPort } from '../core/ports.js'
import { serverKey } from '../core/server-key.js'

const maxLength = 4096

const keyOf = (perms: PermsPort): Buffer => serverKey(perms, 'list cursor')

/**
 * Where a page ended, in a form that tells the client nothing and that it cannot change: AES-256-GCM (RFC 5116).
 *
 * @param about what the list was (model, caller, filters, sort): the cursor opens for the same alone
 */
export function sealCursor(perms: PermsPort, values: readonly unknown[], about: string): string {
  const { iv, tag, ciphertext } = encryptText(keyOf(perms), JSON.stringify(values), about)
  return Buffer.concat([iv, ciphertext, tag]).toString('base64url')
}

/** The values in a cursor, or null where it was not made here, was changed, or is of another list. */
export function openCursor(perms: PermsPort, cursor: string, about: string): unknown[] | null {
  if (cursor.length > maxLength) return null
  const bytes = Buffer.from(cursor, 'base64url')
  // base64url has spellings that decode alike; only ours is one.
  if (bytes.length < IV_BYTES + TAG_BYTES || bytes.toString('base64url') !== cursor) return null
  const [iv, ciphertext, tag] = [bytes.subarray(0, IV_BYTES), bytes.subarray(IV_BYTES, -TAG_BYTES), bytes.subarray(-TAG_BYTES)]
  const text = decryptText(keyOf(perms), { iv, tag, ciphertext }, about)
  return text === null ? null : (JSON.parse(text) as unknown[])
}
