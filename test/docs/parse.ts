import ts from 'typescript-5.9'

/** The code blocks of a document that make up one program, each at its own line of the document. */
export interface Program {
  readonly document: string
  readonly name: string
  readonly extension: 'ts' | 'mjs' | 'cjs'
  /** The oldest version of Node that runs it, such as '22.13'; undefined for every version. */
  readonly since?: string | undefined
  /** The whole program; line N of it is line N of the document. */
  readonly text: string
}

const languages: Readonly<Record<string, Program['extension']>> = {
  ts: 'ts',
  typescript: 'ts',
  js: 'mjs',
  javascript: 'mjs',
  mjs: 'mjs',
  cjs: 'cjs',
}

const fence = /^(\s*)(`{3,}|~{3,})\s*(\w*)/
const marker = /^\s*<!--\s*snippet:\s*([\w-]+)(\s+continues)?(?:\s+on Node (\d+\.\d+))?\s*-->\s*$/
const hidden = /^\s*<!--\s*snippet hidden\s*$/

interface Draft {
  extension: Program['extension'] | undefined
  lines: string[]
  /** The source of each imported name, so that a later block may import it again. */
  imported: Map<string, string>
}

/**
 * Reads a Markdown document and returns its programs, in the order of their first block.
 * CONTRIBUTING.md says how a document marks where a program begins and where it goes on.
 *
 * @throws Error with the line where a marker or a block cannot be understood
 */
export function parseDocument(document: string, markdown: string): Program[] {
  const drafts = new Map<string, Draft>()
  const oldest = new Map<string, string>()
  const lines = markdown.split(/\r?\n/)
  let current = 'main'

  const add = (at: number, block: readonly string[], extension?: Program['extension']): void => {
    const draft = drafts.get(current) ?? { extension: undefined, lines: [], imported: new Map<string, string>() }
    drafts.set(current, draft)
    if (extension && draft.extension && extension !== draft.extension) {
      throw new Error(
        `${document}:${at}: the program '${current}' is in another language: begin one of its own with <!-- snippet: name -->`,
      )
    }
    draft.extension ??= extension
    while (draft.lines.length < at) draft.lines.push('')
    const code = extension === 'cjs' ? block.join('\n') : withoutRepeatedImports(block.join('\n'), draft.imported)
    draft.lines.push(...code.split('\n'))
  }

  /** The lines from `start` to the one that closes the block, and where that is. */
  const until = (start: number, isEnd: (line: string) => boolean): { block: string[]; end: number } => {
    const length = lines.slice(start).findIndex(isEnd)
    if (length < 0) throw new Error(`${document}:${start}: the block that begins here has no end`)
    return { block: lines.slice(start, start + length), end: start + length }
  }

  for (let i = 0; i < lines.length; i++) {
    const line = lines[i] ?? ''
    const mark = marker.exec(line)
    const open = fence.exec(line)
    if (mark) {
      const [, name = '', goesOn, since] = mark
      if (since !== undefined) oldest.set(name, since)
      if (drafts.has(name) !== Boolean(goesOn)) {
        throw new Error(`${document}:${i + 1}: the program '${name}' ${goesOn ? 'has not begun' : "is there already: write 'continues'"}`)
      }
      current = name
    } else if (hidden.test(line)) {
      const { block, end } = until(i + 1, (l) => l.trim() === '-->')
      add(i + 1, block)
      i = end
    } else if (/^\s*<!--\s*snippet/.test(line)) {
      throw new Error(`${document}:${i + 1}: this mark is not understood: ${line.trim()}`)
    } else if (open) {
      const [, indent = '', ticks = '', language = ''] = open
      const { block, end } = until(i + 1, (l) => l.trim().startsWith(ticks) && /^[`~]+$/.test(l.trim()))
      const extension = languages[language]
      const dedented = block.map((l) => (l.startsWith(indent) ? l.slice(indent.length) : l.trimStart()))
      if (extension) add(i + 1, dedented, extension)
      i = end
    }
  }
  return [...drafts].map(([name, { extension = 'ts', lines }]) => ({
    document,
    name,
    extension,
    since: oldest.get(name),
    text: `${lines.join('\n')}\n`,
  }))
}

/** Leaves out the names that an earlier block of the program imported from the same place; keeps every line where it was. */
function withoutRepeatedImports(code: string, imported: Map<string, string>): string {
  const source = ts.createSourceFile('block.ts', code, ts.ScriptTarget.ES2022, true)
  let result = ''
  let copied = 0
  for (const statement of source.statements) {
    if (!ts.isImportDeclaration(statement) || !statement.importClause) continue
    const start = statement.getStart()
    const text = code.slice(start, statement.end)
    result += code.slice(copied, start) + onlyNew(statement, text, imported)
    copied = statement.end
  }
  return result + code.slice(copied)
}

function onlyNew(statement: ts.ImportDeclaration, text: string, imported: Map<string, string>): string {
  const clause = statement.importClause
  const from = statement.moduleSpecifier.getText()
  let repeats = 0
  const isNew = (local: string, what: string): boolean => {
    const meaning = `${what} from ${from}`
    if (imported.get(local) === meaning) {
      repeats++
      return false
    }
    imported.set(local, meaning)
    return true
  }
  const parts: string[] = []
  const kind = clause?.phaseModifier === ts.SyntaxKind.TypeKeyword ? 'type ' : ''
  if (clause?.name && isNew(clause.name.text, `${kind}default`)) parts.push(clause.name.text)
  const bindings = clause?.namedBindings
  if (bindings && ts.isNamespaceImport(bindings)) {
    if (isNew(bindings.name.text, `${kind}*`)) parts.push(bindings.getText())
  } else if (bindings) {
    const names = bindings.elements.filter((e) => isNew(e.name.text, `${kind}${e.getText()}`)).map((e) => e.getText())
    if (names.length > 0) parts.push(`{ ${names.join(', ')} }`)
  }
  if (repeats === 0) return text
  const newlines = '\n'.repeat(text.split('\n').length - 1)
  return parts.length > 0 ? `import ${kind}${parts.join(', ')} from ${from}${newlines}` : newlines
}
