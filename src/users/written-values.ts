import { allValuesOf } from '../query/objection-internals.js'
import type { WriteOperation } from '../query/policy-enforcer.js'
import { propertyMeant } from '../schema/definition/definition.js'

/** Returns the values that a write sets, by property name. It includes raw expressions and keys given as column names. */
export function writtenValuesOf(write: WriteOperation): Record<string, unknown>[] {
  return write.models.map((model) =>
    Object.fromEntries(Object.entries(allValuesOf(model)).map(([key, value]) => [propertyMeant(model.constructor, key) ?? key, value])),
  )
}
