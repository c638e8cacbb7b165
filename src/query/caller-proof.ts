/** Proves in the statement of a read that its caller is as it was when the rules were compiled. */

import type { NamesContext } from '../database/identifiers.js'
import type { OpenKnexBuilder } from '../database/knex-internals.js'
import { contextStore, currentRuntime, type Runtime } from '../runtime.js'
import type { BuilderState } from './enforcing-query.js'
import { fragment, type Template } from './fragments.js'
import { groupWheres } from './where-groups.js'

/** The proof that a remembered caller is current. A request has one, and answers only after it is given. */
export interface CallerProof {
  /** True in the database only while the caller is as remembered. Its bindings are no secrets. */
  readonly condition: Template
  /** Whether a statement has returned rows under the condition. */
  readonly isGiven: boolean
  /** Records that a statement has returned rows under the condition. */
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

/** Refuses a query before the caller is proven, unless it is the one that proves it. @throws UnprovenCallerError */
export function assertProven(builder: Pick<BuilderState, 'provesCaller'>): void {
  if (!builder.provesCaller && pendingProof()) throw new UnprovenCallerError()
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
  if (!isGrouped) groupWheres(built, builder.names as NamesContext)
  built.whereRaw(fragment(built.client, proof.condition))
  built.on('query-response', (rows: unknown) => {
    if (Array.isArray(rows) && rows.length > 0) proof.give()
  })
}
