import { escapeHtml } from '../escape-html.js'
import type { MatrixCell, PermissionMatrix } from './matrix.js'

type Content = Pick<PermissionMatrix, 'callers' | 'models'>

const WIDTH = 34
const HEIGHT = 22
const LEFT = 220
const TOP = 150

const colors = { all: '#1b7f4b', some: '#e0a526', none: '#d8dade' } as const

const style = `body { font: 15px/1.5 system-ui, sans-serif; margin: 2rem auto; max-width: 75rem; padding: 0 1rem; color: #1c1f23; background: #fff }
table { border-collapse: collapse; margin: 1rem 0; display: block; overflow-x: auto }
th, td { border: 1px solid #c9ccd1; padding: .3rem .5rem; text-align: left; vertical-align: top; font-size: 13px }
.all { background: #d5eedf } .some { background: #faefcf } .none { background: #f1f2f4 }
svg { max-width: 100%; height: auto } svg text { font: 12px system-ui, sans-serif; fill: currentColor }
@media (prefers-color-scheme: dark) {
  body { color: #e6e8eb; background: #16181b } th, td { border-color: #3b3f45 }
  .all { background: #1d4a33 } .some { background: #5a4515 } .none { background: #24272b }
}`

/** Returns a matrix as a page of its own: a heat map, and a table with the conditions for each model. */
export function matrixHtml(content: Content, title: string): string {
  return `<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>${escapeHtml(title)}</title>
<style>
${style}
</style>
</head>
<body>
<h1>${escapeHtml(title)}</h1>
${heatMap(content)}
${content.models.map((model) => tableOf(content.callers, model)).join('\n')}
</body>
</html>
`
}

function heatMap({ callers, models }: Content): string {
  const rows = models.flatMap(({ name, actions }) => actions.map(({ action, cells }) => ({ label: `${name}: ${action}`, cells })))
  const width = LEFT + callers.length * WIDTH + TOP
  const height = TOP + rows.length * HEIGHT + 40
  const heads = callers.map((name, i) => {
    const x = LEFT + i * WIDTH + WIDTH / 2
    return `<text x="${x}" y="${TOP - 8}" transform="rotate(-45 ${x} ${TOP - 8})">${escapeHtml(name)}</text>`
  })
  const lines = rows.flatMap(({ label, cells }, i) => [
    `<text x="${LEFT - 8}" y="${TOP + i * HEIGHT + 15}" text-anchor="end">${escapeHtml(label)}</text>`,
    ...cells.map((cell, j) => square(label, cell, LEFT + j * WIDTH, TOP + i * HEIGHT)),
  ])
  const legend = (Object.keys(colors) as (keyof typeof colors)[]).map((access, i) => {
    const [x, y] = [LEFT + i * 80, height - 24]
    return `<rect x="${x}" y="${y}" width="14" height="14" fill="${colors[access]}"/><text x="${x + 20}" y="${y + 12}">${access}</text>`
  })
  return [
    `<svg viewBox="0 0 ${width} ${height}" width="${width}" role="img" aria-label="Heat map: callers by model and action">`,
    ...heads,
    ...lines,
    ...legend,
    '</svg>',
  ].join('\n')
}

function square(label: string, { caller, access, condition }: MatrixCell, x: number, y: number): string {
  const title = `${label}, ${caller}: ${condition ?? access}`
  return `<rect x="${x}" y="${y}" width="${WIDTH - 2}" height="${HEIGHT - 2}" fill="${colors[access]}"><title>${escapeHtml(title)}</title></rect>`
}

function tableOf(callers: readonly string[], { name, always, actions }: Content['models'][number]): string {
  const head = ['', ...callers].map((one) => `<th scope="col">${escapeHtml(one)}</th>`).join('')
  const rows = actions.map(
    ({ action, cells }) =>
      `<tr><th scope="row">${escapeHtml(action)}</th>${cells
        .map(({ access, condition }) => `<td class="${access}">${escapeHtml(condition ?? access)}</td>`)
        .join('')}</tr>`,
  )
  const notes = always.map((one) => `<p>Always ${escapeHtml(one)}</p>`)
  return [`<h2>${escapeHtml(name)}</h2>`, ...notes, `<table>`, `<tr>${head}</tr>`, ...rows, `</table>`].join('\n')
}
