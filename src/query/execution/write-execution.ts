/** Executes the writes of query builders that enforce policies: checks before and after, transactions, and inserts in parts. */
import type { Knex } from 'knex'
import type { Model } from 'objection'
import { TooManyValuesError } from '../../core/errors.js'
import { isTransaction, outsideTransaction, rootOf, transaction, withTransaction } from '../../database/transaction.js'
import { recordThrownError } from '../../database/transaction-state.js'
import { definitionOf } from '../../schema/definition/definition.js'
import { errorOfInsert, pendingProof, proveCallerWith, UnprovenCallerError } from '../caller-proof.js'
import { type EnforcingQuery, runCopy } from '../enforcing-query.js'
import { assertHome } from '../home.js'
import { anyEnforcer } from '../inspection/protected-tables.js'
import { isMissingRow } from '../missing-rows.js'
import { findOperation, operationsOf } from '../objection-internals.js'
import type { WriteOperation } from '../policy-enforcer.js'
import { typedError } from '../typed-errors.js'
import { restorerOf } from './deadlock-retry.js'
import { assertChanged, assertRemoved, isLinkOfGraph, removalOf } from './graph-writes.js'
import { type InsertOperation, inParts, insertIn, joinResults, rowsPerInsert } from './insert-results.js'
import { idOrNew, isConflict, isGraphWrite, isIgnoring, isKnownId, isOfJoinTable, isPlainInsert, writeOf } from './write-operation.js'

/** Executes a write through a relation, and checks what it did to the rows that a graph names. */
export async function writeRelated(builder: EnforcingQuery): Promise<unknown> {
  const removal = removalOf(builder)
  const result = await writeOnce(builder)
  if (removal) await assertRemoved(builder, removal, result)
  else if (isLinkOfGraph(builder)) await assertChanged(builder, result)
  return result
}

/** Executes a write under the policy of its model: in parts, in a transaction, or as one statement. */
export function writeOnce(builder: EnforcingQuery): Promise<unknown> {
  const write = builder.enforcer ? writeOf(builder) : null
  if (write) {
    const db = builder.knex()
    assertHome(write.instance, db)
    for (const row of write.models) assertHome(row, db)
  }
  const failed = (error: unknown) => rejectTyped(builder, write, error)
  try {
    return execute(builder, write).catch(failed)
  } catch (error) {
    return failed(error)
  }
}

function execute(builder: EnforcingQuery, write: WriteOperation | null): Promise<unknown> {
  const operations = operationsOf(builder)
  const insert = findOperation(operations, isPlainInsert) as InsertOperation | null
  const size = insert ? rowsAtOnce(builder, insert) : 0
  if (insert && insert.models.length > size) return insertInParts(builder, insertIn(insert).models, size)
  const isGraph = findOperation(operations, isGraphWrite) !== null
  if (!builder.enforcer && !isGraph) return builder[runCopy]().result
  const isWhole = isGraph || isOfLinks(builder, write)
  const checked = isWhole ? null : write
  const needsMore = needsTransaction(builder, write, isWhole, isGraph)
  if (pendingProof()) {
    if (needsMore || isWhole || !isProvingInsert(builder, write)) throw new UnprovenCallerError()
    proveCallerWith(builder)
  }
  if (!needsMore) return runChecked(builder, checked)
  return runInTransaction(builder, write, checked)
}

// Returns whether a write is one statement that stores one row, whatever it throws.
function isProvingInsert(builder: EnforcingQuery, write: WriteOperation | null): boolean {
  if (write?.kind !== 'insert' || write.models.length !== 1 || builder.parentQuery() !== null || isTransaction(builder.knex())) return false
  return findOperation(operationsOf(builder), isConflict) === null && builder.enforcer?.isEnforced(builder.modelClass()) === true
}

async function rejectTyped(builder: EnforcingQuery, write: WriteOperation | null, error: unknown): Promise<never> {
  const { enforcer } = builder
  const translated = enforcer ? await enforcer.translate(builder.handle, write, error) : error
  const answer = errorOfInsert(error, typedError(builder.modelClass(), translated))
  recordThrownError(error, answer)
  throw answer
}

