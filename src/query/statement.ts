/**
 * Knex's builders from inside: how their clauses are kept, and which of them would reach past a rule. Leans on what Knex
 * does not document; the self-check at initPerms and the tests of paths assert that it still holds.
 */
import type { Knex } from 'knex'
import { ConfigurationError } from '../core/errors.js'
import { namesContext } from '../database/identifiers.js'
import { dialectOf } from '../schema/storage.js'
import { isFragment } from './fragments.js'
import { type Enforcer, isForbiddenTable } from './protected-tables.js'
import { carriesSql, isPlainObject, isRaw, type RawSql, textOfRaw } from './raw-text.js'
import { readSql } from './sql-text.js'

/** A clause of a Knex builder, as Knex keeps it. */
export interface Clause {
  readonly grouping: string
  readonly type?: string
  readonly bool?: string
  readonly joinType?: string
  readonly [key: string]: unknown
}

/** A Knex builder, seen from inside. */
export interface OpenKnexBuilder extends Knex.QueryBuilder {
  listenerCount(event: string): number
  _statements: Clause[]
  _single: { table?: unknown; insert?: unknown; update?: unknown; onConflict?: unknown; merge?: unknown; [key: string]: unknown }
  _method: string
  _options?: readonly unknown[]
  _comments?: unknown
  /** One that was said with connection(). */
  _connection?: unknown
  client: Knex.Client & { transacting?: boolean }
}

// -- where-clauses -------------------------------------------------------------------------------------------------

const plainWheres = new Set(['whereBasic', 'whereIn', 'whereNull', 'whereBetween', 'whereColumn', 'whereLike', 'whereILike'])

/** What was written becomes one term, so that no or() and no raw text reaches past the rule that is ANDed to it. */
export function groupWheres(statement: OpenKnexBuilder, context: object): void {
  const wheres = statement._statements.filter((clause) => clause.grouping === 'where')
  if (wheres.every(isPlain)) return
  statement._statements = statement._statements.filter((clause) => clause.grouping !== 'where')
  statement.where((group) => {
    const open = group as OpenKnexBuilder
    open.queryContext(context)
    open._statements.push(...wheres)
  })
}

// An operator may be raw text too.
function isPlain(clause: Clause): boolean {
  return clause.bool !== 'or' && plainWheres.has(clause.type ?? '') && Object.values(clause).every(isLiteral)
}

function isLiteral(value: unknown): boolean {
  if (typeof value === 'function') return false
  if (typeof value !== 'object' || value === null || value instanceof Date || Buffer.isBuffer(value)) return true
  return Array.isArray(value) && value.every(isLiteral)
}

// -- ways around the guard -----------------------------------------------------------------------------------------

/** Whose statement is looked at. */
export interface StatementContext {
  /** The model's name, for messages. */
  readonly name: string
  /** The model's table; null where any table without a policy may stand. */
  readonly table: string | null
  /** The name by which the statement knows that table. */
  readonly ref: string
  /** Whether the model's own policy binds: then ways that cannot be judged at all are refused too. */
  readonly isEnforced: boolean
  /** Protected tables that a class without a policy may name, in lower case: see exemptTables(). */
  readonly exempt?: ReadonlySet<string> | undefined
  /** Who is calling; compared only. */
  readonly caller: unknown
  /** Whether the model's policy does not bind where the code runs when it is asked. */
  isFreeNow(): boolean
}

/** What a model's query was when it was handed over. */
interface Handed {
  readonly enforcer: Enforcer
  readonly method: string
  readonly table: unknown
  readonly clauses: readonly Clause[]
}

interface Own {
  readonly asker: StatementContext
  handed?: Handed
  /** The comments of a builder that was handed over. */
  readonly comments?: unknown
}

// Builders of models: what they name was looked at when they were built, and those of a class with a policy carry its rule.
const ofModels = new WeakMap<object, Own>()

/** Notes that a builder is a model's whole query, looked at and with its rule, for the asker's caller. */
export function noteOwn(asker: StatementContext, statement: OpenKnexBuilder): void {
  ofModels.set(statement, { asker })
}

const wheresOf = (clauses: readonly Clause[]) => clauses.filter(({ grouping }) => grouping === 'where')

