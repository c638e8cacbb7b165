/** Compiles shared(). */
import { tableOf } from '../../schema/class-statics.js'
import type { ColumnSpec } from '../../schema/column.js'
import { idProperties } from '../../schema/definition/definition.js'
import { idSpecOf } from '../../schema/ids.js'
import { modelOfTable } from '../registered-models.js'
import type { AnyRule, ManyRule, Rule, SharedRule } from '../rules.js'
import { assertShareRelation, relationsIncluding } from '../share-relations.js'
import { callerOf } from './caller.js'
import { all, type Condition, type Sql, sql } from './condition.js'
import { columnSql, type Scope, tableIn } from './scope.js'
import { isUnexpired, shareColumn } from './share-table.js'

/** The alias of the table of shares. */
export const shareAlias = (scope: Scope): string => `perms_s${scope.depth}`

const isAmong = (name: string, values: readonly unknown[]): Sql => sql(`?? in (${values.map(() => '?').join(', ')})`, name, ...values)

/** Compiles shared(): the caller, or a role or a domain of the caller, has received the row in the relation or in one that includes it. */
export function sharedCondition(rule: SharedRule, scope: Scope): Condition {
  // Only the row itself is assumed to be shared, not the rows of its relations.
  if (scope.assumedShare !== undefined && scope.depth === 0) {
    if (scope.assumedShare === null || !callerOf(scope).isPresent(scope)) return false
    if (relationsIncluding(scope.cls, rule.relation).includes(scope.assumedShare)) return true
  }
  const from = receivedShares(rule, scope)
  if (!from) return false
  const alias = shareAlias(scope)
  const isCorrelated = scope.row !== undefined || scope.user !== undefined
  return isCorrelated ? hasShare(scope, from, alias) : isAmongShared(scope, from, alias)
}

/** Returns the shares that the caller has received, as the end of a SELECT that begins with FROM; false if there are none. */
function receivedShares({ relation }: SharedRule, scope: Scope): Sql | false {
  const caller = callerOf(scope)
  if (scope.withoutShares || !caller.isPresent(scope) || (scope.ids?.length === 0 && !scope.row)) return false
  const relations = relationsIncluding(scope.cls, relation)
  if (relations.length === 0) assertShareRelation(scope.cls.name, scope.cls, relation)
  const alias = shareAlias(scope)
  const received = all(
    sql('?? = ?', shareColumn(alias, 'rowTable'), tableIn(scope, scope.cls)),
    isAmong(shareColumn(alias, 'relation'), relations),
    isUnexpired(alias, scope.dialect),
    caller.receivesShare(scope, alias),
    ...(scope.ids && !scope.row ? [isAmong(shareColumn(alias, 'rowId'), scope.ids.map(String))] : []),
  )
  if (typeof received === 'boolean') return false
  return sql(`from ?? as ?? where ${received.sql}`, tableOf(modelOfTable('rowShare')), alias, ...received.bindings)
}

const idOf = ({ cls }: Scope): string => idProperties(cls)[0] ?? 'id'

// The row is known, or belongs to the query of another caller: look for its shares.
function hasShare(scope: Scope, from: Sql, alias: string): Condition {
  const rowId = shareColumn(alias, 'rowId')
  const isOfRow = scope.row ? isOfKnownRow(scope, rowId) : isShareOf(scope, rowId)
  return isOfRow && sql(`exists (select 1 ${from.sql} and ${isOfRow.sql})`, ...from.bindings, ...isOfRow.bindings)
}

function isOfKnownRow(scope: Scope, rowId: string): Sql | false {
  const id = scope.row?.[idOf(scope)] ?? null
  return id !== null && sql('?? = ?', rowId, String(id))
}

/** Returns the condition that a share is one of the scope's row. @param rowId the column of the share with the id of the row */
export function isShareOf(scope: Scope, rowId: string): Sql {
  const id = columnSql(scope, idOf(scope))
  const type = typeOfId(scope)
  if (type === 'other' && scope.dialect === 'mysql') return sql(`${asBytes('??')} = ${asBytes(id.sql)}`, rowId, ...id.bindings)
  if (type === 'text' && scope.dialect !== 'pg') return sql(`?? = ${id.sql}`, rowId, ...id.bindings)
  // MariaDB would compare with the text of a number in the collation of the connection.
  if (scope.dialect === 'mysql') return sql(`cast(?? as signed) = ${id.sql}`, rowId, ...id.bindings)
  return sql(`?? = cast(${id.sql} as text)`, rowId, ...id.bindings)
}

