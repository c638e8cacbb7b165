// Fails on an import that points up the layers of src/, on an import from a package that only one layer may know, on a name of an
// undocumented part of Objection or Knex outside of the two files for these, on import.meta, on an import of node:http, and on a map in
// CONTRIBUTING.md that differs from the folders.
//
//   node scripts/check-imports.mjs [src]
//
// Prints one line for each problem and exits with 1, or says how many files are in order and exits with 0.
import { readdirSync, readFileSync } from 'node:fs'
import { dirname, join, relative, resolve, sep } from 'node:path'
import ts from 'typescript-5.9'

/** From the bottom up: a file imports from its own layer and from those before it in this list. */
const layers = [
  ...['version.ts', 'core', 'runtime.ts', 'schema', 'database', 'query', 'record', 'policy', 'enforce', 'mixins', 'users', 'auth', 'http'],
  ...['insight', 'adapters', 'migrations.ts', 'setup', 'migrate', 'init.ts', 'index.ts', 'testing', 'cli'],
]

/**
 * The files that name undocumented parts of Objection and Knex, for all others. Objection and Knex begin these names with `_` or
 * `$$`, so the members of this library's own objects must not.
 */
const internalsFiles = ['query/objection-internals.ts', 'database/knex-internals.ts']
/** A Knex client extends a dialect of Knex. The file may use nothing else that is undocumented. */
const extendedDialects = { 'database/node-sqlite/client.ts': 'knex/lib/dialects/better-sqlite3/index.js' }
const isInternalName = (name) => /^(?:\$\$|_{1,2}(?!proto__$))[a-z]/i.test(name)

/** Members of other packages' objects that begin with an underscore. */
const otherMembers = {
  // Body parsers of Express set it on the request.
  'adapters/node-http.ts': ['_body'],
}

/** Web frameworks are known to their adapters alone: everything else works without any of them installed. */
const frameworks = ['express', 'koa', '@koa/router', '@koa/bodyparser', 'fastify', 'hono', '@hono/node-server', '@hapi/hapi', 'ws']

const root = resolve(process.argv[2] ?? 'src')

const files = readdirSync(root, { recursive: true, encoding: 'utf8' })
  .map((name) => name.split(sep).join('/'))
  .filter((name) => /\.[cm]?tsx?$/.test(name))
  .sort()

const sources = new Map()

const problems = files.flatMap((file) => importsOf(file).flatMap((found) => problemWith(file, found)))

const internalNames = new Set(internalsFiles.flatMap((file) => (files.includes(file) ? membersNamedBy(file).map(({ name }) => name) : [])))

problems.push(
  ...files.flatMap(problemsWithMembers),
  ...files.flatMap(problemsWithImportMeta),
  ...files.flatMap(problemsWithHttp),
  ...circles(),
  ...problemsOfMap(),
)

for (const problem of problems) console.log(problem)
if (problems.length > 0) process.exitCode = 1
else console.log(`Imports point down in all ${files.length} files of ${relative(process.cwd(), root) || '.'}.`)

/** The syntax tree of a file, which is read once. */
function sourceOf(file) {
  if (!sources.has(file)) sources.set(file, ts.createSourceFile(file, readFileSync(join(root, file), 'utf8'), ts.ScriptTarget.Latest, true))
  return sources.get(file)
}

/** Every module a file names: imports, re-exports, dynamic imports, import types, require; type-only ones too. */
function importsOf(file) {
  const text = readFileSync(join(root, file), 'utf8')
  const { importedFiles } = ts.preProcessFile(text, true, true)
  return importedFiles.map(({ fileName, pos }) => ({ name: fileName, line: text.slice(0, pos).split('\n').length }))
}

function problemWith(file, { name, line }) {
  const message = name.startsWith('.') ? problemWithPath(file, name) : problemWithPackage(file, name)
  return message ? [`${file}:${line}: '${name}' ${message}`] : []
}

function problemWithPath(file, name) {
  const target = relative(root, resolve(root, dirname(file), name))
    .split(sep)
    .join('/')
    .replace(/\.js$/, '.ts')
  // The packaged migrations stand beside src/ and dist/.
  if (file === 'migrations.ts' && target === '../migrations/index.ts') return undefined
  if (target.startsWith('../')) return 'leaves the sources'
  const [from, to] = [layerOf(file), layerOf(target)]
  if (!layers.includes(from)) return `is imported by ${from}, which is none of the layers (${layers.join(', ')})`
  if (!layers.includes(to)) return `leads to ${to}, which is none of the layers`
  return layers.indexOf(to) <= layers.indexOf(from) ? undefined : `points up: ${to} is above ${from}`
}

function problemWithPackage(file, name) {
  if (/^(?:objection|knex)\/(?!package\.json$)/.test(name) && !internalsFiles.includes(file) && extendedDialects[file] !== name) {
    return `uses undocumented parts of a package: only ${internalsFiles.join(' and ')} may`
  }
  const known = frameworks.some((framework) => name === framework || name.startsWith(`${framework}/`))
  if (known && layerOf(file) !== 'adapters') return 'is a web framework: only adapters/ may know it'
  return undefined
}

/** The folder under src/, or the name of a file that lies at the root. */
function layerOf(file) {
  return file.split('/')[0]
}

