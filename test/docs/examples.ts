import { readdirSync, readFileSync } from 'node:fs'
import { join, sep } from 'node:path'
import { fileURLToPath } from 'node:url'
import ts from 'typescript-5.9'

const packageRoot = fileURLToPath(new URL('../../', import.meta.url))

/** The text of one `@example` tag. */
export interface Example {
  /** Relative to the package, with slashes. */
  readonly file: string
  /** The line of the file where the code begins, counted from 1. */
  readonly line: number
  readonly code: string
}

/** Returns the files of TypeScript below a folder of the package, relative to the package. */
export const sourcesBelow = (folder: string): string[] =>
  readdirSync(join(packageRoot, folder), { recursive: true, encoding: 'utf8' })
    .filter((name) => name.endsWith('.ts'))
    .map((name) => join(folder, name).split(sep).join('/'))
    .sort()

/** Returns the examples in the docstrings of a file, in their order. */
export function examplesIn(file: string, text: string): Example[] {
  const source = ts.createSourceFile(file, text, ts.ScriptTarget.Latest, true)
  const found = new Map<number, Example>()
  const visit = (node: ts.Node): void => {
    for (const tag of ts.getJSDocTags(node)) {
      if (tag.tagName.text !== 'example') continue
      const code = ts.getTextOfJSDocComment(tag.comment) ?? ''
      const start = tag.tagName.end + text.slice(tag.tagName.end).search(/[^\s*]/)
      found.set(tag.pos, { file, line: source.getLineAndCharacterOfPosition(start).line + 1, code })
    }
    ts.forEachChild(node, visit)
  }
  visit(source)
  return [...found.values()].sort((a, b) => a.line - b.line)
}

const known = new Map<string, readonly string[]>()

/** Returns the names that a file exports. A re-export of everything is followed. */
function exportsOf(file: string): readonly string[] {
  const found = known.get(file)
  if (found) return found
  const source = ts.createSourceFile(file, readFileSync(join(packageRoot, file), 'utf8'), ts.ScriptTarget.Latest, true)
  const names = source.statements.flatMap((statement): readonly string[] => {
    if (ts.isExportDeclaration(statement)) {
      const { exportClause, moduleSpecifier } = statement
      if (exportClause && ts.isNamedExports(exportClause)) return exportClause.elements.map(({ name }) => name.text)
      const from = moduleSpecifier && ts.isStringLiteral(moduleSpecifier) ? moduleSpecifier.text.replace(/\.js$/, '.ts') : ''
      return from.startsWith('.') ? exportsOf(join(file, '..', from)) : []
    }
    const isExported =
      ts.canHaveModifiers(statement) && ts.getModifiers(statement)?.some(({ kind }) => kind === ts.SyntaxKind.ExportKeyword)
    return isExported ? declaredNames(statement) : []
  })
  known.set(file, names)
  return names
}

function declaredNames(statement: ts.Statement): string[] {
  const names: string[] = []
  const add = (name: ts.BindingName | ts.DeclarationName | undefined): void => {
    if (!name) return
    if (ts.isIdentifier(name)) names.push(name.text)
    else if (ts.isObjectBindingPattern(name) || ts.isArrayBindingPattern(name))
      for (const element of name.elements) if (ts.isBindingElement(element)) add(element.name)
  }
  if (ts.isVariableStatement(statement)) for (const { name } of statement.declarationList.declarations) add(name)
  else if (ts.isImportDeclaration(statement)) {
    const { name, namedBindings } = statement.importClause ?? {}
    add(name)
    if (namedBindings && ts.isNamedImports(namedBindings)) for (const element of namedBindings.elements) add(element.name)
    else add(namedBindings?.name)
  } else if (ts.isFunctionDeclaration(statement) || ts.isClassDeclaration(statement) || ts.isInterfaceDeclaration(statement))
    add(statement.name)
  else if (ts.isTypeAliasDeclaration(statement)) add(statement.name)
  return names
}

const entryPoints = [
  'src/index.ts',
  'src/testing/index.ts',
  'src/testing/conformance/index.ts',
  ...['express', 'koa', 'fastify', 'hono', 'fetch', 'node'].map((name) => `src/adapters/${name}.ts`),
]

/**
 * Returns the example as a module. Its first line imports the names that the example uses from its own file and from the package;
 * all others are those of fixtures/example-names.ts.
 */
export function moduleOf({ file, code }: Example): string {
  const source = ts.createSourceFile('example.ts', code, ts.ScriptTarget.Latest, true)
  const declared = new Set(source.statements.flatMap(declaredNames))
  const used = new Set<string>()
  const visit = (node: ts.Node): void => {
    if (ts.isIdentifier(node) && !declared.has(node.text)) used.add(node.text)
    ts.forEachChild(node, visit)
  }
  visit(source)
  const imports = [file, ...entryPoints].map((from) => {
    const names = exportsOf(from).filter((name) => used.delete(name))
    return names.length > 0 ? `import { ${names.join(', ')} } from '../../${from.replace(/\.ts$/, '.js')}'; ` : ''
  })
  return `${imports.join('')}export {}\n${code}\n`
}
