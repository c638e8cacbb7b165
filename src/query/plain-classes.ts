/** Classes of Objection without this library: they must not read or write the tables of models with a policy. */
import type { Knex } from 'knex'
import { type Model, QueryBuilder } from 'objection'
import { ConfigurationError } from '../core/errors.js'
import { anyEnforcer, guardOf, relatedTo } from './protected-tables.js'
import { inspect, isForbiddenName, noteOwn, type OpenKnexBuilder, rejectStatement, type StatementContext } from './statement.js'

/** Set on the prototype of QueryBuilder classes that look after their own statements. */
export const looksAfterItself: unique symbol = Symbol.for('objection-perms.looks-after-itself') as never

/** What is used of Objection's QueryBuilder. */
interface OpenBuilder {
  readonly [looksAfterItself]?: true
  executeOnBuildKnex(knexBuilder: Knex.QueryBuilder): OpenKnexBuilder
  isPartial(): boolean
  modelClass(): typeof Model
  tableName(): string
  tableRef(): string
}

/**
 * Refuses queries of plain Objection classes that name a protected table, while a policy binds the code that runs.
 *
 * @returns undoes it
 */
export function guardPlainClasses(): () => void {
  const prototype = ownerOf(QueryBuilder.prototype)
  const { executeOnBuildKnex: build } = prototype
  // Every statement of every builder is built here: executed, made a knex query of, or made a part of another.
  const buildInspected = function (this: OpenBuilder, knexBuilder: Knex.QueryBuilder): OpenKnexBuilder {
    const built = build.call(this, knexBuilder)
    // A builder of join conditions is looked at with the statement around it.
    if (!this[looksAfterItself] && typeof this.tableRef === 'function') inspectPlain(this, built)
    return built
  }
  prototype.executeOnBuildKnex = buildInspected
  return () => {
    if (prototype.executeOnBuildKnex === buildInspected) prototype.executeOnBuildKnex = build
  }
}

// Objection executes copies that are no instances of the QueryBuilder that it exports.
function ownerOf(prototype: object): OpenBuilder {
  for (let p: object | null = prototype; p !== null; p = Object.getPrototypeOf(p) as object | null)
    if (Object.hasOwn(p, 'executeOnBuildKnex')) return p as OpenBuilder
  throw new ConfigurationError('This version of Objection builds statements in another way: use 3.1.')
}

function inspectPlain(builder: OpenBuilder, built: OpenKnexBuilder): void {
  const enforcer = anyEnforcer()
  if (!enforcer?.isEnforcedAnywhere()) return
  const cls = builder.modelClass()
  const table = builder.isPartial() ? null : builder.tableName()
  const asker: StatementContext = {
    name: cls.name,
    table,
    ref: builder.tableRef(),
    isEnforced: false,
    exempt: exemptTables(cls),
    caller: enforcer.caller(),
    isFreeNow: () => true,
  }
  refuseProtectedTable(asker, table, built)
  inspect(asker, built)
  if (asker.exempt) noteOwn(asker, built)
}

/** @throws ConfigurationError where a class without a policy stands over a protected table */
export function refuseProtectedTable(asker: StatementContext, table: string | null, built: OpenKnexBuilder): void {
  if (table !== null && isForbiddenName(asker, table, built))
    rejectStatement(
      asker,
      `the table '${table}' of a model with permissions`,
      "query that model, or set 'static unprotected = true' on this class",
    )
}

const exempt = new WeakMap<object, ReadonlySet<string>>()
const bareName = (table: string) => table.slice(table.lastIndexOf('.') + 1).toLowerCase()

/**
 * The tables that a class without a policy may name although they are protected: its own where it says `static unprotected = true`,
 * and those of the classes that it is related to and that say the same.
 */
export function exemptTables(cls: typeof Model): ReadonlySet<string> | undefined {
  if (!isUnprotected(cls)) return undefined
  const known = exempt.get(cls)
  if (known) return known
  const seen = new Set([cls])
  let isWhole = true
  for (const one of seen) {
    const related = relatedTo(one)
    isWhole &&= related.isWhole
    for (const other of related.classes) if (isUnprotected(other)) seen.add(other)
  }
  const tables = new Set([...seen].map((one) => bareName((one as unknown as { getTableName(): string }).getTableName())))
  // A relation that cannot be made yet is looked at again.
  if (isWhole) exempt.set(cls, tables)
  return tables
}

// A subclass has to say it itself.
function isUnprotected(cls: typeof Model): boolean {
  for (let c: object | null = cls; typeof c === 'function'; c = Object.getPrototypeOf(c) as object | null) {
    if (guardOf in c) return false
    if (Object.hasOwn(c, 'unprotected')) return (c as { unprotected?: unknown }).unprotected === true
    if (!isCopy(c as typeof Model)) return false
  }
  return false
}

// Objection makes a copy of a class for each transaction it is bound to, and so does a relation of this library.
function isCopy(cls: typeof Model): boolean {
  const parent = Object.getPrototypeOf(cls) as typeof Model
  return cls.name === parent.name && !Object.hasOwn(cls, 'tableName') && cls.tableName === parent.tableName
}
