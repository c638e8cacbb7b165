/** The scope of a rule: for whom, over which rows and for which statement it is compiled. */
import type { Model } from 'objection'
import { tableOf } from '../../schema/class-statics.js'
import { namedColumn, structureOf } from '../../schema/definition/definition.js'
import { existingText, needsSqlValue } from '../../schema/existing-storage.js'
import { type Dialect, encode, sqlValue } from '../../schema/storage.js'
import { isUuid } from '../../schema/values.js'
import type { Actor } from '../context.js'
import { type PolicyFrame, policyOf } from '../policy.js'
import type { BeforeRule, CheckRule } from '../rules.js'
import { isUserTable } from '../user-tables.js'
import { all, type Condition, type Sql, sql } from './condition.js'

/** A caller that is a row of the table of users in the statement. */
export interface SymbolicUser {
  /** The alias of the table of users. */
  readonly ref: string
  /** Restricts the grants of all users to those that the asking caller may read. Default: all grants. @param alias their table */
  readonly visibleGrants?: ((alias: string, depth: number) => Condition) | undefined
  /** Restricts the caller's grants to the global ones and those of this domain; null: to the global ones. Default: all grants. */
  readonly within?: Sql | null | undefined
  /** Restricts shares to those that the asking caller may read. Default: all shares. @param alias their table */
  readonly visibleShares?: ((alias: string, depth: number) => Condition) | undefined
}

/** The actor, the class and the statement for which a rule is compiled to a condition. */
export interface Scope {
  readonly cls: typeof Model
  /** The statics of the class. The far end of related() needs no rules of its own, only these. */
  readonly policy: PolicyFrame
  /** The caller; null for an anonymous one, and if `user` is given. */
  readonly actor: Actor | null
  /** The caller as a row of the statement, in place of `actor`. */
  readonly user?: SymbolicUser | undefined
  readonly dialect: Dialect
  /** The alias of the table in the statement. Unused if `row` is given: values then replace columns. */
  readonly ref: string
  readonly row: Readonly<Record<string, unknown>> | undefined
  /** The ids of the only rows that the statement concerns, where they are known. */
  readonly ids?: readonly unknown[] | undefined
  /** Whether the statement looks up roles and sessions again. Set for writes. */
  readonly live: boolean
  /** Whether the action changes rows: admins may not change other admins and their rows. */
  readonly writes: boolean
  /** The results of check() rules for `row`, computed before. In SQL, check() is true for every row and code decides afterwards. */
  readonly checks: ReadonlyMap<CheckRule, boolean> | undefined
  /** The results of before() rules for the rows of the statement, found before their update. */
  readonly befores?: ReadonlyMap<BeforeRule, boolean> | undefined
  /** Whether shared() is false: to find out what the caller may do without any share. */
  readonly withoutShares?: boolean | undefined
  /** The relation in which the row is assumed to be shared with the actor, besides its shares in the database; null: it is not shared. */
  readonly assumedShare?: string | null | undefined
  /** Whether the grants of `actor` are assumed to be those in the database. */
  readonly assumesGrants?: boolean | undefined
  /** The nesting depth of EXISTS, for unique aliases. */
  readonly depth: number
  /** The schema of the statement's tables. Default: the schema of the connection. */
  readonly schema: string | undefined
}

/** The options of a scope besides the class and the actor. */
export type ScopeOptions = Pick<Scope, 'dialect' | 'ref'> & {
  readonly [K in 'row' | 'ids' | 'live' | 'writes' | 'checks' | 'befores' | 'schema']?: Scope[K] | undefined
}

/** Returns the scope of a rule over the rows of a class. All scopes have the same properties in one order, which V8 reads fastest. */
export function scopeOf(
  cls: typeof Model,
  actor: Actor | null,
  { dialect, ref, row, ids, live = false, writes = false, checks, befores, schema }: ScopeOptions,
): Scope {
  return {
    cls,
    policy: policyOf(cls),
    actor,
    user: undefined,
    dialect,
    ref,
    row,
    ids,
    live,
    writes,
    checks,
    befores,
    withoutShares: undefined,
    assumedShare: undefined,
    assumesGrants: undefined,
    depth: 0,
    schema,
  }
}

/**
 * Returns the table name of a model for a scope, with the statement's schema. Users, roles, domains and sessions keep the
 * connection's schema, because they identify the caller.
 */
export function tableIn({ schema }: Pick<Scope, 'schema'>, cls: typeof Model): string {
  const table = tableOf(cls)
  return schema === undefined || isUserTable(table) ? table : `${schema}.${table}`
}

/** Returns a property of the scope's row: its value if known, else its column. */
export function columnSql(scope: Scope, property: string): Sql {
  const { specs } = structureOf(scope.cls)
  if (scope.row) {
    const spec = specs[property]
    const value = scope.row[property] ?? null
    return scope.dialect === 'pg' && spec?.type === 'uuid'
      ? sql('cast(? as uuid)', value)
      : sql('?', spec ? encode({ ...spec, isNullable: true }, value, scope.dialect) : value)
  }
  return sql('??', `${scope.ref}.${namedColumn(scope.cls, property)}`)
}

/** Returns the condition that a property equals the id of the caller. */
export function equals(scope: Scope, property: string, id: string): Condition {
  if (scope.row) return isSameId(scope.row[property], id)
  const column = `${scope.ref}.${namedColumn(scope.cls, property)}`
  const spec = structureOf(scope.cls).specs[property] ?? existingText
  // MariaDB would compare text with a number as numbers, so that '7abc' is 7.
  const bound = typeof id === 'number' && (spec.type === 'string' || (spec.type === 'text' && spec !== existingText)) ? String(id) : id
  const found: Sql = { sql: '?? = ?', bindings: [column, bound], equals: [column, bound] }
  // The collation of an existing column may equate 'ann' and 'ANN', which are two ids. A UUID is the same in both cases.
  const isLoose = scope.dialect === 'mysql' && typeof bound === 'string' && !isUuid(bound) && needsSqlValue(spec, 'mysql')
  return isLoose ? all(found, sql(`${sqlValue(spec, '??', 'mysql')} = ?`, column, bound)) : found
}

/**
 * Returns whether two values are the same id. A column that only a JSON Schema describes may hold an id of users as a number, where the
 * user model has strings of digits, or the other way round.
 */
export function isSameId(a: unknown, b: unknown): boolean {
  return a === b || isTextOf(a, b) || isTextOf(b, a)
}

const isTextOf = (text: unknown, number: unknown): boolean =>
  typeof text === 'string' && Number.isSafeInteger(number) && text === String(number)
