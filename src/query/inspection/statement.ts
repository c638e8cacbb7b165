/** Reads and checks the clauses of Knex builders, and rejects clauses that would bypass a rule. */
import type { Knex } from 'knex'
import {
  type Clause,
  clausesOf,
  commentsOf,
  interceptorOf,
  isKnexBuilder,
  isRaw,
  methodOf,
  type OpenKnexBuilder,
  optionsOf,
  type RawSql,
  setClauses,
  singlePartsOf,
} from '../../database/knex-internals.js'
import { dialectOf } from '../../schema/storage.js'
import { isFragment } from '../fragments.js'
import { addGroup, isPlain, wheresOf } from '../where-groups.js'
import type { Enforcer } from './protected-tables.js'
import { carriesSql, isPlainObject, textOfRaw } from './raw-text.js'
import { readSql } from './sql-text.js'
import { isOfKind, rejectStatement, type StatementContext } from './statement-context.js'
import { bareName, inspectName, inspectTable, isTableOf, lastPart } from './table-names.js'

/** The state of a model's knex query when toKnexQuery() returned it. */
interface ExposedQuery {
  readonly enforcer: Enforcer
  readonly method: string
  readonly table: unknown
  readonly clauses: readonly Clause[]
}

interface ModelQuery {
  readonly context: StatementContext
  exposed?: ExposedQuery
  /** The comments of a builder that toKnexQuery() returned. */
  readonly comments?: unknown
}

// Builders of models. Their names were inspected when they were built, and builders of classes with a policy carry its rule.
const modelQueries = new WeakMap<object, ModelQuery>()

/** Registers a builder as a complete query of a model: inspected, and with its rule for the caller of `context`. */
export function noteModelQuery(context: StatementContext, statement: OpenKnexBuilder): void {
  modelQueries.set(statement, { context })
}

/**
 * Returns whether a builder is a query of a model with the rule of the current caller. A knex query may have been created for
 * another caller, or inside a bypass that has ended.
 *
 * @throws ConfigurationError if the rule was removed from it
 */
function isModelQuery(context: StatementContext, value: unknown): boolean {
  if (typeof value !== 'object' || value === null) return false
  const own = modelQueries.get(value)
  if (!own || !isSameCaller(own.context, context.caller)) return false
  lockPolicy(own, value as OpenKnexBuilder)
  return true
}

function isSameCaller(maker: StatementContext, caller: StatementContext['caller']): boolean {
  return maker.caller === caller && (maker.isEnforced || maker.isFreeNow())
}

// An application may add conditions and columns to a knex query of a model, but may not remove or weaken the rule.
function lockPolicy({ context, exposed }: ModelQuery, statement: OpenKnexBuilder): void {
  if (!exposed || !context.isEnforced) return
  const now = clausesOf(statement)
  const { table } = singlePartsOf(statement)
  const { clauses } = exposed
  const isSame = table === exposed.table && methodOf(statement) === exposed.method
  if (isSame && now.length === clauses.length && now.every((clause, i) => clause === clauses[i])) return
  const wheres = wheresOf(clauses)
  const held = wheresOf(now)
  const further = held.slice(wheres.length)
  const isKept = wheres.every((clause, i) => clause === held[i]) && further.every(({ bool }) => bool !== 'or')
  if (!isKept || table !== exposed.table || !isOfKind(statement, 'read'))
    rejectStatement(
      context,
      'orWhere(), clear(), from() or a write on a knex query made of a model',
      'call these methods on query(), before toKnexQuery()',
    )
  inspect(context, statement)
  if (further.every(isPlain)) return
  setClauses(
    statement,
    now.filter((clause) => !further.includes(clause)),
  )
  addGroup(statement, further, statement.queryContext() as object)
}

/**
 * Makes a knex query of a model with a policy check its rule whenever it is compiled, alone or inside another statement. The
 * application may change it after this point. A query created without a rule works only in the context that created it.
 */
export function exposeKnexQuery(statement: OpenKnexBuilder, enforcer: Enforcer): OpenKnexBuilder {
  const own = modelQueries.get(statement)
  if (!own) return statement
  own.exposed = { enforcer, method: methodOf(statement), table: singlePartsOf(statement).table, clauses: [...clausesOf(statement)] }
  return snapshot(statement, own)
}

function snapshot(statement: OpenKnexBuilder, own: ModelQuery): OpenKnexBuilder {
  modelQueries.set(statement, { ...own, comments: commentsOf(statement) })
  return checkWhenCompiled(statement)
}

function checkRule(statement: OpenKnexBuilder): ModelQuery | undefined {
  const own = modelQueries.get(statement)
  if (!own?.exposed) return own
  const { enforcer } = own.exposed
  if (enforcer.isEnforcedAnywhere() && !isSameCaller(own.context, enforcer.caller()))
    rejectStatement(own.context, 'a knex query made for another caller', 'create it in the context that runs it')
  lockPolicy(own, statement)
  return own
}

