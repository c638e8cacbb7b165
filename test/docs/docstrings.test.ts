import { readFileSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import { expect } from 'chai'
import ts from 'typescript-5.9'
import { errorsOfExamples } from './compile-examples.js'
import { examplesIn, sourcesBelow } from './examples.js'

const root = fileURLToPath(new URL('../../', import.meta.url))

/** The source files behind the entry points of package.json. */
function entryPoints(): string[] {
  const { exports } = JSON.parse(readFileSync(`${root}package.json`, 'utf8')) as { exports: Record<string, string | { default: string }> }
  return Object.values(exports)
    .filter((entry) => typeof entry === 'object')
    .map((entry) => `${root}${entry.default.replace('./dist/', 'src/').replace(/\.js$/, '.ts')}`)
}

/** Lists the exported functions, classes and constants, each with its declaration. */
function exportedValues(entries: readonly string[]): Map<string, ts.Declaration> {
  const options = { module: ts.ModuleKind.NodeNext, moduleResolution: ts.ModuleResolutionKind.NodeNext, target: ts.ScriptTarget.ES2022 }
  const program = ts.createProgram(entries, options)
  const checker = program.getTypeChecker()
  const found = new Map<string, ts.Declaration>()
  for (const entry of entries) {
    const module = checker.getSymbolAtLocation(program.getSourceFile(entry) as ts.SourceFile)
    for (const symbol of module ? checker.getExportsOfModule(module) : []) {
      const target = symbol.flags & ts.SymbolFlags.Alias ? checker.getAliasedSymbol(symbol) : symbol
      if (target.valueDeclaration) found.set(symbol.name, target.valueDeclaration)
    }
  }
  return found
}

describe('Docstrings', () => {
  it('of all exported functions, classes and constants have an example', function () {
    this.timeout(60_000)
    const values = exportedValues(entryPoints())
    expect(values.size).to.be.greaterThan(90)
    const hasExample = (declaration: ts.Declaration) => ts.getJSDocTags(declaration).some(({ tagName }) => tagName.text === 'example')
    expect([...values].filter(([, declaration]) => !hasExample(declaration)).map(([name]) => name)).to.deep.equal([])
  })

  describe('with examples', function () {
    this.timeout(120_000)
    // A file of the package without exports, so that the errors of planted examples are told apart.
    const planted = 'test/docs/fixtures/example-names.ts'
    const wrong = [
      ['TS2353', 'const options: PermsOptions = { knex, jwt, colour: 1 }'],
      ['TS7028', 'read: everyone()'],
      ['TS2551', 'await user.grantRol(Role.ADMIN)'],
      ['TS2304', 'const critter = await Critter.getOr404(xyzzy)'],
      ['TS2322', 'const rows: string = await Critter.query()'],
      ['TS1005', 'const list = [1'],
      ['TS2345', "declare module 'objection-perms' { interface Register { roles: 'agent' } }\nrole('agent')\nrole('agnet')"],
    ] as const
    let errors: string[]

    before(() => {
      const examples = sourcesBelow('src').flatMap((file) => {
        const text = readFileSync(`${root}${file}`, 'utf8')
        const found = examplesIn(file, text)
        expect(found, `every @example of ${file} is found`).to.have.length(text.match(/@example\s/g)?.length ?? 0)
        return found
      })
      const others = wrong.map(([, code], i) => ({ file: planted, line: 1000 * (i + 1), code }))
      errors = errorsOfExamples([...examples, ...others])
    })

    it('all compile', () => {
      expect(errors.filter((line) => !line.startsWith(planted))).to.deep.equal([])
    })

    wrong.forEach(([error], i) => {
      it(`a planted wrong example fails with ${error} at its line`, () => {
        const line = new RegExp(`^${planted}:${i + 1}00[0-2]: ${error}: `)
        expect(errors.filter((text) => line.test(text))).to.have.length(1)
      })
    })
  })
})
