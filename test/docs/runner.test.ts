import { readFileSync } from 'node:fs'
import { expect } from 'chai'
import { type Program, parseDocument } from './parse.js'
import { type Compiled, compile } from './run.js'

const fixture = (name: string) => parseDocument(name, readFileSync(new URL(`fixtures/${name}`, import.meta.url), 'utf8'))

describe('The runner of the snippets', () => {
  describe('reads a document', () => {
    it('as programs: blocks in order, each at its own line', () => {
      const [main] = parseDocument('x.md', '# Title\n\n```ts\nconst a = 1\n```\n\nText.\n\n```ts\nconst b = 2\n```\n')
      expect(main?.text.split('\n')).to.deep.equal(['', '', '', 'const a = 1', '', '', '', '', '', 'const b = 2', ''])
    })

    it('without blocks of other languages, and without blocks inside those', () => {
      expect(parseDocument('x.md', '````md\n```ts\nnonsense(\n```\n````\n```sh\nls\n```\n')).to.deep.equal([])
    })

    it('with only the new names of a repeated import', () => {
      const [main] = parseDocument(
        'x.md',
        "```ts\nimport A, { b } from 'm'\n```\n```ts\nimport A, { b, c as d } from 'm'\nimport A2 from 'n'\n```\n",
      )
      expect(main?.text.trim().split('\n').filter(Boolean)).to.deep.equal([
        "import A, { b } from 'm'",
        "import { c as d } from 'm'",
        "import A2 from 'n'",
      ])
    })

    it('with the oldest version of Node that runs a program', () => {
      const programs = parseDocument('x.md', '```ts\n1\n```\n<!-- snippet: late on Node 22.13 -->\n```ts\n2\n```\n')
      expect(programs.map(({ name, since }) => [name, since])).to.deep.equal([
        ['main', undefined],
        ['late', '22.13'],
      ])
    })

    const refused = [
      [
        'a program that begins twice',
        '<!-- snippet: a -->\n```ts\n1\n```\n<!-- snippet: a -->\n',
        /x\.md:5: the program 'a' is there already/,
      ],
      ['a program that goes on before it began', '<!-- snippet: a continues -->\n', /x\.md:1: the program 'a' has not begun/],
      ['a mark that is not understood', '<!-- snippet skip -->\n', /x\.md:1: this mark is not understood/],
      ['two languages in one program', '```ts\n1\n```\n```js\n1\n```\n', /x\.md:4: the program 'main' is in another language/],
      ['a block without an end', '```ts\n1\n', /x\.md:1: the block that begins here has no end/],
    ] as const
    for (const [what, markdown, message] of refused) {
      it(`refusing ${what}`, () => {
        expect(() => parseDocument('x.md', markdown)).to.throw(message)
      })
    }
  })

  describe('compiles and runs', function () {
    this.timeout(60_000)
    const programs = ['story.md', 'wrong-type.md', 'fails.md'].flatMap(fixture)
    const named = (document: string, name: string) => programs.find((p) => p.document === document && p.name === name) as Program
    let compiled: Compiled
    let shared: Compiled
    before(async () => {
      compiled = await compile(programs)
      const fails = programs.filter(({ name }) => name === 'apart' || name === 'throws')
      shared = await compile(fails, { shareProcess: true })
    })
    after(() => {
      compiled?.remove()
      shared?.remove()
    })

    it('a program to its end, with its hidden checks', async () => {
      const main = named('story.md', 'main')
      expect(compiled.errorsOf(main)).to.deep.equal([])
      expect(await compiled.run(main)).to.equal('checked ant\nmain again true\n')
    })

    it('each program on its own, in an empty folder', async () => {
      const apart = named('story.md', 'apart')
      expect(compiled.errorsOf(apart)).to.deep.equal([])
      expect(await compiled.run(apart)).to.equal('apart 7 false\n')
    })

    it('programs one after the other in one process, with the same results', async () => {
      const run = (name: string) => shared.run(named(name === 'throws' ? 'fails.md' : 'story.md', name))
      expect(await run('apart')).to.equal('apart 7 false\n')
      const error = await run('throws').catch((failure: Error) => failure.message)
      expect(error).to.match(/fails\.md:4[\s\S]*the snippet is wrong/)
      expect(await run('apart')).to.equal('apart 7 false\n')
    })

    it('JavaScript, imported and required', async () => {
      expect(await compiled.run(named('story.md', 'plain'))).to.equal('plain b\n')
      expect(await compiled.run(named('story.md', 'required'))).to.equal('required d\n')
    })

    it('and names a wrong type with its line in the document, for the program that has it', () => {
      expect(compiled.errorsOf(named('wrong-type.md', 'main'))).to.deep.equal([
        "wrong-type.md:5: error TS2322: Type 'string' is not assignable to type 'number'.",
      ])
      expect(compiled.errorsOf(named('wrong-type.md', 'fine'))).to.deep.equal([])
    })

    const failing = [
      [
        'an error that is thrown, with its line and what was printed before',
        'throws',
        /before it fails[\s\S]*fails\.md:4[\s\S]*the snippet is wrong/,
      ],
      ['a program that does not end', 'hangs', /did not end within 1.5 s/],
      ['an await that never settles', 'waits', /ended with 13/],
    ] as const
    for (const [what, name, message] of failing) {
      it(`and fails on ${what}`, async () => {
        const result = await compiled.run(named('fails.md', name), name === 'hangs' ? 1500 : 60_000).then(
          () => undefined,
          (error: Error) => error.message,
        )
        expect(result).to.match(message)
      })
    }
  })
})
