import { Buffer } from 'node:buffer'
import { createCipheriv } from 'node:crypto'
import { ConfigurationError } from '../../../core/errors.js'
import { assertKnownOptions, type OptionNames } from '../../../core/known-options.js'
import { assertOption, fromBase64, type LegacyPasswordScheme, MAX_SALT, MAX_STORED, sameBytes } from './scheme.js'
import { deriveScrypt } from './scrypt.js'

/** The password hash parameters of a Firebase project, as its console shows them. */
export interface FirebaseScryptOptions {
  /** `base64_signer_key`: a secret of the project. */
  readonly signerKey: string
  /** `base64_salt_separator` */
  readonly saltSeparator: string
  /** `rounds`, at most 16. */
  readonly rounds: number
  /** `mem_cost`: the binary logarithm of N, at most 16. */
  readonly memCost: number
}

const optionNames: OptionNames<FirebaseScryptOptions> = { signerKey: true, saltSeparator: true, rounds: true, memCost: true }

interface StoredKey {
  readonly salt: Buffer
  readonly key: Buffer
  readonly isOfProject: boolean
}

const OWN = /^firebase-scrypt\$([\w+/-]{0,512}={0,2})\$([\w+/-]{1,512}={0,2})$/
const PARAMETERS = /^\$fbscrypt\$v=1,n=(\d{1,2}),r=(\d{1,3}),p=(\d{1,3}),ss=([\w+/-]{0,64}={0,2}),sk=([\w+/-]{1,512}={0,2})\$/
const PREFIXED = /^\$fbscrypt\$[^$]{1,1024}\$([\w+/-]{0,512}={0,2})\$([\w+/-]{1,512}={0,2})$/

/**
 * Verifies the modified scrypt of Firebase Authentication. All hashes of a project have the same parameters.
 *
 * | Format | Made by |
 * |---|---|
 * | `firebase-scrypt$<salt>$<passwordHash>` | You, from the two fields of a user that `firebase auth:export` writes |
 * | `$fbscrypt$v=1,n=14,r=8,p=1,ss=...,sk=...$<salt>$<passwordHash>` | Supabase, for users imported from Firebase |
 *
 * @throws ConfigurationError for an option out of range
 * @example firebaseScrypt({ signerKey: process.env.FIREBASE_SIGNER_KEY ?? '', saltSeparator: 'Bw==', rounds: 8, memCost: 14 })
 */
export function firebaseScrypt(options: FirebaseScryptOptions): LegacyPasswordScheme {
  assertKnownOptions(options, optionNames, 'firebaseScrypt')
  const r = assertOption('firebaseScrypt', 'rounds', options.rounds, 1, 16)
  const N = 2 ** assertOption('firebaseScrypt', 'memCost', options.memCost, 1, 16)
  const signerKey = bytesOption('signerKey', options.signerKey)
  const separator = bytesOption('saltSeparator', options.saltSeparator)
  const read = (stored: string): StoredKey | undefined => {
    if (stored.length > MAX_STORED) return undefined
    const [, salt, key] = OWN.exec(stored) ?? PREFIXED.exec(stored) ?? []
    if (salt === undefined || key === undefined) return undefined
    return { salt: fromBase64(salt), key: fromBase64(key), isOfProject: stored.startsWith('firebase') || hasSameParameters(stored) }
  }
  const problemOf = ({ salt, key, isOfProject }: StoredKey) => {
    if (!isOfProject) return 'parameters'
    return salt.length > MAX_SALT ? 'salt length' : key.length === signerKey.length ? undefined : 'key length'
  }
  return {
    name: 'firebase-scrypt',
    recognises: (stored) => read(stored) !== undefined,
    exceeds(stored) {
      const found = read(stored)
      return found && problemOf(found)
    },
    async verify(password, stored) {
      const found = read(stored)
      if (!found || problemOf(found)) return false
      return sameBytes(await encryptedKey(password, found.salt), found.key)
    },
    async dummy(password) {
      await encryptedKey(password, Buffer.alloc(16))
    },
  }

  /** Returns the signer key, encrypted with the key that scrypt derives from the password. */
  async function encryptedKey(password: string, salt: Buffer): Promise<Buffer> {
    const key = await deriveScrypt(password, Buffer.concat([salt, separator]), 32, { N, r, p: 1 })
    const cipher = createCipheriv('aes-256-ctr', key, Buffer.alloc(16))
    return Buffer.concat([cipher.update(signerKey), cipher.final()])
  }

  function hasSameParameters(stored: string): boolean {
    const [, n, rounds, p, ss = '', sk = ''] = PARAMETERS.exec(stored) ?? []
    const isSameCost = 2 ** Number(n) === N && Number(rounds) === r && Number(p) === 1
    return isSameCost && sameBytes(fromBase64(ss), separator) && sameBytes(fromBase64(sk), signerKey)
  }
}

function bytesOption(name: 'signerKey' | 'saltSeparator', value: string): Buffer {
  const bytes = typeof value === 'string' ? fromBase64(value) : Buffer.alloc(0)
  // The value is a secret: the message does not contain it.
  if (bytes.length > 0 && bytes.length <= MAX_SALT) return bytes
  throw new ConfigurationError(
    `firebaseScrypt({ ${name} }) must be Base64 text: copy it from the password hash parameters of the Firebase console.`,
  )
}
