/** Values of columns that stand for all values, as far as comparisons with given literals can tell them apart. */
import type { Model } from 'objection'
import { ConfigurationError } from '../core/errors.js'
import { compile } from '../policy/compiler/compile.js'
import type { Scope } from '../policy/compiler/scope.js'
import { policyFrameOf } from '../policy/policy.js'
import { type AnyRule, isComparison, type Rule, type WhereRule } from '../policy/rules.js'
import type { ColumnSpec } from '../schema/column.js'
import { structureOf } from '../schema/definition/definition.js'
import { normalize } from '../schema/values.js'

/** The most values of an enum that are all examined. */
const MAX_ENUM = 12

interface Literal {
  readonly value: unknown
  readonly isPattern: boolean
}

/** Returns values of a column for each side of every literal that the rules compare it with, and NULL if the column allows it. */
export function candidateValues(cls: typeof Model, column: string, rules: readonly WhereRule[]): readonly unknown[] {
  const spec = structureOf(cls).specs[column]
  const literals = rules.flatMap(({ conditions }) => (column in conditions ? literalsIn(conditions[column]) : []))
  const given = literals.flatMap(({ value, isPattern }) => (isPattern ? textsFor(String(value)) : [value]))
  const values = [...given, ...given.flatMap((value) => neighboursOf(spec, value)), ...othersFor(spec, given)]
  const isNullable = spec === undefined || spec.isNullable
  return distinct([...values.flatMap((value) => storable(spec, value)), ...(isNullable ? [null] : [])])
}

function literalsIn(asked: unknown): Literal[] {
  if (asked === null || asked === undefined) return []
  if (Array.isArray(asked)) return asked.flatMap(literalsIn)
  if (!isComparison(asked)) return [{ value: asked, isPattern: false }]
  return Object.entries(asked).flatMap(([operator, value]): Literal[] => {
    if (operator === 'null') return []
    return operator === 'like' ? [{ value, isPattern: true }] : literalsIn(value)
  })
}

const textsFor = (pattern: string): string[] =>
  ['', 'x'].map((filling) => pattern.replace(/\\(.)|%|_/g, (part, escaped?: string) => escaped ?? (part === '%' ? filling : 'x')))

function neighboursOf(spec: ColumnSpec | undefined, value: unknown): unknown[] {
  if (value instanceof Date) return [new Date(value.getTime() - 1), new Date(value.getTime() + 1)]
  if (spec?.type === 'date')
    return [-1, 1].map((days) => new Date(Date.parse(String(value)) + days * 86_400_000).toISOString().slice(0, 10))
  if (spec?.type === 'datetime') return [-1, 1].map((more) => new Date(new Date(String(value)).getTime() + more))
  if (spec?.type === 'decimal') return [-1, 1].map((sign) => (Number(value) + sign * 10 ** -(spec.scale ?? 0)).toFixed(spec.scale ?? 0))
  if (spec?.type === 'bigint' || typeof value === 'bigint') return [-1n, 1n].map((more) => String(BigInt(String(value)) + more))
  return typeof value === 'number' ? [value - 1, value + 1] : []
}

const numbers = new Set(['integer', 'bigint', 'decimal', 'float'])

function othersFor(spec: ColumnSpec | undefined, given: readonly unknown[]): unknown[] {
  if (spec?.type === 'boolean') return [true, false]
  if (spec?.type === 'enum') return [...(spec.values ?? [])].filter((one, i) => i < MAX_ENUM || given.includes(one))
  if (given.length > 0 && spec !== undefined && (numbers.has(spec.type) || spec.type.startsWith('date'))) return []
  if (spec?.type === 'uuid') return ['0190b5e4-0000-7000-8000-00000000c0de']
  if (spec !== undefined && numbers.has(spec.type)) return [1]
  if (spec?.type === 'date' || spec?.type === 'datetime') return ['2024-01-01']
  return [['x', 'y', 'z', 'xyzzy'].find((one) => !given.includes(one))]
}

function storable(spec: ColumnSpec | undefined, value: unknown): unknown[] {
  if (value === null || value === undefined) return []
  if (!spec) return [value]
  try {
    const checked = normalize(spec, value)
    return checked.error === undefined ? [checked.value] : []
  } catch {
    return []
  }
}

function distinct(values: readonly unknown[]): unknown[] {
  return [...new Map(values.map((value) => [value instanceof Date ? value.getTime() : `${typeof value} ${String(value)}`, value])).values()]
}

/** The most rows that are examined at once. */
const MAX_ROWS = 5000

/**
 * Returns rows for all combinations of the candidates of columns.
 *
 * @returns undefined if there are too many
 */
export function combinations(candidates: ReadonlyMap<string, readonly unknown[]>, limit = MAX_ROWS): Record<string, unknown>[] | undefined {
  let rows: Record<string, unknown>[] = [{}]
  for (const [column, values] of candidates) {
    if (rows.length * values.length > limit) return undefined
    rows = rows.flatMap((row) => values.map((value) => ({ ...row, [column]: value })))
  }
  return rows
}

/** Returns rows that distinguish where() rules of a class; undefined if there are too many. */
export function rowsFor(cls: typeof Model, rules: readonly WhereRule[]): Record<string, unknown>[] | undefined {
  const columns = [...new Set(rules.flatMap(({ conditions }) => Object.keys(conditions)))]
  return combinations(new Map(columns.map((column) => [column, candidateValues(cls, column, rules)])))
}

/** Evaluates a rule that only where() rules make up. False for a comparison with a value that the column cannot hold. */
export function holdsFor(cls: typeof Model, rule: Rule, row: Readonly<Record<string, unknown>>): boolean {
  const scope: Scope = {
    ...{ cls, policy: policyFrameOf(cls), actor: null, dialect: 'pg', ref: 'perms_row', row },
    ...{ live: false, writes: false, checks: undefined, depth: 0, schema: undefined },
  }
  try {
    return compile(rule, scope) === true
  } catch (error) {
    if (error instanceof ConfigurationError) return false
    throw error
  }
}

/** Returns whether a rule consists of where() rules only. */
export function isOfRow(given: Rule): boolean {
  const rule = given as AnyRule
  if (rule.kind === 'anyOf' || rule.kind === 'allOf') return rule.rules.every(isOfRow)
  return rule.kind === 'where' || (rule.kind === 'not' && isOfRow(rule.rule))
}

/** Returns the where() rules in a rule that consists of them. */
export function whereRulesIn(given: Rule): WhereRule[] {
  const rule = given as AnyRule
  if (rule.kind === 'anyOf' || rule.kind === 'allOf') return rule.rules.flatMap(whereRulesIn)
  if (rule.kind === 'not') return whereRulesIn(rule.rule)
  return rule.kind === 'where' ? [rule] : []
}
