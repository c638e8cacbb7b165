import * as crypto from 'node:crypto'
import { loadOptionalPackage } from '../../core/optional-package.js'

/** The cost of an argon2id hash. */
export interface Argon2Cost {
  /** KiB of memory. */
  readonly memoryCost: number
  /** Passes over the memory. */
  readonly timeCost: number
  /** Lanes. */
  readonly parallelism: number
}

/** An implementation of argon2id whose hashes are texts in PHC format. */
export interface Argon2 {
  hash(password: string, cost: Argon2Cost): Promise<string>
  /** Returns whether the password matches. Rejects for a text that is not a hash. */
  verify(hashed: string, password: string): Promise<boolean>
}

/** The part of @node-rs/argon2 that is used here. */
interface Argon2Package {
  hash(password: string, options: Argon2Cost & { algorithm: number }): Promise<string>
  verify(hash: string, password: string): Promise<boolean>
}

interface Parameters {
  readonly message: Uint8Array
  readonly nonce: Uint8Array
  readonly memory: number
  readonly passes: number
  readonly parallelism: number
  readonly tagLength: number
}

/** `crypto.argon2` of Node 24.7 and later. The types of Node 20 do not know it. */
type NodeArgon2 = (algorithm: 'argon2id', parameters: Parameters, done: (error: Error | null, tag: Buffer) => void) => void

const ARGON2ID = 2
const SALT_BYTES = 16
const TAG_BYTES = 32
const PHC = /^\$argon2id\$v=19\$m=(\d+),t=(\d+),p=(\d+)\$([A-Za-z0-9+/]+)\$([A-Za-z0-9+/]+)$/

/**
 * Returns argon2id of the package `@node-rs/argon2`, or of Node if the package is not installed. The package takes a third of the time.
 *
 * @throws ConfigurationError when there is neither
 */
export function loadArgon2(): Argon2 {
  try {
    const argon2 = loadOptionalPackage<Argon2Package>('@node-rs/argon2', 'argon2idHasher(), on a Node without crypto.argon2,')
    return {
      hash: (password, cost) => argon2.hash(password, { ...cost, algorithm: ARGON2ID }),
      verify: (hashed, password) => argon2.verify(hashed, password),
    }
  } catch (error) {
    const own = argon2OfNode()
    if (own) return own
    throw error
  }
}

/** Returns argon2id of Node, which runs in the threads of libuv; null before Node 24.7, or if its OpenSSL has no argon2. */
export function argon2OfNode(): Argon2 | null {
  const derive = 'argon2' in crypto && typeof crypto.argon2 === 'function' ? (crypto.argon2 as NodeArgon2) : null
  if (!derive || !isSupported(derive)) return null
  const tagOf = (password: string, salt: Buffer, { memoryCost, timeCost, parallelism }: Argon2Cost, tagLength: number) =>
    new Promise<Buffer>((resolve, reject) => {
      const parameters = { message: Buffer.from(password), nonce: salt, memory: memoryCost, passes: timeCost, parallelism, tagLength }
      derive('argon2id', parameters, (error, tag) => (error ? reject(error) : resolve(tag)))
    })
  return {
    async hash(password, cost) {
      const salt = crypto.randomBytes(SALT_BYTES)
      const tag = await tagOf(password, salt, cost, TAG_BYTES)
      const { memoryCost, timeCost, parallelism } = cost
      return `$argon2id$v=19$m=${memoryCost},t=${timeCost},p=${parallelism}$${encode(salt)}$${encode(tag)}`
    },
    async verify(hashed, password) {
      const [, memoryCost, timeCost, parallelism, salt = '', tag = ''] = PHC.exec(hashed) ?? []
      const stored = decode(tag)
      const cost = { memoryCost: Number(memoryCost), timeCost: Number(timeCost), parallelism: Number(parallelism) }
      return crypto.timingSafeEqual(await tagOf(password, decode(salt), cost, stored.length), stored)
    },
  }
}

/** Tries a hash of the lowest cost: a Node that is built with its own OpenSSL may have the function without the algorithm. */
function isSupported(derive: NodeArgon2): boolean {
  try {
    const parameters = { message: Buffer.alloc(1), nonce: Buffer.alloc(8), memory: 8, passes: 1, parallelism: 1, tagLength: 4 }
    derive('argon2id', parameters, () => undefined)
    return true
  } catch {
    return false
  }
}

/** Returns Base64 without padding. */
const encode = (bytes: Buffer) => bytes.toString('base64').replace(/=+$/, '')

/** Decodes Base64 without padding. @throws Error when the text is not what `encode` makes */
function decode(text: string): Buffer {
  const bytes = Buffer.from(text, 'base64')
  if (encode(bytes) !== text) throw new Error('The hash is not encoded in Base64 without padding.')
  return bytes
}
