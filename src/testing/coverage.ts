import { AssertionError } from 'node:assert'
import type { Model } from 'objection'
import { COVERAGE_VARIABLE, endCoverage, startCoverage } from '../insight/coverage/coverage.js'
import { reportOfFolder } from '../insight/coverage/files.js'
import { type CoverageReport, reportLines, reportOf } from '../insight/coverage/report.js'

export type { LeafCounts } from '../insight/coverage/collector.js'
export type { CoverageLeaf } from '../insight/coverage/leaves.js'
export type { ActionCoverage, CoverageReport, CoverageSum, MissingOutcome } from '../insight/coverage/report.js'

export interface PolicyCoverageOptions {
  /** The models whose policies are counted. Default: those of `initPerms({ models })`, if the environment variable is set. */
  models?: readonly (abstract new (...args: never[]) => Model)[] | undefined
  /** A folder for the counts of all processes. Default: OBJECTION_PERMS_COVERAGE. Without both, only this process counts. */
  folder?: string | undefined
}

/** The outcomes of policies that the tests have seen. */
export interface PolicyCoverage {
  /** Returns the counts of all processes that use the folder, up to now. */
  report(): CoverageReport
  /** Returns the report as a table. */
  toText(): string
  /** Throws if the tests have seen less than a percentage of the outcomes. @throws AssertionError with the report */
  expectAtLeast(percent: number): void
  /** Ends the measurement. Nothing is examined any more. */
  stop(): void
}

/**
 * Starts to count the outcomes of policies: for each leaf of each rule, whether the tests have seen it true and false, by action. It
 * examines the rows that reads, writes and questions such as `row.can()` judge, with additional statements. Without it, nothing is
 * examined.
 *
 * Not counted are code in asSystem(), admins who bypass a rule (except for `role('admin')`), resultSize(), global scopes, and rules of columns.
 *
 * @example
 * const coverage = policyCoverage({ models: [Critter] })
 * // Run the tests, then:
 * coverage.expectAtLeast(100)
 */
export function policyCoverage({
  models = [],
  folder = process.env[COVERAGE_VARIABLE] || undefined,
}: PolicyCoverageOptions = {}): PolicyCoverage {
  const collector = startCoverage(models, folder)
  const report = (): CoverageReport => {
    if (folder === undefined) return reportOf(collector.counts(), collector.failures)
    collector.save()
    return reportOfFolder(folder)
  }
  return {
    report,
    toText: () => `${reportLines(report()).join('\n')}\n`,
    expectAtLeast(percent) {
      const found = report()
      if (found.total.percent >= percent) return
      const message = `The tests have seen ${found.total.percent} % of the outcomes of policies, less than ${percent} %.\n${reportLines(found).join('\n')}`
      throw new AssertionError({ message, actual: found.total.percent, expected: percent, operator: '>=' })
    },
    stop: endCoverage,
  }
}
