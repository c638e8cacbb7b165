/** Deletes rows that are no longer needed: expired tokens, invitations, sign-ins and challenges, expired counts, old audit rows. */

import type { Knex } from 'knex'
import type { Model } from 'objection'
import { ConfigurationError } from '../core/errors.js'
import { assertKnownOptions } from '../core/known-options.js'
import { columnIn } from '../database/tables/constraints.js'
import { transaction } from '../database/transaction.js'
import type { LibraryModel } from '../enforce/base-perms-model.js'
import { asSystem } from '../policy/context.js'
import { registeredModel } from '../policy/registered-models.js'
import { column } from '../schema/column.js'
import { dialectOf, encode } from '../schema/storage.js'
import type { AuditLog } from '../users/audit-log.js'
import { Invitation } from '../users/invitation.js'
import { PasskeyChallenge } from '../users/passkey-challenge.js'
import { ProviderSignIn } from '../users/provider-sign-in.js'
import { RowShare } from '../users/row-share.js'
import { orphanedShares, shareableModels } from '../users/shares/ended-rows.js'
import { tableSpecOf } from '../users/tables/table-specs.js'
import { type Token, whereExpired } from '../users/token.js'
import { TrustedDevice } from '../users/trusted-device.js'
import type { DueAccountsOptions, DueAccountsReport } from './flows/lifecycle/delete-due.js'
import { isMissingTable } from './optional-tables.js'
import { deleteExpiredCounts } from './throttle/throttle-store.js'

const DAY = 86_400_000

/** Days for which an expired invitation stays in lists. */
const INVITATION_DAYS = 30

/** The longest retention of the audit log: dates before the year 100 cannot be stored. */
const MAX_RETENTION_DAYS = 36_500

/** Options of `perms.maintain()`. */
export interface MaintenanceOptions {
  /** Days after which rows of the audit log are deleted. @defaultValue the option `auditRetention` of initPerms() */
  readonly auditRetention?: number | undefined
  /** The most rows that one transaction deletes, 1 to 10,000. @defaultValue 1000 */
  readonly batch?: number | undefined
  /** Stops the work before the next batch. */
  readonly signal?: AbortSignal | undefined
}

/** How many rows `perms.maintain()` deleted. */
export interface MaintenanceReport {
  /** Expired sessions, API keys, second-factor challenges, mailed links, trusted devices, and other tokens. */
  readonly tokens: number
  /** Invitations that expired more than 30 days ago. */
  readonly invitations: number
  /** Sign-ins with identity providers whose time is over. */
  readonly providerSignIns: number
  /** Expired challenges of passkeys. */
  readonly passkeyChallenges: number
  /** Expired counts of failed attempts. 0 unless `throttle: { store: 'database' }`. */
  readonly attempts: number
  /** Rows of the audit log that are older than the retention. 0 without a retention. */
  readonly auditRows: number
}

/** The result of `perms.maintain()`. */
export interface MaintenanceResult extends MaintenanceReport {
  /** Accounts that were due and were deleted, and those that could not be. Left out when there were none. */
  readonly accounts?: { readonly deleted: number; readonly failed: number }
  /** Expired shares, and shares of rows that do not exist any more. Left out when there were none. */
  readonly shares?: number
}

/** The parts of an application that maintenance needs. */
export interface MaintainedParts {
  readonly knex: Knex
  /** Whether the throttle counts in the database. */
  readonly countsInDatabase: boolean
  readonly auditModel: typeof AuditLog
  readonly auditRetention: number | undefined
  /** Deletes the accounts that are due. Undefined for an application without sign-in. */
  readonly deleteDueAccounts: ((options: DueAccountsOptions) => Promise<DueAccountsReport>) | undefined
}

/** @throws ConfigurationError for a retention that is not a whole number of days */
export function assertRetention(days: unknown): void {
  if (days === undefined || (Number.isInteger(days) && (days as number) >= 1 && (days as number) <= MAX_RETENTION_DAYS)) return
  throw new ConfigurationError(`auditRetention: ${String(days)} must be a whole number of days from 1 to ${MAX_RETENTION_DAYS}.`)
}

