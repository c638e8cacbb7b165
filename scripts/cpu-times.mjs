/**
 * Prints the processor time of tests, the most expensive first. Wall time says little on a machine that others use too.
 *
 *     CPU_TIMES=times.jsonl npx mocha --require ./test/helpers/cpu-times.ts --parallel 'test/**\/*.test.ts'
 *     node scripts/cpu-times.mjs times.jsonl [files|folders|databases|tests] [TEXT]
 *
 * TEXT chooses lines by their path or title. The time of a child process counts for the test during which it was found to have ended.
 */
import { readFileSync } from 'node:fs'

const [path, by = 'files', text = ''] = process.argv.slice(2)
const databaseOf = (title) => /\((sqlite3|better-sqlite3|pg|mysql2)\)/.exec(title)?.[1] ?? 'none'
const keys = {
  files: ({ path }) => path,
  folders: ({ path }) => path.split('/').slice(0, 3).join('/'),
  databases: ({ title, isTest }) => (isTest ? databaseOf(title) : 'loading files, ending processes'),
  tests: ({ path, title }) => `${path} ${title}`,
}
const keyOf = keys[by]
if (path === undefined || keyOf === undefined) throw new Error('node scripts/cpu-times.mjs FILE [files|folders|databases|tests] [TEXT]')

const sums = new Map()
for (const line of readFileSync(path, 'utf8').trim().split('\n').map(JSON.parse)) {
  if (!`${line.path} ${line.title}`.includes(text)) continue
  for (const key of ['all', keyOf(line)]) {
    const sum = sums.get(key) ?? { own: 0, children: 0, wall: 0, tests: 0 }
    sum.own += line.own
    sum.children += line.children
    sum.wall += line.wall
    if (line.isTest) sum.tests += 1
    sums.set(key, sum)
  }
}
const columns = (values) => values.map((value) => String(value).padStart(10)).join('')
console.log(`${columns(['own s', 'children s', 'wall s', 'tests'])}  ${by}`)
for (const [key, { own, children, wall, tests }] of [...sums].sort(([, a], [, b]) => b.own + b.children - a.own - a.children))
  console.log(`${columns([own.toFixed(1), children.toFixed(1), wall.toFixed(1), tests])}  ${key}`)
