/** The tables of docs/performance.md, and its charts. */
import type { Result } from '../results.js'
import type { Bar, Chart } from './chart.js'
import { type FiguresOf, type MemorySample, nodeOf, type Results } from './figures.js'
import { contestants, peerWorkloads } from './peers.js'
import { targetsOf, workloadTargets } from './targets.js'

/** One part of the page: its text, and a chart that it shows. */
export interface Section {
  readonly text: string
  readonly chart?: Chart
}

const two = (value: number): string => value.toFixed(2)
const MB = (value: number): string => `${value.toFixed(0)} MB`
const count = (value: number): string => value.toLocaleString('en-US')

const table = (head: readonly string[], rows: readonly (readonly string[])[]): string =>
  [`| ${head.join(' | ')} |`, `|${'---|'.repeat(head.length)}`, ...rows.map((cells) => `| ${cells.join(' | ')} |`)].join('\n')

/** Names what the figures were measured on. */
const caption = (results: readonly Result[]): string =>
  results
    .map(({ node, databases, cores, date }) => `Node ${node.slice(1)}, ${databases.join(' and ')}, ${cores} cores, ${date}`)
    .map((line) => `Measured on ${line}.`)
    .join(' ')

/** Writes requests as code. */
const coded = (text: string): string => text.replace(/^GET [\w/]+/, '`$&`')

const inPage = (chart: Chart, name: string): string => `![${chart.title}](plots/${name}.svg)`
const join = (...parts: readonly string[]): string => parts.filter((part) => part !== '').join('\n\n')

function http(results: Results): Section {
  const [plain, cached] = [results.of('http'), results.of('http-cached')]
  const rows = [...plain, ...cached].map((result) => ({
    title: `Node ${nodeOf(result)}${result.bench === 'http' ? '' : ', `cacheCallers`'}`,
    ratios: new Map(result.figures.map(({ workload, ratio }) => [workload, ratio])),
  }))
  const workloads = Object.keys(workloadTargets)
  const chart: Chart = {
    title: 'Requests per second relative to the handwritten server',
    groups: workloads.map((label) => ({
      label,
      bars: [
        ...rows.flatMap(({ title, ratios }): Bar[] => {
          const value = ratios.get(label)
          return value === undefined ? [] : [{ label: title.replaceAll('`', ''), value, text: two(value), kind: 'ours' }]
        }),
        { label: 'target', value: workloadTargets[label] ?? 0, text: two(workloadTargets[label] ?? 0), kind: 'target' },
      ],
    })),
  }
  const body = table(
    ['Version', ...workloads.map(coded)],
    [
      ...rows.map(({ title, ratios }) => [title, ...workloads.map((name) => two(ratios.get(name) ?? Number.NaN))]),
      ['target on Node 24', ...workloads.map((name) => two(workloadTargets[name] ?? Number.NaN))],
    ],
  )
  return { text: join(inPage(chart, 'http'), body, caption([...plain, ...cached])), chart }
}

function peers(results: Results): Section {
  const all = results.of('peers')
  const first = results.first('peers')
  const workloads = Object.entries(peerWorkloads)
  const titleOf = (result: (typeof all)[number], name: string): string => {
    const version = result.figures.versions[name]
    return `${contestants[name]?.title}${version ? ` ${version}` : ''}`
  }
  const chart: Chart = {
    title: `Requests per second relative to the handwritten server with Express and Knex, Node ${nodeOf(first)}`,
    groups: workloads.map(([key, label]) => ({
      label,
      bars: Object.entries(first.figures.ratios[key] ?? {})
        .sort(([, a], [, b]) => b - a)
        .map(([name, value]) => ({
          label: titleOf(first, name),
          value,
          text: two(value),
          kind: name.startsWith('ours') ? 'ours' : 'other',
        })),
    })),
  }
  const rows = Object.keys(contestants).flatMap((name) =>
    all
      .filter(({ figures }) => workloads.some(([key]) => figures.ratios[key]?.[name] !== undefined))
      .map((result) => [
        titleOf(result, name),
        String(nodeOf(result)),
        ...workloads.map(([key]) => two(result.figures.ratios[key]?.[name] ?? Number.NaN)),
      ]),
  )
  return {
    text: join(inPage(chart, 'peers'), table(['', 'Node', ...workloads.map(([, title]) => coded(title))], rows), caption(all)),
    chart,
  }
}

function perms(results: Results): Section {
  const all = results.of('perms')
  const columns = all.flatMap((result) => result.figures.map((figures) => ({ node: nodeOf(result), ...figures })))
  const operations = Object.keys(columns[0]?.operations ?? {})
  const rows = operations.map((name) => [name, ...columns.map((column) => two(column.operations[name] ?? Number.NaN))])
  return { text: join(table(['Operation', ...columns.map(({ node, database }) => `${database}, Node ${node}`)], rows), caption(all)) }
}

