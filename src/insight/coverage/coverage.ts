/** Starts and ends the coverage of this process. */
import type { Model } from 'objection'
import { modelClass } from '../../schema/model-class.js'
import { CoverageCollector } from './collector.js'
import { observePolicies } from './observe.js'

type Models = readonly (abstract new (...args: never[]) => Model)[]

/** The variable that names the folder of the files. */
export const COVERAGE_VARIABLE = 'OBJECTION_PERMS_COVERAGE'

interface Running {
  readonly collector: CoverageCollector
  readonly stop: () => void
}

/** The coverage of this process. Tests call initPerms() many times, so it outlives the runtimes. */
const processCoverage: { running: Running | undefined } = { running: undefined }

/** Starts the coverage of models in this process, or adds the models to it. */
export function startCoverage(models: Models, folder: string | undefined): CoverageCollector {
  processCoverage.running ??= start(folder)
  const { collector } = processCoverage.running
  collector.add(models)
  return collector
}

function start(folder: string | undefined): Running {
  const collector = new CoverageCollector(folder)
  return { collector, stop: observePolicies(collector) }
}

/** Ends the coverage of this process, and writes the file. */
export function endCoverage(): void {
  processCoverage.running?.stop()
  processCoverage.running?.collector.end()
  processCoverage.running = undefined
}

/** Starts the coverage if the environment names a folder. Never in production. */
export function startCoverageOfEnvironment(models: Models): void {
  const folder = process.env[COVERAGE_VARIABLE]
  if (folder === undefined || folder === '' || process.env['NODE_ENV'] === 'production') return
  startCoverage(models.map(modelClass), folder)
}
