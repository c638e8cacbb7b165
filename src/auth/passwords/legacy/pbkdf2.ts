import { Buffer } from 'node:buffer'
import { pbkdf2 as pbkdf2Callback } from 'node:crypto'
import { promisify } from 'node:util'
import { ConfigurationError } from '../../../core/errors.js'
import { assertKnownOptions, each, type OptionNames } from '../../../core/known-options.js'
import { assertOption, fromBase64, type LegacyPasswordScheme, lengthProblem, readerOf, sameBytes } from './scheme.js'
import { type HashTemplate, templateReader } from './template.js'

export type Pbkdf2Digest = 'sha1' | 'sha224' | 'sha256' | 'sha384' | 'sha512'

/** A format of stored texts whose digest and iterations are the same for all users. */
export interface Pbkdf2Format extends HashTemplate {
  readonly digest: Pbkdf2Digest
  readonly iterations: number
}

export interface Pbkdf2Options {
  /**
   * The work of the most expensive stored hash, as a number of iterations of SHA-256. Every password check does this work. Hashes that
   * need more do not match; hashes that need less are completed by a dummy.
   *
   * @defaultValue 1000000, as in Django 5.2
   */
  readonly iterations?: number | undefined
  /** Further formats, which are tried before the known ones. */
  readonly formats?: readonly Pbkdf2Format[] | undefined
}

const optionNames: OptionNames<Pbkdf2Options> = {
  iterations: true,
  formats: each({ template: true, encoding: true, saltEncoding: true, digest: true, iterations: true }),
}

interface StoredKey {
  readonly digest: Pbkdf2Digest
  readonly iterations: number
  readonly salt: Buffer
  readonly key: Buffer
}

type Reader = (stored: string) => StoredKey | undefined

const deriveKey = promisify(pbkdf2Callback)

/** Bytes of each digest, and its time relative to SHA-256, as measured with OpenSSL 3. */
const DIGESTS: Readonly<Record<Pbkdf2Digest, { readonly bytes: number; readonly weight: number }>> = {
  sha1: { bytes: 20, weight: 1 },
  sha224: { bytes: 28, weight: 1 },
  sha256: { bytes: 32, weight: 1 },
  sha384: { bytes: 48, weight: 2.2 },
  sha512: { bytes: 64, weight: 2.2 },
}
const ASPNET_DIGESTS = ['sha1', 'sha256', 'sha512'] as const
const SALT = Buffer.alloc(16)

/**
 * Verifies PBKDF2 hashes of other systems.
 *
 * | Format | Made by |
 * |---|---|
 * | `pbkdf2_sha256$600000$salt$...`, `pbkdf2_sha1$...` | Django |
 * | `pbkdf2:sha256:600000$salt$...` | Werkzeug, Flask |
 * | `$pbkdf2-sha512$20000$salt$...`, `$pbkdf2-sha256$i=600000,l=32$salt$...` | Rails with devise-pbkdf2-encryptable, passlib, PHC |
 * | Base64 that starts with the byte 0 or 1 | ASP.NET Identity 2 and 3 |
 *
 * @throws ConfigurationError for an option out of range
 * @example initPerms({ knex, jwt: { secret }, passwords: { legacy: [pbkdf2({ iterations: 600_000 })] } })
 */
export function pbkdf2(options: Pbkdf2Options = {}): LegacyPasswordScheme {
  assertKnownOptions(options, optionNames, 'pbkdf2')
  const standard = assertOption('pbkdf2', 'iterations', options.iterations ?? 1_000_000, 1, 20_000_000)
  const readers: Reader[] = [...(options.formats ?? []).map(formatReader), django, werkzeug, modularCrypt, aspNet]
  const read = readerOf(readers)
  const work = async (iterations: number, password = '') => {
    if (iterations >= 1) await deriveKey(password, SALT, Math.round(iterations), 32, 'sha256')
  }
  return {
    name: 'pbkdf2',
    recognises: (stored) => read(stored) !== undefined,
    exceeds(stored) {
      const found = read(stored)
      if (!found) return undefined
      return lengthProblem(found) ?? (isWithin(found, standard) ? undefined : 'iterations')
    },
    async verify(password, stored) {
      const found = read(stored)
      if (!found || lengthProblem(found) || !isWithin(found, standard)) return false
      const key = await deriveKey(password, found.salt, found.iterations, found.key.length, found.digest)
      await work(standard - workOf(found))
      return sameBytes(key, found.key)
    },
    dummy: (password) => work(standard, password),
  }
}

