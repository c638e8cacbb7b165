import type { Knex } from 'knex'
import { withAdvisoryLock } from '../../../database/advisory-lock.js'
import type { Application } from '../../application/application.js'
import type { History } from '../../application/migrations.js'
import { CliError, firstLine } from '../../failure.js'

/** Runs the pending migrations of a history. @returns their names */
export function runPending(app: Application, history: History): Promise<string[]> {
  return inOneProcess(app, (knex) => knex.migrate.latest(history.settings))
}

/** Rolls back the last batch of a history. @returns the names of its migrations */
export function rollBack(app: Application, history: History): Promise<string[]> {
  return inOneProcess(app, (knex) => knex.migrate.rollback(history.settings))
}

/** Other processes that start at the same time wait. */
async function inOneProcess({ perms, run }: Application, fn: (knex: Knex) => Promise<[number, string[]]>): Promise<string[]> {
  try {
    const [, names] = await run(() => withAdvisoryLock(perms.knex, () => fn(perms.knex)))
    return names
  } catch (error) {
    if (!(error instanceof Error) || 'clientMessage' in error) throw error
    if (error.name === 'MigrationLocked') throw locked(error)
    throw new CliError(`A migration failed: ${firstLine(error)} Correct it, and run the command again.`, { cause: error })
  }
}

const locked = (cause: Error): CliError =>
  new CliError(
    'Another process is running migrations, or one ended in the middle. Wait for it; if there is none, release the lock with `npx knex migrate:unlock`.',
    { cause },
  )
