/** The report of coverage, as text and as JSON. */
import type { LeafCounts } from './collector.js'

/** The outcomes of a leaf that the tests have not seen. */
export interface MissingOutcome {
  readonly model: string
  readonly action: string
  /** The place in the rule, such as `anyOf[1].owner`. */
  readonly path: string
  /** The leaf in words. */
  readonly words: string
  readonly outcome: boolean
}

/** How many outcomes of leaves the tests have seen. */
export interface CoverageSum {
  readonly seen: number
  readonly possible: number
  /** From 0 to 100. 100 if there are no leaves. */
  readonly percent: number
}

export interface ActionCoverage extends CoverageSum {
  readonly model: string
  readonly action: string
}

/** The outcomes of the leaves of policies that tests have seen. */
export interface CoverageReport {
  readonly total: CoverageSum
  /** By model and action, in the order of the policies. */
  readonly actions: readonly ActionCoverage[]
  readonly missing: readonly MissingOutcome[]
  /** How often each outcome of each leaf was seen. */
  readonly leaves: readonly LeafCounts[]
  /** The number of statements whose rows could not be examined. */
  readonly failures: number
}

/** Returns the report of counts. */
export function reportOf(leaves: readonly LeafCounts[], failures: number): CoverageReport {
  const places = [...new Map(leaves.map(({ model, action }) => [JSON.stringify([model, action]), { model, action }])).values()]
  const actions = places.map(({ model, action }) => ({
    model,
    action,
    ...sumOfLeaves(leaves.filter((leaf) => leaf.model === model && leaf.action === action)),
  }))
  return { total: sumOfLeaves(leaves), actions, missing: leaves.flatMap(missingIn), leaves, failures }
}

const missingIn = ({ model, action, path, words, outcomes, seen }: LeafCounts): MissingOutcome[] =>
  outcomes.filter((outcome) => seen[`${outcome}`] === 0).map((outcome) => ({ model, action, path, words, outcome }))

function sumOfLeaves(leaves: readonly LeafCounts[]): CoverageSum {
  const possible = leaves.reduce((sum, { outcomes }) => sum + outcomes.length, 0)
  const seen = possible - leaves.flatMap(missingIn).length
  return { seen, possible, percent: possible === 0 ? 100 : Math.floor((10_000 * seen) / possible) / 100 }
}

/** Returns the report as a table, and the outcomes that are missing. */
export function reportLines({ total, actions, missing, failures }: CoverageReport): string[] {
  const rows = actions.map((one) => [`${one.model}.${one.action}`, `${one.seen} of ${one.possible}`, one.percent.toFixed(2)])
  const table = [['Policy', 'Outcomes', '%'], ...rows, ['All', `${total.seen} of ${total.possible}`, total.percent.toFixed(2)]]
  const widths = [0, 1, 2].map((i) => Math.max(...table.map((row) => (row[i] as string).length)))
  const line = (row: readonly string[]) =>
    row.map((cell, i) => (i === 0 ? cell.padEnd(widths[i] as number) : cell.padStart(widths[i] as number))).join(' | ')
  const [head, ...body] = table.map(line)
  return [
    ...[head as string, widths.map((width) => '-'.repeat(width)).join('-|-'), ...body],
    ...(missing.length > 0 ? ['', 'Outcomes that no test has seen:', ...missing.map(missingLine)] : []),
    ...(failures > 0 ? ['', `Statements whose rows could not be examined: ${failures}.`] : []),
  ]
}

const missingLine = ({ model, action, path, words, outcome }: MissingOutcome): string =>
  `- ${model}.${action}: ${words} was never ${outcome} (${path})`
