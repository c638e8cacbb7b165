/** Removes the shares of rows that are deleted for good, and those that an earlier row with the same id left behind. */
import type { Knex } from 'knex'
import type { Model, QueryBuilder } from 'objection'
import { MissingTableError } from '../../core/errors.js'
import { addWriteCheck } from '../../enforce/enforcer.js'
import { hasId, idColumns, isOneOf } from '../../enforce/evaluate.js'
import { all, type Condition, type Sql, sql } from '../../policy/compiler/condition.js'
import { type Scope, scopeOf, tableIn } from '../../policy/compiler/scope.js'
import { isShareOf } from '../../policy/compiler/share-conditions.js'
import { shareColumn } from '../../policy/compiler/share-table.js'
import { isShareable } from '../../policy/share-relations.js'
import { fragment } from '../../query/fragments.js'
import { protectedClasses } from '../../query/inspection/protected-tables.js'
import type { Execution, QueryHandle, WriteOperation } from '../../query/policy-enforcer.js'
import { filterReadable } from '../../query/query-builder.js'
import { dialectOfClass } from '../../record/codec.js'
import { tableOf } from '../../schema/class-statics.js'
import { idSpecOf } from '../../schema/ids.js'
import { RowShare } from '../row-share.js'

/** The most rows of a delete whose ids are read. After a larger one, all shares of the table are compared with its rows. */
const MAX_IDS = 10_000

/** The most ids in one statement. */
const IDS_AT_ONCE = 500

const newIds = new WeakMap<object, unknown>()

/** Notes that the library gave a new row its id. */
export function noteNewId(row: Model): void {
  newIds.set(row, row.$id())
}

const hasGivenId = (row: Model): boolean => hasId(row) && newIds.get(row) !== row.$id()

const deleted = new WeakMap<Execution, readonly unknown[] | 'many'>()

addWriteCheck({
  concerns(cls, { kind, models }) {
    if (kind === 'update' || !isShareable(cls)) return false
    return kind === 'delete' || models.some(hasGivenId) || isNumberedBySqlite(cls)
  },

  async before(builder, write) {
    if (write.kind === 'insert') await removeLeftBehind(builder, write)
    else deleted.set(builder.execution, await targetsOf(builder, write))
  },

  async after(builder, write) {
    if (write.kind === 'insert') return
    const ids = deleted.get(builder.execution) ?? []
    await removeSharesOf(builder, ids)
  },
})

async function targetsOf(builder: QueryHandle, { id }: WriteOperation): Promise<readonly unknown[] | 'many'> {
  if (id !== undefined) return [id]
  const columns = idColumns(builder.cls).map((name) => `${builder.ref}.${name}`)
  const query = builder
    .targets(builder.execution.action ?? 'delete')
    .select(...columns)
    .limit(MAX_IDS + 1)
  const found: unknown = await query.catch((error: unknown) => {
    // A delete from another source than the table is refused when its statement is built, with a better message.
    if (error instanceof MissingTableError) return []
    throw error
  })
  const rows = (Array.isArray(found) ? found : found ? [found] : []) as Model[]
  return rows.length > MAX_IDS ? 'many' : rows.map((row) => row.$id() as unknown)
}

/** Removes the shares of rows that do not exist. @param ids the ids of the rows; `'many'`: all rows of the table */
async function removeSharesOf(builder: QueryHandle, ids: readonly unknown[] | 'many'): Promise<void> {
  if (ids === 'many') return await removeOrphans(builder.db, builder.cls, builder.schema)
  for (let from = 0; from < ids.length; from += IDS_AT_ONCE)
    await removeOrphans(builder.db, builder.cls, builder.schema, ids.slice(from, from + IDS_AT_ONCE))
}

// A share of an earlier row must not apply to a new one with its id.
async function removeLeftBehind(builder: QueryHandle, { models }: WriteOperation): Promise<void> {
  await removeSharesOf(
    builder,
    models.filter(hasGivenId).map((row) => row.$id() as unknown),
  )
  if (isNumberedBySqlite(builder.cls)) await removeAboveLast(builder)
}

// SQLite gives a row the number after the highest one, which a deleted row may have had.
function isNumberedBySqlite(cls: typeof Model): boolean {
  const type = idSpecOf(cls)?.type
  return (type === 'integer' || type === 'bigint') && dialectOfClass(cls) === 'sqlite'
}

async function removeAboveLast({ db, cls, schema }: QueryHandle): Promise<void> {
  const scope = scopeOf(cls, null, { dialect: 'sqlite', ref: 'perms_row', schema })
  const above = sql(
    'cast(?? as integer) > (select coalesce(max(??), 0) from ??)',
    ...[shareColumn(tableOf(RowShare), 'rowId'), idColumns(cls)[0], tableIn(scope, cls)],
  )
  await remove(db, tableIn(scope, cls), above)
}

// Removes the shares of rows that do not exist. @param ids the only rows to look at. Default: all rows of the table
async function removeOrphans(db: Knex, cls: typeof Model, schema?: string, ids?: readonly unknown[]): Promise<void> {
  if (ids?.length === 0) return
  const scope = scopeOf(cls, null, { dialect: dialectOfClass(cls), ref: 'perms_row', schema })
  await remove(db, tableIn(scope, cls), isOrphan(scope, ids))
}

/** Returns the condition that the row of a share does not exist. */
function isOrphan(scope: Scope, ids?: readonly unknown[]): Sql {
  const { cls } = scope
  const rowId = shareColumn(tableOf(RowShare), 'rowId')
  const rows = all(isShareOf(scope, rowId), ids ? isOneOf(cls, scope.ref, ids) : true) as Sql
  const isGone = sql(`not exists (select 1 from ?? as ?? where ${rows.sql})`, tableIn(scope, cls), scope.ref, ...rows.bindings)
  const isNamed: Condition = ids ? sql(`?? in (${ids.map(() => '?').join(', ')})`, rowId, ...ids.map(String)) : true
  return all(isNamed, isGone) as Sql
}

/** Returns the models of the application whose rows can be shared, one for each table. */
export function shareableModels(): readonly (typeof Model)[] {
  return [
    ...new Map(
      protectedClasses()
        .classes.filter(isShareable)
        .map((cls) => [tableOf(cls), cls]),
    ).values(),
  ]
}

/** Returns a query for shares of rows of a model that do not exist. */
export function orphanedShares(cls: typeof Model): QueryBuilder<RowShare> {
  const scope = scopeOf(cls, null, { dialect: dialectOfClass(cls), ref: 'perms_row' })
  const query = RowShare.query().where('rowTable', tableOf(cls))
  filterReadable(query, isOrphan(scope))
  return query
}

async function remove(db: Knex, rowTable: string, condition: Sql): Promise<void> {
  const isOfTable = sql('?? = ?', shareColumn(tableOf(RowShare), 'rowTable'), rowTable)
  await db(tableOf(RowShare))
    .whereRaw(fragment(db.client, all(isOfTable, condition) as Sql))
    .delete()
}