const checkWhenCompiled = interceptorOf({
  compile: (statement) => checkRule(statement)?.comments,
  comment: (statement, comments) => void modelQueries.set(statement, { ...(modelQueries.get(statement) as ModelQuery), comments }),
  clone: (copy, original) => snapshot(copy, modelQueries.get(original) as ModelQuery),
})

/** @throws ConfigurationError if a statement could reach rows without the rule of their model */
export function inspect(context: StatementContext, statement: OpenKnexBuilder): void {
  if (context.isEnforced) {
    if (methodOf(statement) === 'truncate') rejectStatement(context, 'truncate()', 'use query().delete()')
    const { insert, onConflict, merge } = singlePartsOf(statement)
    if (onConflict !== undefined && merge !== undefined) {
      rejectStatement(context, 'onConflict().merge()', 'look the row up and call update()')
    }
    // Listeners could change the statement or its bindings after the rule was added.
    for (const event of ['start', 'query'])
      if (statement.listenerCount(event) > 0) rejectStatement(context, `a listener of '${event}' on a query`, 'listen on the Knex instance')
    if (typeof insert === 'object' && insert !== null && isKnexValue(insert)) rejectStatement(context, 'insert from a query', 'insert rows')
  }
  inspectOptions(context, statement)
  inspectBuilder(context, statement, 0)
}

// Options that only change how drivers return results. Others may replace the text, its values or its name.
const harmlessOptions: ReadonlySet<PropertyKey> = new Set(
  ['rowMode', 'types', 'binary', 'query_timeout', 'queryMode'].concat(
    ['nestTables', 'rowsAsArray', 'typeCast', 'dateStrings', 'supportBigNumbers', 'bigNumberStrings', 'decimalNumbers', 'timeout'],
    ['safeIntegers'],
  ),
)

function inspectOptions(context: StatementContext, statement: OpenKnexBuilder): void {
  for (const given of optionsOf(statement)) {
    const names = typeof given === 'object' && given !== null ? Reflect.ownKeys(given) : []
    const bad = names.find((name) => !harmlessOptions.has(name))
    if (bad !== undefined)
      rejectStatement(context, `options({ ${String(bad)} })`, `leave it out (allowed options: ${[...harmlessOptions].join(', ')})`)
  }
}

/**
 * Returns whether the source in from() has its own rule: a query of a model, or a CTE made of one.
 *
 * @throws ConfigurationError if rows would come from another source than the model's table
 */
export function isFromModelQuery(context: StatementContext, statement: OpenKnexBuilder): boolean {
  const { table } = singlePartsOf(statement)
  if (isTableOf(context, table, context.ref)) return false
  if (isTableOf(context, table))
    rejectStatement(context, `from() by another name than '${context.ref}'`, 'name the table once, with alias()')
  if (isModelQuery(context, table)) return true
  if (typeof table === 'string') {
    const name = bareName(table)
    const cte = clausesOf(statement).find((clause) => clause.grouping === 'with' && clause.alias === name)
    if (cte && isModelQuery(context, cte.value)) return true
    return rejectStatement(context, `from('${name}')`, 'query the model of that table')
  }
  return rejectStatement(context, 'from() with a raw expression or a function', 'pass an Objection query with as()')
}

/** Returns whether from() names another source than the model's table. */
export function isFromOther(context: StatementContext, statement: OpenKnexBuilder): boolean {
  return !isTableOf(context, singlePartsOf(statement).table)
}

const MAX_DEPTH = 16

// Inspects the parts of a statement: nested builders and raw SQL may name only tables without a policy.
function inspectBuilder(context: StatementContext, statement: OpenKnexBuilder, depth: number): void {
  const { table, updateFrom, using, ...single } = singlePartsOf(statement)
  if (depth > 0 || !isTableOf(context, table)) inspectSource(context, table, statement, depth)
  inspectSource(context, updateFrom, statement, depth)
  inspectSource(context, using, statement, depth)
  for (const value of Object.values(single)) inspectValue(context, value, statement, depth + 1)
  for (const clause of clausesOf(statement)) {
    if (clause.grouping === 'with') inspectName(context, clause.alias)
    if (clause.grouping === 'join') {
      if (clause.joinType === 'raw' && context.isEnforced) rejectStatement(context, 'joinRaw()', 'use joinRelated()')
      inspectSource(context, clause.table, statement, depth + 1)
      for (const on of clause.clauses as object[]) inspectOn(context, on, clause, statement, depth + 1)
    } else if (namesColumns.has(clause.grouping)) {
      for (const value of Object.values(clause)) inspectColumns(context, value, statement, depth + 1)
    } else {
      for (const value of Object.values(clause)) inspectValue(context, value, statement, depth + 1)
    }
  }
}

const namesColumns: ReadonlySet<string> = new Set(['columns', 'group', 'order'])

