/** Adds the policies of models to the statements of query builders that enforce policies. */
import type { Knex } from 'knex'
import type { Model } from 'objection'
import { type FailingClient, redactErrorsOf } from '../database/errors/redacted-errors.js'
import type { NamesContext } from '../database/identifiers.js'
import { methodOf, type OpenKnexBuilder, singlePartsOf } from '../database/knex-internals.js'
import { tableOf } from '../schema/class-statics.js'
import { dialectOf } from '../schema/storage.js'
import { addProof } from './caller-proof.js'
import type { BuilderState } from './enforcing-query.js'
import { type InsertOperation, noteIgnored } from './execution/insert-results.js'
import { isKnownId, isPlainInsert, isReturning, kindOf, writeOf } from './execution/write-operation.js'
import { fragment } from './fragments.js'
import { exemptTables, rejectProtectedTable } from './inspection/plain-classes.js'
import { anyEnforcer, protectTable } from './inspection/protected-tables.js'
import { inspect, isFromModelQuery, isFromOther, noteModelQuery } from './inspection/statement.js'
import { isOfKind, rejectStatement, type StatementContext } from './inspection/statement-context.js'
import { rejectLimitedGraph } from './joined-graphs.js'
import { findOperation, operationsOf } from './objection-internals.js'
import type { PolicyEnforcer, StatementKind } from './policy-enforcer.js'
import { groupWheres } from './where-groups.js'

/**
 * Describes the statement of an enforcing builder. It is a class because V8 allocates function-valued properties of object literals in
 * old space, where each keeps its whole query alive until the next full garbage collection.
 */
class EnforcedStatementContext implements StatementContext {
  readonly name: string
  readonly isEnforced: boolean
  readonly exempt: ReadonlySet<string> | undefined

  constructor(
    readonly cls: typeof Model,
    readonly enforcer: PolicyEnforcer | undefined,
    readonly table: string | null,
    readonly ref: string,
    readonly caller: unknown,
  ) {
    this.name = cls.name
    this.isEnforced = enforcer?.isEnforced(cls) ?? false
    this.exempt = enforcer ? undefined : exemptTables(cls)
  }

  isFreeNow(): boolean {
    return !this.enforcer?.isEnforced(this.cls)
  }
}

/** Adds the policy of a builder's model to the statement that the builder made. @throws ConfigurationError if the statement could bypass it */
export function addPolicy(builder: BuilderState, built: OpenKnexBuilder): void {
  built.queryContext(builder.names as NamesContext)
  // The query may use another Knex instance than initPerms() got.
  redactErrorsOf(built.client as Knex.Client & FailingClient)
  const cls = builder.modelClass()
  const { enforcer } = builder
  const table = tableOf(cls)
  const activeEnforcer = enforcer ?? anyEnforcer()
  const context = new EnforcedStatementContext(
    cls,
    enforcer,
    builder.isPartial() ? null : table,
    builder.tableRef(),
    activeEnforcer?.caller(),
  )
  const isBound = context.isEnforced || (activeEnforcer?.isEnforcedAnywhere() ?? false)
  if (isBound) {
    const from = builder.tableName()
    if (enforcer) protectTable(cls, enforcer)
    else rejectProtectedTable(context, builder.isPartial() ? null : from, built)
    inspect(context, built)
  }
  if (builder.isPartial()) return
  if (singlePartsOf(built).limit !== undefined || singlePartsOf(built).offset !== undefined) rejectLimitedGraph(builder)
  if (methodOf(built) === 'truncate') enforcer?.checkTruncate(cls)
  const isRestricted =
    enforcer !== undefined &&
    (context.isEnforced || builder.execution?.ids !== undefined || !enforcer.isFree(cls)) &&
    restrict(builder, context, enforcer, built)
  if (!isRestricted && builder.readableFilters.length > 0) {
    groupWheres(built, builder.names as NamesContext)
    for (const filter of builder.readableFilters) built.whereRaw(fragment(built.client, filter))
  }
  if (builder.provesCaller) addProof(builder, built, isRestricted)
  // Other builders carry no rule. They are inspected again inside another statement, because the application may have changed them.
  if (enforcer || (isBound && context.exempt)) noteModelQuery(context, built)
}

/** @returns true if the rule and the readable filters were added; false if the rows come from another query */
function restrict(builder: BuilderState, context: EnforcedStatementContext, enforcer: PolicyEnforcer, built: OpenKnexBuilder): boolean {
  const kind = kindOf(builder)
  const isOther = context.isEnforced ? checkSource(builder, context, built, kind) : isFromOther(context, built)
  if (kind !== 'insert') groupWheres(built, builder.names as NamesContext)
  if (!isOther) enforcer.restrict(builder.handle, built, builder.execution?.action ?? kind)
  return !isOther
}

// Returns whether the rows come from a query with its own rule. Rejects every source except that and the model's table.
function checkSource(builder: BuilderState, context: StatementContext, built: OpenKnexBuilder, kind: StatementKind): boolean {
  const isWrite = kind !== 'read'
  if (!isOfKind(built, kind))
    rejectStatement(context, `a ${kind} that onBuildKnex() makes another statement of`, 'use the methods of query()')
  if (isWrite && !builder.isRunning) rejectStatement(context, 'a knex query made of a write', 'await the builder itself')
  if (builder.tableRef() !== context.table && /^perms_/.test(builder.tableRef()))
    rejectStatement(context, `the alias '${builder.tableRef()}'`, 'take one that does not begin with perms_')
  if (singlePartsOf(built).table === undefined && builder.tableName() !== context.table)
    rejectStatement(context, `the table '${builder.tableName()}'`, 'query the model of that table')
  const isOther = isFromModelQuery(context, built)
  if (isOther && isWrite) rejectStatement(context, 'a write to what from() names', 'write to the model')
  return isOther
}

/** Removes the RETURNING that Objection adds for the id on PostgreSQL, when every row has its id. */
export function keepKnownIds(builder: BuilderState, built: OpenKnexBuilder): void {
  const { returning, onConflict } = singlePartsOf(built)
  if (returning === undefined || onConflict !== undefined || findOperation(operationsOf(builder), isReturning) !== null) return
  const write = writeOf(builder)
  if (write?.models.every((model) => isKnownId(model.$id()))) singlePartsOf(built).returning = undefined
}

/** Makes an insert with onConflict() return the ids in the table: after a conflict, the generated one is not there. */
export function noteConflicts(builder: BuilderState, built: OpenKnexBuilder): void {
  const { onConflict, ignore, returning } = singlePartsOf(built)
  if (!onConflict || !builder.isRunning) return
  const insert = findOperation(operationsOf(builder), isPlainInsert) as InsertOperation | null
  if (!insert) return
  const ids = [builder.modelClass().idColumn].flat()
  const returned = [returning ?? []].flat() as string[]
  const needsId = ignore ? returned.length > 0 : dialectOf(builder.knex()) === 'sqlite'
  if (needsId && !returned.includes('*')) built.returning([...new Set([...returned, ...ids])])
  if (ignore) noteIgnored(built, insert, ids)
}
