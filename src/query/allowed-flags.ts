/** Adds to rows which actions the caller may do with them: `row.allowed`. */
import type { Model, QueryBuilder } from 'objection'
import { ConfigurationError } from '../core/errors.js'
import { methodOf, type OpenKnexBuilder } from '../database/knex-internals.js'
import { structureOf } from '../schema/definition/definition.js'
import type { BuilderState } from './enforcing-query.js'
import { fragment } from './fragments.js'
import { relationNamesOf } from './objection-internals.js'
import type { AllowedFlag } from './policy-enforcer.js'

/** Whether the caller may do each action with a row. */
export type Allowed<A extends string> = Readonly<Record<A, boolean>>

/** The most actions of one query: each adds a column to its statement. */
const MAX_ACTIONS = 20

// Mappers of names leave a name alone that has no capital letter and no underscore.
const columnAt = (index: number): string => `permsallowed${index}`

/** Checks the actions of withAllowed(). @throws ConfigurationError */
export function assertAllowedActions(builder: BuilderState, actions: readonly string[]): void {
  const cls = builder.modelClass()
  if (structureOf(cls).specs.allowed !== undefined || relationNamesOf(cls).includes('allowed'))
    throw new ConfigurationError(`withAllowed(): ${cls.name} has a property 'allowed' of its own. Call row.can(action) instead.`)
  if (actions.length > MAX_ACTIONS) throw new ConfigurationError(`withAllowed(): use at most ${MAX_ACTIONS} actions.`)
  if (actions.includes('create'))
    throw new ConfigurationError(`withAllowed('create'): a row that exists cannot be created. Use ${cls.name}.canCreate(values).`)
  builder.enforcer?.assertActions(cls, actions)
}

/** Adds the flags to a statement, as columns where they depend on the row. */
export function selectFlags(builder: BuilderState, built: OpenKnexBuilder): void {
  if (builder.isPartial()) return
  if (methodOf(built) !== 'select')
    throw new ConfigurationError(`${builder.modelClass().name}: withAllowed() works for queries that find rows, not for writes.`)
  const { enforcer, allowedActions: actions } = builder
  const all = (action: string): AllowedFlag => ({ action, condition: true, usesCheck: false })
  builder.allowedFlags = enforcer ? enforcer.allowedFlags(builder.handle, actions) : actions.map(all)
  builder.allowedFlags.forEach(({ condition }, i) => {
    if (typeof condition === 'boolean') return
    const { sql, bindings } = condition
    built.select(fragment(built.client, { sql: `case when ${sql} then 1 else 0 end as ??`, bindings: [...bindings, columnAt(i)] }))
  })
}

/** Moves the flags of each row of a result from their columns to `row.allowed`. */
export function readFlags(builder: BuilderState, result: unknown): unknown {
  const rows = rowsOf(result)
  const checks: Promise<void>[] = []
  for (const row of rows) {
    const values = row as unknown as Record<string, unknown>
    const allowed: Record<string, boolean> = {}
    builder.allowedFlags.forEach(({ action, condition, usesCheck }, i) => {
      allowed[action] = typeof condition === 'boolean' ? condition : Number(values[columnAt(i)]) === 1
      delete values[columnAt(i)]
      if (usesCheck && allowed[action]) checks.push(decide(builder, row, action, allowed))
    })
    // Not enumerable, so that save() does not take it for a column.
    Object.defineProperty(row, 'allowed', { value: allowed, enumerable: false, configurable: true, writable: true })
  }
  return checks.length === 0 ? result : Promise.all(checks).then(() => result)
}

async function decide(builder: BuilderState, row: Model, action: string, allowed: Record<string, boolean>): Promise<void> {
  allowed[action] = (await builder.enforcer?.passesChecks(builder.handle, action, row)) === true
}

function rowsOf(result: unknown): readonly Model[] {
  if (Array.isArray(result)) return result.filter(isRow)
  if (isRow(result)) return [result]
  const { results } = (result ?? {}) as { results?: unknown }
  return Array.isArray(results) ? results.filter(isRow) : []
}

const isRow = (value: unknown): value is Model => typeof value === 'object' && value !== null && '$query' in value

/** Returns the flags of a row that withAllowed() set. */
export function allowedOf(row: object): Allowed<string> | undefined {
  const own = Object.getOwnPropertyDescriptor(row, 'allowed')
  return own && !own.enumerable ? (own.value as Allowed<string>) : undefined
}

/** A query whose rows have `allowed`. */
export type WithAllowed<M extends Model, R, A extends string> = [R] extends [readonly unknown[]]
  ? QueryBuilder<M & { readonly allowed: Allowed<A> }, (M & { readonly allowed: Allowed<A> })[]>
  : undefined extends R
    ? QueryBuilder<M & { readonly allowed: Allowed<A> }, (M & { readonly allowed: Allowed<A> }) | undefined>
    : QueryBuilder<M & { readonly allowed: Allowed<A> }, M & { readonly allowed: Allowed<A> }>

// A type of `this` costs the compiler nothing until a query calls the method. A result type of M and R costs it for each model.
export type FlaggedQuery<Q, A extends string> = Q extends QueryBuilder<infer M, infer R> ? WithAllowed<M, R, A> : never

declare module 'objection' {
  interface QueryBuilder<M extends import('objection').Model, R = M[]> {
    /**
     * Adds `row.allowed` to the rows: for each action, whether the caller may do it. Takes no further statement. Works on models of
     * this library.
     *
     * @param actions 'read', 'update', 'delete', and the actions that the policy adds
     * @throws ConfigurationError for other names
     * @example
     * const posts = await Post.query().withAllowed('update', 'delete')
     * console.log(posts[0]?.allowed.update)
     */
    withAllowed<Q, A extends string>(this: Q, ...actions: A[]): FlaggedQuery<Q, A>
  }
}
