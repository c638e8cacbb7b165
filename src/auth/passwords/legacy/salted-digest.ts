import { Buffer } from 'node:buffer'
import { createHash } from 'node:crypto'
import { ConfigurationError } from '../../../core/errors.js'
import { assertKnownOptions, type OptionNames } from '../../../core/known-options.js'
import { type LegacyPasswordScheme, MAX_STORED, sameBytes } from './scheme.js'
import { type HashTemplate, templateReader } from './template.js'

export interface SaltedDigestOptions extends HashTemplate {
  readonly algorithm: 'md5' | 'sha1' | 'sha256' | 'sha512'
  /**
   * The input of the digest, with the placeholders `{salt}` and `{password}`. Other text, such as a pepper, is part of it.
   *
   * @defaultValue '{salt}{password}', or '{password}' for a template without a salt
   */
  readonly input?: string | undefined
  /**
   * A name for messages and wrapped hashes, needed if two schemes use the same algorithm.
   *
   * @defaultValue 'salted-' and the algorithm
   */
  readonly name?: string | undefined
}

const optionNames: OptionNames<SaltedDigestOptions> = {
  algorithm: true,
  template: true,
  encoding: true,
  saltEncoding: true,
  input: true,
  name: true,
}

const BYTES = { md5: 16, sha1: 20, sha256: 32, sha512: 64 } as const

/**
 * Verifies a plain digest of the salt and the password. Such digests do not protect stolen passwords: import them with
 * `importUsers(rows, { wrap: true })`.
 *
 * @throws ConfigurationError for another algorithm, a template without `{hash}`, an input without `{password}`
 * @example saltedDigest({ algorithm: 'sha256', template: '{salt}:{hash}', input: '{password}{salt}' })
 */
export function saltedDigest(options: SaltedDigestOptions): LegacyPasswordScheme {
  assertKnownOptions(options, optionNames, 'saltedDigest')
  const { algorithm, encoding = 'hex', saltEncoding = 'utf8' } = options
  if (!Object.hasOwn(BYTES, algorithm))
    throw new ConfigurationError(`saltedDigest({ algorithm: '${algorithm}' }): write one of ${Object.keys(BYTES).join(', ')}.`)
  const readTemplate = templateReader('saltedDigest', options, BYTES[algorithm])
  const read = (stored: string) => (stored.length > MAX_STORED ? undefined : readTemplate(stored))
  const isSalted = options.template.includes('{salt}')
  const parts = inputParts(options.input ?? (isSalted ? '{salt}{password}' : '{password}'), isSalted)
  const digestOf = (password: string, salt: Buffer) => {
    const hash = createHash(algorithm)
    for (const part of parts) hash.update(part === '{password}' ? password : part === '{salt}' ? salt : part)
    return hash.digest()
  }
  return {
    name: options.name ?? `salted-${algorithm}`,
    recognises: (stored) => read(stored)?.key.length === BYTES[algorithm],
    async verify(password, stored) {
      const found = read(stored)
      return found !== undefined && sameBytes(digestOf(password, found.salt), found.key)
    },
    async dummy(password) {
      digestOf(password, Buffer.alloc(16))
    },
    wrapping: {
      split(stored) {
        const { saltText = '', key = Buffer.alloc(0) } = read(stored) ?? {}
        return { digest: key.toString(encoding), setting: saltText }
      },
      digest: async (password, setting) => digestOf(password, Buffer.from(setting, saltEncoding)).toString(encoding),
    },
  }
}

function inputParts(input: string, isSalted: boolean): string[] {
  const parts = input.split(/(\{salt\}|\{password\})/).filter((part) => part !== '')
  if (!parts.includes('{password}'))
    throw new ConfigurationError("saltedDigest({ input }): the input lacks {password}. Write for example '{salt}{password}'.")
  if (isSalted !== parts.includes('{salt}'))
    throw new ConfigurationError('saltedDigest({ template, input }): write {salt} in both, or in neither.')
  return parts
}
