/** Decides which relations to a row a caller may give to others. */
import type { Model } from 'objection'
import { ForbiddenError, ValidationError } from '../../core/errors.js'
import { message } from '../../core/messages/message.js'
import { isOneOf } from '../../enforce/evaluate.js'
import { callerOf } from '../../policy/compiler/caller.js'
import { compile } from '../../policy/compiler/compile.js'
import { all, any, holds, sql } from '../../policy/compiler/condition.js'
import { type Scope, scopeOf } from '../../policy/compiler/scope.js'
import { isUnexpired } from '../../policy/compiler/share-table.js'
import { type Actor, asSystem } from '../../policy/context.js'
import { effective } from '../../policy/effective.js'
import { owner } from '../../policy/rules.js'
import { relationsIncluding } from '../../policy/share-relations.js'
import { filterReadable } from '../../query/query-builder.js'
import { dialectOfClass } from '../../record/codec.js'
import { tableOf } from '../../schema/class-statics.js'
import { RowShare } from '../row-share.js'

/** A share that the caller has received. */
interface Received {
  readonly relation: string
  readonly expiresAt: Date | null
}

/** The relations that a caller may give: all of them, or those that the caller has received. */
export type ShareRight = 'all' | readonly Received[]

/** The columns that identify a row in the table of shares. */
export interface RowKey {
  readonly rowTable: string
  readonly rowId: string
}

/**
 * Returns what a caller may give of a row. A caller who owns the row, or may update it without any share, gives every relation. Others
 * give what they have received themselves.
 */
export async function shareRight(cls: typeof Model, id: unknown, key: RowKey, actor: Actor | null): Promise<ShareRight> {
  const dialect = dialectOfClass(cls)
  const scope = scopeOf(cls, actor, { dialect, ref: 'perms_row', ids: [id], live: true, writes: true })
  const without: Scope = { ...scope, withoutShares: true }
  // A share inside not() or check() must not count as a right.
  const mayUpdate = [scope, without].map((one) => effective('update', one, { withDeleted: false, withoutChecks: true }))
  const isOwner = scope.policy.ownerField !== undefined && compile(owner(), without)
  const condition = all(isOneOf(cls, 'perms_row', [id]), any(isOwner, all(...mayUpdate)))
  const found =
    typeof condition === 'boolean'
      ? condition
      : sql(`exists (select 1 from ?? as ?? where ${condition.sql})`, tableOf(cls), 'perms_row', ...condition.bindings)
  if (await holds(cls.knex(), found)) return 'all'
  const table = tableOf(RowShare)
  const received = all(callerOf(scope).receivesShare(scope, table), isUnexpired(table, dialect))
  if (typeof received === 'boolean') return []
  return await asSystem(async () => {
    const query = RowShare.query().where({ ...key })
    filterReadable(query, received)
    return await query
  })
}

/**
 * Returns the latest expiry with which the caller may give a relation; null if there is no limit.
 *
 * @throws ForbiddenError if the caller may not give it
 */
export function expiryLimit(cls: typeof Model, right: ShareRight, relation: string): Date | null {
  if (right === 'all') return null
  const enough = right.filter((one) => relationsIncluding(cls, relation).includes(one.relation))
  if (enough.length === 0) throw new ForbiddenError(message('share.notOwn', { model: cls.name, relation }))
  if (enough.some(({ expiresAt }) => expiresAt === null)) return null
  return new Date(Math.max(...enough.map(({ expiresAt }) => (expiresAt as Date).getTime())))
}

/** Returns the expiry of a new share. @throws ValidationError for one in the past, or after the limit */
export function expiryOf(given: Date | null | undefined, limit: Date | null): Date | null {
  const invalid = (problem: ReturnType<typeof message>) =>
    new ValidationError(message('input.field', { field: 'expiresAt', problem }), [{ field: 'expiresAt', message: problem }])
  if (given !== undefined && given !== null) {
    if (!(given instanceof Date) || Number.isNaN(given.getTime())) throw invalid(message('field.datetimeValue'))
    if (given.getTime() <= Date.now()) throw invalid(message('field.future'))
  }
  if (limit === null) return given ?? null
  if (given === undefined) return limit
  if (given === null || given > limit) throw invalid(message('field.ownExpiry', { limit: limit.toISOString() }))
  return given
}
