/**
 * Measures the processor time of each test, which does not depend on how busy the machine is: see scripts/cpu-times.mjs. A line counts
 * everything since the line before it in the same process. So hooks count for the test that follows them. Linux only.
 */
import { appendFileSync, readFileSync } from 'node:fs'
import { performance } from 'node:perf_hooks'

const file = process.env['CPU_TIMES']
const TICKS_PER_SECOND = 100

/** Seconds of user and system time of the child processes that have ended, as Linux counts them. */
function secondsOfChildren(): number {
  const stat = readFileSync('/proc/self/stat', 'utf8')
  const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ')
  return (Number(fields[13]) + Number(fields[14])) / TICKS_PER_SECOND
}

function now(): { own: number; children: number; wall: number } {
  const { user, system } = process.cpuUsage()
  return { own: (user + system) / 1e6, children: secondsOfChildren(), wall: performance.now() / 1000 }
}

let last = { own: 0, children: 0, wall: 0 }

function report(path: string, title: string, isTest: boolean): void {
  if (file === undefined) return
  const current = now()
  const line = {
    pid: process.pid,
    path,
    title,
    isTest,
    own: current.own - last.own,
    children: current.children - last.children,
    wall: current.wall - last.wall,
  }
  last = current
  appendFileSync(file, `${JSON.stringify(line)}\n`)
}

const relative = (path: string | undefined) => (path ?? '').replace(`${process.cwd()}/`, '')

export const mochaHooks = {
  beforeAll(this: Mocha.Context): void {
    const [suite] = this.test?.parent?.suites ?? []
    report(relative(suite?.file), '(load)', false)
  },
  afterEach(this: Mocha.Context): void {
    const test = this.currentTest
    report(relative(test?.file), test?.fullTitle() ?? '', true)
  },
  afterAll(this: Mocha.Context): void {
    const [suite] = this.test?.parent?.suites ?? []
    report(relative(suite?.file), '(end)', false)
  },
}
