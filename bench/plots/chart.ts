/** Bar charts as SVG. All figures are text, too, and the background is the chart's own, so that it is readable on every page. */

export interface Bar {
  readonly label: string
  readonly value: number
  /** The value as it is printed. */
  readonly text: string
  readonly kind: 'ours' | 'other' | 'target'
}

export interface Chart {
  readonly title: string
  readonly groups: readonly { readonly label: string; readonly bars: readonly Bar[] }[]
}

const width = 760
const labels = 290
const longest = 380
const row = 20
const gap = 10

const style = `
    text { font: 13px system-ui, sans-serif; fill: #1f2328 }
    .title { font-size: 15px; font-weight: 600 }
    .group { font-weight: 600 }
    .background { fill: #ffffff }
    .ours { fill: #0969da }
    .other { fill: #8c959f }
    .target { fill: none; stroke: #57606a; stroke-dasharray: 3 2 }
    @media (prefers-color-scheme: dark) {
      text { fill: #e6edf3 }
      .background { fill: #0d1117 }
      .ours { fill: #58a6ff }
      .other { fill: #6e7681 }
      .target { stroke: #9198a1 }
    }`

const escaped = (text: string): string => text.replaceAll('&', '&amp;').replaceAll('<', '&lt;').replaceAll('>', '&gt;')

/** Returns a chart as text for readers who do not see it. */
const description = ({ groups }: Chart): string =>
  groups.map(({ label, bars }) => `${label}: ${bars.map((bar) => `${bar.label} ${bar.text}`).join(', ')}.`).join(' ')

/** Returns the SVG of a chart with horizontal bars, in the order of its groups. */
export function svgOf(chart: Chart): string {
  const most = Math.max(...chart.groups.flatMap(({ bars }) => bars.map(({ value }) => value)))
  const lines: string[] = []
  let y = 30
  for (const { label, bars } of chart.groups) {
    y += gap + row
    lines.push(`<text class="group" x="12" y="${y - 5}">${escaped(label)}</text>`)
    for (const bar of bars) {
      const length = Math.max(1, Math.round((bar.value / most) * longest))
      lines.push(
        `<text x="${labels - 8}" y="${y + 14}" text-anchor="end">${escaped(bar.label)}</text>`,
        `<rect class="${bar.kind}" x="${labels}" y="${y + 3}" width="${length}" height="${row - 6}"/>`,
        `<text x="${labels + length + 6}" y="${y + 14}">${escaped(bar.text)}</text>`,
      )
      y += row
    }
  }
  const height = y + 14
  return `<svg xmlns="http://www.w3.org/2000/svg" width="${width}" height="${height}" viewBox="0 0 ${width} ${height}" role="img" aria-labelledby="title desc">
  <title id="title">${escaped(chart.title)}</title>
  <desc id="desc">${escaped(description(chart))}</desc>
  <style>${style}
  </style>
  <rect class="background" width="${width}" height="${height}" rx="6"/>
  <text class="title" x="12" y="24">${escaped(chart.title)}</text>
  ${lines.join('\n  ')}
</svg>
`
}
