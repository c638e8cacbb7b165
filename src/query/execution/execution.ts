/**
 * Executes a query as QueryBuilder.execute() of Objection 3.1 does: the same hooks of the same operations in the same order.
 * Objection creates several promises for each hook and operation, which together take as long as a small statement. This file
 * awaits only values that are promises.
 */
import type { Knex } from 'knex'
import { Model, type QueryBuilder } from 'objection'
import { loadPackage } from '../../core/current-file.js'
import { isPromise } from '../../core/maybe-async.js'
import {
  callHookOf,
  findOperation,
  type HookName,
  hasExecutionInternals,
  newFindOperation,
  type ObjectionBuilder,
  type Operation,
  operationsOf,
  rejectedValueOf,
  resolvedValueOf,
  runningOperationsOf,
} from '../objection-internals.js'

/**
 * Returns whether a QueryBuilder class belongs to Objection 3.1 and has every member that executeCopy() uses. Other classes are
 * executed by Objection itself, which is slower.
 *
 * @param version Objection's version. Default: the installed one.
 */
export function isAsExpected(Base: typeof QueryBuilder, version = installedVersion()): boolean {
  // The order of Objection's calls is not visible in the class, so the version must match.
  if (!/^3\.1\./.test(version)) return false
  return hasExecutionInternals(Base)
}

function installedVersion(): string {
  try {
    return loadPackage((require) => require('objection/package.json') as { version: string }).version
  } catch {
    return 'unknown'
  }
}

/** Thrown when a hook ends the query early with a result. */
class EndedEarly {
  constructor(readonly value: unknown) {}
}

type Stage = (builder: ObjectionBuilder, value: unknown) => unknown

const beforeStages: readonly Stage[] = [
  stageOf('onBefore1'),
  stageOf('onBefore2'),
  (builder, value) => callFunctions(builder, builder.context().runBefore, value),
  (builder, value) => callFunctions(builder, builder.internalContext().runBefore, value),
  stageOf('onBefore3'),
]

const onRawResult = stageOf('onRawResult')

const afterStages: readonly Stage[] = [
  stageOf('onAfter1'),
  stageOf('onAfter2'),
  (builder, value) => callFunctions(builder, builder.context().runAfter, value),
  (builder, value) => callFunctions(builder, builder.internalContext().runAfter, value),
  stageOf('onAfter3'),
]

/**
 * Executes a builder and modifies it: pass a copy.
 *
 * @param convert converts errors. It is called here, because a promise around this one would cost each query two more.
 * @throws the same errors as Objection, with driver errors wrapped in the same classes
 */
export async function executeCopy(builder: ObjectionBuilder, convert?: (error: unknown) => unknown): Promise<unknown> {
  try {
    addImplicitOperations(builder)
    let value: unknown
    for (const stage of beforeStages) {
      const next = stage(builder, value)
      value = isPromise(next) ? await next : next
    }
    const result = send(builder)
    value = isPromise(result) ? await result : result
    for (const stage of afterStages) {
      const next = stage(builder, value)
      value = isPromise(next) ? await next : next
    }
    return value
  } catch (error) {
    if (error instanceof EndedEarly) return error.value
    if (!convert) return await answerError(builder, error)
    try {
      return await answerError(builder, error)
    } catch (answer) {
      throw convert(answer)
    }
  }
}

const isFinding = ({ name }: Operation) => name === 'find'
const isGraph = ({ name }: Operation) => name === 'eager'
const isExecutor = (operation: Operation) => operation.hasHook('queryExecutor')

function addImplicitOperations(builder: ObjectionBuilder): void {
  if (builder.isFind() && findOperation(operationsOf(builder), isFinding) === null)
    builder.addOperationToFront(newFindOperation(builder), [])
  if (findOperation(operationsOf(builder), isGraph) === null || !builder.hasWithGraph()) return
  const graph = findOperation(operationsOf(builder), isGraph) as Operation
  builder.clear(isGraph)
  builder.addOperation(graph)
}

// -- hooks

function stageOf(name: HookName): Stage {
  return (builder, value) => {
    // Operations that a hook adds take part from the next stage on.
    const operations = withHook(operationsOf(builder), name, null)
    return operations === null ? value : callHooks(builder, operations, name, value, 0)
  }
}

function withHook(operations: readonly Operation[], name: HookName, found: Operation[] | null): Operation[] | null {
  let all = found
  for (const operation of operations) {
    if (operation.hasHook(name)) {
      if (all === null) all = [operation]
      else all.push(operation)
    }
    if (operation.childOperations.length > 0) all = withHook(operation.childOperations, name, all)
  }
  return all
}