/**
 * Whether a builder is a model's query, and one whose rule is that of whoever calls now. A knex query may have been
 * made for another caller, or inside a bypass that has ended.
 *
 * @throws ConfigurationError where the rule was taken out of it since
 */
function isOwn(asker: StatementContext, value: unknown): boolean {
  if (typeof value !== 'object' || value === null) return false
  const own = ofModels.get(value)
  if (!own || !isOfCaller(own.asker, asker.caller)) return false
  lockPolicy(own, value as OpenKnexBuilder)
  return true
}

function isOfCaller(maker: StatementContext, caller: StatementContext['caller']): boolean {
  return maker.caller === caller && (maker.isEnforced || maker.isFreeNow())
}

// Further conditions, columns and the like may be added to a knex query of a model, and nothing that undoes the rule.
function lockPolicy({ asker, handed }: Own, statement: OpenKnexBuilder): void {
  if (!handed || !asker.isEnforced) return
  const { _statements: now, _method: method, _single: single } = statement
  const { clauses } = handed
  const isSame = single.table === handed.table && method === handed.method
  if (isSame && now.length === clauses.length && now.every((clause, i) => clause === clauses[i])) return
  const wheres = wheresOf(clauses)
  const held = wheresOf(now)
  const further = held.slice(wheres.length)
  const isKept = wheres.every((clause, i) => clause === held[i]) && further.every(({ bool }) => bool !== 'or')
  if (!isKept || single.table !== handed.table || !isOfKind(statement, 'read'))
    rejectStatement(
      asker,
      'orWhere(), clear(), from() or a write on a knex query made of a model',
      'say it on query(), before toKnexQuery()',
    )
  inspect(asker, statement)
  if (further.every(isPlain)) return
  statement._statements = now.filter((clause) => !further.includes(clause))
  const context = statement.queryContext() as object
  statement.where((group) => {
    const open = group as OpenKnexBuilder
    open.queryContext(context)
    open._statements.push(...further)
  })
}

/**
 * Has a knex query of a model with a policy, which is the application's to add to from here on, look after its rule when it is
 * run, by itself or inside another. One made where no rule applied is for that place alone.
 */
export function exposeKnexQuery(statement: OpenKnexBuilder, enforcer: Enforcer): OpenKnexBuilder {
  const own = ofModels.get(statement)
  if (!own) return statement
  own.handed = { enforcer, method: statement._method, table: statement._single.table, clauses: [...statement._statements] }
  return snapshot(statement, own)
}

function snapshot(statement: OpenKnexBuilder, own: Own): OpenKnexBuilder {
  ofModels.set(statement, { ...own, comments: statement._comments })
  return Object.defineProperties(statement, sealed)
}

function checkSealed(statement: OpenKnexBuilder): Own | undefined {
  const own = ofModels.get(statement)
  if (!own?.handed) return own
  const { enforcer } = own.handed
  if (enforcer.isEnforcedAnywhere() && !isOfCaller(own.asker, enforcer.caller()))
    rejectStatement(own.asker, 'a knex query made for another caller', 'make it where it is run')
  lockPolicy(own, statement)
  return own
}

// Functions shared by all statements: see `Asking` on what closures kept in objects cost.
const sealed: PropertyDescriptorMap = {
  // What Knex reads of a builder first thing when it compiles it, wherever it stands, and before its clauses.
  _comments: {
    configurable: true,
    get(this: OpenKnexBuilder): unknown {
      return checkSealed(this)?.comments
    },
    set(this: OpenKnexBuilder, comments: unknown) {
      ofModels.set(this, { ...(ofModels.get(this) as Own), comments })
    },
  },
  clone: {
    configurable: true,
    value(this: OpenKnexBuilder): OpenKnexBuilder {
      const { clone } = Object.getPrototypeOf(this) as { clone(): OpenKnexBuilder }
      return snapshot(clone.call(this), ofModels.get(this) as Own)
    },
  },
}

/** @throws ConfigurationError always */
export function rejectStatement(asker: StatementContext, way: string, instead: string): never {
  throw new ConfigurationError(
    `${asker.name}: ${way} would go around the permissions; ${instead}, or use Model.knexQuery() inside asSystem().`,
  )
}

