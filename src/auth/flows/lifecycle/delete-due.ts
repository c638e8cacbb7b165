/** The job that deletes the accounts that are due. It can be ended at any time, and several processes may run it. */

import { ConfigurationError, PermsError } from '../../../core/errors.js'
import { newId } from '../../../core/ids.js'
import { assertKnownOptions } from '../../../core/known-options.js'
import { outsideTransaction } from '../../../database/transaction.js'
import { asAnonymous, asSystem } from '../../../policy/context.js'
import type { UserId } from '../../../policy/registered-types.js'
import { tableOf } from '../../../schema/class-statics.js'
import { AccountDeletion, type DeletionReport } from '../../../users/account-deletion.js'
import { existsNow } from '../../../users/lifecycle/existing-tables.js'
import type { AuthCore } from '../../core.js'
import { LEASE, LeaseLostError, runDeletion } from './run-deletion.js'

/** Options of `perms.deleteDueAccounts()`. */
export interface DueAccountsOptions {
  /** The most accounts to delete. @defaultValue 100 */
  readonly limit?: number | undefined
  /** The most rows that one transaction changes, 1 to 10,000. @defaultValue 500 */
  readonly batch?: number | undefined
  /** Stops the work before the next batch. The next call continues. */
  readonly signal?: AbortSignal | undefined
}

/** The result of `perms.deleteDueAccounts()`. */
export interface DueAccountsReport {
  readonly deleted: readonly { readonly userId: UserId; readonly report: DeletionReport }[]
  /** The accounts that could not be deleted. They are tried again later. */
  readonly failed: readonly { readonly userId: UserId; readonly problem: string }[]
}

/** Milliseconds until the next attempt: a minute, doubled after each one, at most a day. */
const pauseAfter = (attempts: number): number => Math.min(60_000 * 2 ** Math.min(attempts, 20), 86_400_000)

/** Implements `perms.deleteDueAccounts()`. @throws ConfigurationError for an invalid option */
export async function deleteDueAccounts(core: AuthCore, options: DueAccountsOptions = {}): Promise<DueAccountsReport> {
  assertKnownOptions(options, { limit: true, batch: true, signal: true }, 'perms.deleteDueAccounts')
  const { limit = 100, batch = 500, signal } = options
  assertWholeNumber('limit', limit, Number.MAX_SAFE_INTEGER)
  assertWholeNumber('batch', batch, 10_000)
  // Without the caller of this function: a request that triggers the job neither limits it nor appears in its events.
  return await outsideTransaction(() => asAnonymous(() => asSystem(() => run(core, { limit, batch, signal }))))
}

function assertWholeNumber(name: string, value: unknown, most: number): void {
  if (Number.isInteger(value) && (value as number) >= 1 && (value as number) <= most) return
  throw new ConfigurationError(`perms.deleteDueAccounts({ ${name}: ${String(value)} }): ${name} must be a whole number from 1 to ${most}.`)
}

interface Settings {
  readonly limit: number
  readonly batch: number
  readonly signal: AbortSignal | undefined
}

async function run(core: AuthCore, { limit, batch, signal }: Settings): Promise<DueAccountsReport> {
  const deleted: { userId: UserId; report: DeletionReport }[] = []
  const failed: { userId: UserId; problem: string }[] = []
  if (!(await existsNow(core.knex, tableOf(AccountDeletion)))) return { deleted, failed }
  while (deleted.length + failed.length < limit && !signal?.aborted) {
    const claimed = await claimNext()
    if (!claimed) break
    const { userId } = claimed
    try {
      const report = await runDeletion(core, claimed, { batch, signal })
      if (report) deleted.push({ userId, report })
    } catch (error) {
      if (error instanceof LeaseLostError) continue
      const problem = problemOf(error)
      await postpone(claimed, problem)
      core.emit('accountDeletionFailed', { userId, problem, by: null })
      failed.push({ userId, problem })
    }
  }
  return { deleted, failed }
}

/** Claims the account that has been due for longest, in the statement that checks that no other process has it. */
async function claimNext(): Promise<AccountDeletion | null> {
  for (;;) {
    const now = new Date()
    const due = () =>
      AccountDeletion.query()
        .whereIn('state', ['scheduled', 'running'])
        .where('dueAt', '<=', now)
        .where((free) => free.whereNull('lockedUntil').orWhere('lockedUntil', '<=', now))
    const [next] = await due().orderBy(['dueAt', 'id']).limit(1)
    if (!next) return null
    const lease = { state: 'running' as const, lockedBy: newId(), lockedUntil: new Date(now.getTime() + LEASE) }
    const count = await due().where('id', next.id).patch(lease)
    if (count > 0) return Object.assign(next, lease)
  }
}

// Nothing has been deleted while there is no report: the user may still undo it.
async function postpone({ id, lockedBy, attempts, report }: AccountDeletion, problem: string): Promise<void> {
  const count = (attempts ?? 0) + 1
  const lockedUntil = new Date(Date.now() + pauseAfter(count - 1))
  const state = report === null ? ('scheduled' as const) : ('running' as const)
  await AccountDeletion.query().where({ id, lockedBy }).patch({ state, attempts: count, problem, lockedBy: null, lockedUntil })
}

// Messages of other errors may contain values of rows.
function problemOf(error: unknown): string {
  const text = error instanceof PermsError ? error.message : error instanceof Error ? error.constructor.name : 'Unknown error'
  return text.slice(0, 255)
}
