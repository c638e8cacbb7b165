/** Inspects queries of plain Objection classes: they must not read or write the tables of models with a policy. */

import type { Knex } from 'knex'
import { type Model, QueryBuilder } from 'objection'
import { ConfigurationError } from '../../core/errors.js'
import type { OpenKnexBuilder } from '../../database/knex-internals.js'
import { tableOf } from '../../schema/class-statics.js'
import type { ObjectionBuilder } from '../objection-internals.js'
import { anyEnforcer, enforcerKey, relatedTo } from './protected-tables.js'
import { inspect, noteModelQuery } from './statement.js'
import { rejectStatement, type StatementContext } from './statement-context.js'
import { isForbiddenName } from './table-names.js'

/** Set on the prototype of QueryBuilder classes that inspect their own statements. */
export const inspectsItself: unique symbol = Symbol.for('objection-perms.inspects-itself')

/** A query builder that may inspect its own statements. */
interface OpenBuilder extends ObjectionBuilder {
  readonly [inspectsItself]?: true
}

/**
 * Rejects queries of plain Objection classes that name a protected table, while a policy applies to the running code.
 *
 * @returns a function that removes the check
 */
export function inspectPlainClasses(): () => void {
  const prototype = ownerOf(QueryBuilder.prototype)
  const { executeOnBuildKnex: build } = prototype
  // Objection builds every statement here: executed ones, knex queries and subqueries.
  const buildInspected = function (this: OpenBuilder, knexBuilder: Knex.QueryBuilder): OpenKnexBuilder {
    const built = build.call(this, knexBuilder)
    // Builders of join conditions have no tableRef(). They are inspected with the statement around them.
    if (!this[inspectsItself] && typeof this.tableRef === 'function') inspectPlain(this, built)
    return built
  }
  prototype.executeOnBuildKnex = buildInspected
  return () => {
    if (prototype.executeOnBuildKnex === buildInspected) prototype.executeOnBuildKnex = build
  }
}

// Objection executes copies that are not instances of the QueryBuilder that it exports.
function ownerOf(prototype: object): OpenBuilder {
  for (let p: object | null = prototype; p !== null; p = Object.getPrototypeOf(p) as object | null)
    if (Object.hasOwn(p, 'executeOnBuildKnex')) return p as OpenBuilder
  throw new ConfigurationError('This version of Objection builds statements differently. Install objection 3.1.')
}

function inspectPlain(builder: OpenBuilder, built: OpenKnexBuilder): void {
  const enforcer = anyEnforcer()
  if (!enforcer?.isEnforcedAnywhere()) return
  const cls = builder.modelClass()
  const table = builder.isPartial() ? null : builder.tableName()
  const context: StatementContext = {
    name: cls.name,
    table,
    ref: builder.tableRef(),
    isEnforced: false,
    exempt: exemptTables(cls),
    caller: enforcer.caller(),
    isFreeNow: () => true,
  }
  rejectProtectedTable(context, table, built)
  inspect(context, built)
  if (context.exempt) noteModelQuery(context, built)
}

/** @throws ConfigurationError if a class without a policy uses a protected table */
export function rejectProtectedTable(context: StatementContext, table: string | null, built: OpenKnexBuilder): void {
  if (table !== null && isForbiddenName(context, table, built))
    rejectStatement(
      context,
      `the table '${table}' of a model with permissions`,
      "query that model, or set 'static unprotected = true' on this class",
    )
}

const exempt = new WeakMap<object, ReadonlySet<string>>()
const bareName = (table: string) => table.slice(table.lastIndexOf('.') + 1).toLowerCase()

/**
 * Returns the protected tables that a class without a policy may name: its own with `static unprotected = true`, and those of
 * related classes that also set it.
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
  const tables = new Set([...seen].map((one) => bareName(tableOf(one))))
  // Some relations could not be created yet: compute the tables again next time.
  if (isWhole) exempt.set(cls, tables)
  return tables
}

// A subclass must repeat `static unprotected = true`.
function isUnprotected(cls: typeof Model): boolean {
  for (let c: object | null = cls; typeof c === 'function'; c = Object.getPrototypeOf(c) as object | null) {
    if (enforcerKey in c) return false
    if (Object.hasOwn(c, 'unprotected')) return (c as { unprotected?: unknown }).unprotected === true
    if (!isCopy(c as typeof Model)) return false
  }
  return false
}

// Objection copies a class for each transaction that it is bound to. Relations of this library copy it too.
function isCopy(cls: typeof Model): boolean {
  const parent = Object.getPrototypeOf(cls) as typeof Model
  return cls.name === parent.name && !Object.hasOwn(cls, 'tableName') && cls.tableName === parent.tableName
}
