/**
 * Executes a query as QueryBuilder.execute() of Objection 3.1 does: the same hooks of the same operations in the same order.
 * Objection creates several promises for each hook and operation, which together take as long as a small statement. This file
 * awaits only values that are promises.
 */
import type { Knex } from 'knex'
import { Model, type QueryBuilder } from 'objection'
import { loadPackage } from '../core/current-file.js'
import { isPromise } from '../core/maybe-async.js'

/** The members of Objection's operations that this file uses. */
interface OperationInternals {
  readonly name: string
  /** Set by from() with a table name. */
  readonly table?: string | null
  hasHook(name: HookName): boolean
  /** Operations that the hooks of this operation added. */
  readonly childOperations: readonly OperationInternals[]
  removeChildOperationsByHookName(name: HookName): void
  queryExecutor(builder: Executable): PromiseLike<unknown>
}

type HookName = 'onBefore1' | 'onBefore2' | 'onBefore3' | 'onRawResult' | 'queryExecutor' | 'onAfter1' | 'onAfter2' | 'onAfter3' | 'onError'

type Hook = (builder: Executable, value: unknown) => unknown

/** The members of Objection's QueryBuilder that this file uses. */
export interface Executable {
  readonly _operations: readonly OperationInternals[]
  readonly _activeOperations: { readonly operation: OperationInternals; readonly hookName: HookName }[]
  readonly _explicitRejectValue: unknown
  readonly _explicitResolveValue: unknown
  _findOperationFactory(builder: Executable): OperationInternals
  isFind(): boolean
  isInsert(): boolean
  isPartial(): boolean
  hasWithGraph(): boolean
  hasSelects(): boolean
  clear(selector: (op: OperationInternals) => boolean): unknown
  addOperation(op: OperationInternals): unknown
  addOperationToFront(op: OperationInternals, args: unknown[]): unknown
  findLastOperation(selector: RegExp): OperationInternals | null
  forEachOperation(selector: true, callback: (op: OperationInternals) => void): void
  context(): Hooks
  internalContext(): Hooks
  internalOptions(): { returnImmediatelyValue?: unknown }
  executeOnBuild(): void
  executeOnBuildKnex(knexBuilder: Knex.QueryBuilder): Knex.QueryBuilder
  knex(): Knex
  tableName(): string
  tableRef(): string
  resultModelClass(): typeof Model
}

interface Hooks {
  readonly runBefore?: unknown
  readonly runAfter?: unknown
  readonly onBuild?: unknown
}

const usedMethods: readonly (keyof Executable)[] = [
  '_findOperationFactory',
  'isFind',
  'isInsert',
  'isPartial',
  'hasWithGraph',
  'hasSelects',
  'clear',
  'addOperation',
  'addOperationToFront',
  'findLastOperation',
  'forEachOperation',
  'context',
  'internalContext',
  'internalOptions',
  'executeOnBuild',
  'executeOnBuildKnex',
  'knex',
  'tableName',
  'tableRef',
  'resultModelClass',
]

/**
 * Returns whether a QueryBuilder class belongs to Objection 3.1 and has every member that executeCopy() uses. Other classes are
 * executed by Objection itself, which is slower.
 *
 * @param version Objection's version. Default: the installed one.
 */
export function isAsExpected(Base: typeof QueryBuilder, version = installedVersion()): boolean {
  // The order of Objection's calls is not visible in the class, so the version must match.
  if (!/^3\.1\./.test(version)) return false
  const builder = (Base as unknown as { forClass(cls: typeof Model): Executable }).forClass(Model)
  if (!usedMethods.every((name) => typeof builder[name] === 'function')) return false
  const { _operations, _activeOperations, _explicitRejectValue, _explicitResolveValue } = builder
  if (!Array.isArray(_operations) || !Array.isArray(_activeOperations)) return false
  if (_explicitRejectValue !== null || _explicitResolveValue !== null) return false
  const { hasHook, removeChildOperationsByHookName, childOperations } = builder._findOperationFactory(builder)
  return typeof hasHook === 'function' && typeof removeChildOperationsByHookName === 'function' && Array.isArray(childOperations)
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

type Stage = (builder: Executable, value: unknown) => unknown

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
 * @throws the same errors as Objection, with driver errors wrapped in the same classes
 */
export async function executeCopy(builder: Executable): Promise<unknown> {
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
    return await answerError(builder, error)
  }
}

const isFinding = ({ name }: OperationInternals) => name === 'find'
const isGraph = ({ name }: OperationInternals) => name === 'eager'
const isExecutor = (operation: OperationInternals) => operation.hasHook('queryExecutor')

function addImplicitOperations(builder: Executable): void {
  if (builder.isFind() && findOperation(builder._operations, isFinding) === null)
    builder.addOperationToFront(builder._findOperationFactory(builder), [])
  if (findOperation(builder._operations, isGraph) === null || !builder.hasWithGraph()) return
  const graph = findOperation(builder._operations, isGraph) as OperationInternals
  builder.clear(isGraph)
  builder.addOperation(graph)
}

