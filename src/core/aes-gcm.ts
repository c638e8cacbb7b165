import { Buffer } from 'node:buffer'
import { type CipherKey, createCipheriv, createDecipheriv, randomBytes } from 'node:crypto'

export const IV_BYTES = 12
export const TAG_BYTES = 16

/** The parts of a text encrypted with AES-256-GCM (RFC 5116). */
export interface EncryptedText {
  readonly iv: Buffer
  readonly tag: Buffer
  readonly ciphertext: Buffer
}

/**
 * Encrypts a text with AES-256-GCM.
 *
 * @param key 32 bytes
 * @param context authenticated but not encrypted: decryption needs the same value
 * @example const { iv, tag, ciphertext } = encryptText(randomBytes(32), 'secret', user.id)
 */
export function encryptText(key: CipherKey, plain: string, context: string): EncryptedText {
  const iv = randomBytes(IV_BYTES)
  const cipher = createCipheriv('aes-256-gcm', key, iv).setAAD(Buffer.from(context))
  const ciphertext = Buffer.concat([cipher.update(plain, 'utf8'), cipher.final()])
  return { iv, tag: cipher.getAuthTag(), ciphertext }
}

/** Returns the text; null for another key, another context or changed bytes. */
export function decryptText(key: CipherKey, { iv, tag, ciphertext }: EncryptedText, context: string): string | null {
  const decipher = createDecipheriv('aes-256-gcm', key, iv, { authTagLength: TAG_BYTES }).setAAD(Buffer.from(context)).setAuthTag(tag)
  try {
    return Buffer.concat([decipher.update(ciphertext), decipher.final()]).toString('utf8')
  } catch {
    return null
  }
}
