import { escapeHtml } from '../escape-html.js'
import type { RowExplanation } from './explanation.js'
import type { ExplanationNode } from './tree.js'

/**
 * Returns an explanation as text, as JSON, or as an HTML page that needs no other file.
 *
 * @example console.log(formatExplanation(await explain(Critter, 'update', user, critter), 'text'))
 */
export function formatExplanation(explanation: RowExplanation, format: 'text' | 'json' | 'html'): string {
  if (format === 'json')
    return JSON.stringify(explanation, (_key, value: unknown) => (typeof value === 'bigint' ? String(value) : value), 2)
  return format === 'html' ? htmlOf(explanation) : textOf(explanation)
}

const answerOf = ({ question, allowed }: RowExplanation) => `${question}: ${allowed ? 'allowed' : 'refused'}`

const rowsOf = ({ rows, relatedRows }: ExplanationNode): string =>
  rows === undefined ? '' : relatedRows === undefined ? ` (${rows})` : ` (${rows} of ${relatedRows})`

const fieldOf = ({ field, rule, words }: RowExplanation['fields'][number]) => `${field}.${rule}: ${words}`

const changeOf = ({ words, allowed }: RowExplanation['counterfactuals'][number]) => `${allowed ? 'allowed' : 'refused'} ${words}`

// -- text

/** Returns the tree of an explanation as lines of text. */
export function treeLines(node: ExplanationNode, depth = 0): string[] {
  const line = `${'  '.repeat(depth)}${node.truth ? '✓' : '✗'} ${node.words}${rowsOf(node)}`
  return [line, ...node.children.flatMap((child) => treeLines(child, depth + 1))]
}

function textOf(explanation: RowExplanation): string {
  const { tree, fields, counterfactuals } = explanation
  const changes = counterfactuals.map((one) => `- ${changeOf(one)}`)
  return [
    answerOf(explanation),
    '',
    ...treeLines(tree),
    ...(fields.length > 0 ? ['', 'Columns with rules of their own:'] : []),
    ...fields.map((field) => `  ${field.allowed ? '✓' : '✗'} ${fieldOf(field)}`),
    ...(changes.length > 0 ? ['', 'It would be:', ...changes] : []),
    '',
  ].join('\n')
}

// -- HTML

const style = `body { font: 15px/1.5 system-ui, sans-serif; margin: 2rem auto; max-width: 60rem; padding: 0 1rem; color: #1c1f23; background: #fff }
ul { list-style: none; padding-left: 1.2rem } .yes::before { content: "✓ "; color: #1b7f4b } .no::before { content: "✗ "; color: #b3261e }
code { white-space: pre-wrap; overflow-wrap: anywhere }
@media (prefers-color-scheme: dark) { body { color: #e6e8eb; background: #16181b } }`

const item = (truth: boolean, text: string, inner = '') =>
  `<li><span class="${truth ? 'yes' : 'no'}">${escapeHtml(text)}</span>${inner}</li>`

const list = (items: readonly string[]): string => (items.length > 0 ? `<ul>${items.join('')}</ul>` : '')

const nodeItem = (node: ExplanationNode): string => item(node.truth, node.words + rowsOf(node), list(node.children.map(nodeItem)))

function htmlOf(explanation: RowExplanation): string {
  const { tree, fields, counterfactuals, statement } = explanation
  const title = escapeHtml(answerOf(explanation))
  const columns = fields.map((field) => item(field.allowed, fieldOf(field)))
  return `<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>${title}</title>
<style>
${style}
</style>
</head>
<body>
<h1>${title}</h1>
${list([nodeItem(tree)])}
${columns.length > 0 ? `<h2>Columns with rules of their own</h2>\n${list(columns)}` : ''}
${counterfactuals.length > 0 ? `<h2>It would be</h2>\n${list(counterfactuals.map((one) => item(one.allowed, changeOf(one))))}` : ''}
<h2>SQL</h2>
<code>${escapeHtml(statement)}</code>
</body>
</html>
`
}