// -- hooks

function stageOf(name: HookName): Stage {
  return (builder, value) => {
    // Operations that a hook adds take part from the next stage on.
    const operations = withHook(builder._operations, name, null)
    return operations === null ? value : callHooks(builder, operations, name, value, 0)
  }
}

/** Returns the first operation, or child of an operation, for which `isIt` returns true. */
export function findOperation<T extends { readonly childOperations: readonly T[] }>(
  operations: readonly T[],
  isIt: (operation: T) => boolean,
): T | null {
  for (const operation of operations) {
    if (isIt(operation)) return operation
    if (operation.childOperations.length === 0) continue
    const found = findOperation(operation.childOperations, isIt)
    if (found !== null) return found
  }
  return null
}

function withHook(
  operations: readonly OperationInternals[],
  name: HookName,
  found: OperationInternals[] | null,
): OperationInternals[] | null {
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

function callHooks(builder: Executable, operations: readonly OperationInternals[], name: HookName, given: unknown, from: number): unknown {
  let value = given
  for (let i = from; i < operations.length; i += 1) {
    const next = callHook(builder, operations[i] as OperationInternals, name, value)
    assertNotEnded(builder)
    if (isPromise(next)) return next.then((result) => callHooks(builder, operations, name, result, i + 1))
    value = next
  }
  return value
}

function callHook(builder: Executable, operation: OperationInternals, name: HookName, value: unknown): unknown {
  const active = builder._activeOperations
  operation.removeChildOperationsByHookName(name)
  // Operations that a hook adds to the builder become children of its operation.
  active.push({ operation, hookName: name })
  let result: unknown
  try {
    result = (operation as unknown as Record<HookName, Hook>)[name](builder, value)
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
      return settled
    },
    (error) => {
      active.pop()
      throw error
    },
  )
}

function callFunctions(builder: Executable, functions: unknown, given: unknown): unknown {
  if (typeof functions === 'function') {
    const result: unknown = functions.call(builder, given, builder)
    assertNotEnded(builder)
    return result
  }
  return Array.isArray(functions) ? callEach(builder, functions, given, 0) : given
}

function callEach(builder: Executable, functions: readonly unknown[], given: unknown, from: number): unknown {
  let value = given
  for (let i = from; i < functions.length; i += 1) {
    const next = callFunctions(builder, functions[i], value)
    if (isPromise(next)) return next.then((result) => callEach(builder, functions, result, i + 1))
    value = next
  }
  return value
}

function assertNotEnded(builder: Executable): void {
  const { returnImmediatelyValue } = builder.internalOptions()
  if (returnImmediatelyValue !== undefined) throw new EndedEarly(returnImmediatelyValue)
}

// -- the statement

function send(builder: Executable): unknown {
  callOnBuild(builder, builder.context().onBuild)
  callOnBuild(builder, builder.internalContext().onBuild)
  builder.executeOnBuild()
  const executor = findOperation(builder._operations, isExecutor)
  if (builder._explicitRejectValue !== null) throw builder._explicitRejectValue
  if (builder._explicitResolveValue !== null) return builder._explicitResolveValue
  if (executor !== null) return executor.queryExecutor(builder)
  return buildKnexQuery(builder).then((raw: unknown) => {
    const result = onRawResult(builder, raw)
    return isPromise(result) ? result.then((rows) => toModels(builder, rows)) : toModels(builder, result)
  })
}

function callOnBuild(builder: Executable, functions: unknown): void {
  if (typeof functions === 'function') functions.call(builder, builder)
  else if (Array.isArray(functions)) for (const one of functions) callOnBuild(builder, one)
}

const fromNames = /^(from|fromRaw|into|table)$/

function buildKnexQuery(builder: Executable): Knex.QueryBuilder {
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

function toModels(builder: Executable, result: unknown): unknown {
  if (result === null || result === undefined) return null
  // An insert returns the models that it was given.
  if (builder.isInsert()) return result
  const cls = builder.resultModelClass()
  if (!Array.isArray(result)) return isRow(result, cls) ? cls.fromDatabaseJson(result as object) : result
  if (result.length > 0 && isRow(result[0], cls))
    for (let i = 0; i < result.length; i += 1) result[i] = cls.fromDatabaseJson(result[i] as object)
  return result
}

function isRow(value: unknown, cls: typeof Model): boolean {
  return typeof value === 'object' && value !== null && !(value instanceof cls)
}

// -- errors

async function answerError(builder: Executable, error: unknown): Promise<unknown> {
  // Objection does not export its error wrapper. A query that only rejects uses it.
  let answer: Promise<unknown> = Model.query()
    .reject(error as Error)
    .execute()
  builder.forEachOperation(true, (operation) => {
    if (operation.hasHook('onError')) answer = answer.catch((wrapped: unknown) => callHook(builder, operation, 'onError', wrapped))
  })
  return await answer
}