/** The members that a file names like undocumented ones of Objection and Knex: accessed, destructured, declared or quoted. */
function membersNamedBy(file) {
  const source = sourceOf(file)
  const found = []
  const visit = (node) => {
    const name = memberNamedBy(node)
    if (name !== undefined && isInternalName(name))
      found.push({ name, isQuoted: ts.isStringLiteralLike(node), line: source.getLineAndCharacterOfPosition(node.getStart()).line + 1 })
    ts.forEachChild(node, visit)
  }
  visit(source)
  return found
}

function memberNamedBy(node) {
  if (ts.isStringLiteralLike(node)) return node.text
  if (!ts.isIdentifier(node)) return undefined
  const { parent } = node
  const isMember =
    (ts.isPropertyAccessExpression(parent) && parent.name === node) ||
    (ts.isBindingElement(parent) && ts.isObjectBindingPattern(parent.parent) && (parent.propertyName ?? parent.name) === node) ||
    ((ts.isTypeElement(parent) || ts.isClassElement(parent) || ts.isObjectLiteralElement(parent)) && parent.name === node)
  return isMember ? node.text : undefined
}

function problemsWithMembers(file) {
  if (internalsFiles.includes(file)) return []
  return membersNamedBy(file)
    .filter(({ name, isQuoted }) => (isQuoted ? internalNames.has(name) : !otherMembers[file]?.includes(name)))
    .map(
      ({ name, line }) =>
        `${file}:${line}: '${name}' is an undocumented part of Objection or Knex: only ${internalsFiles.join(' and ')} may name it`,
    )
}

/** Uses of `import.meta`, which CommonJS does not have: Jest and bundles that convert the package would fail. */
function problemsWithImportMeta(file) {
  const source = sourceOf(file)
  const found = []
  const visit = (node) => {
    if (ts.isMetaProperty(node) && node.keywordToken === ts.SyntaxKind.ImportKeyword) {
      const line = source.getLineAndCharacterOfPosition(node.getStart()).line + 1
      found.push(
        `${file}:${line}: 'import.meta' does not exist in CommonJS, which Jest and bundles use: call currentFile() of core/current-file.ts`,
      )
    }
    ts.forEachChild(node, visit)
  }
  visit(source)
  return found
}

/** Modules that a file needs when it is evaluated: type-only imports are left out. */
function neededBy(file) {
  const source = sourceOf(file)
  return source.statements.flatMap((statement) => {
    if (!ts.isImportDeclaration(statement) && !ts.isExportDeclaration(statement)) return []
    const { moduleSpecifier: from } = statement
    if (!from?.text.startsWith('.')) return []
    const target = relative(root, resolve(root, dirname(file), from.text.replace(/\.js$/, '.ts')))
    return isTypeOnly(statement) ? [] : [target.split(sep).join('/')]
  })
}

/** Whether an import or re-export names types alone. */
function isTypeOnly(statement) {
  const clause = ts.isImportDeclaration(statement) ? statement.importClause : statement
  const named = ts.isImportDeclaration(statement) ? clause?.namedBindings : statement.exportClause
  return clause?.isTypeOnly || (!clause?.name && named?.elements?.length > 0 && named.elements.every((element) => element.isTypeOnly))
}

/** Imports of node:http. They read all of its exports, and one of these loads undici: 30 ms and 5 MB at every start. */
function problemsWithHttp(file) {
  if (file.startsWith('testing/')) return []
  const source = sourceOf(file)
  return source.statements
    .filter((node) => ts.isImportDeclaration(node) && node.moduleSpecifier.text === 'node:http' && !isTypeOnly(node))
    .map((node) => {
      const line = source.getLineAndCharacterOfPosition(node.getStart()).line + 1
      return `${file}:${line}: 'node:http' loads undici when it is imported: use import type, or process.getBuiltinModule()`
    })
}

/** One line for each file that imports itself through others. */
function circles() {
  const needs = new Map(files.map((file) => [file, neededBy(file)]))
  const found = []
  const done = new Set()
  const visit = (file, trail) => {
    const start = trail.indexOf(file)
    if (start >= 0) return void found.push(`${file}: imports itself through ${trail.slice(start + 1).join(', ')}`)
    if (done.has(file)) return
    for (const next of needs.get(file) ?? []) visit(next, [...trail, file])
    done.add(file)
  }
  for (const file of files) visit(file, [])
  return found
}

/** The folders that the map in CONTRIBUTING.md names, compared with those of src/. */
function problemsOfMap() {
  let text
  try {
    text = readFileSync(join(root, '..', 'CONTRIBUTING.md'), 'utf8')
  } catch {
    return []
  }
  const map = /^src\/\n((?: {2}.*\n)+)/m.exec(text)?.[1] ?? ''
  const named = [...map.matchAll(/^ {2}([\w.-]+)\/ /gm)].map(([, name]) => name)
  const folders = readdirSync(root, { withFileTypes: true }).flatMap((entry) => (entry.isDirectory() ? [entry.name] : []))
  return [
    ...named
      .filter((name) => !folders.includes(name))
      .map((name) => `CONTRIBUTING.md: the map of src/ names '${name}', which is not there`),
    ...folders.filter((name) => !named.includes(name)).map((name) => `CONTRIBUTING.md: the map of src/ lacks '${name}'`),
  ]
}
