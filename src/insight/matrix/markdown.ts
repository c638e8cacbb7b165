import type { MatrixModel, PermissionMatrix } from './matrix.js'

type Content = Pick<PermissionMatrix, 'callers' | 'models'>

/** Returns a matrix as Markdown. */
export function matrixMarkdown({ callers, models }: Content, title: string): string {
  return [`# ${title}`, ...models.map((model) => modelMarkdown(callers, model))].join('\n\n').concat('\n')
}

function modelMarkdown(callers: readonly string[], { name, always, actions }: MatrixModel): string {
  const conditions = new Map<string, number>()
  const numberOf = (words: string): number => {
    const known = conditions.get(words) ?? conditions.size + 1
    conditions.set(words, known)
    return known
  }
  const rows = actions.map(({ action, cells }) =>
    row([action, ...cells.map(({ access, condition }) => (condition === undefined ? access : `some (${numberOf(condition)})`))]),
  )
  const notes = [
    ...always.map((one) => `- Always ${cell(one)}`),
    ...[...conditions].map(([words, number]) => `- (${number}) ${cell(words)}`),
  ]
  return [
    `## ${name}`,
    '',
    row([' ', ...callers]),
    row(['---', ...callers.map(() => '---')]),
    ...rows,
    ...(notes.length > 0 ? ['', ...notes] : []),
  ].join('\n')
}

const row = (cells: readonly string[]): string => `| ${cells.map(cell).join(' | ')} |`

// Text of rules, such as a value in where(), must not change the table or the page.
const cell = (text: string): string => text.replace(/[\\|<>*_`[\]]/g, (c) => `\\${c}`).replace(/\s+/g, ' ')
