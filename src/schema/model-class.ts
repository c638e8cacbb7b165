/** The static side of the model classes of this library, which Objection's types describe in part only. */
import type { Model } from 'objection'

/** The static members of model classes that Objection's types leave out, and those that this library adds. */
export interface ModelStatics {
  getTableName(): string
  getIdProperty(): string | string[]
  getIdColumnArray(): string[]
  getRelationNames(): string[]
  /** The name of the model in the abilities of API keys. */
  readonly abilityName?: string
  /** Whether rows are credentials, which no API key reaches. */
  readonly isCredential?: boolean
}

/** A model class with all of its static members. */
export type ModelClass = typeof Model & ModelStatics

/**
 * Returns a model class with the type that describes all of its static members. For classes whose type is narrower, such as abstract
 * classes of mixins, `this` of a static method, and `row.constructor`.
 */
export function modelClass(cls: object): ModelClass {
  return cls as ModelClass
}

/** Returns the class of a row. */
export function classOf(row: object): ModelClass {
  return row.constructor as ModelClass
}

/** Returns the values of a row by property. Changes of the returned object change the row. */
export function valuesByName(row: object): Record<string, unknown> {
  return row as Record<string, unknown>
}
