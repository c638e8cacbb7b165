/** The released 0.1.0: its sources from the history of git, and the databases that it filled. */
import { execFileSync } from 'node:child_process'
import { mkdirSync, readFileSync, rmSync, symlinkSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import type { Knex } from 'knex'
import type { UserModelName } from './application.js'
import type { Credentials } from './fill.js'

/** The last commit that was released as 0.1.0. */
export const RELEASE_COMMIT = '4e78b66497f7f1a5850a272347c0720b4f8eddf8'

export const repository = fileURLToPath(new URL('../../', import.meta.url))
const fixtures = new URL('../fixtures/0.1.0/', import.meta.url)

export type Dialect = 'sqlite' | 'pg' | 'mysql'

const extensions = { rows: 'sql', credentials: 'json', statements: 'jsonl' } as const

/** The file of a fixture: what a database holds (`sql`), its plain credentials, or the statements of a 0.1.0 process. */
export function fixtureFile(kind: keyof typeof extensions, dialect: Dialect, model: UserModelName): string {
  return fileURLToPath(new URL(`${dialect}-${model}-${kind}.${extensions[kind]}`, fixtures))
}

/**
 * Unpacks 0.1.0 from the history of git into a folder that it creates.
 *
 * @returns undefined, or why it is not possible, as in a shallow clone
 */
export function unpackRelease(folder: string): string | undefined {
  mkdirSync(folder, { recursive: true })
  try {
    const archive = execFileSync('git', ['archive', RELEASE_COMMIT, 'src', 'migrations', 'package.json', 'tsconfig.json'], {
      cwd: repository,
      maxBuffer: 64 * 1024 * 1024,
      stdio: ['ignore', 'pipe', 'ignore'],
    })
    execFileSync('tar', ['-x', '-C', folder], { input: archive })
  } catch {
    return `The history of git does not contain ${RELEASE_COMMIT.slice(0, 7)}, which was released as 0.1.0: fetch it with 'git fetch --unshallow'.`
  }
  symlinkSync(join(repository, 'node_modules'), join(folder, 'node_modules'))
  return undefined
}

export function removeRelease(folder: string): void {
  rmSync(folder, { recursive: true, force: true })
}

/** Loads the rows that 0.1.0 wrote into an empty database. @returns the plain credentials of these rows */
export async function loadRows(knex: Knex, dialect: Dialect, model: UserModelName): Promise<Credentials> {
  const text = readFileSync(fixtureFile('rows', dialect, model), 'utf8')
  // One connection, since the MariaDB dump switches the check of foreign keys off for its own session.
  await knex.transaction(async (trx) => {
    for (const statement of text.split(/;\n/)) if (statement.trim() !== '') await trx.raw(statement)
  })
  return JSON.parse(readFileSync(fixtureFile('credentials', dialect, model), 'utf8')) as Credentials
}

/** One statement that a 0.1.0 process sent. */
export interface SentStatement {
  readonly sql: string
  readonly bindings: readonly unknown[]
}

/** Reads recorded statements. Dates are stored as `{ $date }`. */
export function readStatements(dialect: Dialect, model: UserModelName): SentStatement[] {
  const revive = (_key: string, value: unknown) =>
    value !== null && typeof value === 'object' && '$date' in value ? new Date(value.$date as string) : value
  const lines = readFileSync(fixtureFile('statements', dialect, model), 'utf8')
    .trim()
    .split('\n')
  return lines.map((line) => JSON.parse(line, revive) as SentStatement)
}

/** Returns a statement as one line, which readStatements() reads. */
export function statementLine({ sql, bindings }: SentStatement): string {
  const values = bindings.map((value) => (value instanceof Date ? { $date: value.toISOString() } : value))
  return JSON.stringify({ sql, bindings: values })
}