const isWithin = (stored: StoredKey, standard: number) => stored.iterations >= 1 && workOf(stored) <= standard

function workOf({ digest, iterations, key }: StoredKey): number {
  const { bytes, weight } = DIGESTS[digest]
  return iterations * Math.ceil(key.length / bytes) * weight
}

function formatReader(format: Pbkdf2Format): Reader {
  if (!Object.hasOwn(DIGESTS, format.digest))
    throw new ConfigurationError(`pbkdf2({ formats }): digest '${format.digest}' must be one of ${Object.keys(DIGESTS).join(', ')}.`)
  const iterations = assertOption('pbkdf2', 'formats.iterations', format.iterations, 1, 20_000_000)
  const read = templateReader('pbkdf2', format)
  return (stored) => {
    const match = read(stored)
    return match && { digest: format.digest, iterations, salt: match.salt, key: match.key }
  }
}

const DJANGO = /^pbkdf2_(sha1|sha256)\$(\d{1,12})\$([^$]{1,512})\$([A-Za-z0-9+/]{1,1024}={0,2})$/
const WERKZEUG = /^pbkdf2:(sha1|sha224|sha256|sha384|sha512):(\d{1,12})\$([^$]{1,512})\$([0-9a-f]{1,1024})$/
const MODULAR_CRYPT =
  /^\$pbkdf2(?:-(sha1|sha224|sha256|sha384|sha512))?\$(?:i=)?(\d{1,12})(?:,l=\d{1,4})?\$([\w./+-]{0,512})\$([\w./+-]{1,1024})$/
const BASE64 = /^[A-Za-z0-9+/]{40,1024}={0,2}$/

function django(stored: string): StoredKey | undefined {
  const match = DJANGO.exec(stored)
  return match ? storedKey(match, (text) => Buffer.from(text), fromBase64) : undefined
}

function werkzeug(stored: string): StoredKey | undefined {
  const match = WERKZEUG.exec(stored)
  return match
    ? storedKey(
        match,
        (text) => Buffer.from(text),
        (text) => Buffer.from(text, 'hex'),
      )
    : undefined
}

function modularCrypt(stored: string): StoredKey | undefined {
  const match = MODULAR_CRYPT.exec(stored)
  return match ? storedKey(match, fromBase64, fromBase64) : undefined
}

function storedKey(
  [, digest, iterations, salt = '', key = '']: RegExpExecArray,
  saltOf: (text: string) => Buffer,
  keyOf: (text: string) => Buffer,
): StoredKey {
  // passlib leaves the digest out for SHA-1.
  return { digest: (digest ?? 'sha1') as Pbkdf2Digest, iterations: Number(iterations), salt: saltOf(salt), key: keyOf(key) }
}

/**
 * Version 2: the byte 0, a salt of 16 bytes, a key of 32. Version 3: the byte 1, then the digest, the iterations and the length of the
 * salt with 4 bytes each, the salt, and the key.
 */
function aspNet(stored: string): StoredKey | undefined {
  if (!BASE64.test(stored)) return undefined
  const bytes = Buffer.from(stored, 'base64')
  if (bytes[0] === 0 && bytes.length === 49)
    return { digest: 'sha1', iterations: 1000, salt: bytes.subarray(1, 17), key: bytes.subarray(17) }
  if (bytes[0] !== 1 || bytes.length < 13) return undefined
  const digest = ASPNET_DIGESTS[bytes.readUInt32BE(1)]
  const saltEnd = 13 + bytes.readUInt32BE(9)
  if (digest === undefined || saltEnd >= bytes.length) return undefined
  return { digest, iterations: bytes.readUInt32BE(5), salt: bytes.subarray(13, saltEnd), key: bytes.subarray(saltEnd) }
}
