import { readdirSync, readFileSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import { expect } from 'chai'

const root = fileURLToPath(new URL('../../../src/', import.meta.url))

/** Errors that clients can see, and the functions that make their fields. */
const shown =
  'BadRequest|Unauthorized|InvalidToken|InvalidCredentials|Forbidden|AccountDisabled|NotFound|Conflict|UniqueViolation|StillReferenced|PreconditionFailed|PayloadTooLarge|UnsupportedMediaType|Validation|MissingReference|TooManyValues|TooManyAttempts|ServiceUnavailable|AmbiguousCredentials'
const literal = new RegExp(
  `(?:new (?:${shown})Error\\(|\\binvalidField\\([^,()]+,|\\{ field: [^,{}]+, message:|\\bforbid(?:ApiKey|Impersonation)\\()\\s*['"\`]`,
  'g',
)

/** Texts that only developers see: the values of an import, which a script reads, and examples. */
const forDevelopers = ['http/openapi/examples.ts', 'auth/flows/import/', 'testing/', 'cli/', 'migrate/', 'core/messages/', 'insight/']

describe('Texts that clients see', () => {
  it('[promise 177] are messages, which have a text in every language', () => {
    const found: string[] = []
    for (const file of readdirSync(root, { recursive: true, encoding: 'utf8' })) {
      if (!file.endsWith('.ts') || forDevelopers.some((part) => file.startsWith(part))) continue
      const source = readFileSync(root + file, 'utf8').replace(/^\s*(?:\*|\/\*\*|\/\/).*$/gm, '')
      for (const { index } of source.matchAll(literal)) found.push(`${file}: ${source.slice(index, index + 100).split('\n')[0]}`)
    }
    expect(found).to.deep.equal([])
  })
})
