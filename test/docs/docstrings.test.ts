import { readFileSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import { expect } from 'chai'
import ts from 'typescript-5.9'

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
})