/**
 * Returns the condition that the row is one of the shared ones. The subquery does not depend on the row. On PostgreSQL it is an array,
 * so that a rule such as `anyOf(owner(), shared('viewer'))` uses the indexes of both.
 */
function isAmongShared(scope: Scope, from: Sql, alias: string): Sql {
  const id = columnSql(scope, idOf(scope))
  const rowId = sql('??', shareColumn(alias, 'rowId'))
  const type = typeOfId(scope)
  if (scope.dialect === 'pg') {
    const own = type === 'other' ? sql(`cast(${id.sql} as text)`, ...id.bindings) : id
    const theirs = type === 'text' || type === 'other' ? rowId.sql : `cast(${rowId.sql} as ${type === 'uuid' ? 'uuid' : 'bigint'})`
    return sql(`${own.sql} = any(array(select ${theirs} ${from.sql}))`, ...own.bindings, ...rowId.bindings, ...from.bindings)
  }
  if (type === 'other' && scope.dialect === 'mysql')
    return sql(`${asBytes(id.sql)} in (select ${asBytes('??')} ${from.sql})`, ...id.bindings, ...rowId.bindings, ...from.bindings)
  const theirs = type === 'number' ? `cast(${rowId.sql} as ${scope.dialect === 'mysql' ? 'signed' : 'integer'})` : rowId.sql
  return sql(`${id.sql} in (select ${theirs} ${from.sql})`, ...id.bindings, ...rowId.bindings, ...from.bindings)
}

// Texts of different collations cannot be compared on MariaDB, and numbers not exactly with text.
const asBytes = (name: string): string => `cast(convert(${name} using utf8mb4) as binary)`

/**
 * Compiles anyOf() of owner() and shared() for a list on MariaDB, which reads the whole table for a disjunction with a subquery. The ids of
 * both come from their indexes instead.
 *
 * @param compile compiles a part of the rule
 * @returns undefined where the parts are others, or the rows are known
 */
export function ownedOrShared({ rules }: ManyRule, scope: Scope, compile: (rule: Rule, scope: Scope) => Condition): Condition | undefined {
  if (scope.dialect !== 'mysql' || !rules.some(({ kind }) => kind === 'shared')) return undefined
  const isList = !scope.row && !scope.ids && !scope.user && !scope.live && !scope.writes && scope.depth === 0
  if (!isList) return undefined
  const type = typeOfId(scope)
  if (type === 'other') return undefined
  const selects: Sql[] = []
  const owned: Scope = { ...scope, ref: 'perms_o' }
  const id = columnSql(owned, idOf(scope))
  for (const rule of rules as readonly AnyRule[]) {
    if (rule.kind === 'shared') {
      const from = receivedShares(rule, scope)
      const rowId = shareColumn(shareAlias(scope), 'rowId')
      if (from) selects.push(sql(`select ${type === 'number' ? 'cast(?? as signed)' : '??'} as k ${from.sql}`, rowId, ...from.bindings))
      continue
    }
    const condition = compile(rule, owned)
    if (condition === true) return true
    if (condition === false) continue
    if (rule.kind !== 'owner') return undefined
    const own = [...id.bindings, tableIn(scope, scope.cls), owned.ref, ...condition.bindings]
    selects.push(sql(`select ${id.sql} as k from ?? as ?? where ${condition.sql}`, ...own))
  }
  if (selects.length < 2) return undefined
  const mine = columnSql(scope, idOf(scope))
  return sql(
    `${mine.sql} in (select k from (${selects.map((select) => select.sql).join(' union ')}) as ??)`,
    ...[...mine.bindings, ...selects.flatMap(({ bindings }) => bindings), 'perms_k'],
  )
}

type IdType = 'text' | 'number' | 'uuid' | 'other'

/** Returns how the database stores the ids of the rows; `other` if only the application knows. */
function typeOfId({ cls, dialect }: Scope): IdType {
  const spec: ColumnSpec | undefined = idSpecOf(cls)
  if (spec === undefined) return dialect === 'sqlite' ? 'text' : 'other'
  if (spec.type === 'integer') return 'number'
  // SQLite stores a bigint as text, unless it numbers the rows.
  if (spec.type === 'bigint') return dialect === 'sqlite' && !spec.isRowId ? 'text' : 'number'
  if (dialect === 'sqlite') return 'text'
  if (spec.isExisting) return 'other'
  return spec.type === 'uuid' && dialect === 'pg' ? 'uuid' : 'text'
}
