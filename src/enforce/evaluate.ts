import type { Model } from 'objection'
import { ForbiddenError, NotFoundError, UnauthorizedError } from '../core/errors.js'
import { awaitMaybe, type MaybeAsyncSteps, runMaybeAsync } from '../core/maybe-async.js'
import { message } from '../core/messages/message.js'
import { apiKeyAllows } from '../policy/abilities.js'
import type { ActionName } from '../policy/actions.js'
import { compile } from '../policy/compiler/compile.js'
import { all, any, type Condition, holds, sql } from '../policy/compiler/condition.js'
import { type Scope, type ScopeOptions, scopeOf } from '../policy/compiler/scope.js'
import type { Actor } from '../policy/context.js'
import { bypass, limited, requireActiveCaller } from '../policy/effective.js'
import { fieldRulesInWords } from '../policy/fields.js'
import { columnLimits, policyOf, type WriteLimit } from '../policy/policy.js'
import { refusedBy } from '../policy/refusal.js'
import { type CheckRule, type Rule, usesCheck, walk } from '../policy/rules.js'
import { queryNamesOf } from '../query/objection-internals.js'
import type { EnforcerSession, QueryHandle, WriteOperation, WriteSession } from '../query/policy-enforcer.js'
import { dialectOfClass } from '../record/codec.js'
import { idProperties, namedColumn } from '../schema/definition/definition.js'

/** The location of a row: its class, the connection, and the alias of its table. */
export type Place = Pick<QueryHandle, 'cls' | 'db' | 'ref'> & { readonly schema?: string | undefined }

/** Returns the session of a write, or undefined when beforeWrite() did not run or the session is of another kind. */
export function writeSessionOf(session: EnforcerSession | undefined): WriteSession | undefined {
  return session?.kind === 'write' ? session : undefined
}

/** Creates the session of a write that has not been checked yet. */
export function newWriteSession(): WriteSession {
  return { kind: 'write', models: [], conditions: [], fields: true, recheck: null, before: null }
}

export type Values = Readonly<Record<string, unknown>>

export function scopeFor(
  { cls, ref, schema }: Pick<Place, 'cls' | 'ref' | 'schema'>,
  actor: Actor | null,
  { row, ids, live, writes, checks, befores }: Omit<ScopeOptions, 'dialect' | 'ref' | 'schema'> = {},
): Scope {
  return scopeOf(cls, actor, { dialect: dialectOfClass(cls), ref, schema, row, ids, live, writes, checks, befores })
}

export function valuesOf(model: Model | undefined): Values {
  return (model ?? {}) as Values
}

function columnOfKey(key: string): string {
  const end = key.indexOf(':')
  return end < 0 ? key : key.slice(0, end)
}

/** Returns the properties that are set by raw SQL or in part, such as 'billing:plan', rather than by a plain value. */
export function rawNames(model: Model | undefined): string[] {
  if (model === undefined) return []
  const values = valuesOf(model)
  const names = queryNamesOf(model)
  for (const key of Object.keys(values)) if (key.includes(':') && values[key] !== undefined) names.push(key)
  return names.length === 0 ? names : [...new Set(names.map(columnOfKey))]
}

export function setNames(model: Model | undefined): string[] {
  const values = valuesOf(model)
  const names: string[] = []
  for (const key of Object.keys(values)) if (values[key] !== undefined && !key.startsWith('$')) names.push(columnOfKey(key))
  names.push(...rawNames(model))
  return names
}

export function touches(names: Iterable<string>, read: Set<string>): boolean {
  for (const name of names) if (read.has(name) || read.has('*')) return true
  return false
}

/** Returns the columns of a model's id, as the database names them. */
export function idColumns(cls: typeof Model): readonly string[] {
  return idProperties(cls).map((name) => namedColumn(cls, name))
}

/** Whether a row has its id: all parts of it where the key is composite. */
export function hasId(row: Model): boolean {
  return [row.$id() as unknown].flat().every((part) => part !== undefined && part !== null)
}

/** Returns the condition that selects the rows with these ids. The id of a composite key is an array. */
export function isOneOf(cls: typeof Model, ref: string, ids: readonly unknown[]): Condition {
  if (ids.length === 0) return false
  const columns = idColumns(cls).map((name) => `${ref}.${name}`)
  if (columns.length === 1) return sql(`?? in (${ids.map(() => '?').join(', ')})`, columns[0], ...ids)
  const isRow = `(${columns.map(() => '?? = ?').join(' and ')})`
  const values = ids.flatMap((id) => columns.flatMap((column, i) => [column, (id as readonly unknown[])[i]]))
  return sql(`(${ids.map(() => isRow).join(' or ')})`, ...values)
}

