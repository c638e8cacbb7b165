import { expect } from 'chai'
import { examplesIn, moduleOf } from './examples.js'

describe('The examples in docstrings', () => {
  it('finds examples of functions, members, overloads and one-line docstrings, with their lines', () => {
    const text = [
      '/** Adds. @example add(1, 2) */',
      'export function add(a: number, b: number): number',
      '/**',
      ' * Adds.',
      ' * @example add(1)',
      ' * @example',
      ' * if (a) {',
      ' *   add(2)',
      ' * }',
      ' */',
      'export function add(a: number): number',
      'export interface A {',
      '  /** @example a.b() */',
      '  b(): void',
      '}',
    ].join('\n')
    expect(examplesIn('a.ts', text)).to.deep.equal([
      { file: 'a.ts', line: 1, code: 'add(1, 2)' },
      { file: 'a.ts', line: 5, code: 'add(1)' },
      { file: 'a.ts', line: 7, code: 'if (a) {\n  add(2)\n}' },
      { file: 'a.ts', line: 13, code: 'a.b()' },
    ])
  })

  it('imports the names that an example uses and does not declare', () => {
    const code = 'const owner = 1\nconst policy: Policy = { read: everyone() }\nasSystem(() => owner)'
    expect(moduleOf({ file: 'src/policy/rules.ts', line: 1, code }).split('\n')[0]).to.equal(
      "import { Policy, everyone } from '../../src/policy/rules.js'; import { asSystem } from '../../src/index.js'; export {}",
    )
  })
})
