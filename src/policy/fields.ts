import { isDeepStrictEqual } from 'node:util'
import type { Model } from 'objection'
import { ConfigurationError, type FieldProblem, ForbiddenError, type RefusedRule } from '../core/errors.js'
import { memoize } from '../core/memoize.js'
import { message } from '../core/messages/message.js'
import type { ColumnSpec } from '../schema/column.js'
import { definitionOf, onDefinition } from '../schema/definition/definition.js'
import { compile } from './compiler/compile.js'
import { all, any, type Condition } from './compiler/condition.js'
import type { Scope } from './compiler/scope.js'
import { fieldBypass } from './effective.js'
import { wordsWithoutValues } from './refusal.js'
import { type Rule, walk } from './rules.js'

// Output is synchronous and changes are checked row by row, so field rules can use neither code nor other tables.
onDefinition((cls, { specs }) => {
  for (const [name, spec] of Object.entries(specs)) {
    for (const [method, rule] of [['readableBy', spec.readable] as const, ['writableBy', spec.writable] as const]) {
      if (!rule) continue
      for (const part of walk(rule)) {
        if (
          part.kind === 'check' ||
          part.kind === 'related' ||
          part.kind === 'allowed' ||
          part.kind === 'before' ||
          part.kind === 'grantor' ||
          part.kind === 'delegate'
        ) {
          throw new ConfigurationError(
            `${cls.name}.${name}.${method}(): ${part.kind}() does not work for single fields. Use role(), owner(), self(), where() and their combinations.`,
          )
        }
      }
    }
  }
})

/** Returns the condition under which the actor may set these columns, from their writableBy rules. @throws ForbiddenError */
export function writableFields(scope: Scope, values: Readonly<Record<string, unknown>>, isNew: boolean): Condition {
  const denied: FieldProblem[] = []
  const conditions: Condition[] = []
  for (const { name, rule } of rulesOfFields(scope.cls, values, isNew)) {
    const condition = any(fieldBypass(scope, rule, 'write'), compile(rule, scope))
    if (condition === false) denied.push({ field: name, message: message('field.notByYou') })
    conditions.push(condition)
  }
  if (denied.length > 0)
    throw new ForbiddenError(message('row.setFields', { fields: denied.map(({ field }) => field) }), {
      errors: denied,
      refusedRule: refusedFields(scope.cls, Object.fromEntries(denied.map(({ field }) => [field, values[field]])), isNew),
    })
  return all(...conditions)
}

/** Returns a function that returns the writableBy rules of these columns as the reason of a refusal. */
export function refusedFields(cls: typeof Model, values: Readonly<Record<string, unknown>>, isNew: boolean): () => RefusedRule {
  return () => ({ model: cls.name, action: isNew ? 'create' : 'update', rule: fieldRulesInWords(cls, values, isNew).join('; ') })
}

/** Returns the writableBy rules of the columns that a write sets, in words. */
export function fieldRulesInWords(cls: typeof Model, values: Readonly<Record<string, unknown>>, isNew: boolean): readonly string[] {
  return rulesOfFields(cls, values, isNew).map(({ name, rule }) => `${name}.writableBy: ${wordsWithoutValues(cls, rule)}`)
}

/** Returns the writableBy rules of the columns that a write sets. A new row may have defaults, whatever their rules. */
export function rulesOfFields(
  cls: typeof Model,
  values: Readonly<Record<string, unknown>>,
  isNew: boolean,
): readonly { readonly name: string; readonly rule: Rule }[] {
  const ruled = fieldsWithRules(cls)
  if (ruled.length === 0) return none
  return ruled.flatMap(([name, spec]) => {
    if (!spec.writable || values[name] === undefined || (isNew && isDefault(spec, values[name]))) return []
    return [{ name, rule: spec.writable }]
  })
}

const none: readonly never[] = []
const writables = new WeakMap<object, readonly (readonly [string, ColumnSpec])[]>()

function fieldsWithRules(cls: typeof Model): readonly (readonly [string, ColumnSpec])[] {
  return memoize(writables, cls, () => Object.entries(definitionOf(cls).specs).filter(([, spec]) => spec.writable))
}

function isDefault(spec: { hasDefault: boolean; defaultValue?: unknown; isNullable: boolean }, value: unknown): boolean {
  if (value === null) return spec.isNullable && !spec.hasDefault
  return spec.hasDefault && typeof spec.defaultValue !== 'function' && isDeepStrictEqual(spec.defaultValue, value)
}

/** Returns the columns of a row that this actor may not read. */
export function unreadableFields(scope: Scope): string[] {
  return Object.entries(definitionOf(scope.cls).specs)
    .filter(([, spec]) => spec.readable && readable(spec.readable, scope) !== true)
    .map(([name]) => name)
}

/** Returns whether this actor may read a column in every row. Lists may be filtered and sorted only by such columns. */
export function isReadableEverywhere(scope: Scope, name: string): boolean {
  const spec = definitionOf(scope.cls).specs[name]
  if (!spec || spec.isHidden) return false
  return !spec.readable || readable(spec.readable, { ...scope, row: undefined }) === true
}

/** Returns the condition under which the actor may read a column with this rule. */
export const readable = (rule: Rule, scope: Scope): Condition => any(fieldBypass(scope, rule, 'read'), compile(rule, scope))

const restricted = new WeakMap<object, boolean>()

/** Returns whether any column of a class has a readableBy rule. Usually none has. */
export function hasReadableRules(cls: typeof Model): boolean {
  let known = restricted.get(cls)
  if (known === undefined) {
    known = Object.values(definitionOf(cls).specs).some((spec) => spec.readable !== undefined)
    restricted.set(cls, known)
  }
  return known
}
