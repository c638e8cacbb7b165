import { resolve } from 'node:path'
import { COVERAGE_VARIABLE } from '../../insight/coverage/coverage.js'
import { deleteCoverage, reportOfFolder } from '../../insight/coverage/files.js'
import { reportLines } from '../../insight/coverage/report.js'
import { defineCommand } from '../command.js'
import { CliError } from '../failure.js'

/** `objection-perms coverage` */
export const coverageCommand = defineCommand({
  usesApplication: false,
  options: {
    folder: { type: 'string', value: 'FOLDER', summary: `The folder of the counts. Default: ${COVERAGE_VARIABLE}, or coverage/policies.` },
    threshold: { type: 'string', value: 'PERCENT', summary: 'The exit code is 1 if the tests have seen less of the outcomes.' },
    clean: { type: 'boolean', summary: 'Delete the counts of earlier runs, and report nothing.' },
  },
  details: [
    `Run the tests with ${COVERAGE_VARIABLE}=FOLDER first. Each process of the tests that calls initPerms() adds a file to the folder.`,
    'An outcome is that a leaf of a rule, such as owner(), was true or false for an action. The models are those of initPerms({ models }).',
  ],
  example: 'npx objection-perms coverage --threshold 100',
  async run({ options, cwd }) {
    const threshold = thresholdOf(options.threshold)
    const shown = options.folder ?? (process.env[COVERAGE_VARIABLE] || 'coverage/policies')
    const folder = resolve(cwd, shown)
    if (options.clean) {
      const deleted = deleteCoverage(folder)
      return { lines: [`Deleted ${deleted} files in ${shown}.`], json: { deleted } }
    }
    const report = reportOfFolder(folder)
    const isLow = threshold !== undefined && report.total.percent < threshold
    const verdict = isLow ? ['', `${report.total.percent} % is less than the threshold of ${threshold} %.`] : []
    return { lines: [...reportLines(report), ...verdict], json: report, isNegative: isLow }
  },
})

function thresholdOf(given: string | undefined): number | undefined {
  if (given === undefined) return undefined
  if (/^\d{1,3}(\.\d{1,2})?$/.test(given) && Number(given) <= 100) return Number(given)
  throw new CliError(`--threshold ${given}: use a percentage from 0 to 100.`)
}