// Returns whether a write links or unlinks rows.
function isOfLinks(builder: EnforcingQuery, write: WriteOperation | null): boolean {
  if (builder.isRelate() || builder.isUnrelate()) return true
  return write?.kind === 'insert' && findOperation(operationsOf(builder), isOfJoinTable) !== null
}

function needsTransaction(builder: EnforcingQuery, write: WriteOperation | null, isWhole: boolean, isGraph: boolean): boolean {
  // A policy may reject a row deeper in a graph even if none applies to its root.
  if (isGraph) return anyEnforcer()?.isEnforcedAnywhere() ?? false
  const { enforcer } = builder
  if (!enforcer) return false
  return isWhole ? enforcer.isEnforced(builder.modelClass()) : enforcer.needsTransaction(builder.handle, write)
}

function runInTransaction(builder: EnforcingQuery, write: WriteOperation | null, checked: WriteOperation | null): Promise<unknown> {
  const db = builder.knex()
  if (isTransaction(db)) {
    const root = rootOf(builder.modelClass().knex())
    return db.transaction(async (trx) => withTransaction(trx, root, () => runChecked(builder, checked, trx)))
  }
  // A deadlock repeats the transaction, from the values that the rows had before hooks changed them.
  const restoreRows = restorerOf(write?.models ?? [])
  const attempt = (trx: Knex) => {
    restoreRows()
    return runChecked(builder, checked, trx)
  }
  return outsideTransaction(() => transaction(attempt, { knex: db }))
}

// Returns how many rows one INSERT may hold.
function rowsAtOnce(builder: EnforcingQuery, insert: InsertOperation): number {
  const { models } = insert
  // insertedOf() needs ids to find out which of several rows were inserted, so rows without ids are inserted one by one.
  const isOneByOne =
    findOperation(operationsOf(builder), isIgnoring) !== null && !models.every((model) => [idOrNew(model)].flat().every(isKnownId))
  return isOneByOne ? 1 : rowsPerInsert(definitionOf(builder.modelClass()).columnOf.size)
}

async function insertInParts(builder: EnforcingQuery, models: readonly Model[], most: number): Promise<unknown> {
  const db = builder.knex()
  const root = isTransaction(db) ? rootOf(builder.modelClass().knex()) : db
  const restoreRows = restorerOf(models)
  for (let size = most; ; size = Math.ceil(size / 8)) {
    const insertAll = async (trx: Knex.Transaction) => {
      restoreRows()
      const results: unknown[] = []
      for (const part of inParts(models, size)) results.push(await copyOfRows(builder, part, trx).execute())
      return joinResults(results)
    }
    try {
      if (isTransaction(db)) return await db.transaction((trx) => withTransaction(trx, root, () => insertAll(trx)))
      return await outsideTransaction(() => transaction(insertAll, { knex: db }))
    } catch (error) {
      // The conditions of a policy may bind many values for each row: divide further.
      if (!(error instanceof TooManyValuesError) || size === 1) throw error
    }
  }
}

function copyOfRows(builder: EnforcingQuery, models: readonly Model[], trx: Knex): EnforcingQuery {
  const part = builder.clone()
  insertIn(findOperation(operationsOf(part), isPlainInsert) as InsertOperation).models = models
  part.knex(trx)
  return part
}

function runChecked(builder: EnforcingQuery, write: WriteOperation | null, trx?: Knex): Promise<unknown> {
  const { copy, result } = builder[runCopy](trx)
  if (!write) return result
  const { enforcer } = builder
  return result.then(
    (value) => {
      const checked = enforcer?.afterWrite(copy.handle, write, value)
      return checked ? checked.then(() => value) : value
    },
    async (error: unknown) => {
      // throwIfNotFound() throws before afterWrite(), which distinguishes a row that the caller may read (403) from a missing one (404).
      if (write.kind !== 'insert' && isMissingRow(error)) await enforcer?.afterWrite(copy.handle, write, 0)
      throw error
    },
  )
}
