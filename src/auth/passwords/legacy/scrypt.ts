import { Buffer } from 'node:buffer'
import { scrypt as scryptCallback } from 'node:crypto'
import { ConfigurationError } from '../../../core/errors.js'
import { assertKnownOptions, each, type OptionNames } from '../../../core/known-options.js'
import { assertOption, fromBase64, type LegacyPasswordScheme, lengthProblem, readerOf, sameBytes } from './scheme.js'
import { type HashTemplate, templateReader } from './template.js'

/** The parameters of scrypt, as in RFC 7914. */
export interface ScryptCost {
  /** The cost of CPU and memory: a power of two. */
  readonly N: number
  /** The size of a block. */
  readonly r: number
  /** How often the function runs. */
  readonly p: number
}

/** A format of stored texts whose cost is the same for all users. */
export interface ScryptFormat extends HashTemplate, Partial<ScryptCost> {}

export interface ScryptOptions {
  /**
   * The cost of the most expensive stored hash. Every password check does this work. Hashes that need more do not match; hashes that
   * need less are completed by a dummy. The times agree best where all stored hashes have this cost. A hash may take 64 MiB of memory,
   * or as much as this cost does.
   *
   * @defaultValue { N: 32768, r: 8, p: 1 }, as in Werkzeug 3. Hashes of Django 5.2 (16384, 8, 5) and of Node need less.
   */
  readonly cost?: ScryptCost | undefined
  /**
   * Further formats, which are tried before the known ones. Their default cost is that of `crypto.scrypt`: N 16384, r 8, p 1.
   */
  readonly formats?: readonly ScryptFormat[] | undefined
}

const optionNames: OptionNames<ScryptOptions> = {
  cost: { N: true, r: true, p: true },
  formats: each({ template: true, encoding: true, saltEncoding: true, N: true, r: true, p: true }),
}

interface StoredKey extends ScryptCost {
  readonly salt: Buffer
  readonly key: Buffer
}

type Reader = (stored: string) => StoredKey | undefined

const MAX_MEMORY = 64 * 1024 * 1024
/** Less is completed in pieces of 16 MiB. */
const PIECE: ScryptCost = { N: 16_384, r: 8, p: 1 }
const SALT = Buffer.alloc(16)

/**
 * Verifies scrypt hashes of other systems.
 *
 * | Format | Made by |
 * |---|---|
 * | `scrypt$16384$salt$8$5$...` | Django |
 * | `scrypt:32768:8:1$salt$...` | Werkzeug, Flask |
 * | `$scrypt$ln=16,r=8,p=1$salt$...` | passlib, PHC |
 * | `salt:hash` in hexadecimal, 64 bytes, the salt used as text | Node's `crypto.scrypt` with its default cost |
 *
 * @throws ConfigurationError for an option out of range
 * @example scrypt({ formats: [{ template: '{hash}.{salt}' }, { template: '{salt}:{hash}', r: 16 }] })
 */
export function scrypt(options: ScryptOptions = {}): LegacyPasswordScheme {
  assertKnownOptions(options, optionNames, 'scrypt')
  const cost = options.cost ?? { N: 32_768, r: 8, p: 1 }
  assertCost('cost', cost)
  const standard = workOf(cost)
  const memory = Math.max(MAX_MEMORY, memoryOf(cost))
  const readers: Reader[] = [...(options.formats ?? []).map(formatReader), django, werkzeug, modularCrypt, nodeReader]
  const read = readerOf(readers)
  const problemOf = (found: StoredKey) => {
    if (!isCost(found) || workOf(found) > standard) return 'cost'
    return memoryOf(found) > memory ? 'memory' : lengthProblem(found)
  }
  return {
    name: 'scrypt',
    recognises: (stored) => read(stored) !== undefined,
    exceeds(stored) {
      const found = read(stored)
      return found && problemOf(found)
    },
    async verify(password, stored) {
      const found = read(stored)
      if (!found || problemOf(found)) return false
      const key = await deriveScrypt(password, found.salt, found.key.length, found)
      await complete(standard - workOf(found))
      return sameBytes(key, found.key)
    },
    async dummy(password) {
      await deriveScrypt(password, SALT, 64, cost)
    },
  }
}

