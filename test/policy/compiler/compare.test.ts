import { expect } from 'chai'
import fc from 'fast-check'
import { isLike } from '../../../src/policy/compiler/compare.js'

/** The same in terms of a regular expression. */
function byRegExp(value: string, pattern: string): boolean {
  const source = pattern.replace(/\\?[\s\S]/gu, (part) =>
    part === '%' ? '[^]*' : part === '_' ? '[^]' : `\\u{${part.codePointAt(part.length > 1 && part[0] === '\\' ? 1 : 0)?.toString(16)}}`,
  )
  return new RegExp(`^${source}$`, 'u').test(value)
}

describe('LIKE in memory', () => {
  it('matches like a regular expression', () => {
    const letters = fc.constantFrom('a', 'b', '😀', '.', '\n')
    const text = fc.array(letters, { maxLength: 8 }).map((list) => list.join(''))
    const pattern = fc
      .array(fc.oneof(letters, fc.constantFrom('%', '_', '\\%', '\\_', '\\\\')), { maxLength: 6 })
      .map((list) => list.join(''))
    fc.assert(
      fc.property(text, pattern, (value, like) => {
        expect(isLike(value, like), `${JSON.stringify(value)} like ${JSON.stringify(like)}`).to.equal(byRegExp(value, like))
      }),
      { numRuns: 5000 },
    )
  })

  it('reads % and _ literally after a backslash, and matches a character of two code units with _', () => {
    expect(['50%', '500'].map((value) => isLike(value, '50\\%'))).to.deep.equal([true, false])
    expect(['a_c', 'abc'].map((value) => isLike(value, 'a\\_c'))).to.deep.equal([true, false])
    expect(['a😀c', 'a😀😀c', 'ac'].map((value) => isLike(value, 'a_c'))).to.deep.equal([true, false, false])
  })
})