function growth(results: Results): Section {
  const all = results.of('growth')
  const first = results.first('growth')
  const sizes = [...new Set(all.flatMap(({ figures }) => figures.flatMap((one) => one.sizes)))].sort((a, b) => a - b)
  const rows = all.flatMap((result) =>
    result.figures.flatMap(({ database, operations, sizes: measured }) =>
      Object.entries(operations).map(([operation, times]) => {
        const base = times[0] ?? Number.NaN
        const cells = sizes.slice(1).map((size) => {
          const time = times[measured.indexOf(size)]
          return time === undefined ? '' : two(time / base)
        })
        return [`${operation}, ${database}, Node ${nodeOf(result)}`, `${base.toFixed(2)} ms`, ...cells]
      }),
    ),
  )
  const most = count(Math.max(...(first.figures[0]?.sizes ?? [0])))
  const chart: Chart = {
    title: `Time with ${most} rows relative to ${count(sizes[0] ?? 0)} rows`,
    groups: first.figures.map(({ database, operations }) => ({
      label: database,
      bars: Object.entries(operations).map(([label, times]) => {
        const value = (times.at(-1) ?? Number.NaN) / (times[0] ?? Number.NaN)
        return { label, value, text: two(value), kind: 'ours' }
      }),
    })),
  }
  return {
    text: join(inPage(chart, 'growth'), table(['Operation', ...sizes.map((size) => `${count(size)} rows`)], rows), caption(all)),
    chart,
  }
}

const serverTitles = {
  ours: 'objection-perms',
  limited: 'objection-perms, --max-semi-space-size=16',
  floor: 'handwritten',
}

function memory(results: Results): Section {
  const all = results.of('memory')
  const first = results.first('memory')
  const names = ['ours', 'limited', 'floor'] as const
  const shown = (list: readonly MemorySample[]): MemorySample[] => [0, 1, 5, 10].flatMap((i) => list[i] ?? [])
  const rows = all.flatMap((result) =>
    names.map((name) => {
      const samples = result.figures[name]
      const delays = samples
        .slice(1)
        .map(({ p99 }) => p99)
        .sort((a, b) => a - b)
      return [
        `${serverTitles[name].replace(/--\S+/, '`$&`')}, Node ${nodeOf(result)}`,
        ...shown(samples).map(({ rss }) => MB(rss)),
        `${(delays[Math.floor(delays.length / 2)] ?? Number.NaN).toFixed(1)} ms`,
      ]
    }),
  )
  const requests = shown(all[0]?.figures.ours ?? []).map((sample) => `${count(sample.requests)} requests`)
  const chart: Chart = {
    title: `Memory (RSS) after requests, Node ${nodeOf(first)}`,
    groups: names.map((name) => ({
      label: serverTitles[name],
      bars: shown(first.figures[name]).map((sample) => ({
        label: `${count(sample.requests)} requests`,
        value: sample.rss,
        text: MB(sample.rss),
        kind: name === 'floor' ? 'other' : 'ours',
      })),
    })),
  }
  return { text: join(inPage(chart, 'memory'), table(['Server', ...requests, 'p99 of the delay'], rows), caption(all)), chart }
}

function startUp(results: Results): Section {
  const all = results.of('start-up')
  const titles = { ours: 'objection-perms', plain: 'Express and Objection' }
  const rows = all.flatMap((result) =>
    result.figures.map(({ side, ms, rss }) => [`${titles[side]}, Node ${nodeOf(result)}`, `${ms} ms`, MB(rss)]),
  )
  const chart: Chart = {
    title: 'Time from the start of the process to the first answer, 60 models',
    groups: all.map((result) => ({
      label: `Node ${nodeOf(result)}`,
      bars: result.figures.map(({ side, ms }) => ({
        label: titles[side],
        value: ms,
        text: `${ms} ms`,
        kind: side === 'ours' ? 'ours' : 'other',
      })),
    })),
  }
  return { text: join(inPage(chart, 'start-up'), table(['Server', 'Time', 'Memory (RSS)'], rows), caption(all)), chart }
}

function targets(results: Results): Section {
  const rows = targetsOf(results).map(({ title, node, target, measured, isReached }) => [
    coded(title),
    String(node),
    target,
    measured,
    isReached ? 'yes' : '**no**',
  ])
  return { text: table(['Target', 'Node', 'Aim', 'Measured', 'Reached'], rows) }
}

const parts: readonly (readonly [keyof FiguresOf, (results: Results) => Section])[] = [
  ['perms', perms],
  ['http', http],
  ['peers', peers],
  ['growth', growth],
  ['memory', memory],
  ['start-up', startUp],
]

/** Returns the generated parts of the page by the name of their marker. */
export const sectionsOf = (results: Results): Readonly<Record<string, Section>> => ({
  targets: targets(results),
  ...Object.fromEntries(
    parts.map(([bench, make]) => [bench, results.of(bench).length > 0 ? make(results) : { text: 'This has not been measured yet.' }]),
  ),
})
