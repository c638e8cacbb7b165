import { Buffer } from 'node:buffer'
import { ConfigurationError } from '../../../core/errors.js'
import { fromBase64, MAX_SALT } from './scheme.js'

/** How a stored text contains the salt and the hash. */
export interface HashTemplate {
  /** The stored text, with the placeholders `{salt}` and `{hash}`. */
  readonly template: string
  /**
   * How the text encodes the hash.
   *
   * @defaultValue 'hex'
   */
  readonly encoding?: 'hex' | 'base64' | undefined
  /**
   * The salt that the hash function used: the bytes of the stored text itself (`utf8`), or the bytes that this text encodes.
   *
   * @defaultValue 'utf8'
   */
  readonly saltEncoding?: 'utf8' | 'hex' | 'base64' | undefined
}

/** The parts of a stored text. */
export interface TemplateMatch {
  /** The stored texts, not decoded. */
  readonly saltText: string
  readonly hashText: string
  readonly salt: Buffer
  readonly key: Buffer
}

const ALPHABETS = { hex: '[0-9a-fA-F]', base64: '[A-Za-z0-9+/_=-]' } as const

/**
 * Returns a function that reads stored texts of a template, and returns undefined for other texts.
 *
 * @param place the function of the option, for errors
 * @param keyBytes the length of the hash. Default: any length.
 * @throws ConfigurationError for a template without `{hash}`, or with a placeholder twice
 */
export function templateReader(place: string, given: HashTemplate, keyBytes?: number): (stored: string) => TemplateMatch | undefined {
  const { template, encoding = 'hex', saltEncoding = 'utf8' } = given
  const parts = typeof template === 'string' ? template.split(/(\{salt\}|\{hash\})/) : []
  const count = (name: string) => parts.filter((part) => part === name).length
  if (count('{hash}') !== 1 || count('{salt}') > 1)
    throw new ConfigurationError(`${place}({ template: '${template}' }): write {hash} once, and {salt} once or not at all.`)
  const pattern = new RegExp(`^${parts.map((part, i) => patternOf(part, parts[i + 1] ?? '')).join('')}$`, 'su')
  return (stored) => {
    const groups = pattern.exec(stored)?.groups
    if (!groups) return undefined
    const { hash: hashText = '', salt: saltText = '' } = groups
    return { saltText, hashText, salt: bytesOf(saltText, saltEncoding), key: bytesOf(hashText, encoding) }
  }

  function patternOf(part: string, next: string): string {
    if (part === '{hash}') return `(?<hash>${ALPHABETS[encoding]}${lengthOf(encoding, keyBytes)})`
    if (part !== '{salt}') return escaped(part)
    if (saltEncoding !== 'utf8') return `(?<salt>${ALPHABETS[saltEncoding]}{1,${MAX_SALT * 2}})`
    // The salt ends before the text that follows it, so that matching takes linear time.
    const [end] = next
    return `(?<salt>${end === undefined ? '.' : `[^${escaped(end)}]`}{1,${MAX_SALT}})`
  }
}

function lengthOf(encoding: 'hex' | 'base64', bytes: number | undefined): string {
  if (bytes === undefined) return '{1,1024}'
  if (encoding === 'hex') return `{${bytes * 2}}`
  const padded = Math.ceil(bytes / 3) * 4
  return `{${Math.ceil((bytes * 4) / 3)},${padded}}`
}

function bytesOf(text: string, encoding: 'utf8' | 'hex' | 'base64'): Buffer {
  return encoding === 'base64' ? fromBase64(text) : Buffer.from(text, encoding)
}

// With the flag `u`, only the characters of syntax may be escaped.
function escaped(text: string): string {
  return text.replace(/[\\^$.*+?()[\]{}|/-]/g, (character) => (character === '-' ? '\\x2d' : `\\${character}`))
}
