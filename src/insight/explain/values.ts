/** Values of a column that make a comparison true or false. */
import type { Model } from 'objection'
import { whereCondition } from '../../policy/compiler/column-conditions.js'
import type { Scope } from '../../policy/compiler/scope.js'
import { isComparison } from '../../policy/rules.js'
import type { ColumnSpec } from '../../schema/column.js'
import { structureOf } from '../../schema/definition/definition.js'
import { normalize } from '../../schema/values.js'

/** The most values that are suggested for one comparison. */
const MAX_VALUES = 3

/**
 * Returns values for a column with which a comparison of where() holds, or does not hold.
 *
 * @param asked the comparison, as where() has it
 */
export function valuesFor(scope: Scope, name: string, asked: unknown, isTrue: boolean): unknown[] {
  const { cls, row = {} } = scope
  const spec = structureOf(cls).specs[name]
  if (spec?.isImmutable || spec?.isGenerated) return []
  const rule = { kind: 'where', sql: true, conditions: { [name]: asked } } as const
  const found: unknown[] = []
  for (const candidate of candidates(spec, asked)) {
    const value = normalized(spec, candidate)
    if (value === undefined || found.some((known) => String(known) === String(value))) continue
    if (whereCondition(rule, { ...scope, row: { ...row, [name]: value } }) === isTrue) found.push(value)
    if (found.length === (isTrue ? MAX_VALUES : 1)) break
  }
  return found
}

/** Returns whether a column may be set to null. */
export function isNullable(cls: typeof Model, name: string): boolean {
  return structureOf(cls).specs[name]?.isNullable === true
}

function normalized(spec: ColumnSpec | undefined, value: unknown): unknown {
  if (value === null) return spec && !spec.isNullable ? undefined : null
  if (!spec) return value
  const { value: checked, error } = normalize(spec, value)
  return error === undefined ? checked : undefined
}

function* candidates(spec: ColumnSpec | undefined, asked: unknown): Generator<unknown> {
  const literals = literalsIn(asked)
  yield* literals
  for (const literal of literals) yield* neighbours(literal)
  if (spec?.values) yield* spec.values
  if (spec?.type === 'boolean') yield* [true, false]
  if (spec?.type === 'integer' || spec?.type === 'bigint' || spec?.type === 'decimal' || spec?.type === 'float') yield* [0, 1, -1]
  if (spec?.type === 'date' || spec?.type === 'datetime') yield* [new Date(), new Date().toISOString().slice(0, 10)]
  if (spec?.type === 'uuid') yield '00000000-0000-4000-8000-000000000000'
  yield* ['another', 'x', null]
}

function literalsIn(asked: unknown): unknown[] {
  if (Array.isArray(asked)) return asked
  if (!isComparison(asked)) return [asked]
  return Object.entries(asked).flatMap(([operator, value]) => {
    if (operator === 'null') return []
    if (operator === 'like') return [String(value).replace(/\\(.)|%|_/g, (part, escaped?: string) => escaped ?? (part === '_' ? 'x' : ''))]
    return Array.isArray(value) ? value : [value]
  })
}

const DAY = 86_400_000

function* neighbours(value: unknown): Generator<unknown> {
  if (typeof value === 'number') yield* [value + 1, value - 1]
  else if (typeof value === 'bigint') yield* [value + 1n, value - 1n]
  else if (value instanceof Date) yield* [new Date(value.getTime() + DAY), new Date(value.getTime() - DAY)]
  else if (typeof value === 'string' && /^\d{4}-\d\d-\d\d/.test(value)) yield* daysAround(value)
  else if (typeof value === 'string' && /^-?\d+(\.\d+)?$/.test(value)) yield* [String(Number(value) + 1), String(Number(value) - 1)]
  else if (typeof value === 'string') yield* [`${value}x`, '']
}

function* daysAround(text: string): Generator<string> {
  const time = Date.parse(text)
  if (Number.isNaN(time)) return
  for (const step of [DAY, -DAY]) {
    const day = new Date(time + step).toISOString()
    yield text.length === 10 ? day.slice(0, 10) : day
  }
}