/** @throws ConfigurationError for a statement that would reach rows without the rule of their model */
export function inspect(asker: StatementContext, statement: OpenKnexBuilder): void {
  if (asker.isEnforced) {
    if (statement._method === 'truncate') rejectStatement(asker, 'truncate()', 'use query().delete()')
    if (statement._single.onConflict !== undefined && statement._single.merge !== undefined) {
      rejectStatement(asker, 'onConflict().merge()', 'look the row up and call update()')
    }
    // They could add to the statement once the rule is in it, or change its bindings.
    for (const event of ['start', 'query'])
      if (statement.listenerCount(event) > 0) rejectStatement(asker, `a listener of '${event}' on a query`, 'listen on the Knex instance')
    const { insert } = statement._single
    if (typeof insert === 'object' && insert !== null && isKnexValue(insert)) rejectStatement(asker, 'insert from a query', 'insert rows')
  }
  inspectOptions(asker, statement)
  inspectBuilder(asker, statement, 0)
}

// What drivers read of them beside the statement: how they answer. All else may replace the text, its values or its name.
const harmlessOptions: ReadonlySet<PropertyKey> = new Set(
  ['rowMode', 'types', 'binary', 'query_timeout', 'queryMode'].concat(
    ['nestTables', 'rowsAsArray', 'typeCast', 'dateStrings', 'supportBigNumbers', 'bigNumberStrings', 'decimalNumbers', 'timeout'],
    ['safeIntegers'],
  ),
)

function inspectOptions(asker: StatementContext, { _options: options }: OpenKnexBuilder): void {
  for (const given of options ?? []) {
    const names = typeof given === 'object' && given !== null ? Reflect.ownKeys(given) : []
    const bad = names.find((name) => !harmlessOptions.has(name))
    if (bad !== undefined)
      rejectStatement(asker, `options({ ${String(bad)} })`, `leave it out (these may stand: ${[...harmlessOptions].join(', ')})`)
  }
}

const methods = { read: /^(select|first|pluck|columnInfo)$/, insert: /^insert$/, update: /^update$/, delete: /^del$/ }

/** Whether a statement does what the model's query says it does: onBuildKnex() could make an update of a find. */
export function isOfKind(statement: OpenKnexBuilder, kind: keyof typeof methods): boolean {
  return methods[kind].test(statement._method)
}

/**
 * Whether what stands in from() carries a rule of its own: a model's query, or a CTE made of one.
 *
 * @throws ConfigurationError where rows would come from anything else but the model's table
 */
export function isFromGuarded(asker: StatementContext, statement: OpenKnexBuilder): boolean {
  const { table } = statement._single
  if (isTableOf(asker, table, asker.ref)) return false
  if (isTableOf(asker, table)) rejectStatement(asker, `from() by another name than '${asker.ref}'`, 'name the table once, with alias()')
  if (isOwn(asker, table)) return true
  if (typeof table === 'string') {
    const name = bareName(table)
    const cte = statement._statements.find((clause) => clause.grouping === 'with' && clause.alias === name)
    if (cte && isOwn(asker, cte.value)) return true
    return rejectStatement(asker, `from('${name}')`, 'query the model of that table')
  }
  return rejectStatement(asker, 'from() with a raw expression or a function', 'pass an Objection query with as()')
}

/** Whether from() names anything but the model's table. */
export function isFromOther(asker: StatementContext, statement: OpenKnexBuilder): boolean {
  return !isTableOf(asker, statement._single.table)
}

// As a name, as { alias: name }, or not said; under the name `ref` where that is given.
function isTableOf(asker: StatementContext, table: unknown, ref?: string): boolean {
  if (typeof table === 'string') {
    const [name = '', alias = name] = table.split(asWord)
    return bareName(name) === asker.table && (ref === undefined || alias.trim() === ref)
  }
  if (typeof table !== 'object' || table === null) return table === undefined
  const [[alias, name] = [], further] = isKnexValue(table) ? [] : Object.entries(table)
  return further === undefined && typeof name === 'string' && bareName(name) === asker.table && (ref === undefined || alias === ref)
}

const deepest = 16

