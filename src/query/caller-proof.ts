/** Proves in the first statement of a request that its caller is as it was when the rules were compiled. */

import { PermsError } from '../core/errors.js'
import type { NamesContext } from '../database/identifiers.js'
import { methodOf, type OpenKnexBuilder } from '../database/knex-internals.js'
import { contextStore, currentRuntime, type Runtime } from '../runtime.js'
import type { BuilderState } from './enforcing-query.js'
import { fragment, type Template } from './fragments.js'
import { groupWheres } from './where-groups.js'

/** The proof that a remembered caller is current. A request has one, and answers only after it is given. */
export interface CallerProof {
  /** True in the database only while the caller is as remembered. Its bindings are no secrets. */
  readonly condition: Template
  /** Whether a statement has returned rows, or has inserted one, under the condition. */
  readonly isGiven: boolean
  /** Whether an INSERT with the condition may have stored its row: it was sent, and the database has not refused it. */
  isInserting: boolean
  /** Whether an INSERT of one row may be the first statement. */
  allowsInsert: boolean
  /** Records that a statement has returned rows, or has inserted one, under the condition. */
  give(): void
}

/** Thrown for work that would run before the caller is proven. The request then starts over with a look-up of the caller. */
export class UnprovenCallerError extends Error {}

const contexts = contextStore<{ readonly runtime?: Runtime | undefined; readonly proof?: CallerProof | undefined }>()

/** Returns the proof that the running request still needs, if any. */
export function pendingProof(): CallerProof | undefined {
  const proof = contexts.getStore()?.proof
  return proof?.isGiven ? undefined : proof
}

/**
 * Lets a query prove the caller of its request. It must return rows of a table, not an aggregate: each row it returns is the proof.
 *
 * @param query a query of a model with ActiveRecordMixin
 */
export function proveCallerWith(query: object): void {
  if (pendingProof()) Object.assign(query, { provesCaller: true })
}

/** Lets the INSERT of one row prove the caller. Call it if nothing of the application runs before that statement. */
export function proveCallerByInsert(): void {
  const proof = pendingProof()
  if (proof) proof.allowsInsert = true
}

/** Refuses a query before the caller is proven, unless it is the one that proves it. @throws UnprovenCallerError */
export function assertProven(builder: Pick<BuilderState, 'provesCaller'>): void {
  if (!builder.provesCaller && pendingProof()) throw new UnprovenCallerError()
}

/** Refuses a write before the caller is proven, unless it may be an INSERT that proves it. @throws UnprovenCallerError */
export function assertMayProve(builder: Pick<BuilderState, 'provesCaller'>): void {
  if (!pendingProof()?.allowsInsert) assertProven(builder)
}

/** Records that an INSERT whose row depends on the condition is about to be sent. */
export function noteProvingInsert(proof: CallerProof, statement: OpenKnexBuilder): void {
  proof.isInserting = true
  statement.on('query-response', () => proof.give())
}

/**
 * Returns the error of an INSERT that may have had to prove the caller.
 *
 * @param thrown the error as it was thrown
 * @param typed the typed error of the same failure
 */
export function errorOfInsert(thrown: unknown, typed: unknown): unknown {
  const proof = pendingProof()
  if (!proof?.isInserting) return typed
  // After a lost connection, a time-out, or an error of a listener or of postProcessResponse, the row may be there: the request cannot
  // start over.
  const isRefused = typed instanceof PermsError && typed.status < 500 && !(thrown instanceof PermsError)
  if (!isRefused && !(typed instanceof UnprovenCallerError)) return typed
  proof.isInserting = false
  return new UnprovenCallerError()
}

/**
 * Adds the condition of the proof to the statement: it returns no rows if the caller has changed.
 *
 * @param isGrouped whether the other conditions are in parentheses already
 * @throws UnprovenCallerError for a model of another database
 */
export function addProof(builder: BuilderState, built: OpenKnexBuilder, isGrouped: boolean): void {
  const proof = pendingProof()
  if (!proof) return
  if (!currentRuntime()?.owns(builder.knex())) throw new UnprovenCallerError()
  if (methodOf(built) === 'insert') {
    // Only the enforcer of a policy adds the condition to an INSERT.
    if (!proof.isInserting) throw new UnprovenCallerError()
    return
  }
  if (!isGrouped) groupWheres(built, builder.names as NamesContext)
  built.whereRaw(fragment(built.client, proof.condition))
  built.on('query-response', (rows: unknown) => {
    if (Array.isArray(rows) && rows.length > 0) proof.give()
  })
}
