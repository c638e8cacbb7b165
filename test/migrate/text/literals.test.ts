import { expect } from 'chai'
import { codeString, codeTemplate, inComment, sqlName, sqlString } from '../../../src/migrate/text/literals.js'

const awkward = [
  'plain',
  "a'); process.exit(1); ('",
  'back\\slash',
  '\\',
  "\\'",
  // biome-ignore lint/suspicious/noTemplateCurlyInString: text that looks like code
  '${process.exit(1)}',
  '`',
  '\\`',
  'new\nline\r\n',
  'que?stion ?? \\? :a :b:',
  'separator \u2028 \u2029 \u0085',
  'right to left \u202e',
  '*/ // <!-- -->',
  'half \ud800 pair',
  'emoji 😀',
  '\0',
  '"double"',
]

const evaluated = (code: string): unknown => new Function(`'use strict'; return ${code}`)()

describe('Literals of migrations', () => {
  for (const text of awkward) {
    const name = JSON.stringify(text)

    it(`are the same text in code: ${name}`, () => {
      expect(evaluated(codeString(text))).to.equal(text)
      expect(codeString(text)).to.not.match(/[\n\r\u2028\u2029\u0085\u202e]/)
    })

    it(`are the same text in a template: ${name}`, () => {
      expect(evaluated(codeTemplate([text, text]).join('\n'))).to.equal(`${text}\n${text}`)
    })

    it(`cannot end a comment: ${name}`, () => {
      expect(inComment(text)).to.not.match(/[\n\r\u2028\u2029]/)
    })

    it(`contain no placeholder of Knex on PostgreSQL: ${name}`, () => {
      expect(sqlString('pg', text)).to.not.include('?')
      expect(sqlName('pg', text)).to.not.include('?')
    })
  }
})
