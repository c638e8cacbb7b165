/** The files with figures of the benches, which plots.ts makes tables and plots of. */
import { statSync, writeFileSync } from 'node:fs'
import { availableParallelism } from 'node:os'
import { join } from 'node:path'

/** The figures of one bench on one version of Node. */
export interface Result<Figures = unknown> {
  readonly bench: string
  readonly node: string
  readonly databases: readonly string[]
  readonly cores: number
  readonly date: string
  readonly figures: Figures
}

/** Returns the middle value of a list. */
export const median = (list: readonly number[]): number => [...list].sort((a, b) => a - b)[Math.floor(list.length / 2)] ?? Number.NaN

/** Rounds a number to significant digits, for files that people read. */
export const rounded = (value: number, digits = 4): number => Number(value.toPrecision(digits))

/** Returns a result of this process, which runs on the Node and the machine of the servers. */
export function resultOf<Figures>(bench: string, databases: readonly string[], figures: Figures): Result<Figures> {
  const date = new Date().toISOString().slice(0, 10)
  return { bench, node: process.version, databases, cores: availableParallelism(), date, figures }
}

/** Writes a result to a file. If `target` is a folder, the file is called after the bench and the version of Node, such as `http-node24.json`. */
export function writeResult(result: Result, target: string): void {
  const isFolder = statSync(target, { throwIfNoEntry: false })?.isDirectory()
  const major = /\d+/.exec(result.node)?.[0]
  // Lists of plain values on one line.
  const text = JSON.stringify(result, null, 2).replace(/\[[^[\]{}]+\]/g, (list) =>
    list.replace(/\s+/g, ' ').replace('[ ', '[').replace(' ]', ']'),
  )
  writeFileSync(isFolder ? join(target, `${result.bench}-node${major}.json`) : target, `${text}\n`)
}

/** Writes the figures of a bench to the file or folder that the environment variable JSON names. Without it, does nothing. */
export function saveResult(bench: string, databases: readonly string[], figures: unknown): void {
  if (process.env.JSON) writeResult(resultOf(bench, databases, figures), process.env.JSON)
}
