import type { Model } from 'objection'
import { memoize } from '../core/memoize.js'
import { policyOf } from '../policy/policy.js'
import { type Rule, usesCheck } from '../policy/rules.js'
import { queriesWithoutCode } from '../query/query-builder.js'
import { modelSlot } from '../runtime.js'
import { applicationClassesOf } from '../schema/definition/declarations.js'
import { definitionOf } from '../schema/definition/definition.js'
import { isOwnDefault } from '../schema/definition/library-defaults.js'

const known = modelSlot(() => new WeakMap<object, boolean>())

/**
 * Returns whether no code of the application runs before the statement that inserts a row of this model: its classes override no
 * method, have no hook and no accessor of a column, no rule calls check(), and no function of theirs makes a default or renames columns.
 */
export function insertsWithoutCode(cls: typeof Model): boolean {
  return memoize(known.get(), cls, () => {
    if (!queriesWithoutCode(cls) || cls.columnNameMappers || applicationClassesOf(cls).some(overridesCode)) return false
    return !hasAccessors(cls) && !hasRulesWithCode(cls) && !hasMethodFields(cls)
  })
}

function hasRulesWithCode(cls: typeof Model): boolean {
  const { create, globalScopes } = policyOf(cls)
  const specs = Object.values(definitionOf(cls).specs)
  const rules = [create, ...globalScopes.map(({ rule }) => rule), ...specs.flatMap(({ writable }) => (writable ? [writable] : []))]
  return rules.some((rule) => usesCheck(rule as Rule)) || specs.some(({ defaultValue }) => isOwnDefault(defaultValue))
}

/** Statics that each query of the model reads too. */
const ofEachQuery: ReadonlySet<PropertyKey> = new Set(['relationMappings', 'modifiers', 'query', 'QueryBuilder', 'beforeFind'])

function overridesCode(cls: typeof Model): boolean {
  const base = Object.getPrototypeOf(cls) as typeof Model
  const replacesStatic = (key: PropertyKey) => !ofEachQuery.has(key) && typeof Reflect.get(base, key) === 'function'
  const replacesMember = (key: PropertyKey) => key !== 'constructor' && (String(key).startsWith('$') || key in base.prototype)
  return Reflect.ownKeys(cls).some(replacesStatic) || Reflect.ownKeys(cls.prototype).some(replacesMember)
}

// Setting and reading the values of a row would call them.
function hasAccessors(cls: typeof Model): boolean {
  const { specs } = definitionOf(cls)
  return applicationClassesOf(cls).some(({ prototype }) =>
    Object.entries(Object.getOwnPropertyDescriptors(prototype)).some(([name, { get, set }]) => set || (get && name in specs)),
  )
}

// A class field may hold a function in place of a method.
function hasMethodFields(cls: typeof Model): boolean {
  try {
    return Object.values(new cls()).some((value) => typeof value === 'function')
  } catch {
    return true
  }
}
