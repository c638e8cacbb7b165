import { Buffer } from 'node:buffer'
import { createHash } from 'node:crypto'
import { assertKnownOptions, type OptionNames } from '../../../core/known-options.js'
import { assertOption, type LegacyPasswordScheme, sameBytes } from './scheme.js'

export interface PhpassOptions {
  /**
   * The binary logarithm of the iterations of the most expensive stored hash, 7 to 18. Every password check does this work. Hashes that
   * need more do not match; hashes that need less are completed by a dummy.
   *
   * @defaultValue 13, as in WordPress
   */
  readonly cost?: number | undefined
}

const optionNames: OptionNames<PhpassOptions> = { cost: true }

const ALPHABET = './0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz'
const STORED = /^\$[PH]\$([./0-9A-Za-z])([./0-9A-Za-z]{8})([./0-9A-Za-z]{22})$/
const MIN_COST = 7
/** Milliseconds of hashing between two turns of the event loop. */
const SLICE = 2

/**
 * Verifies the portable hashes of phpass: `$P$...` of WordPress and `$H$...` of phpBB 3.
 *
 * @throws ConfigurationError for an option out of range
 * @example initPerms({ knex, jwt: { secret }, passwords: { legacy: [phpass()] } })
 */
export function phpass(options: PhpassOptions = {}): LegacyPasswordScheme {
  assertKnownOptions(options, optionNames, 'phpass')
  const cost = assertOption('phpass', 'cost', options.cost ?? 13, MIN_COST, 18)
  return {
    name: 'phpass',
    recognises: (stored) => STORED.test(stored),
    exceeds: (stored) => (isWithin(costOf(stored), cost) ? undefined : 'iterations'),
    async verify(password, stored) {
      const [, , salt = '', encoded = ''] = STORED.exec(stored) ?? []
      const own = costOf(stored)
      if (!isWithin(own, cost)) return false
      const text = Buffer.from(password)
      const first = md5(Buffer.from(salt), text)
      const digest = await iterate(first, text, 2 ** own)
      await iterate(first, text, 2 ** cost - 2 ** own)
      return sameBytes(Buffer.from(encode(digest)), Buffer.from(encoded))
    },
    async dummy(password) {
      const text = Buffer.from(password)
      await iterate(md5(Buffer.alloc(8), text), text, 2 ** cost)
    },
  }
}

const isWithin = (own: number, cost: number) => own >= MIN_COST && own <= cost
const costOf = (stored: string) => ALPHABET.indexOf(STORED.exec(stored)?.[1] ?? '.')
const md5 = (one: Buffer, other: Buffer) => createHash('md5').update(one).update(other).digest()

/** Hashes a digest with the password again and again. Other work runs between slices of 2 ms. */
async function iterate(start: Buffer, password: Buffer, count: number): Promise<Buffer> {
  let digest = start
  let end = performance.now() + SLICE
  for (let i = 0; i < count; i += 1) {
    digest = md5(digest, password)
    if (i % 16 !== 15 || performance.now() < end) continue
    await new Promise((resolve) => setImmediate(resolve))
    end = performance.now() + SLICE
  }
  return digest
}

/** The Base64 of crypt(): 3 bytes are 4 characters, the lowest bits first. */
function encode(bytes: Buffer): string {
  let text = ''
  for (let i = 0; i < bytes.length; i += 3) {
    const count = Math.min(3, bytes.length - i)
    let value = bytes.readUIntLE(i, count)
    for (let digit = 0; digit <= count; digit += 1) {
      text += ALPHABET[value & 63]
      value >>= 6
    }
  }
  return text
}
