import { Buffer } from 'node:buffer'
import { createCipheriv, createDecipheriv, randomBytes } from 'node:crypto'
import type { PermsPort } from '../core/ports.js'
import { serverKey } from '../core/server-key.js'

const ivBytes = 12
const tagBytes = 16
const maxLength = 4096

const keyOf = (perms: PermsPort): Buffer => serverKey(perms, 'list cursor')

/**
 * Where a page ended, in a form that tells the client nothing and that it cannot change: AES-256-GCM (RFC 5116).
 *
 * @param about what the list was (model, caller, filters, sort): the cursor opens for the same alone
 */
export function sealCursor(perms: PermsPort, values: readonly unknown[], about: string): string {
  const iv = randomBytes(ivBytes)
  const cipher = createCipheriv('aes-256-gcm', keyOf(perms), iv).setAAD(Buffer.from(about))
  const sealed = Buffer.concat([cipher.update(JSON.stringify(values), 'utf8'), cipher.final()])
  return Buffer.concat([iv, sealed, cipher.getAuthTag()]).toString('base64url')
}

/** The values in a cursor, or null where it was not made here, was changed, or is of another list. */
export function openCursor(perms: PermsPort, cursor: string, about: string): unknown[] | null {
  if (cursor.length > maxLength) return null
  const bytes = Buffer.from(cursor, 'base64url')
  // base64url has spellings that decode alike; only ours is one.
  if (bytes.length < ivBytes + tagBytes || bytes.toString('base64url') !== cursor) return null
  try {
    const decipher = createDecipheriv('aes-256-gcm', keyOf(perms), bytes.subarray(0, ivBytes), { authTagLength: tagBytes })
    decipher.setAAD(Buffer.from(about)).setAuthTag(bytes.subarray(-tagBytes))
    const text = Buffer.concat([decipher.update(bytes.subarray(ivBytes, -tagBytes)), decipher.final()]).toString('utf8')
    return JSON.parse(text) as unknown[]
  } catch {
    return null
  }
}