// A statement's parts: builders and raw text inside it may name only tables without a policy.
function inspectBuilder(asker: StatementContext, statement: OpenKnexBuilder, depth: number): void {
  const { table, updateFrom, using, ...single } = statement._single
  if (depth > 0 || !isTableOf(asker, table)) inspectSource(asker, table, statement, depth)
  inspectSource(asker, updateFrom, statement, depth)
  inspectSource(asker, using, statement, depth)
  for (const value of Object.values(single)) inspectValue(asker, value, statement, depth + 1)
  for (const clause of statement._statements) {
    if (clause.grouping === 'with') inspectName(asker, clause.alias)
    if (clause.grouping === 'join') {
      if (clause.joinType === 'raw' && asker.isEnforced) rejectStatement(asker, 'joinRaw()', 'use joinRelated()')
      inspectSource(asker, clause.table, statement, depth + 1)
      for (const on of clause.clauses as object[]) inspectOn(asker, on, clause, statement, depth + 1)
    } else if (namesColumns.has(clause.grouping)) {
      for (const value of Object.values(clause)) inspectColumns(asker, value, statement, depth + 1)
    } else {
      for (const value of Object.values(clause)) inspectValue(asker, value, statement, depth + 1)
    }
  }
}

const namesColumns: ReadonlySet<string> = new Set(['columns', 'group', 'order'])

// Knex takes any object here for { alias: column }.
function inspectColumns(asker: StatementContext, value: unknown, statement: OpenKnexBuilder, depth: number): void {
  if (typeof value !== 'object' || value === null || isKnexValue(value)) inspectValue(asker, value, statement, depth)
  else if (depth > deepest) rejectStatement(asker, 'a statement nested this deeply', 'write it in parts')
  else for (const name in value) inspectColumns(asker, (value as Record<string, unknown>)[name], statement, depth + 1)
}

function inspectOn(asker: StatementContext, on: object, join: Clause, statement: OpenKnexBuilder, depth: number): void {
  const { type, value } = on as { type?: string; value?: unknown }
  if (type !== 'onWrapped' || typeof value !== 'function') {
    inspectValue(asker, on, statement, depth)
    return
  }
  const JoinClause = join.constructor as new (table: unknown, type: unknown) => Clause & { clauses: object[] }
  const inner = new JoinClause(join.table, join.joinType)
  value.call(inner, inner)
  for (const part of inner.clauses) inspectOn(asker, part, join, statement, depth + 1)
}

// The rules look into tables by name: a CTE by the same name would answer in their place.
function inspectName(asker: StatementContext, alias: unknown): void {
  if (typeof alias === 'string' && isForbiddenTable(bareName(alias)))
    rejectStatement(asker, `a CTE named '${alias}'`, 'give it another name')
}

// What stands after from or join.
function inspectSource(asker: StatementContext, source: unknown, statement: OpenKnexBuilder, depth: number): void {
  if (typeof source === 'string') inspectTable(asker, source, statement)
  else if (typeof source !== 'object' || source === null || isKnexBuilder(source)) inspectValue(asker, source, statement, depth)
  else if (isRaw(source)) inspectRaw(asker, source, statement, depth, true)
  else if (depth > deepest) rejectStatement(asker, 'a statement nested this deeply', 'write it in parts')
  else for (const name in source) inspectSource(asker, (source as Record<string, unknown>)[name], statement, depth + 1)
}

// Where databases keep what they know of all tables: how many rows there are, and the commonest values.
const ofTheSystem = /^(pg_\w+|information_schema|performance_schema|sqlite_\w+|dbstat|(innodb_)?(table|index|column)_stats)$/i

function inspectTable(asker: StatementContext, table: string, statement: OpenKnexBuilder): void {
  const name = bareName(table)
  if (name.split('.').some((part) => ofTheSystem.test(part)))
    rejectStatement(asker, `'${name}', which tells of all tables,`, 'ask for it with knex')
  if (!isForbiddenName(asker, name, statement)) return
  rejectStatement(
    asker,
    `the table '${name}' without its model`,
    'use joinRelated(), whereExists(Model.relatedQuery(...)) or the query of its model',
  )
}