/** Implements `perms.maintain()`. */
export async function maintain(parts: MaintainedParts, options: MaintenanceOptions = {}): Promise<MaintenanceResult> {
  assertKnownOptions(options, { auditRetention: true, batch: true, signal: true }, 'perms.maintain')
  const { auditRetention = parts.auditRetention, batch = 1000, signal } = options
  assertRetention(auditRetention)
  if (!Number.isInteger(batch) || batch < 1 || batch > 10_000)
    throw new ConfigurationError(`perms.maintain({ batch: ${String(batch)} }): batch must be a whole number from 1 to 10000.`)
  const { knex } = parts
  const now = Date.now()
  const inBatches = async (next: (limit: number) => Promise<Batch>): Promise<number> => await deleteInBatches(next, batch, signal)
  const accounts = await parts.deleteDueAccounts?.({ batch, signal })
  const counts = accounts && { deleted: accounts.deleted.length, failed: accounts.failed.length }
  const shares = (await inBatches(expiredRows(knex, RowShare, new Date(now)))) + (await deleteOrphans(knex, inBatches))
  return {
    ...(shares > 0 ? { shares } : {}),
    ...(counts && counts.deleted + counts.failed > 0 ? { accounts: counts } : {}),
    tokens: (await inBatches(expiredTokens(new Date(now)))) + (await inBatches(expiredRows(knex, TrustedDevice, new Date(now)))),
    invitations: await inBatches(expiredRows(knex, Invitation, new Date(now - INVITATION_DAYS * DAY))),
    providerSignIns: await inBatches(expiredRows(knex, ProviderSignIn, new Date(now))),
    passkeyChallenges: await inBatches(expiredRows(knex, PasskeyChallenge, new Date(now))),
    attempts: parts.countsInDatabase ? await inBatches((limit) => deleteExpiredCounts(knex, limit)) : 0,
    auditRows:
      auditRetention === undefined ? 0 : await inBatches(oldAuditRows(knex, parts.auditModel, new Date(now - auditRetention * DAY))),
  }
}

/** The rows that a batch found, and how many of them it deleted: another process may have deleted the others. */
interface Batch {
  readonly found: number
  readonly deleted: number
}

async function deleteInBatches(next: (limit: number) => Promise<Batch>, limit: number, signal: AbortSignal | undefined): Promise<number> {
  let total = 0
  for (;;) {
    if (signal?.aborted) return total
    const { found, deleted } = await next(limit)
    total += deleted
    if (found < limit) return total
  }
}

// Through the registered models, whose hooks an application may have extended.
function expiredTokens(now: Date): (limit: number) => Promise<Batch> {
  const tokens = registeredModel('token') as typeof Token
  return (limit) =>
    asSystem(async () => {
      const rows = await tokens.query().modify(whereExpired, now).select('id').orderBy(['expiresAt', 'id']).limit(limit)
      if (rows.length === 0) return { found: 0, deleted: 0 }
      const ids = rows.map(({ id }) => id)
      return { found: rows.length, deleted: await tokens.query().delete().whereIn('id', ids).modify(whereExpired, now) }
    })
}

/** Deletes rows by their `expiresAt`. A database of an earlier version may lack the table, and has no such rows. */
function expiredRows(knex: Knex, model: typeof LibraryModel, before: Date): (limit: number) => Promise<Batch> {
  return async (limit) => {
    try {
      return await asSystem(async () => {
        const rows = await model.query().where('expiresAt', '<=', before).select('id').orderBy(['expiresAt', 'id']).limit(limit)
        if (rows.length === 0) return { found: 0, deleted: 0 }
        const ids = rows.map(({ id }) => id)
        return { found: rows.length, deleted: await model.query().delete().whereIn('id', ids) }
      })
    } catch (error) {
      if (await isMissingTable(knex, model, error)) return { found: 0, deleted: 0 }
      throw error
    }
  }
}

type InBatches = (next: (limit: number) => Promise<Batch>) => Promise<number>

/** Deletes shares of rows that statements outside the library, or foreign keys, have deleted. */
async function deleteOrphans(knex: Knex, inBatches: InBatches): Promise<number> {
  let total = 0
  for (const cls of shareableModels()) total += await inBatches((limit) => orphansOf(knex, cls, limit))
  return total
}

async function orphansOf(knex: Knex, cls: typeof Model, limit: number): Promise<Batch> {
  try {
    return await asSystem(async () => {
      const rows = await orphanedShares(cls).select('id').limit(limit)
      if (rows.length === 0) return { found: 0, deleted: 0 }
      const ids = rows.map(({ id }) => id)
      // A row with this id may have been created since.
      return { found: rows.length, deleted: await orphanedShares(cls).delete().whereIn('id', ids) }
    })
  } catch (error) {
    if ((await isMissingTable(knex, cls, error)) || (await isMissingTable(knex, RowShare, error))) return { found: 0, deleted: 0 }
    throw error
  }
}

// Not through the model: it refuses to delete rows, also inside asSystem().
function oldAuditRows(knex: Knex, model: typeof AuditLog, before: Date): (limit: number) => Promise<Batch> {
  const spec = tableSpecOf(model)
  const [id, createdAt] = [columnIn(spec, 'id'), columnIn(spec, 'createdAt')]
  const limitDate = encode(column.datetime().spec, before, dialectOf(knex)) as Knex.Value
  return (limit) =>
    transaction(
      async (trx) => {
        const rows: object[] = await trx(spec.name).where(createdAt, '<', limitDate).orderBy([createdAt, id]).limit(limit).select(id)
        if (rows.length === 0) return { found: 0, deleted: 0 }
        // By position, because postProcessResponse() may rename the column of the result.
        const ids = rows.map((row) => Object.values(row)[0] as Knex.Value)
        return { found: rows.length, deleted: await trx(spec.name).whereIn(id, ids).delete() }
      },
      { knex },
    )
}