export function withRaws(model: Model | undefined): Values {
  return { ...valuesOf(model), ...Object.fromEntries(rawNames(model).map((name) => [name, Symbol('raw')])) }
}

/** Returns the result of each check() inside a rule for a row. @throws ForbiddenError if a check() throws */
export async function runChecks(rule: Rule, row: Values, actor: Actor | null): Promise<Map<CheckRule, boolean>> {
  const said = new Map<CheckRule, boolean>()
  for (const part of walk(rule)) {
    if (part.kind !== 'check' || said.has(part)) continue
    try {
      said.set(part, (await part.test(row, actor)) === true)
    } catch (error) {
      // A failed check() denies access, also inside not() or anyOf().
      throw new ForbiddenError(undefined, { cause: error })
    }
  }
  return said
}

/** Returns the condition under which an actor may act on a row with known values. Queries the database for rules about other rows. */
export function allows(
  place: Pick<Place, 'cls' | 'db'>,
  rule: Rule,
  row: Values,
  scope: Scope,
  action: ActionName,
): Condition | Promise<Condition> {
  return runMaybeAsync(allowsMaybeAsync(place, rule, row, scope, action))
}

/** Does the same as allows() for callers that are maybe-async generators. */
export function* allowsMaybeAsync(
  place: Pick<Place, 'cls' | 'db'>,
  rule: Rule,
  row: Values,
  scope: Scope,
  action: ActionName,
): MaybeAsyncSteps<Condition> {
  if (!apiKeyAllows(action, place.cls, policyOf(place.cls), scope.actor)) return false
  const checks = usesCheck(rule) ? yield* awaitMaybe(runChecks(rule, row, scope.actor)) : undefined
  const inMemory: Scope = { ...scope, row, live: false, writes: action !== 'read', checks }
  const may = (given: Scope): Condition => all(any(bypass(action, given), compile(rule, given)), limited(action, given))
  const isAllowed = yield* awaitMaybe(holds(place.db, may(inMemory)))
  return isAllowed ? may({ ...inMemory, live: true }) : false
}

export async function isReadable(builder: QueryHandle): Promise<boolean> {
  const row: unknown = await builder.targets('read').select(anyColumn(builder)).limit(1)
  return Array.isArray(row) ? row.length > 0 : row !== undefined && row !== null
}

/** Returns one column to select where only the number of rows matters. */
export const anyColumn = ({ cls, ref }: Pick<QueryHandle, 'cls' | 'ref'>) => `${ref}.${idColumns(cls)[0]}`

export async function isCallerActive(builder: QueryHandle, actor: Actor | null): Promise<boolean> {
  return holds(builder.db, requireActiveCaller(scopeFor(builder, actor, { live: true })))
}

// Returns the limits that may have rejected a write.
function limitsOf({ cls }: QueryHandle, write: WriteOperation, action: ActionName): readonly WriteLimit[] {
  const policy = policyOf(cls)
  if (action !== 'update') return policy.limits.filter(({ on }) => on.includes(action === 'restore' ? 'delete' : (action as 'delete')))
  return columnLimits(policy, setNames(write.models[0]))
}

// The rules of the columns that an update sets are part of its condition.
const fieldsIn = ({ cls }: QueryHandle, { kind, models }: WriteOperation): readonly string[] =>
  kind === 'update' ? fieldRulesInWords(cls, withRaws(models[0]), false) : []

/** Returns the error for a write that did not change the row it names. */
export async function missedWriteError(builder: QueryHandle, write: WriteOperation, actor: Actor | null): Promise<Error> {
  if (!(await isCallerActive(builder, actor))) return new UnauthorizedError(message('session.ended'))
  const name = builder.cls.name
  if (!(await isReadable(builder)))
    return new NotFoundError(message('row.noneWithId', { model: name }), { refusedRule: refusedBy(builder.cls, 'read', { actor }) })
  const action = builder.execution.action ?? write.kind
  const limits = limitsOf(builder, write, action)
  const refusal = message('row.action', { action, model: name })
  const items = [refusal, ...limits.map((limit) => limit.takes)]
  const text = limits.length === 0 ? refusal : message('row.refusal', { sentences: { items, separator: ' ' } })
  const refusedRule = refusedBy(builder.cls, action, {
    actor,
    further: () => [...fieldsIn(builder, write), ...limits.map(({ takes }) => String(takes))],
  })
  return new ForbiddenError(text, { refusedRule })
}