/** Whether code may not name this table now, whatever its schema, its quotes and the way in which the application spells names. */
export function isForbiddenName(asker: StatementContext, table: string, { client }: OpenKnexBuilder): boolean {
  const name = bareName(table)
  if (asker.exempt?.has(lastPart(name).toLowerCase())) return false
  const { wrapIdentifier } = client.config
  const sent = wrapIdentifier && ((one: string) => wrapIdentifier(one, (same) => same, namesContext))
  return [name, lastPart(name)].some((one) => isForbiddenTable(one, sent))
}

const asWord = /\s+as\s+/i

function bareName(table: string): string {
  return (table.split(asWord)[0] ?? table).trim().replaceAll('"', '').replaceAll('`', '')
}

const lastPart = (name: string): string => name.slice(name.lastIndexOf('.') + 1).trim()

type Callback = (this: unknown, builder: unknown) => unknown

function inspectValue(asker: StatementContext, value: unknown, statement: OpenKnexBuilder, depth: number): void {
  if (typeof value === 'function') inspectFunction(asker, value as Callback, statement, depth)
  if (typeof value !== 'object' || value === null) return
  if (carriesSql(value)) rejectStatement(asker, 'a value with toSqlString(), which a driver takes for SQL', 'give a plain value')
  if (value instanceof Date || Buffer.isBuffer(value) || isOwn(asker, value)) return
  if (depth > deepest) rejectStatement(asker, 'a statement nested this deeply', 'write it in parts')
  if (isRaw(value)) inspectRaw(asker, value, statement, depth, false)
  else if (isKnexBuilder(value)) inspectBuilder(asker, value, depth + 1)
  else if (Array.isArray(value) || isPlainObject(value) || 'grouping' in value || 'type' in value) {
    for (const item of Object.values(value)) inspectValue(asker, item, statement, depth + 1)
  } else {
    // A row of a class of the application's may hold raw SQL; what else such objects hold are values.
    for (const item of Object.values(value)) {
      if (typeof item === 'object' && item !== null && isKnexValue(item)) inspectValue(asker, item, statement, depth + 1)
    }
  }
}

// Knex calls it when it compiles the statement; here it is called before, on a builder that goes nowhere.
function inspectFunction(asker: StatementContext, fn: Callback, statement: OpenKnexBuilder, depth: number): void {
  if (depth > deepest) rejectStatement(asker, 'a statement nested this deeply', 'write it in parts')
  const inner = statement.client.queryBuilder() as OpenKnexBuilder
  fn.call(inner, inner)
  inspectBuilder(asker, inner, depth + 1)
}

function isKnexValue(value: object): boolean {
  return isRaw(value) || isKnexBuilder(value)
}

function isKnexBuilder(value: object): value is OpenKnexBuilder {
  return Array.isArray((value as Partial<OpenKnexBuilder>)._statements) && typeof (value as Partial<OpenKnexBuilder>)._single === 'object'
}

// Functions that run a text as SQL, or read whole tables and files by name.
const readsTextAsSql =
  /^(query_to_xml\w*|cursor_to_xml\w*|(table|schema|database)_to_xml\w*|dblink\w*|crosstab\w*|pg_\w*(?:size|tuples)\w*|pg_stat_\w+|ts_stat|ts_rewrite|xpath_table|lo_\w+|pg_read_\w+|load_file|load_extension|readfile)$/i

function inspectRaw(asker: StatementContext, raw: RawSql, statement: OpenKnexBuilder, depth: number, isSource: boolean): void {
  if (isFragment(raw)) return
  const { client } = statement
  const { sql, names, queries, problem } = textOfRaw(raw, client)
  const text = readSql(sql, dialectOf({ client } as unknown as Knex))
  const unreadable = problem ?? text.unreadable
  if (unreadable !== null) rejectStatement(asker, `raw SQL with ${unreadable}`, 'write it so that every server reads it alike')
  if (text.incomplete !== null && (asker.isEnforced || queries.length > 0))
    rejectStatement(asker, `raw SQL with ${text.incomplete}`, 'write one complete expression')
  const called = [...text.calls, ...names].find((name) => readsTextAsSql.test(lastPart(name)))
  if (called !== undefined)
    rejectStatement(asker, `raw SQL with ${called}(), which runs a text or reads what it names`, 'write the tables out')
  if (isSource || text.namesTables) for (const name of [...text.names, ...names]) inspectTable(asker, name, statement)
  for (const query of queries) inspectValue(asker, query, statement, depth + 1)
}
