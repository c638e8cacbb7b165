import { createHash } from 'node:crypto'
import type { Knex } from 'knex'
import type { QueryBuilder, TransactionOrKnex } from 'objection'
import { lockRow } from '../database/lock-row.js'
import { transaction } from '../database/transaction.js'
import { asSystem } from '../policy/context.js'
import { registeredModel } from '../policy/registered-models.js'
import { type Runtime, runtimeSlot } from '../runtime.js'
import { skipCallerChange, skipsCallerChange } from './caller/caller-changes.js'
import type { Token } from './token.js'

/** The kind of the row of a token that the application issued before it used this library. */
export const LEGACY = 'legacy'
/** The kind of the row that ends all legacy tokens that the user got before `revokedAt`. It grants no access. */
const CUT_OFF = 'legacy-cut-off'

/**
 * Whether the application accepts legacy tokens. `'unknown'`: this process does not authenticate callers, but another process on
 * this database may accept them.
 */
export type LegacyTokenUse = 'accepted' | 'refused' | 'unknown'

const useOf = runtimeSlot<LegacyTokenUse>(() => 'unknown')

/** Records whether the application of a runtime accepts legacy tokens. */
export function setLegacyTokenUse(runtime: Runtime, use: LegacyTokenUse): void {
  useOf.set(runtime, use)
}

/** Returns whether endLegacyTokens() may write a row. Callers lock the user's row first then. */
export function mayHaveLegacyTokens(): boolean {
  return useOf.get() !== 'refused'
}

/** Returns the stored hash of a text. The leading byte occurs in no UTF-8 text, so that no opaque token has the same hash. */
export function legacyHash(text: string): string {
  return createHash('sha256').update(Buffer.of(0xff)).update(text).digest('hex')
}

const tokens = () => registeredModel('token') as typeof Token
const cutOffHash = (userId: unknown) => legacyHash(`cut-off of ${userId}`)

/**
 * Ends all legacy tokens of a user that were issued until now. Their rows are revoked with those of sessions; this also refuses
 * tokens that have no row yet, because they have not been used since the adoption. Runs in a transaction that holds the user's row
 * (lockRow).
 */
export async function endLegacyTokens(userId: string, trx?: TransactionOrKnex): Promise<void> {
  if (!mayHaveLegacyTokens()) return
  await asSystem(async () => {
    if (useOf.get() === 'unknown') {
      const known = await tokens().query(trx).whereIn('kind', [LEGACY, CUT_OFF]).select('id').first()
      if (!known) return
    }
    const token = cutOffHash(userId)
    const revokedAt = new Date()
    const count = await skipCallerChange(tokens().query(trx)).patch({ revokedAt }).where('token', token)
    if (count === 0) await tokens().create({ userId, kind: CUT_OFF, token, revoked: true, revokedAt }, trx)
  })
}

/** Returns until when issued legacy tokens of a user are refused, or null. */
export async function legacyCutOff(userId: string): Promise<Date | null> {
  const row = await asSystem(() => tokens().query().findOne('token', cutOffHash(userId)).select('id', 'revokedAt'))
  return row?.revokedAt ?? null
}

/** The arguments of a static hook of Objection that are used here. */
interface DeleteHook {
  asFindQuery(): QueryBuilder<Token>
  readonly context: object
  readonly transaction: TransactionOrKnex
}

const deleting = new WeakMap<object, readonly Token[]>()

/** Remembers which rows of legacy tokens a query is about to delete. Called by the hook `beforeDelete` of Token. */
export async function rememberLegacyTokens({ asFindQuery, context }: DeleteHook): Promise<void> {
  if (!mayHaveLegacyTokens() || skipsCallerChange(context)) return
  const now = new Date()
  const rows = await asSystem(() =>
    asFindQuery()
      .select('id', 'userId')
      .whereIn('kind', [LEGACY, CUT_OFF])
      .where((some) => some.whereNull('expiresAt').orWhere('expiresAt', '>', now).orWhereNull('endsAt').orWhere('endsAt', '>', now)),
  )
  if (rows.length > 0) deleting.set(context, rows)
}

/**
 * Ends all legacy tokens of the users whose rows a query has deleted: a token without a row counts as unused, so the deletion would
 * let a signed-out token in again. Called by the hook `afterDelete` of Token.
 */
export async function endDeletedLegacyTokens({ context, transaction: trx }: DeleteHook): Promise<void> {
  const rows = deleting.get(context)
  if (!rows) return
  deleting.delete(context)
  await asSystem(async () => {
    const kept = await tokens()
      .query(trx)
      .findByIds(rows.map(({ id }) => id))
      .select('id')
    const deleted = rows.filter(({ id }) => !kept.some((row) => row.id === id))
    for (const userId of new Set(deleted.map((row) => row.userId))) await transaction((open) => endAll(userId, open), { knex: trx as Knex })
  })
}

// Locks the user first, as the first use of a token does: it either sees the cut-off, or its row is revoked.
async function endAll(userId: string, trx: Knex.Transaction): Promise<void> {
  await lockRow(trx, registeredModel('user'), userId)
  const rows = skipCallerChange(tokens().query(trx)).patch({ revoked: true, revokedAt: new Date() })
  await rows.where({ userId, kind: LEGACY, revoked: false })
  await endLegacyTokens(userId, trx)
}
