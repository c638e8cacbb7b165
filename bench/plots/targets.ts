/** The targets of the project, and whether the figures reach them. */
import { nodeOf, type Results } from './figures.js'

/** Requests per second of the Express adapter on Node 24, relative to the handwritten server. */
export const workloadTargets: Readonly<Record<string, number>> = {
  'GET /me': 2.3,
  'list of 20 with total': 1.2,
  'get one': 1,
  'create one': 0.8,
}
const growthTarget = 1.3
const memoryTarget = 2
/** A process is flat if its second half of requests adds less than this factor. */
const flatTarget = 1.1

interface Target {
  readonly title: string
  readonly node: number
  readonly target: string
  readonly measured: string
  readonly isReached: boolean
}

/** Returns each target with what was measured, on each version of Node that it is about. */
export function targetsOf(results: Results): Target[] {
  const found: Target[] = []
  const add = (title: string, node: number, aim: number, measured: number, isLeast = false) => {
    // As it is printed, so that the table does not contradict itself.
    const shown = measured.toFixed(2)
    const isReached = isLeast ? Number(shown) >= aim : Number(shown) <= aim
    found.push({ title, node, target: `at ${isLeast ? 'least' : 'most'} ${aim.toFixed(1)}`, measured: shown, isReached })
  }
  for (const result of results.of('http').filter((one) => nodeOf(one) === 24)) {
    for (const { workload, ratio } of result.figures) {
      add(`${workload}, relative to the handwritten server`, nodeOf(result), workloadTargets[workload] ?? Number.NaN, ratio, true)
    }
  }
  for (const result of results.of('memory')) {
    const { ours, floor } = result.figures
    const [half, last, least] = [ours[ours.length >> 1]?.rss, ours.at(-1)?.rss, floor.at(-1)?.rss].map((rss) => rss ?? Number.NaN) as [
      number,
      number,
      number,
    ]
    const requests = ours.at(-1)?.requests.toLocaleString('en-US')
    add(`memory after ${requests} requests, relative to the handwritten server`, nodeOf(result), memoryTarget, last / least)
    add(`memory after ${requests} requests, relative to half of them`, nodeOf(result), flatTarget, last / half)
  }
  for (const result of results.of('growth')) {
    const grown = result.figures.flatMap(({ operations }) =>
      Object.values(operations).flatMap(([base = Number.NaN, ...times]) => times.map((time) => time / base)),
    )
    const sizes = result.figures.flatMap((one) => one.sizes)
    const range = [Math.min(...sizes), Math.max(...sizes)].map((size) => size.toLocaleString('en-US'))
    add(`slowest growth of a request, from ${range.join(' to ')} rows`, nodeOf(result), growthTarget, Math.max(...grown))
  }
  return found
}