/** Returns the derived key. It runs in the threads of libuv. */
export function deriveScrypt(password: string, salt: Buffer, length: number, { N, r, p }: ScryptCost): Promise<Buffer> {
  const maxmem = 2 * 128 * (N * r + r * p) + 1_048_576
  return new Promise((resolve, reject) => {
    scryptCallback(password, salt, length, { N, r, p, maxmem }, (error, key) => (error ? reject(error) : resolve(key)))
  })
}

/** Does an amount of work. */
async function complete(amount: number): Promise<void> {
  const p = Math.floor(amount / workOf(PIECE))
  if (p > 0) await deriveScrypt('', SALT, 32, { ...PIECE, p })
  let rest = amount - p * workOf(PIECE)
  // The rest in halves: below 1/256 of a piece, no difference can be measured.
  for (let N = PIECE.N / 2; N >= 64; N /= 2) {
    if (rest < N * PIECE.r) continue
    rest -= N * PIECE.r
    await deriveScrypt('', SALT, 32, { ...PIECE, N })
  }
}

/** With a smaller N, PBKDF2 takes most of the time: it creates and reads the blocks. */
const LEAST_N = 8

/**
 * The work of a hash. From 32 MiB on, the system hands out new memory for each hash, which took as long as two more passes where this
 * was measured (Linux, glibc).
 */
const workOf = (cost: ScryptCost) => Math.max(cost.N, LEAST_N) * cost.r * (cost.p + (memoryOf(cost) >= 2 ** 25 ? 2 : 0))
const memoryOf = ({ N, r }: ScryptCost) => 128 * N * r
const isCost = ({ N, r, p }: ScryptCost) => N >= 2 && N <= 2 ** 24 && Number.isInteger(Math.log2(N)) && r >= 1 && p >= 1 && r * p < 2 ** 30

function assertCost(name: string, cost: ScryptCost): void {
  assertOption('scrypt', `${name}.N`, cost.N, 2, 2 ** 20)
  assertOption('scrypt', `${name}.r`, cost.r, 1, 64)
  assertOption('scrypt', `${name}.p`, cost.p, 1, 64)
  if (!isCost(cost)) throw new ConfigurationError(`scrypt({ ${name} }): N: ${cost.N} must be a power of two.`)
}

function formatReader(format: ScryptFormat): Reader {
  const { N = 16_384, r = 8, p = 1 } = format
  assertCost('formats', { N, r, p })
  const read = templateReader('scrypt', format)
  return (stored) => {
    const match = read(stored)
    return match && { N, r, p, salt: match.salt, key: match.key }
  }
}

const DJANGO = /^scrypt\$(\d{1,12})\$([^$]{1,512})\$(\d{1,6})\$(\d{1,6})\$([A-Za-z0-9+/]{1,1024}={0,2})$/
const WERKZEUG = /^scrypt:(\d{1,12}):(\d{1,6}):(\d{1,6})\$([^$]{1,512})\$([0-9a-f]{1,1024})$/
const MODULAR_CRYPT = /^\$scrypt\$ln=(\d{1,2}),r=(\d{1,6}),p=(\d{1,6})\$([\w./+-]{0,512})\$([\w./+-]{1,1024})$/
const NODE = /^([0-9a-f]{16,128}):([0-9a-f]{128})$/

function django(stored: string): StoredKey | undefined {
  const match = DJANGO.exec(stored)
  if (!match) return undefined
  const [, N, salt = '', r, p, key = ''] = match
  return { N: Number(N), r: Number(r), p: Number(p), salt: Buffer.from(salt), key: fromBase64(key) }
}

function werkzeug(stored: string): StoredKey | undefined {
  const match = WERKZEUG.exec(stored)
  if (!match) return undefined
  const [, N, r, p, salt = '', key = ''] = match
  return { N: Number(N), r: Number(r), p: Number(p), salt: Buffer.from(salt), key: Buffer.from(key, 'hex') }
}

function modularCrypt(stored: string): StoredKey | undefined {
  const match = MODULAR_CRYPT.exec(stored)
  if (!match) return undefined
  const [, ln, r, p, salt = '', key = ''] = match
  return { N: 2 ** Number(ln), r: Number(r), p: Number(p), salt: fromBase64(salt), key: fromBase64(key) }
}

function nodeReader(stored: string): StoredKey | undefined {
  const match = NODE.exec(stored)
  if (!match) return undefined
  const [, salt = '', key = ''] = match
  return { N: 16_384, r: 8, p: 1, salt: Buffer.from(salt), key: Buffer.from(key, 'hex') }
}
