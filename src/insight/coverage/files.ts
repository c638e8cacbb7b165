/** The files in which processes keep the outcomes that they have seen. */
import { readdirSync, readFileSync, rmSync } from 'node:fs'
import { join } from 'node:path'
import { ConfigurationError } from '../../core/errors.js'
import { type LeafCounts, sumOf } from './collector.js'
import { type CoverageReport, reportOf } from './report.js'

const isCoverageFile = (name: string): boolean => /^policies-\d+-[\w-]+\.json$/.test(name)

function filesIn(folder: string): string[] {
  try {
    return readdirSync(folder).filter(isCoverageFile).sort()
  } catch (error) {
    if (error instanceof Error && 'code' in error && error.code === 'ENOENT') return []
    throw error
  }
}

interface Kept {
  readonly leaves: readonly LeafCounts[]
  readonly failures: number
}

/**
 * Returns the sums of all files of a folder.
 *
 * @throws ConfigurationError if there is no file, and for a file of another version
 */
export function reportOfFolder(folder: string): CoverageReport {
  const kept = filesIn(folder).map((name) => read(join(folder, name)))
  if (kept.length === 0)
    throw new ConfigurationError(`${folder} has no coverage of policies. Run the tests with OBJECTION_PERMS_COVERAGE=${folder} first.`)
  return reportOf(
    sumOf(kept.map(({ leaves }) => leaves)),
    kept.reduce((sum, { failures }) => sum + failures, 0),
  )
}

function read(path: string): Kept {
  const unreadable = new ConfigurationError(`${path} is not a file of this version. Delete the folder, and run the tests again.`)
  let found: unknown
  try {
    found = JSON.parse(readFileSync(path, 'utf8'))
  } catch (error) {
    if (error instanceof SyntaxError) throw unreadable
    throw error
  }
  if (!isKept(found)) throw unreadable
  return found
}

function isKept(found: unknown): found is Kept {
  const { version, leaves, failures } = (found ?? {}) as Record<string, unknown>
  return version === 1 && typeof failures === 'number' && Array.isArray(leaves) && leaves.every(isCounts)
}

function isCounts(leaf: unknown): leaf is LeafCounts {
  const { model, action, path, words, outcomes, seen } = (leaf ?? {}) as Record<string, unknown>
  const counts = (seen ?? {}) as Record<string, unknown>
  const isText = [model, action, path, words].every((one) => typeof one === 'string')
  return isText && Array.isArray(outcomes) && typeof counts['true'] === 'number' && typeof counts['false'] === 'number'
}

/** Deletes the files of a folder. @returns their number */
export function deleteCoverage(folder: string): number {
  const names = filesIn(folder)
  for (const name of names) rmSync(join(folder, name))
  return names.length
}