function callHooks(builder: ObjectionBuilder, operations: readonly Operation[], name: HookName, given: unknown, from: number): unknown {
  let value = given
  for (let i = from; i < operations.length; i += 1) {
    const next = callHook(builder, operations, name, value, i)
    assertNotEnded(builder)
    if (isPromise(next)) return next
    value = next
  }
  return value
}

/** Calls the hook of one operation; if it returns a promise, also the hooks of the operations after it. */
function callHook(builder: ObjectionBuilder, operations: readonly Operation[], name: HookName, value: unknown, at: number): unknown {
  const active = runningOperationsOf(builder)
  const operation = operations[at] as Operation
  operation.removeChildOperationsByHookName(name)
  // Operations that a hook adds to the builder become children of its operation.
  active.push({ operation, hookName: name })
  let result: unknown
  try {
    result = callHookOf(operation, name, builder, value)
  } catch (error) {
    active.pop()
    throw error
  }
  if (!isPromise(result)) {
    active.pop()
    return result
  }
  return result.then(
    (settled) => {
      active.pop()
      return callHooks(builder, operations, name, settled, at + 1)
    },
    (error) => {
      active.pop()
      throw error
    },
  )
}

function callFunctions(builder: ObjectionBuilder, functions: unknown, given: unknown): unknown {
  if (typeof functions === 'function') {
    const result: unknown = functions.call(builder, given, builder)
    assertNotEnded(builder)
    return result
  }
  return Array.isArray(functions) ? callEach(builder, functions, given, 0) : given
}

function callEach(builder: ObjectionBuilder, functions: readonly unknown[], given: unknown, from: number): unknown {
  let value = given
  for (let i = from; i < functions.length; i += 1) {
    const next = callFunctions(builder, functions[i], value)
    if (isPromise(next)) return next.then((result) => callEach(builder, functions, result, i + 1))
    value = next
  }
  return value
}

function assertNotEnded(builder: ObjectionBuilder): void {
  const { returnImmediatelyValue } = builder.internalOptions()
  if (returnImmediatelyValue !== undefined) throw new EndedEarly(returnImmediatelyValue)
}

// -- the statement

function send(builder: ObjectionBuilder): unknown {
  callOnBuild(builder, builder.context().onBuild)
  callOnBuild(builder, builder.internalContext().onBuild)
  builder.executeOnBuild()
  const executor = findOperation(operationsOf(builder), isExecutor)
  const rejected = rejectedValueOf(builder)
  if (rejected !== null) throw rejected
  const resolved = resolvedValueOf(builder)
  if (resolved !== null) return resolved
  if (executor !== null) return executor.queryExecutor(builder)
  return buildKnexQuery(builder).then((raw: unknown) => {
    const result = onRawResult(builder, raw)
    return isPromise(result) ? result.then((rows) => toModels(builder, rows)) : toModels(builder, result)
  })
}

function callOnBuild(builder: ObjectionBuilder, functions: unknown): void {
  if (typeof functions === 'function') functions.call(builder, builder)
  else if (Array.isArray(functions)) for (const one of functions) callOnBuild(builder, one)
}

const fromNames = /^(from|fromRaw|into|table)$/

function buildKnexQuery(builder: ObjectionBuilder): Knex.QueryBuilder {
  const built = builder.executeOnBuildKnex(builder.knex().queryBuilder())
  if (builder.isPartial()) return built
  const from = builder.findLastOperation(fromNames)
  const ref = builder.tableRef()
  if (!from) {
    const table = builder.tableName()
    built.table(table === ref ? table : `${table} as ${ref}`)
  }
  if (!builder.hasSelects() && (!from || from.table)) built.select(`${ref}.*`)
  return built
}

function toModels(builder: ObjectionBuilder, result: unknown): unknown {
  if (result === null || result === undefined) return null
  // An insert returns the models that it was given.
  if (builder.isInsert()) return result
  const cls = builder.resultModelClass()
  if (!Array.isArray(result)) return isRow(result, cls) ? cls.fromDatabaseJson(result) : result
  if (result.length > 0 && isRow(result[0], cls))
    for (let i = 0; i < result.length; i += 1) result[i] = cls.fromDatabaseJson(result[i] as object)
  return result
}

function isRow(value: unknown, cls: typeof Model): boolean {
  return typeof value === 'object' && value !== null && !(value instanceof cls)
}

// -- errors

async function answerError(builder: ObjectionBuilder, error: unknown): Promise<unknown> {
  // Objection does not export its error wrapper. A query that only rejects uses it.
  let answer: Promise<unknown> = Model.query()
    .reject(error as Error)
    .execute()
  builder.forEachOperation(true, (operation) => {
    if (operation.hasHook('onError')) answer = answer.catch((wrapped: unknown) => callHook(builder, [operation], 'onError', wrapped, 0))
  })
  return await answer
}
