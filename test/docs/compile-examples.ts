import { join, relative } from 'node:path'
import { fileURLToPath } from 'node:url'
import ts from 'typescript-5.9'
import { type Example, moduleOf } from './examples.js'

const packageRoot = fileURLToPath(new URL('../../', import.meta.url))
/** Declares the names that examples use without declaring them. */
const prelude = join(packageRoot, 'test/docs/fixtures/example-names.ts')
/** Where the modules of examples would lie; they exist in memory only. */
const folder = join(packageRoot, 'test/docs/example-')

const options: ts.CompilerOptions = {
  target: ts.ScriptTarget.ES2022,
  module: ts.ModuleKind.NodeNext,
  moduleResolution: ts.ModuleResolutionKind.NodeNext,
  lib: ['lib.es2023.d.ts'],
  types: ['node'],
  strict: true,
  noUncheckedIndexedAccess: true,
  exactOptionalPropertyTypes: true,
  noImplicitOverride: true,
  allowUnusedLabels: false,
  skipLibCheck: true,
  baseUrl: packageRoot,
  noEmit: true,
  paths: {
    'objection-perms': [join(packageRoot, 'src/index.ts')],
    'objection-perms/testing': [join(packageRoot, 'src/testing/index.ts')],
    'objection-perms/*': [join(packageRoot, 'src/adapters/*.ts')],
  },
}

/**
 * Compiles the examples strictly, against the sources, and returns the errors at their lines in the source files.
 * An example that augments a module is a program of its own, because it changes types everywhere.
 */
export function errorsOfExamples(examples: readonly Example[]): string[] {
  const isApart = ({ code }: Example) => /^declare (?:module|global)\b/m.test(code)
  const programs = [examples.filter((example) => !isApart(example)), ...examples.filter(isApart).map((example) => [example])]
  const known = new Map<string, ts.SourceFile | undefined>()
  return programs.flatMap((program) => errorsOfProgram(program, known))
}

/** Checks the examples, but not the sources: `npm run typecheck` does. */
function errorsOfProgram(examples: readonly Example[], known: Map<string, ts.SourceFile | undefined>): string[] {
  const named = new Map(examples.map((example, i) => [`${folder}${i}.ts`, { example, text: moduleOf(example) }]))
  const host = ts.createCompilerHost(options)
  const program = ts.createProgram([...named.keys(), prelude], options, {
    ...host,
    fileExists: (name) => named.has(name) || host.fileExists(name),
    readFile: (name) => named.get(name)?.text ?? host.readFile(name),
    getSourceFile: (name, version) => {
      const text = named.get(name)?.text
      if (text !== undefined) return ts.createSourceFile(name, text, version)
      if (!known.has(name)) known.set(name, host.getSourceFile(name, version))
      return known.get(name)
    },
  })
  const messagesOf = (name: string) => {
    const source = program.getSourceFile(name)
    return [...program.getSyntacticDiagnostics(source), ...program.getSemanticDiagnostics(source)].map((found) => ({
      line: source?.getLineAndCharacterOfPosition(found.start ?? 0).line ?? 0,
      text: messageOf(found),
    }))
  }
  return [
    ...[...program.getOptionsDiagnostics(), ...program.getGlobalDiagnostics()].map(messageOf),
    ...messagesOf(prelude).map(({ line, text }) => `${relative(packageRoot, prelude)}:${line + 1}: ${text}`),
    // The first line of a module is that of the imports.
    ...[...named].flatMap(([name, { example }]) =>
      messagesOf(name).map(({ line, text }) => `${example.file}:${example.line + line - 1}: ${text}`),
    ),
  ]
}

const messageOf = ({ code, messageText }: ts.Diagnostic): string => `TS${code}: ${ts.flattenDiagnosticMessageText(messageText, '\n')}`