// Knex reads any object here as { alias: column }.
function inspectColumns(context: StatementContext, value: unknown, statement: OpenKnexBuilder, depth: number): void {
  if (typeof value !== 'object' || value === null || isKnexValue(value)) inspectValue(context, value, statement, depth)
  else if (depth > MAX_DEPTH) rejectStatement(context, 'a statement nested this deeply', 'write it in parts')
  else for (const name in value) inspectColumns(context, (value as Record<string, unknown>)[name], statement, depth + 1)
}

function inspectOn(context: StatementContext, on: object, join: Clause, statement: OpenKnexBuilder, depth: number): void {
  const { type, value } = on as { type?: string; value?: unknown }
  if (type !== 'onWrapped' || typeof value !== 'function') {
    inspectValue(context, on, statement, depth)
    return
  }
  const JoinClause = join.constructor as new (table: unknown, type: unknown) => Clause & { clauses: object[] }
  const inner = new JoinClause(join.table, join.joinType)
  value.call(inner, inner)
  for (const part of inner.clauses) inspectOn(context, part, join, statement, depth + 1)
}

// Inspects the source of from() or a join.
function inspectSource(context: StatementContext, source: unknown, statement: OpenKnexBuilder, depth: number): void {
  if (typeof source === 'string') inspectTable(context, source, statement)
  else if (typeof source !== 'object' || source === null || isKnexBuilder(source)) inspectValue(context, source, statement, depth)
  else if (isRaw(source)) inspectRaw(context, source, statement, depth, true)
  else if (depth > MAX_DEPTH) rejectStatement(context, 'a statement nested this deeply', 'write it in parts')
  else for (const name in source) inspectSource(context, (source as Record<string, unknown>)[name], statement, depth + 1)
}

type Callback = (this: unknown, builder: unknown) => unknown

function inspectValue(context: StatementContext, value: unknown, statement: OpenKnexBuilder, depth: number): void {
  if (typeof value === 'function') inspectFunction(context, value as Callback, statement, depth)
  if (typeof value !== 'object' || value === null) return
  if (carriesSql(value)) rejectStatement(context, 'a value with toSqlString(), which a driver takes for SQL', 'give a plain value')
  if (value instanceof Date || Buffer.isBuffer(value) || isModelQuery(context, value)) return
  if (depth > MAX_DEPTH) rejectStatement(context, 'a statement nested this deeply', 'write it in parts')
  if (isRaw(value)) inspectRaw(context, value, statement, depth, false)
  else if (isKnexBuilder(value)) inspectBuilder(context, value, depth + 1)
  else if (Array.isArray(value) || isPlainObject(value) || 'grouping' in value || 'type' in value) {
    for (const item of Object.values(value)) inspectValue(context, item, statement, depth + 1)
  } else {
    // Objects of the application's classes may contain raw SQL. Their other properties are values.
    for (const item of Object.values(value)) {
      if (typeof item === 'object' && item !== null && isKnexValue(item)) inspectValue(context, item, statement, depth + 1)
    }
  }
}

// Knex calls the function when it compiles the statement. Here it is called on a builder that is discarded.
function inspectFunction(context: StatementContext, fn: Callback, statement: OpenKnexBuilder, depth: number): void {
  if (depth > MAX_DEPTH) rejectStatement(context, 'a statement nested this deeply', 'write it in parts')
  const inner = statement.client.queryBuilder() as OpenKnexBuilder
  fn.call(inner, inner)
  inspectBuilder(context, inner, depth + 1)
}

function isKnexValue(value: object): boolean {
  return isRaw(value) || isKnexBuilder(value)
}

// Functions that execute text as SQL, or read tables and files by name.
const readsTextAsSql =
  /^(query_to_xml\w*|cursor_to_xml\w*|(table|schema|database)_to_xml\w*|dblink\w*|crosstab\w*|pg_\w*(?:size|tuples)\w*|pg_stat_\w+|ts_stat|ts_rewrite|xpath_table|lo_\w+|pg_read_\w+|load_file|load_extension|readfile)$/i

function inspectRaw(context: StatementContext, raw: RawSql, statement: OpenKnexBuilder, depth: number, isSource: boolean): void {
  if (isFragment(raw)) return
  const { client } = statement
  const { sql, names, queries, problem } = textOfRaw(raw, client)
  const text = readSql(sql, dialectOf({ client } as Knex))
  const unreadable = problem ?? text.unreadable
  if (unreadable !== null) rejectStatement(context, `raw SQL with ${unreadable}`, 'write SQL that has one meaning on every server')
  if (text.incomplete !== null && (context.isEnforced || queries.length > 0))
    rejectStatement(context, `raw SQL with ${text.incomplete}`, 'write one complete expression')
  const called = [...text.calls, ...names].find((name) => readsTextAsSql.test(lastPart(name)))
  if (called !== undefined)
    rejectStatement(context, `raw SQL with ${called}(), which executes text or reads tables by name`, 'name the tables in the SQL')
  if (isSource || text.namesTables) for (const name of [...text.names, ...names]) inspectTable(context, name, statement)
  for (const query of queries) inspectValue(context, query, statement, depth + 1)
}
