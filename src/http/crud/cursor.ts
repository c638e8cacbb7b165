import { Buffer } from 'node:buffer'
import type { KeyObject } from 'node:crypto'
import { decryptText, encryptText, IV_BYTES, TAG_BYTES } from '../../core/aes-gcm.js'
import type { PermsPort } from '../core/ports.js'
import { serverKey } from '../core/server-key.js'

const maxLength = 4096

const keyOf = (perms: PermsPort): KeyObject => serverKey(perms, 'list cursor')

/**
 * Creates a cursor: the sort values of the last row, encrypted and authenticated with AES-256-GCM (RFC 5116).
 *
 * @param about the model, caller, filters and sort order of the list. The cursor is valid only for the same ones.
 */
export function sealCursor(perms: PermsPort, values: readonly unknown[], about: string): string {
  const { iv, tag, ciphertext } = encryptText(keyOf(perms), JSON.stringify(values), about)
  return Buffer.concat([iv, ciphertext, tag]).toString('base64url')
}

/** Returns the sort values in a cursor, or null if it is invalid, was changed, or belongs to another list. */
export function openCursor(perms: PermsPort, cursor: string, about: string): unknown[] | null {
  if (cursor.length > maxLength) return null
  const bytes = Buffer.from(cursor, 'base64url')
  // Several base64url texts decode to the same bytes. Accept only the canonical one.
  if (bytes.length < IV_BYTES + TAG_BYTES || bytes.toString('base64url') !== cursor) return null
  const [iv, ciphertext, tag] = [bytes.subarray(0, IV_BYTES), bytes.subarray(IV_BYTES, -TAG_BYTES), bytes.subarray(-TAG_BYTES)]
  const text = decryptText(keyOf(perms), { iv, tag, ciphertext }, about)
  return text === null ? null : (JSON.parse(text) as unknown[])
}
