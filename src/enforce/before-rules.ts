/** Judges the before() rules of updates: by the rows as they are before the statement, under a lock. */

import { ValidationError } from '../core/errors.js'
import { message } from '../core/messages/message.js'
import { compile } from '../policy/compiler/compile.js'
import { type Condition, type Sql, sql } from '../policy/compiler/condition.js'
import type { Actor } from '../policy/context.js'
import { policyOf } from '../policy/policy.js'
import { type BeforeRule, walk } from '../policy/rules.js'
import type { Execution, QueryHandle, WriteSession } from '../query/policy-enforcer.js'
import { filterReadable } from '../query/query-builder.js'
import { idColumns, scopeFor, valuesOf, writeSessionOf } from './evaluate.js'

/** The most rows that a bulk write may load for check() or before(). */
export const MAX_LOADED_ROWS = 1000

/** The results of the before() rules for rows. */
export type Befores = ReadonlyMap<BeforeRule, boolean> | undefined

const keyOf = (id: unknown): string => JSON.stringify(id)

/** Returns the results of the before() rules for a row that an update changes. */
export function beforesOf({ before }: WriteSession, id: unknown): Befores {
  return before?.get(keyOf(id)) as Befores
}

/**
 * Locks the rows that an update will change, and stores in the session which before() rules hold for each of them.
 *
 * @returns the ids of the rows
 */
export async function judgeBefore(builder: QueryHandle, actor: Actor | null, session: WriteSession): Promise<unknown[]> {
  const { cls, execution } = builder
  const query = builder
    .targets('update', session)
    .limit(MAX_LOADED_ROWS + 1)
    .forUpdate()
  if (execution.ids) Object.assign(query, { execution: { ids: execution.ids, action: 'update', session } satisfies Execution })
  const loaded: unknown = await query
  const rows = (Array.isArray(loaded) ? loaded : loaded ? [loaded] : []) as { $id(): unknown }[]
  if (rows.length > MAX_LOADED_ROWS) throw new ValidationError(message('row.tooManyBefore', { model: cls.name, limit: MAX_LOADED_ROWS }))
  const results = new Map(rows.map((row) => [keyOf(row.$id()), new Map<object, boolean>()]))
  for (const rule of beforeRulesOf(builder)) {
    const open: unknown[] = []
    for (const row of rows) {
      const condition = compile(rule.rule, scopeFor(builder, actor, { row: valuesOf(row as never), live: true, writes: true }))
      if (typeof condition === 'boolean') results.get(keyOf(row.$id()))?.set(rule, condition)
      else open.push(row.$id())
    }
    if (open.length === 0) continue
    const condition = compile(rule.rule, scopeFor(builder, actor, { live: true, writes: true }))
    const holding = new Set(await idsWhere(builder, open, condition, session))
    for (const id of open) results.get(keyOf(id))?.set(rule, holding.has(keyOf(id)))
  }
  session.before = results
  return rows.map((row) => row.$id())
}

function beforeRulesOf({ cls }: QueryHandle): BeforeRule[] {
  return [...new Set([...walk(policyOf(cls).updateTo)].filter((part) => part.kind === 'before'))]
}

async function idsWhere(builder: QueryHandle, ids: readonly unknown[], condition: Condition, session: WriteSession): Promise<string[]> {
  if (condition === false) return []
  const query = builder.targets('update', session).select(...idColumns(builder.cls).map((column) => `${builder.ref}.${column}`))
  Object.assign(query, { execution: { ids, action: 'update', session } satisfies Execution })
  const always: Sql = sql('1 = 1')
  filterReadable(query, condition === true ? always : condition)
  // A locking read sees the rows as they are now, on MariaDB too.
  const found: unknown = await query.forUpdate()
  return ((Array.isArray(found) ? found : found ? [found] : []) as { $id(): unknown }[]).map((row) => keyOf(row.$id()))
}

/** Groups the rows of an update by the results of the before() rules. Without such rules, there is one group. */
export function byResults({ execution }: QueryHandle, ids: readonly unknown[]): Iterable<readonly [Befores, readonly unknown[]]> {
  const session = writeSessionOf(execution.session)
  if (!session?.before) return [[undefined, ids]]
  const groups = new Map<string, [Befores, unknown[]]>()
  for (const id of ids) {
    const befores = beforesOf(session, id)
    const key = JSON.stringify([...(befores?.values() ?? [])])
    const group = groups.get(key) ?? [befores, []]
    group[1].push(id)
    groups.set(key, group)
  }
  return groups.values()
}
